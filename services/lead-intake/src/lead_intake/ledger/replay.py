"""Receive again what waits: one receipt, what a filter names, or all, each under its old identity.

A receipt is replayed in one transaction. What is settled is never touched, so that any part may be replayed any number
of times; what a replay makes (person, lead, touch, events) has ids derived from the receipt.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.carry_on import with_origin
from lead_intake.delivery import Incoming, Inquiry, Outcome, Source
from lead_intake.group_commit import Busy
from lead_intake.ledger import store
from lead_intake.ledger.request import opened_request
from lead_intake.ledger.reread import open_ordinals, reread, was_unreadable
from lead_intake.ledger.store import Replay, StoredEntry, StoredReceipt
from lead_intake.receive import lock_of, receive, state_of

if TYPE_CHECKING:
    from lead_intake.app import App

REPLAYED = Counter("baton_intake_replayed_total", "Receipts replayed", ["result"])
IDLE_S = 1.0
WAITING = (Outcome.QUARANTINED, Outcome.PENDING)


class NothingKept(Exception):
    """The body is gone (its time was over, or it was never kept): nothing can be read again."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: the entries that are settled now and were not before, and how the receipt stands."""

    receipt_id: str
    settled: tuple[StoredEntry, ...]
    state: str
    reason: str


async def replay_receipt(tx: Tx, app: App, id: str, *, release: bool = False) -> Replayed | None:
    """Receive the open entries of a receipt again, under its source as this process knows it; None without a receipt.

    Raises NothingKept where an entry is open and nothing is left to read.
    """
    # 1. One replay of a receipt follows the other; a new statement then sees what the first one did.
    await store.lock_receipt(tx, lock_of(f"receipt\n{id}"))
    failpoint("replay_receipt.after_lock")
    receipt = await store.stored_receipt(tx, id)
    if receipt is None:
        return None
    open_now = open_ordinals(receipt, release=release)
    source = app.sources.get(receipt.source_id)
    if not open_now or source is None:
        return _unchanged(receipt)
    incoming = request_of(app, receipt)
    if incoming is None:
        raise NothingKept

    # 2. Read it again: pure, but for the origin of what it carries on.
    again = reread(receipt, incoming, source, release=release)
    if any(inquiry.continues for inquiry in again.inquiries):
        said = await _with_origin(app, source, again.inquiries)
        again = reread(receipt, incoming, source, release=release, said=said)
    if was_unreadable(receipt):
        open_now |= set(again.entries)
    entries = [e for ordinal, e in sorted(again.entries.items()) if ordinal in open_now]
    if again.delivery is None or not entries:
        await store.update_reason(tx, id, reason=again.reason or receipt.reason, ordinals=sorted(open_now))
        return Replayed(id, (), receipt.state, again.reason or receipt.reason)

    # 3. The open entries go through the same door as any delivery, in this transaction.
    await store.take_out(tx, id, sorted(open_now & set(again.entries)))
    failpoint("replay_receipt.after_take_out")
    delivery = dataclasses.replace(
        again.delivery, entries=tuple(entries), received_at=receipt.received_at, body=again.body, request=None
    )
    await receive(tx, app, [delivery])
    failpoint("replay_receipt.after_receive")

    # 4. How the receipt stands now, with the entries that were settled before.
    stand = await store.entries_of(tx, id)
    state = state_of([Outcome(e.outcome) for e in stand])
    reason = next((e.reason for e in stand if e.reason), "")
    over = (app.clock.now() - receipt.received_at).days >= app.settings.body_days
    waits = any(Outcome(e.outcome) in WAITING for e in stand)
    await store.update_receipt(tx, id, state=state, reason=reason, entries=len(stand), drop_body=over and not waits)
    if receipt.unproven or not waits:
        # It is proven now, and its body is kept like any other; or nothing is left to repair.
        await store.forget_request(tx, id)
    failpoint("replay_receipt.before_commit")
    settled = tuple(e for e in stand if e.ordinal in open_now and Outcome(e.outcome) not in WAITING)
    return Replayed(id, settled, state, reason)


