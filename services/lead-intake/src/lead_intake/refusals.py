"""Deliveries turned away at the door: counted always, kept as receipts within bounds, never on the request's time.

Writing a receipt before the answer would tell an attacker by the delay which sources exist, and would let him fill
the table: so the answer goes first, and a minute keeps at most `MOST_A_MINUTE` receipts a source.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from typing import TYPE_CHECKING

from prometheus_client import Counter

from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake import store
from lead_intake.delivery import Source
from lead_intake.entry import Delivery, refusal

if TYPE_CHECKING:
    from datetime import datetime

    from lead_intake.app import App

MOST_A_MINUTE = 20
REFUSED = Counter("baton_intake_refused_total", "Deliveries turned away at the door", ["source", "reason"])


class Refusals:
    """What was turned away and is not written yet."""

    def __init__(self) -> None:
        self._minute = ""
        self._kept: Tally[str] = Tally()
        self._unwritten: list[Delivery] = []

    def add(self, source: Source | None, *, reason: str, at: datetime) -> None:
        """Count a refusal; `source` is None where the address names none that exists."""
        REFUSED.labels(source.id if source else "unknown", reason).inc()
        if source is None:
            return
        minute = f"{at:%Y%m%d%H%M}"
        if minute != self._minute:
            self._minute, self._kept = minute, Tally()
        if self._kept[source.id] < MOST_A_MINUTE:
            self._kept[source.id] += 1
            self._unwritten.append(refusal(source, reason=reason, at=at))

    async def write(self, app: App) -> None:
        """Write the receipts of what was turned away."""
        batch, self._unwritten = self._unwritten, []
        if not batch:
            return
        rows = [store.EntryRow(d.receipt_id, 0, d.source_id, "", "refused", d.reason, None, None) for d in batch]
        try:
            async with app.db.begin() as tx:
                await store.insert_batch(tx, deliveries=batch, states=["refused"] * len(batch), entries=rows)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("refusals_not_written", receipts=len(batch), error=type(error).__name__)

    async def write_for_ever(self, app: App) -> None:
        """Write them twice a second."""
        while True:
            await asyncio.sleep(0.5)
            await self.write(app)
