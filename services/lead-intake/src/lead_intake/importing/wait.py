"""Rows of an export that came before their lead, and rows about who was forgotten meanwhile.

A deal or an answer names its lead by an id, an address or a number. Where nobody is known by it yet, the fact is kept,
with digests of the keys in place of the keys, and settled under its own receipt once a row of an export names the lead.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from baton.lead.v1.history_pb2 import DealImported
from baton_kit.db import Direct, Tx
from lead_intake.delivery import Outcome
from lead_intake.importing import store
from lead_intake.importing.store import Waiting

if TYPE_CHECKING:
    from lead_intake.app import App
    from lead_intake.importing.row import Row

FORGOTTEN = "forgotten"
WAITS = "waits_for_lead"


def digest_of(key: str, *, secret: bytes) -> bytes:
    """What stands for an identity key where the key itself may not be kept: nobody without our key can try it out."""
    return hmac.new(secret, b"import\n" + key.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()[:16]


async def note_waiting(
    tx: Tx, app: App, rows: Sequence[Row], outcomes: Sequence[Outcome], *, one: store.Import, receipt_id: str
) -> None:
    """Keep the rows that are pending, and say of those that waited before which lead this chunk's rows name."""
    secret, now = app.settings.seal_key_bytes, app.clock.now()
    waiting = []
    for ordinal, (row, outcome) in enumerate(zip(rows, outcomes, strict=True)):
        person = row.entry.person
        if outcome is not Outcome.PENDING or person is None or person.fact is None:
            continue
        kind = "deal" if isinstance(person.fact, DealImported) else "feedback"
        waiting.append(
            Waiting(
                receipt_id, ordinal, one.source_id, one.id, row.number, row.entry.key, kind,
                person.fact.SerializeToString(), [digest_of(key, secret=secret) for key in person.identities],
                row.entry.occurred_at, now,
            )
        )  # fmt: skip
    if await store.anything_waits(tx):
        keys = sorted({key for row in rows if row.entry.person is not None for key in row.entry.person.identities})
        leads = await store.leads_by_key(tx, keys)
        await store.find_waiting(tx, {digest_of(key, secret=secret): lead for key, lead in leads.items()})
    await store.insert_waiting(tx, waiting)


async def note_forgotten(tx: Tx, app: App, keys: Collection[str], *, lead_id: str, at: datetime) -> int:
    """Remember, while exports are under way, that whoever has these keys was forgotten; rows that wait end so too."""
    digests = [digest_of(key, secret=app.settings.seal_key_bytes) for key in sorted(keys)]
    await store.note_forgotten(tx, digests, at=at)
    return await store.find_waiting(tx, dict.fromkeys(digests, lead_id))


async def forgotten_keys(tx: Tx | Direct, app: App, keys: Collection[str], *, handed_in: datetime) -> set[str]:
    """Which of these keys are of persons who were forgotten after an export was handed in."""
    digests = await store.forgotten_digests(tx, since=handed_in)
    if not digests:
        return set()
    return {key for key in keys if digest_of(key, secret=app.settings.seal_key_bytes) in digests}
