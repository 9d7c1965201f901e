"""`baton config`: which installation this command talks to."""

from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import settings_of
from baton_cli.output import Json
from baton_cli.settings import redacted

app = typer.Typer(name="config", no_args_is_help=True, help="The settings of this command.")


@app.command()
def show(
    ctx: typer.Context,
    *,
    hide: Annotated[bool, typer.Option("--redacted/--with-secrets", help="Hide keys and passwords.")] = True,
    as_json: Json = False,
) -> None:
    """Show the settings in force and where each comes from: environment, cli.json or default.

    Example: `baton config show --redacted`
    """
    settings = settings_of(ctx)
    shown: dict[str, Any] = {
        "file": str(settings.file) if settings.file else None,
        "urls": dict(settings.urls),
        "public": dict(settings.public_urls),
        "kafka": dict(settings.kafka),
        "api_key": settings.api_key,
        "people": {p.id: {"department": p.department, "api_key": p.api_key} for p in settings.people.values()},
    }
    if hide:
        shown = redacted(shown)
    if as_json:
        output.json_value(shown | {"origin": dict(settings.origin)})
        return
    rows = [[f"{name} url", url, settings.origin[name]] for name, url in shown["urls"].items()]
    rows += [[f"{name} public url", url, shown["file"]] for name, url in shown["public"].items()]
    rows += [[f"kafka {name}", value, settings.origin[f"kafka.{name}"]] for name, value in shown["kafka"].items()]
    rows.append(["api_key", shown["api_key"] or "", settings.origin["api_key"]])
    rows += [[f"key of {id}", p["api_key"], shown["file"]] for id, p in shown["people"].items()]
    output.table(["setting", "value", "from"], rows, empty="")
