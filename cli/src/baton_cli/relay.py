"""`baton relay`: from the outboxes of the services to Kafka."""

from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, chosen_services, settings_of
from baton_cli.moments import moment
from baton_cli.output import DryRun, Json, Yes, items_of, when

app = typer.Typer(name="relay", no_args_is_help=True, help="The way of events from the outboxes to Kafka.")


@app.command()
def status(
    ctx: typer.Context,
    *,
    service: Annotated[str | None, typer.Option(help="Only this service.")] = None,
    as_json: Json = False,
) -> None:
    """Show for each outbox who publishes it, how many events wait and since when.

    Example: `baton relay status`
    """
    settings = settings_of(ctx)
    found = [
        {"service": name, **lane}
        for name in chosen_services(service)
        for lane in items_of(call(settings, name, "GET /v1/ops/relay"))
    ]
    if as_json:
        output.json_value(found)
        return
    rows = [
        [lane.get("service"), lane.get("lane"), lane.get("holder") or "nobody", lane.get("waiting"),
         when(lane.get("oldest_at")), lane.get("epoch"), when(lane.get("lease_until"))]
        for lane in found
    ]  # fmt: skip
    columns = ["service", "lane", "published by", "waiting>", "oldest", "epoch>", "lease until"]
    output.table(columns, rows, empty="no outbox")


@app.command()
def rewind(
    ctx: typer.Context,
    *,
    service: Annotated[str, typer.Option(help="Whose events are published again.")],
    since: Annotated[str, typer.Option(help="From when on: 30m, 2h, 3d ago, or an RFC 3339 time.")],
    lane: Annotated[str, typer.Option(help="live or bulk.")] = "live",
    as_json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Publish again what was published since a time, marked as a replay. Consumers drop what they have.

    Example: `baton relay rewind --service lead-intake --since 2h --dry-run`
    """
    [service] = chosen_services(service)
    settings, start = settings_of(ctx), moment(since)
    order = {"since": start.isoformat().replace("+00:00", "Z"), "lane": lane}

    def ask(dry: str) -> dict[str, Any]:
        answer: dict[str, Any] = call(
            settings, service, "POST /v1/ops/relay/rewind", params={"dry_run": dry}, body=order
        )
        return answer

    answer = ask("true")
    what = f"{answer.get('events')} events of {service} since {when(order['since'])}"
    if not dry_run:
        output.confirm(f"Publish {what} again?", yes=yes)
        answer = ask("false")
    if as_json:
        output.json_value({"service": service, **order, "dry_run": dry_run, "events": answer.get("events")})
    elif dry_run:
        output.line(f"would publish {what} again; nothing was changed")
    else:
        output.line(f"{answer.get('events')} events will be published again")
