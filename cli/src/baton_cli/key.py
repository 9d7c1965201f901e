"""`baton key`: API keys of the services."""

from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, chosen_services, settings_of
from baton_cli.output import DryRun, Json

app = typer.Typer(name="key", no_args_is_help=True, help="API keys.")


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for, such as crm-sync.")],
    *,
    service: Annotated[str, typer.Option(help="The service it opens; each has keys of its own.")],
    scope: Annotated[list[str], typer.Option(help="What it allows, such as leads:read; may be repeated.")],
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Make an API key. It is shown once; the service keeps its digest only.

    Example: `baton key create crm-sync --service sales-feedback --scope handoffs:read --scope handoffs:write`
    """
    [service] = chosen_services(service)
    settings = settings_of(ctx)
    body = {"name": name, "scopes": scope}
    answer: dict[str, Any] = {"would_create": body, "service": service}
    if not dry_run:
        answer = call(settings, service, "POST /v1/ops/keys", body=body)
    if as_json:
        output.json_value(answer)
    elif dry_run:
        output.line(f"would make a key {name} of {service} for {', '.join(scope)}; nothing was changed")
    else:
        output.line(answer.get("key"))
        output.note("The key is shown this once.")
