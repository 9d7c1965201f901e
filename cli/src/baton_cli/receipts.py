"""`baton receipts`: what became of every delivery."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import DryRun, Json, items_of, when

app = typer.Typer(name="receipts", no_args_is_help=True, help="What became of every delivery.")
OUTCOMES = ("created", "matched", "touch_only", "duplicate", "refused", "quarantined", "pending", "test")


@app.command("list")
def list_receipts(
    ctx: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only settled, quarantined, pending or refused.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List receipts.

    Example: `baton receipts list --state quarantined`
    """
    found = pages(settings_of(ctx), "lead-intake", "/v1/receipts", limit=limit, state=state, source=source)
    if as_json:
        output.json_value(found)
        return
    rows = [
        [i.get("id"), when(i.get("received_at")), i.get("source_id"), i.get("entries"), i.get("state"), i.get("reason")]
        for i in found
    ]
    output.table(["receipt", "received", "source", "entries>", "state", "reason"], rows, empty="no receipts")


@app.command()
def show(
    ctx: typer.Context,
    receipt_id: Annotated[str, typer.Argument(help="The receipt's id, which the answer to a delivery names.")],
    *,
    as_json: Json = False,
) -> None:
    """Show what became of each entry of one delivery, and of which lead it is.

    Example: `baton receipts show 01a20f8f-0c56-71b4-8666-d1030af7758e`
    """
    found = call(settings_of(ctx), "lead-intake", f"GET /v1/receipts/{part(receipt_id)}")
    if as_json:
        output.json_value(found)
        return
    about = f"{found.get('source_id')}, {when(found.get('received_at'))}: {found.get('state')} {found.get('reason')}"
    output.line(about.rstrip(), style="bold")
    columns = ["ordinal", "outcome", "reason", "lead_id", "first_receipt_id"]
    rows = [[item.get(column) for column in columns] for item in items_of(found)]
    output.table(["entry>", "outcome", "reason", "lead", "repeats"], rows, empty="it holds no entry")


@app.command()
def reconcile(
    ctx: typer.Context,
    *,
    source: Annotated[str, typer.Option(help="The source; its provider must list its leads.")],
    days: Annotated[int, typer.Option(min=1, max=90, help="How many days back.")] = 7,
    run: Annotated[bool, typer.Option("--run", help="Compare anew as soon as possible.")] = False,
    as_json: Json = False,
) -> None:
    """Compare a source with its provider's own list, by day (UTC) and form. Exit code 1 where they differ.

    Examples: `baton receipts reconcile --source meta-leads` · `baton receipts reconcile --source meta-leads --run`
    """
    settings = settings_of(ctx)
    address = f"/v1/sources/{part(source)}/reconciliation"
    if run:
        call(settings, "lead-intake", f"POST {address}")
    since = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
    answer = call(settings, "lead-intake", f"GET {address}", params={"since": since})
    rows = items_of(answer)
    if as_json:
        output.json_value(answer)
    else:
        counts = ("provider", "taken", "pending", "quarantined", "refused", "missing", "only_here")
        cells = [
            [row.get("day"), row.get("form_id"), *(row.get(name, 0) for name in counts),
             "differs" if row.get("differs") else "agrees"]
            for row in rows
        ]  # fmt: skip
        output.table(["day", "form", *(f"{name}>" for name in counts), ""], cells, empty="the provider listed no leads")
        ran = when(answer.get("ran_at")) if answer.get("ran_at") else "never"
        output.note(f"last compared: {ran}")
        if answer.get("failed_since"):
            output.note(f"failing since {when(answer.get('failed_since'))}: {answer.get('reason')}")
    if answer.get("differences"):
        raise output.Failed(
            f"{answer['differences']} leads differ from the provider's list",
            "`missing` ones come in by themselves with the next run; `baton receipts lookups --state quarantined`.",
        )


@app.command()
def lookups(
    ctx: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only waiting, done or quarantined.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason, such as fetch_expired.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List lookups at providers: entries that were told of without their contents.

    Example: `baton receipts lookups --state quarantined`
    """
    found = pages(
        settings_of(ctx), "lead-intake", "/v1/fetches", limit=limit, state=state, source=source, reason=reason
    )
    if as_json:
        output.json_value(found)
        return
    rows = [
        [i.get("id"), when(i.get("created_at")), i.get("source_id"), i.get("key"), i.get("state"), i.get("reason"),
         i.get("attempt")]
        for i in found
    ]  # fmt: skip
    columns = ["lookup", "since", "source", "key", "state", "reason", "attempts>"]
    output.table(columns, rows, empty="no lookups")


@app.command()
def retry(
    ctx: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Lookups; without any, what the options name.")] = None,
    *,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let quarantined lookups wait again, under their own receipts. Doing it twice changes nothing.

    Examples: `baton receipts retry --source meta-leads --reason fetch_expired` · `baton receipts retry --dry-run`
    """
    settings = settings_of(ctx)
    order = {"ids": ids or None, "source": source, "reason": reason, "dry_run": dry_run}
    done, answer = 0, call(settings, "lead-intake", "POST /v1/fetches/retry", body=order)
    with output.progress("looking up again"):
        done += int(answer.get("retried", 0))
        while not dry_run and answer.get("left") and answer.get("retried"):
            answer = call(settings, "lead-intake", "POST /v1/fetches/retry", body=order)
            done += int(answer.get("retried", 0))
    if as_json:
        output.json_value({"retried": done, "left": answer.get("left")})
    elif dry_run:
        output.line(f"{answer.get('left')} lookups would wait again; nothing was changed")
    else:
        output.line(f"{done} lookups wait again")


@app.command()
def balance(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show that every entry is accounted for: entries = created + matched + … + test. Exit code 1 where it is not.

    Example: `baton receipts balance`
    """
    answer = call(settings_of(ctx), "lead-intake", "GET /v1/receipts/balance")
    rows = items_of(answer)
    off = [row for row in rows if int(row.get("entries", 0)) != sum(int(row.get(name, 0)) for name in OUTCOMES)]
    if as_json:
        output.json_value(answer)
    else:
        cells = [
            [row.get("source_id"), row.get("entries"),
             *(row.get(name, 0) for name in OUTCOMES), "differs" if row in off else "agrees"]
            for row in rows
        ]  # fmt: skip
        columns = ["source", "entries>", *(f"{name}>" for name in OUTCOMES), "sum"]
        output.table(columns, cells, empty="no entries yet")
    if off:
        raise output.Failed("entries are not accounted for", "Report it: this must never happen.")
