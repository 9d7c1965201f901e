"""`baton person`: the people who sign agreements."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, pages, settings_of
from baton_cli.output import DryRun, Json

app = typer.Typer(name="person", no_args_is_help=True, help="The people who sign agreements.")


class Department(StrEnum):
    """A party of the agreement."""

    MARKETING = "marketing"
    SALES = "sales"


@app.command()
def add(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Short name, such as anna.")],
    *,
    department: Annotated[Department, typer.Option(help="For which department the person signs.")],
    name: Annotated[str, typer.Option(help="Full name, as it stands beside the signature.")],
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Add a person. The API key with which the person signs is shown once.

    Example: `baton person add anna --department marketing --name "Anna Example"`
    """
    settings = settings_of(ctx)
    body = {"id": id, "name": name, "department": department.value}
    answer: dict[str, Any] = {"would_add": body}
    if not dry_run:
        answer = call(settings, "qualification", "POST /v1/people", body=body)
    if as_json:
        output.json_value(answer)
    elif dry_run:
        output.line(f"would add {id} of {department.value}; nothing was changed")
    else:
        output.line(f"{id} signs for {department.value} with the key {answer.get('api_key')}")
        output.note("The key is shown this once. Hand it to the person; it goes under `people` in their cli.json.")


@app.command("list")
def list_people(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List who may sign.

    Example: `baton person list`
    """
    found = pages(settings_of(ctx), "qualification", "/v1/people", limit=1000)
    if as_json:
        output.json_value(found)
        return
    rows = [[item.get("person_id"), item.get("department"), item.get("name")] for item in found]
    output.table(["person", "department", "name"], rows, empty="nobody yet: `baton person add`")
