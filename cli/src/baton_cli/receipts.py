"""`baton receipts`: what became of every delivery."""

from typing import Annotated

import typer

from baton_cli import output
from baton_cli.client import call, pages, settings_of
from baton_cli.output import Json, items_of, when

app = typer.Typer(name="receipts", no_args_is_help=True, help="What became of every delivery.")
OUTCOMES = ("created", "matched", "touch_only", "duplicate", "refused", "quarantined", "pending", "test")


@app.command("list")
def list_receipts(
    ctx: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="settled, quarantined, pending or refused.")] = None,
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
        [i.get("receipt_id") or i.get("id"), when(i.get("received_at")), i.get("source_id") or i.get("source"),
         i.get("state") or i.get("outcome"), i.get("reason")]
        for i in found
    ]  # fmt: skip
    output.table(["receipt", "received", "source", "state", "reason"], rows, empty="no receipts")


@app.command()
def balance(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show that every entry is accounted for: entries = created + matched + … + test. Exit code 1 where it is not.

    Example: `baton receipts balance`
    """
    answer = call(settings_of(ctx), "lead-intake", "GET /v1/receipts/balance")
    rows = items_of(answer) or (items_of(answer.get("sources")) if isinstance(answer, dict) else [])
    rows = rows or ([answer] if isinstance(answer, dict) and "entries" in answer else [])
    off = [row for row in rows if int(row.get("entries", 0)) != sum(int(row.get(name, 0)) for name in OUTCOMES)]
    if as_json:
        output.json_value(answer)
    else:
        cells = [
            [row.get("source_id") or row.get("source") or "all", row.get("entries"),
             *(row.get(name, 0) for name in OUTCOMES), "differs" if row in off else "agrees"]
            for row in rows
        ]  # fmt: skip
        columns = ["source", "entries>", *(f"{name}>" for name in OUTCOMES), "sum"]
        output.table(columns, cells, empty="no entries yet")
    if off:
        raise output.Failed("entries are not accounted for", "Report it: this must never happen.")
