"""Deliveries turned away at the door: counted always, kept as receipts within bounds, never on the request's time.

Writing a receipt before the answer would tell an attacker by the delay which sources exist, and would let him fill
the table: so the answer goes first, and a minute keeps at most `MOST_A_MINUTE` receipts a source.

Where only the signature was wrong the request is kept with its receipt, sealed, so that a secret that somebody forgot
to change costs no lead: a replay verifies it again. Of these a source keeps `MOST_UNPROVEN` and `MOST_UNPROVEN_BYTES`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter as Tally
from typing import TYPE_CHECKING

from prometheus_client import Counter

from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake import store
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import Delivery, refusal
from lead_intake.ledger import store as ledger
from lead_intake.ledger.request import sealed_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from baton_kit.db import Tx
    from lead_intake.app import App

MOST_A_MINUTE = 20
MOST_UNPROVEN = 1_000
MOST_UNPROVEN_BYTES = 16 * 1024 * 1024
REFUSED = Counter("baton_intake_refused_total", "Deliveries turned away at the door", ["source", "reason"])


class Refusals:
    """What was turned away and is not written yet."""

    def __init__(self) -> None:
        self._minute = ""
        self._kept: Tally[str] = Tally()
        self._unwritten: list[tuple[Delivery, Incoming | None]] = []

    def add(self, source: Source | None, *, reason: str, at: datetime, incoming: Incoming | None = None) -> None:
        """Count a refusal; `source` is None where the address names none that exists.

        `incoming` is the request where another secret may yet prove it. A wrong token can never become right.
        """
        REFUSED.labels(source.id if source else "unknown", reason).inc()
        if source is None:
            return
        minute = f"{at:%Y%m%d%H%M}"
        if minute != self._minute:
            self._minute, self._kept = minute, Tally()
        if self._kept[source.id] < MOST_A_MINUTE:
            self._kept[source.id] += 1
            self._unwritten.append((refusal(source, reason=reason, at=at), incoming if source.secrets else None))

    async def write(self, app: App) -> None:
        """Write the receipts of what was turned away."""
        batch, self._unwritten = self._unwritten, []
        if not batch:
            return
        deliveries = [d for d, _ in batch]
        rows = [store.EntryRow(d.receipt_id, 0, d.source_id, "", "refused", d.reason, None, None) for d in deliveries]
        try:
            async with app.db.begin() as tx:
                kept = await self._sealed(tx, app, batch)
                await store.insert_batch(tx, deliveries=deliveries, states=["refused"] * len(batch), entries=rows)
                await ledger.keep_requests(tx, kept)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("refusals_not_written", receipts=len(batch), error=type(error).__name__)

    async def _sealed(self, tx: Tx, app: App, batch: Sequence[tuple[Delivery, Incoming | None]]) -> list[Delivery]:
        found = [(d, incoming) for d, incoming in batch if incoming is not None]
        if not found:
            return []
        held = await ledger.unproven_kept(tx, sorted({d.source_id for d, _ in found}))
        kept = []
        for delivery, incoming in found:
            count, size = held.get(delivery.source_id, (0, 0))
            if count >= MOST_UNPROVEN or size + len(incoming.body) > MOST_UNPROVEN_BYTES:
                continue  # the receipt stands, the metric counts, and the sender was told that it was not taken
            sealed = sealed_request(
                app.settings.seal_key_bytes, incoming, receipt_id=delivery.receipt_id, with_body=True
            )
            held[delivery.source_id] = (count + 1, size + len(sealed))
            kept.append(dataclasses.replace(delivery, request=sealed))
        return kept

    async def write_for_ever(self, app: App) -> None:
        """Write them twice a second."""
        while True:
            await asyncio.sleep(0.5)
            await self.write(app)
