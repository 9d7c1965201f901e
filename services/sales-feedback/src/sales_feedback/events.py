"""From the domain to the contract: one function per event.

The id of an event is derived from what it says. A database that went back in time and says the same again says it under
the same id, and every inbox downstream knows it.
"""

from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from baton.qualification.v1.qualification_pb2 import AgreementStamp
from baton.sales.v1 import sales_pb2
from baton_kit.envelope import Event, event
from sales_feedback.deals.deal import DealMoved, Outcome
from sales_feedback.handoffs.handoff import Answer, Change, Feedback, Means, Stamp, State
from sales_feedback.history.answer import PastAnswer
from sales_feedback.ids import derived_id

_STATES = {state: sales_pb2.HandoffState.Value(f"HANDOFF_STATE_{state.name}") for state in State}
_KINDS = {kind: sales_pb2.FeedbackKind.Value(f"FEEDBACK_KIND_{kind.name}") for kind in Answer}
_MEANS = {means: sales_pb2.ContactMeans.Value(f"CONTACT_MEANS_{means.name}") for means in Means}
_OUTCOMES = {outcome: sales_pb2.DealOutcome.Value(f"DEAL_OUTCOME_{outcome.name}") for outcome in Outcome}


def handoff_changed(change: Change) -> Event:
    """HandoffChanged for one step; the due times only while they can still be kept."""
    handoff = change.handoff
    offered = handoff.state is State.OFFERED
    responds = handoff.state in {State.OFFERED, State.ACCEPTED} and handoff.first_response_at is None
    body = sales_pb2.HandoffChanged(
        handoff_id=handoff.id,
        lead_id=handoff.lead_id,
        sequence=handoff.sequence,
        occurred_at=_timestamp(change.occurred_at),
        cycle=handoff.cycle,
        state=_STATES[handoff.state],
        previous_state=_STATES[change.previous] if change.previous else sales_pb2.HANDOFF_STATE_UNSPECIFIED,
        rep_id=handoff.rep_id or "",
        reason=(handoff.reason or "") if handoff.state in {State.REJECTED, State.RECYCLED} else "",
        agreement=_stamp(handoff.stamp),
        accept_due_at=_timestamp(handoff.accept_due_at if offered else None),
        first_response_due_at=_timestamp(handoff.first_response_due_at if responds else None),
    )
    return _event(body, handoff.lead_id, at=change.occurred_at)


def feedback_id(feedback: Feedback) -> str:
    """The id of a feedback: one per version of a handoff."""
    handoff = feedback.handoff
    return derived_id("feedback", handoff.id, str(handoff.sequence), at=feedback.occurred_at)


def sales_feedback(feedback: Feedback, *, note_id: str | None) -> Event:
    """SalesFeedback for an answer or a contact: codes and a reference to the note, never its text."""
    handoff = feedback.handoff
    body = sales_pb2.SalesFeedback(
        feedback_id=feedback_id(feedback),
        lead_id=handoff.lead_id,
        handoff_id=handoff.id,
        sequence=handoff.sequence,
        occurred_at=_timestamp(feedback.occurred_at),
        cycle=handoff.cycle,
        kind=_KINDS[feedback.kind],
        rep_id=feedback.rep_id or "",
        reason=feedback.reason or "",
        reason_family=feedback.reason_family or "",
        agreement=_stamp(handoff.stamp),
        first_response=feedback.first_response,
        means=_MEANS[feedback.means] if feedback.means else sales_pb2.CONTACT_MEANS_UNSPECIFIED,
        reached=feedback.reached,
        return_at=_timestamp(feedback.return_at),
        note_id=note_id or "",
    )
    return _event(body, handoff.lead_id, at=feedback.occurred_at)


def past_feedback(answer: PastAnswer) -> Event:
    """SalesFeedback of the time before Baton: no handoff, cycle 0, so that it ends no cycle."""
    body = sales_pb2.SalesFeedback(
        feedback_id=answer.id,
        lead_id=answer.lead_id,
        sequence=1,
        occurred_at=_timestamp(answer.occurred_at),
        kind=_KINDS[answer.kind],
        reason=answer.reason or "",
        reason_family=answer.reason_family or "",
        reached=answer.reached,
        imported=True,
    )
    return _event(body, answer.lead_id, at=answer.occurred_at)


def deal_closed(moved: DealMoved, *, stamp: Stamp | None, account_id: str | None) -> Event | None:
    """DealClosed for a close, a correction or a reopening; None for what it does not tell."""
    if moved.outcome is None:
        return None
    deal = moved.deal
    reopened = moved.outcome is Outcome.REOPENED
    body = sales_pb2.DealClosed(
        deal_id=deal.id,
        lead_id=deal.lead_id,
        sequence=deal.sequence,
        occurred_at=_timestamp(moved.occurred_at),
        handoff_id=deal.handoff_id or "",
        outcome=_OUTCOMES[moved.outcome],
        amount_minor=0 if reopened else deal.amount_minor or 0,
        currency="" if reopened else deal.currency or "",
        opened_at=_timestamp(deal.opened_at),
        closed_at=_timestamp(deal.closed_at),
        reason=deal.reason or "",
        rep_id=deal.rep_id or "",
        product=deal.product or "",
        crm=deal.crm,
        agreement=_stamp(stamp) if stamp else None,
        # Only exports bring deals that nobody was handed.
        imported=deal.handoff_id is None,
        account_id=account_id or "",
    )
    return _event(body, deal.lead_id, at=moved.occurred_at)


def _event(body: Message, lead_id: str, *, at: datetime) -> Event:
    said = body.SerializeToString(deterministic=True).hex()
    return event(body, key=lead_id, occurred_at=at, id=derived_id(body.DESCRIPTOR.full_name, said, at=at))


def _stamp(stamp: Stamp) -> AgreementStamp:
    return AgreementStamp(
        agreement_id=stamp.agreement_id,
        version=stamp.version,
        digest=stamp.digest,
        activation_seq=stamp.activation_seq,
    )


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
