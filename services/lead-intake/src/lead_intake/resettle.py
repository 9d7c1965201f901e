"""Decide entries that stand in the ledger: what was pending or quarantined ends otherwise, under its own receipt.

It is the path of `receive` from the locks on, with one difference: nothing is added to the ledger, so that its sums
agree before and after, and a second run finds the entry settled and does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.outbox import Lane
from lead_intake import store
from lead_intake.accounts import follow
from lead_intake.delivery import Outcome
from lead_intake.entry import Delivery, Entry
from lead_intake.receive import Settled, Writes, lock_of, settle, visitor_keys, visitor_lock, write_visitors
from lead_intake.tracking import store as tracking

if TYPE_CHECKING:
    from lead_intake.app import App

OPEN = frozenset({Outcome.PENDING, Outcome.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Again:
    """An entry of the ledger and what is known of it now; `entry.key` is the key it was received with."""

    receipt_id: str
    ordinal: int
    source_id: str
    provider: str
    received_at: datetime
    entry: Entry


async def resettle(tx: Tx, app: App, again: Sequence[Again], *, lane: Lane = Lane.LIVE) -> list[Settled | None]:
    """Decide the entries anew and tell how each ended; None where it was settled before.

    The caller holds whatever says that it may do so (the job's row); locks are taken in the order of `receive`.
    """
    # 1. Every key, in one order, in a statement of its own.
    identities = {key for a in again if a.entry.person is not None for key in a.entry.person.identities}
    keys = {(a.source_id, a.entry.key) for a in again}
    tracked = visitor_keys(a.entry for a in again)
    locks = {lock_of(k) for k in identities} | {lock_of(f"{s}\n{k}") for s, k in keys}
    await store.lock_for_touches(tx, sorted(locks | {lock_of(visitor_lock(k)) for k in tracked}))
    failpoint("resettle.after_locks")

    # 2. The receipts, then what the transactions we waited for have left.
    standing = await store.lock_entries(tx, [(a.receipt_id, a.ordinal) for a in again])
    firsts, persons, version = await store.known(tx, entries=sorted(keys), identities=sorted(identities))
    campaigns = await app.sources.campaigns_of(tx, version)
    visitors = await tracking.visitors(tx, tracked)
    leads = await store.lock_leads(tx, sorted({*persons.values(), *visitors.values()}))
    failpoint("resettle.after_reads")
    accounts = await follow.accounts_of(tx, [a.entry.person for a in again if a.entry.person is not None])

    # 3. Pure. A pending entry is the first of its key: it does not repeat itself.
    own = {(a.source_id, a.entry.key): a.receipt_id for a in again}
    firsts = {
        key: first
        for key, first in firsts.items()
        if not (first.outcome is Outcome.PENDING and first.receipt_id == own.get(key))
    }
    writes = Writes(leads, persons, firsts, campaigns, visitors=visitors, accounts=accounts)
    ended = [
        settle(_delivery(a), a.entry, writes) if standing.get((a.receipt_id, a.ordinal)) in OPEN else None
        for a in again
    ]

    # 4. What it brings, and how the entries stand now.
    await store.insert_batch(
        tx,
        deliveries=[],
        states=[],
        entries=[],
        identities=writes.identities,
        leads=list(writes.created.values()),
        touches=writes.touches,
    )
    await follow.keep(tx, writes)
    await store.update_leads(tx, [lead for id, lead in writes.changed.items() if id not in writes.created])
    await store.insert_merges(tx, writes.merges)
    if tracked:
        await write_visitors(tx, writes, at=app.clock.now())
    failpoint("resettle.after_insert")
    rows = [
        store.EntryRow(
            a.receipt_id, a.ordinal, a.source_id, a.entry.key, s.outcome.value, s.reason, s.lead_id,
            s.first.receipt_id if s.first else None,
        )
        for a, s in zip(again, ended, strict=True)
        if s is not None
    ]  # fmt: skip
    if rows:
        await store.update_entries(tx, rows)
    failpoint("resettle.before_outbox")
    await app.outbox.append(tx, writes.events, lane=lane)
    return ended


def _delivery(a: Again) -> Delivery:
    return Delivery(a.receipt_id, a.source_id, a.provider, a.received_at, "", None, (a.entry,))
