"""`baton shared-key`: addresses and numbers that many persons share, so that they identify nobody by themselves."""

from typing import Annotated, Literal

import typer

from baton_cli import output
from baton_cli.client import call, pages, settings_of
from baton_cli.lead import asked_for
from baton_cli.output import DryRun, Json, when

ADDRESS = "/v1/shared-keys"
Kind = Annotated[Literal["email", "phone"], typer.Argument(help="email or phone.", metavar="KIND")]

app = typer.Typer(
    name="shared-key", no_args_is_help=True, help="Addresses and numbers that many persons share, such as an office's."
)


@app.command("list")
def list_keys(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List what is shared, put there by a person or by the rule. Shows contact data.

    Example: `baton shared-key list`
    """
    found = pages(settings_of(ctx), "lead-intake", ADDRESS, limit=10**9)
    found.sort(key=lambda one: (str(one.get("kind")), str(one.get("value"))))
    if as_json:
        output.json_value(found)
        return
    output.table(["kind", "value"], [[one.get("kind"), one.get("value")] for one in found], empty="nothing is shared")


@app.command()
def add(ctx: typer.Context, kind: Kind, *, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Say that many share an address or a number: from now on it identifies a person only together with the name.

    The value is asked for on the terminal, or read from standard input: as an argument it would stay in the history of
    the shell. What was matched by it before stays as it is.

    Example: `baton shared-key add phone` · `baton shared-key add email < office.txt`
    """
    _put(ctx, kind, "many share it", shared=True, dry_run=dry_run, as_json=as_json)


@app.command()
def remove(ctx: typer.Context, kind: Kind, *, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Say that an address or a number is one person's, also where the rule would say otherwise.

    Example: `baton shared-key remove email < address.txt`
    """
    _put(ctx, kind, "it is one person's", shared=False, dry_run=dry_run, as_json=as_json)


def _put(ctx: typer.Context, kind: str, meaning: str, *, shared: bool, dry_run: bool, as_json: bool) -> None:
    value = asked_for("E-mail address" if kind == "email" else "Number, with + and its country code")
    if dry_run:
        if as_json:
            output.json_value({"kind": kind, "shared": shared, "dry_run": True})
        else:
            output.line(f"would note: {meaning}; nothing was changed")
        return
    body = {"kind": kind, "value": value, "shared": shared}
    answer = call(settings_of(ctx), "lead-intake", f"POST {ADDRESS}", body=body)
    if as_json:
        output.json_value(answer)
    else:
        output.line(f"noted: {meaning} ({when(answer.get('added_at'))})")
