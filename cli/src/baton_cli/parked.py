"""`baton parked`: events that wait for a person, with all later ones of the same key."""

from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, chosen_services, pages, settings_of
from baton_cli.output import DryRun, Failed, Json, Yes, when
from baton_cli.settings import Settings

app = typer.Typer(name="parked", no_args_is_help=True, help="Events that wait for a person.")
Service = Annotated[str | None, typer.Option(help="Only this service.")]


@app.command("list")
def list_parked(
    ctx: typer.Context,
    *,
    service: Service = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each service.")] = 200,
    as_json: Json = False,
) -> None:
    """List what is parked, with the reason. A key's first event is the cause, the others wait behind it.

    Example: `baton parked list --service qualification`
    """
    found = _parked(settings_of(ctx), service, limit=limit)
    if as_json:
        output.json_value(found)
        return
    columns = ["service", "id", "consumer", "key", "type", "reason", "detail"]
    rows = [[item.get(column) for column in columns] + [when(item.get("parked_at"))] for item in found]
    output.table([*columns, "parked at"], rows, empty="nothing is parked")


@app.command()
def replay(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="The key (lead id) whose events are applied again, in order.")],
    *,
    service: Service = None,
    consumer: Annotated[str | None, typer.Option(help="Only this consumer, such as qualification.decide.")] = None,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Apply the parked events of a key again, after the cause is mended. Events that still fail stay parked.

    Example: `baton parked replay 01a05c06-7d5e-7cd1-8155-66af75f0734c`
    """
    settings = settings_of(ctx)
    waiting = [item for item in _parked(settings, service) if item.get("key") == key]
    targets = sorted({(item["service"], item["consumer"]) for item in waiting if consumer in (None, item["consumer"])})
    if not targets:
        raise Failed(f"nothing is parked under the key {key}", "`baton parked list` shows what is.")
    done: list[dict[str, Any]] = []
    for name, group in targets:
        events = sum(1 for item in waiting if (item["service"], item["consumer"]) == (name, group))
        if dry_run:
            done.append({"service": name, "consumer": group, "would_apply": events})
        else:
            with output.progress(f"replaying {events} events"):
                order = {"consumer": group, "key": key}
                answer = call(settings, name, "POST /v1/ops/parked/replay", body=order)
            done.append({"service": name, "consumer": group, "applied": answer.get("applied")})
    if as_json:
        output.json_value(done)
        return
    for row in done:
        count, verb = (row["would_apply"], "would be applied") if dry_run else (row["applied"], "applied")
        output.line(f"{row['consumer']}: {count} events {verb}")


@app.command()
def skip(
    ctx: typer.Context,
    id: Annotated[int, typer.Argument(help="The id of one parked event, as `parked list` shows it.")],
    *,
    service: Annotated[str, typer.Option(help="The service that parked it.")],
    as_json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Give one parked event up for good. Those behind it go on with `parked replay`.

    Example: `baton parked skip 17 --service qualification`
    """
    [service] = chosen_services(service)
    settings = settings_of(ctx)
    found = next((item for item in _parked(settings, service) if item.get("id") == id), None)
    if found is None:
        raise Failed(f"{service} has no parked event {id}", "`baton parked list` shows what is parked.")
    what = f"{found.get('type') or 'event'} {id} of {found.get('key')}"
    if not dry_run:
        output.confirm(f"Give up {what}? It is never applied by {found.get('consumer')}.", yes=yes)
        found = call(settings, service, f"POST /v1/ops/parked/{id}/skip")
    if as_json:
        output.json_value({"would_skip": found} if dry_run else {"skipped": found})
    else:
        output.line(f"would give up {what}; nothing was changed" if dry_run else f"gave up {what}")


def _parked(settings: Settings, service: str | None, *, limit: int = 10_000) -> list[dict[str, Any]]:
    return [
        {"service": name, **item}
        for name in chosen_services(service)
        for item in pages(settings, name, "/v1/ops/parked", limit=limit)
    ]
