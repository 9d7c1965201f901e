"""`baton receipts`: what became of every delivery."""

from typing import Annotated

import typer

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.output import Json, items_of, when

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
