"""Keep deals and answers of the past, as lead-intake found them in an export, and tell them on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from baton.lead.v1.history_pb2 import DealImported, FeedbackImported, ImportedDealState, ImportedFeedbackKind
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable
from baton_kit.outbox import Lane
from sales_feedback import events
from sales_feedback.accounts.store import put_lead_accounts
from sales_feedback.app import App
from sales_feedback.deals import deal as machine
from sales_feedback.deals import store as deal_store
from sales_feedback.deals.deal import Deal, DealMoved, DealState, Target
from sales_feedback.deals.record import record
from sales_feedback.handoffs.handoff import Answer
from sales_feedback.history import store
from sales_feedback.history.answer import PastAnswer
from sales_feedback.ids import derived_id

_STATES = {ImportedDealState.Value(f"IMPORTED_DEAL_STATE_{state.name}"): state for state in DealState}
_KINDS = {ImportedFeedbackKind.Value(f"IMPORTED_FEEDBACK_KIND_{kind.name}"): kind for kind in Answer}


async def deals_imported(tx: Tx, app: App, received: Sequence[Received[DealImported]]) -> None:
    """Keep deals of the past, each once whatever is told again; a deal that came through a handoff stays as it is.

    A deal of the past has no handoff and moves none. A later export that says otherwise corrects it.
    """
    await put_lead_accounts(tx, [(e.body.lead_id, e.body.account_sequence, e.body.account_id) for e in received])
    told = {(e.body.crm, e.body.crm_deal_id): e.body for e in sorted(received, key=lambda e: e.body.sequence)}
    moves: list[DealMoved] = []
    for crm in sorted({crm for crm, _ in told}):
        bodies = {id: body for (of, id), body in told.items() if of == crm}
        known = await deal_store.lock_in_crm(tx, crm, bodies)
        failpoint("sales.history.locked")
        for id, body in sorted(bodies.items()):
            state = _STATES.get(body.state)
            if state is not None:  # else one of tomorrow: not for this version
                moves += _moves(body, state, known.get(id))
    await record(tx, app, moves, {}, lane=Lane.BULK)
    failpoint("sales.history.recorded")


async def feedback_imported(tx: Tx, app: App, received: Sequence[Received[FeedbackImported]]) -> None:
    """Keep what sales answered before Baton, each answer once; it belongs to no handoff and ends none."""
    answers = {a.id: a for e in received if (a := _answer(e.body)) is not None}
    new = await store.insert_answers(tx, list(answers.values()), at=app.clock.now())
    failpoint("sales.history.answers")
    await app.outbox.append(
        tx, [events.past_feedback(a) for id, a in sorted(answers.items()) if id in new], lane=Lane.BULK
    )
    failpoint("sales.history.told")


def _moves(body: DealImported, state: DealState, deal: Deal | None) -> list[DealMoved]:
    if deal is not None and deal.handoff_id is not None:
        return []  # sales works it here: the export is older than what came since
    if not body.lead_id or not body.crm_deal_id:
        raise Unprocessable("the deal has no id or names no lead")
    at = _moment(body.occurred_at)
    opened = _moment(body.opened_at) if body.HasField("opened_at") else at
    target = Target(
        state=state,
        stage=None,
        amount_minor=body.amount_minor if body.HasField("amount_minor") else 0 if state is DealState.WON else None,
        currency=body.currency or None,
        reason=body.reason or None,
        product=body.product or None,
        rep_id=None,
        closed_at=_moment(body.closed_at) if body.HasField("closed_at") else None,
        crm_company_id=body.crm_company_id or None,
    )
    if deal is None:
        new = Deal(
            id=derived_id("deal", body.crm, body.crm_deal_id, at=opened),
            lead_id=body.lead_id,
            sequence=0,
            state=DealState.OPEN,
            opened_at=opened,
            crm=body.crm,
            crm_id=body.crm,
            crm_deal_id=body.crm_deal_id,
        )
        moved = machine.follow(new, target, at=at)
        return [moved if moved.deal.sequence else replace(moved, deal=replace(moved.deal, sequence=1))]
    moved = machine.follow(deal, target, at=at)
    return [moved] if moved.deal != deal else []


def _answer(body: FeedbackImported) -> PastAnswer | None:
    kind = _KINDS.get(body.kind)
    if kind is None:
        return None
    if not body.lead_id or not body.record_id:
        raise Unprocessable("the answer has no id or names no lead")
    at = _moment(body.occurred_at)
    return PastAnswer(
        id=derived_id("imported_feedback", body.source_id, body.record_id, at=at),
        lead_id=body.lead_id,
        kind=kind,
        reason=body.reason or None,
        reason_family=body.reason_family or None,
        reached=body.reached,
        occurred_at=at,
    )


def _moment(at: Timestamp) -> datetime:
    try:
        return at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unprocessable("a time lies outside the calendar") from None
