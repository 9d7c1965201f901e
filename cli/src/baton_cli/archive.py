"""`baton backup` and `baton restore`: all databases and the contact topic."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from asyncpg import PostgresError

from baton_cli import output
from baton_cli.backup import CannotBackUp, back_up
from baton_cli.client import reason_of, settings_of
from baton_cli.erasures import BadExport
from baton_cli.kafka import kafka_settings, unreachable
from baton_cli.output import DryRun, Failed, Json, Yes
from baton_cli.postgres_tools import ToolFailed
from baton_cli.restore import CannotRestore, read_manifest, restore
from baton_cli.settings import Settings, variable

Folder = Annotated[Path, typer.Argument(help="The backup's folder.", metavar="FOLDER")]


def backup_command(ctx: typer.Context, folder: Folder, *, as_json: Json = False) -> None:
    """Write one consistent picture of all databases and the contact topic into a new folder, while all goes on.

    It holds personal data and is readable by you alone. Keep BATON_SEAL_KEY beside it, not in it.

    Example: `baton backup backups/2026-11-24`
    """
    settings = settings_of(ctx)
    if folder.exists():
        raise Failed(f"{folder} is there already", "A backup is never written over: name a new folder.")
    with output.progress("backing up"):
        manifest = _run(settings, back_up(databases(settings), kafka_settings(settings), folder, say=output.note))
    if as_json:
        output.json_value(manifest)
    else:
        output.line(f"{len(manifest['databases'])} databases and {manifest['contacts']['records']} contact records")


def restore_command(
    ctx: typer.Context,
    folder: Folder,
    *,
    erasures: Annotated[
        Path | None,
        typer.Option(
            help="The exported erasure log (JSON lines): needed where the log in Kafka was lost with the machine.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Bring a backup back. The services must be stopped; what the databases hold now is replaced.

    Who was forgotten since the backup stays forgotten: the erasure log is applied before any service can start.

    Example: `baton restore backups/2026-11-24 --erasures erasures.jsonl --dry-run`
    """
    settings = settings_of(ctx)
    try:
        manifest = read_manifest(folder)
    except CannotRestore as error:
        raise Failed(str(error)) from None
    what = f"{', '.join(manifest['databases'])} as of {output.when(manifest['taken_at'])}"
    if dry_run:
        if as_json:
            output.json_value({"dry_run": True, **manifest})
        else:
            output.line(f"would restore {what}")
        return
    output.confirm(f"Replace what the databases hold by {what}?", yes=yes)
    with output.progress("restoring"):
        done = _run(
            settings,
            restore(databases(settings), kafka_settings(settings), folder, erasures=erasures, say=output.note),
        )
    if as_json:
        output.json_value(done)
    else:
        output.line(f"restored {what}; start the services now")


def databases(settings: Settings) -> dict[str, str]:
    """The URL of each service's database, by its owner. Raises Failed where one is not known."""
    missing = sorted(name for name, url in settings.database_urls.items() if not url)
    if missing:
        variables = ", ".join(variable(name, "DATABASE_URL") for name in missing)
        raise Failed(
            f"the database of {', '.join(missing)} is not known", f"Set {variables}, or `databases` in cli.json."
        )
    return {name: str(url) for name, url in settings.database_urls.items()}


def _run(settings: Settings, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    try:
        return asyncio.run(work)
    except (ToolFailed, CannotBackUp, CannotRestore, BadExport) as error:
        raise Failed(str(error)) from None
    except KafkaError as error:
        raise unreachable(kafka_settings(settings), error) from None
    except (PostgresError, OSError) as error:
        raise Failed(f"a database does not answer ({reason_of(error)})", "`baton doctor` checks everything.") from None
