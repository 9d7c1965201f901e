"""From the domain to the contract and back: one function per event."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import uuid_utils
from google.protobuf.timestamp_pb2 import Timestamp

from baton.qualification.v1 import qualification_pb2
from baton.sales.v1 import sales_pb2
from baton_agreement.agreement import Agreement, Reason, Sla
from baton_agreement.features import Features
from baton_agreement.scoring import EVALUATOR_VERSION, Contribution, Decision, Outcome, Stamp
from baton_kit.envelope import Event, event
from baton_kit.outages import Unprocessable
from qualification.cycle import Feedback, Lead
from qualification.evidence.outcomes import Deal
from qualification.store import ActivationRow, AgreementRow, NewDecision, SignatureRow

_OUTCOMES = {outcome: qualification_pb2.Outcome.Value(f"OUTCOME_{outcome.name}") for outcome in Outcome}
_KINDS = {
    "decision": qualification_pb2.DECISION_KIND_DECISION,
    "reevaluation": qualification_pb2.DECISION_KIND_REEVALUATION,
}
_ANSWERS = {
    sales_pb2.FEEDBACK_KIND_ACCEPTED: "accepted",
    sales_pb2.FEEDBACK_KIND_REJECTED: "rejected",
    sales_pb2.FEEDBACK_KIND_RECYCLED: "recycled",
    sales_pb2.FEEDBACK_KIND_CONTACTED: "contacted",
}
_ENDS = {
    sales_pb2.DEAL_OUTCOME_WON: "won",
    sales_pb2.DEAL_OUTCOME_LOST: "lost",
    sales_pb2.DEAL_OUTCOME_REOPENED: "open",
}
_QUALIFIED = uuid_utils.UUID("8d5c3c9e-2f0b-5f5e-9a53-0f1f6d6b7f11")

# What many leads share is encoded once, and put into each message as bytes: by the protobuf encoding, two encodings one
# after the other are the merged message. Sub-messages made one by one took half of a decision's time.


def lead_scored(new: NewDecision) -> Event:
    """LeadScored: every decision that tells something new."""
    decision = new.decision
    body = qualification_pb2.LeadScored(
        decision_id=new.id,
        lead_id=decision.lead_id,
        sequence=new.sequence,
        kind=_KINDS[new.kind],
        snapshot_digest=decision.snapshot_digest,
        evaluator_version=EVALUATOR_VERSION,
        cycle=decision.cycle,
        score=decision.score,
        threshold=decision.threshold,
        outcome=_OUTCOMES[decision.outcome],
        stopped_by=decision.verdict.stopped_by,
    )
    body.MergeFromString(_scored_under(decision.stamp, decision.at) + _scored_for(decision.verdict.contributions))
    return event(body, key=decision.lead_id, occurred_at=decision.at)


def lead_qualified(new: NewDecision, *, lead: Lead, features: Features, agreement: Agreement) -> Event:
    """LeadQualified: once per lead and cycle, under an id made of both, so that a repeat is known for one."""
    decision: Decision = new.decision
    body = qualification_pb2.LeadQualified(
        lead_id=decision.lead_id,
        sequence=lead.sequence,
        cycle=decision.cycle,
        decision_id=new.id,
        account_id=lead.account_id,
        account_sequence=lead.account_sequence,
        score=decision.score,
        threshold=decision.threshold,
        features=features,  # type: ignore[arg-type]  # made from such a message
    )
    body.MergeFromString(
        _qualified_under(decision.stamp, decision.at)
        + _qualified_for(decision.verdict.contributions)
        + _terms(agreement.sla, agreement.reasons)
    )
    id = str(uuid_utils.uuid5(_QUALIFIED, f"{decision.lead_id}/{decision.cycle}"))
    return event(body, key=decision.lead_id, occurred_at=decision.at, id=id)


def agreement_activated(row: AgreementRow, activation: ActivationRow, *, signatures: Sequence[SignatureRow]) -> Event:
    """AgreementActivated: the whole document and who signed it."""
    body = qualification_pb2.AgreementActivated(
        agreement_id=row.agreement_id,
        sequence=activation.activation_seq,
        occurred_at=_timestamp(activation.activated_at),
        version=row.version,
        digest=row.digest,
        activation_seq=activation.activation_seq,
        document=row.document,
        signatures=[
            qualification_pb2.Signature(
                person_id=s.person_id, department=s.department, signed_at=_timestamp(s.signed_at), jws=s.jws
            )
            for s in signatures
        ],
    )
    return event(body, key=row.agreement_id, occurred_at=activation.activated_at)


def feedback_from_event(body: sales_pb2.SalesFeedback) -> Feedback | None:
    """Return what sales answered, None for a kind this version does not know. Raises Unprocessable without a lead."""
    kind = _ANSWERS.get(body.kind)
    if kind is None:
        return None
    if not body.lead_id or not body.feedback_id:
        raise Unprocessable("the feedback names no lead or has no id")
    return Feedback(
        id=body.feedback_id,
        lead_id=body.lead_id,
        cycle=body.cycle,
        sequence=body.sequence,
        kind=kind,
        reason=body.reason.replace("\x00", ""),
        reason_family=body.reason_family.replace("\x00", ""),
        occurred_at=moment(body.occurred_at),
        return_at=moment(body.return_at) if body.HasField("return_at") else None,
        activation_seq=body.agreement.activation_seq,
        rep_id=body.rep_id.replace("\x00", ""),
    )


def deal_from_event(body: sales_pb2.DealClosed) -> Deal | None:
    """Return how a deal ended, None for an outcome this version does not know. Raises Unprocessable without a lead."""
    outcome = _ENDS.get(body.outcome)
    if outcome is None:
        return None
    if not body.lead_id or not body.deal_id or "\x00" in body.lead_id + body.deal_id:
        raise Unprocessable("the deal names no lead or has no id")
    closed_at = body.closed_at if body.HasField("closed_at") else body.occurred_at
    return Deal(body.deal_id, body.lead_id, body.sequence, outcome, moment(closed_at))


def moment(at: Timestamp) -> datetime:
    """Return a timestamp as an aware UTC time. Raises Unprocessable where no calendar has it."""
    try:
        return at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unprocessable("a time lies outside the calendar") from None


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _stamp(stamp: Stamp) -> qualification_pb2.AgreementStamp:
    return qualification_pb2.AgreementStamp(
        agreement_id=stamp.agreement_id,
        version=stamp.version,
        digest=stamp.digest,
        activation_seq=stamp.activation_seq,
    )


def _contribution(c: Contribution) -> qualification_pb2.Contribution:
    return qualification_pb2.Contribution(rule_id=c.rule_id, group=c.group, points=c.points, occurrences=c.occurrences)


@lru_cache(maxsize=16)
def _scored_under(stamp: Stamp, at: datetime) -> bytes:
    return qualification_pb2.LeadScored(evaluated_at=_timestamp(at), agreement=_stamp(stamp)).SerializeToString()


@lru_cache(maxsize=4096)
def _scored_for(found: tuple[Contribution, ...]) -> bytes:
    return qualification_pb2.LeadScored(contributions=map(_contribution, found)).SerializeToString()


@lru_cache(maxsize=16)
def _qualified_under(stamp: Stamp, at: datetime) -> bytes:
    return qualification_pb2.LeadQualified(occurred_at=_timestamp(at), agreement=_stamp(stamp)).SerializeToString()


@lru_cache(maxsize=4096)
def _qualified_for(found: tuple[Contribution, ...]) -> bytes:
    return qualification_pb2.LeadQualified(contributions=map(_contribution, found)).SerializeToString()


@lru_cache(maxsize=16)
def _terms(sla: Sla, reasons: tuple[Reason, ...]) -> bytes:
    return qualification_pb2.LeadQualified(
        sla=qualification_pb2.SlaTerms(
            accept_within_seconds=sla.accept_within_seconds,
            first_response_within_seconds=sla.first_response_within_seconds,
            attempts=sla.attempts,
        ),
        rejection_reasons=[qualification_pb2.RejectionReason(code=r.code, family=r.family) for r in reasons],
    ).SerializeToString()