async def _with_origin(app: App, source: Source, inquiries: Sequence[Inquiry]) -> list[Inquiry]:
    try:
        return await with_origin(app, source, inquiries)
    except Busy as busy:
        raise busy.__cause__ or busy from busy  # an outage, to be waited out as such


def request_of(app: App, receipt: StoredReceipt) -> Incoming | None:
    """The request of a receipt as it came, or None when nothing of it is left."""
    return opened_request(
        app.settings.seal_key_bytes,
        receipt.sealed,
        receipt_id=receipt.id,
        content_type=receipt.content_type,
        body=receipt.body,
        received_at=receipt.received_at,
    )


def _unchanged(receipt: StoredReceipt) -> Replayed:
    return Replayed(receipt.id, (), receipt.state, receipt.reason)


# --- many ------------------------------------------------------------------------------------------------------------


async def run_for_ever(app: App) -> None:
    """Run what was asked for, receipt by receipt; an outage is waited out."""
    while True:
        try:
            while await run_some(app):
                pass
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("replay_waits", error=type(error).__name__)
        await asyncio.sleep(IDLE_S)


async def run_some(app: App, *, most: int = 200) -> bool:
    """Replay the next receipts of a running replay; False when there is none to run.

    Its place moves in the transaction of each receipt: killed anywhere, it goes on where it was. One receipt a
    transaction, since the keys of two would be locked in no order.
    """
    await app.sources.refresh()
    async with app.db.begin() as tx:
        job = await store.claim_replay(tx)
        if job is None:
            return False
        following = await store.repairable(tx, job.wanted, after=job.last_receipt, until=job.until_receipt, limit=most)
        if not following:
            await store.move_replay(tx, job.id, last=None, at=app.clock.now())
            log.info("replay_done", replay=job.id, done=job.done, settled=job.settled, waiting=job.waiting)
            return True
    at = job.last_receipt
    for receipt_id in following:
        if not await _next(app, job.id, receipt_id, after=at):
            break
        at = receipt_id
    return True


async def _next(app: App, id: str, receipt_id: str, *, after: str | None) -> bool:
    async with app.db.begin() as tx:
        job = await store.claim_replay(tx, id=id)
        failpoint("replay_receipt.after_claim")
        if job is None or job.last_receipt != after:
            return False  # another process has it
        result = await _one(tx, app, job, receipt_id)
        await store.move_replay(tx, job.id, last=receipt_id, at=app.clock.now(), **{result: 1})
        failpoint("replay_receipt.after_move")
    failpoint("replay_receipt.after_commit")
    REPLAYED.labels(result).inc()
    return True


async def _one(tx: Tx, app: App, job: Replay, receipt_id: str) -> str:
    try:
        async with tx.begin_nested():
            replayed = await replay_receipt(tx, app, receipt_id, release=job.release)
    except NothingKept:
        return "failed"
    except Exception as error:
        if is_outage(error):
            raise
        # This one stands as it stood; the others need not wait for it.
        log.error("receipt_not_replayed", receipt=receipt_id, error=type(error).__name__)
        return "failed"
    return "settled" if replayed and replayed.state not in ("quarantined", "refused") else "waiting"


def dry(app: App, receipts: Sequence[StoredReceipt], *, release: bool) -> dict[str, int]:
    """What a replay would make of these: entries by `leads`, other outcome, or the reason why they go on waiting."""
    found: dict[str, int] = {}
    for receipt in receipts:
        source, incoming = app.sources.get(receipt.source_id), request_of(app, receipt)
        for name in _dry(receipt, incoming, source, release=release):
            found[name] = found.get(name, 0) + 1
    return found


def _dry(receipt: StoredReceipt, incoming: Incoming | None, source: Source | None, *, release: bool) -> list[str]:
    open_now = open_ordinals(receipt, release=release)
    if not open_now:
        return []
    if source is None or incoming is None:
        return ["nothing_kept"] * len(open_now)
    again = reread(receipt, incoming, source, release=release)
    if again.delivery is None:
        return [again.reason] * len(open_now)
    if was_unreadable(receipt):
        open_now |= set(again.entries)
    named = [e for ordinal, e in again.entries.items() if ordinal in open_now]
    return ["leads" if e.person else e.reason or str(e.outcome) for e in named]
