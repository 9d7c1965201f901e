"""Raw bodies have their time: then they are emptied, in small pieces, and the receipts stay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.ledger import store
from lead_intake.ledger.hours import floor_id, time_of

if TYPE_CHECKING:
    from lead_intake.app import App

EVERY_S = 600.0
MOST = 500
"""Receipts of a transaction."""
MOST_ROUNDS = 200


async def empty_for_ever(app: App, *, every: float = EVERY_S) -> None:
    """Empty what has had its time; an outage is waited out."""
    while True:
        try:
            await empty_due(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("bodies_not_emptied", error=type(error).__name__)
        await asyncio.sleep(every)


async def empty_due(app: App) -> None:
    """Empty the bodies of what is settled, of what was never proven and of what waited in vain, each after its days."""
    s = app.settings
    for name, states, days in (
        ("bodies.settled", ("settled",), s.body_days),
        ("bodies.refused", ("refused",), s.unproven_body_days),
        ("bodies.waiting", ("quarantined", "pending"), s.waiting_body_days),
    ):
        after: str | None = None
        for _ in range(MOST_ROUNDS):
            after = await _piece(app, name, states, until=app.clock.now() - timedelta(days=days), after=after)
            if after is None:
                break


async def _piece(app: App, name: str, states: tuple[str, ...], *, until: datetime, after: str | None) -> str | None:
    """One transaction; the last receipt it looked at, or None when nothing is left. The mark only moves on."""
    async with app.db.begin() as tx:
        at = await store.mark(tx, name) or datetime.fromtimestamp(0, tz=UTC)
        if at >= until:
            return None
        last = await store.empty_bodies(
            tx, states=states, after=after or floor_id(at), high=floor_id(until), limit=MOST
        )
        failpoint("bodies.after_empty")
        # Killed here, the next run looks again at those of the same millisecond.
        await store.set_mark(tx, name, until if last is None else time_of(last))
    return last
