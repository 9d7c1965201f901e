"""`baton decisions`: stored decisions made again, byte for byte."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, settings_of
from baton_cli.output import Failed, Json

app = typer.Typer(name="decisions", no_args_is_help=True, help="Decisions about leads.")

_REASONS = {
    "other_bytes": "gives other bytes now",
    "document_changed": "the agreement that decided is no longer the one it was",
    "cannot_be_made": "its evaluator is not part of this version, or its bytes are damaged",
}
Moment = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="A day or time in UTC.")
]


@app.callback()
def root() -> None:
    """Decisions about leads."""


@app.command()
def verify(
    ctx: typer.Context,
    *,
    since: Moment = None,
    until: Moment = None,
    agreement: Annotated[str | None, typer.Option(help="Only those of the version with this digest.")] = None,
    lead: Annotated[str | None, typer.Option(help="Only those about this lead.")] = None,
    as_json: Json = False,
) -> None:
    """Make decisions again from what they looked at, by the version that decided then, and compare every byte.

    Ends with exit code 1 where one does not come out again.

    Example: `baton decisions verify --since 2026-11-01 --until 2026-12-01`
    """
    bounds = {"since": _wire(since), "until": _wire(until), "agreement": agreement, "lead_id": lead}
    body = {name: value for name, value in bounds.items() if value is not None}
    settings = settings_of(ctx)
    checked, differing, cursor = 0, list[dict[str, Any]](), ""
    with output.stages() as begin:
        while True:
            begin(f"{checked:,} decisions made again")
            params = {"cursor": cursor} if cursor else {}
            part = call(settings, "qualification", "POST /v1/decisions/verifications", params=params, body=body)
            checked += part["checked"]
            differing += part["differing"]
            cursor = part["next_cursor"] or ""
            if not cursor:
                break
    if as_json:
        output.json_value({"checked": checked, "identical": checked - len(differing), "differing": differing})
    else:
        output.line(f"{checked:,} decisions made again, {checked - len(differing):,} of them to the byte")
        rows = [[d["decision_id"], d["lead_id"], _REASONS.get(d["reason"], d["reason"])] for d in differing]
        if rows:
            output.table(["decision", "lead", "what is wrong"], rows, empty="")
    if differing:
        raise Failed(
            f"{len(differing)} decisions do not come out again",
            "Somebody changed stored rows, or a restored backup is damaged: compare with the events on the topic.",
        )


def _wire(moment: datetime | None) -> str | None:
    return None if moment is None else moment.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")
