"""Hand each qualified lead to a rep, in turn."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from baton.qualification.v1.qualification_pb2 import LeadQualified
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable
from sales_feedback.accounts.store import put_lead_accounts
from sales_feedback.app import App
from sales_feedback.handoffs import handoff as machine
from sales_feedback.handoffs import store
from sales_feedback.handoffs.handoff import Change, Handoff, Moved, Stamp, State
from sales_feedback.handoffs.record import record
from sales_feedback.handoffs.rotation import take_turns
from sales_feedback.ids import derived_id
from sales_feedback.merging import follow

LONGEST_TERM = timedelta(days=3650)


async def leads_qualified(tx: Tx, app: App, events: Sequence[Received[LeadQualified]]) -> None:
    """Offer one handoff for each lead and cycle, to the reps in turn.

    A lead and cycle that has its handoff gets no second one, whatever the inbox remembers. Without an active rep the
    handoff is offered all the same and waits for one (`assign_waiting`). Of a person whom sales works under another
    lead already, the older handoff stays and the other one rests.
    """
    await follow.hold_merges(tx)
    offered = {(h.lead_id, h.cycle): h for h in map(_offer, events)}
    new = await store.insert_handoffs(tx, list(offered.values()))
    await put_lead_accounts(tx, [(e.body.lead_id, e.body.account_sequence, e.body.account_id) for e in events])
    failpoint("sales.offer.inserted")
    fresh = sorted((h for h in offered.values() if h.id in new), key=lambda h: (h.offered_at, h.id))

    # The round is locked last, after the handoffs, by everyone who assigns.
    reps = await _take_turns(tx, len(fresh))
    failpoint("sales.offer.turns_taken")
    assigned = [replace(h, rep_id=rep_id) for h, rep_id in zip(fresh, reps, strict=True)]
    await record(tx, app, [Moved(h, (Change(h, None, h.offered_at),)) for h in assigned])
    failpoint("sales.offer.recorded")
    await follow.settle_merged(tx, app, {h.lead_id for h in assigned})


async def assign_waiting(tx: Tx, app: App, *, limit: int = 500) -> int:
    """Give handoffs that wait for a rep to the reps in turn, the longest waiting first; how many got one."""
    if not await store.active_turns(tx):
        return 0
    waiting = await store.lock_waiting(tx, limit=limit)
    reps = await _take_turns(tx, len(waiting))
    now = app.clock.now()
    moves = [machine.assign(h, rep_id, at=now) for h, rep_id in zip(waiting, reps, strict=True) if rep_id is not None]
    await record(tx, app, moves)
    failpoint("sales.assign.recorded")
    return len(moves)


async def _take_turns(tx: Tx, count: int) -> list[str] | list[None]:
    if count == 0:
        return []
    last = await store.lock_rotation(tx)
    reps, position = take_turns(await store.active_turns(tx), last=last, count=count)
    if not reps:
        return [None] * count
    await store.move_rotation(tx, position)
    return reps


def _offer(event: Received[LeadQualified]) -> Handoff:
    body = event.body
    lead_id = body.lead_id or event.key
    if not lead_id:
        raise Unprocessable("a LeadQualified names no lead")
    at = body.occurred_at.ToDatetime(tzinfo=UTC) if body.HasField("occurred_at") else event.occurred_at
    return Handoff(
        id=derived_id("handoff", lead_id, str(body.cycle), at=at),
        lead_id=lead_id,
        cycle=body.cycle,
        state=State.OFFERED,
        sequence=1,
        stamp=Stamp(
            body.agreement.agreement_id,
            body.agreement.version,
            body.agreement.digest,
            body.agreement.activation_seq,
        ),
        decision_id=body.decision_id,
        score=body.score,
        threshold=body.threshold,
        offered_at=at,
        reasons={reason.code: reason.family for reason in body.rejection_reasons},
        accept_due_at=_due(at, body.sla.accept_within_seconds),
        first_response_due_at=_due(at, body.sla.first_response_within_seconds),
        attempts_agreed=body.sla.attempts,
    )


def _due(at: datetime, seconds: int) -> datetime | None:
    """No term agreed, no due time."""
    return at + min(timedelta(seconds=min(seconds, 10**9)), LONGEST_TERM) if seconds > 0 else None
