"""Protobuf -> facts, one function per event. What is no fact at all is refused, so that it is parked and seen."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from attribution.contribution import CAMPAIGN_NOT_SET
from attribution.facts import (
    AccountFact,
    AccountMergeFact,
    DealFact,
    DecisionFact,
    FeedbackFact,
    GroupFact,
    HandoffFact,
    LeadFact,
    MergeFact,
    QualifiedFact,
    TouchFact,
)
from baton.lead.v1.accounts_pb2 import AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.channels_pb2 import TouchRegrouped
from baton.lead.v1.lead_pb2 import LeadCreated, LeadMerged, LeadUnmerged, TouchRecorded
from baton.qualification.v1.qualification_pb2 import LeadQualified, LeadScored
from baton.sales.v1.sales_pb2 import (
    DealClosed,
    DealOutcome,
    HandoffChanged,
    SalesFeedback,
)
from baton_kit.outages import Unprocessable
from baton_models.weights import DIRECT


def lead_of(e: LeadCreated) -> LeadFact:
    """Return the lead as it was created."""
    return LeadFact(
        lead_id=_id(e, "lead_id"),
        sequence=e.sequence,
        occurred_at=time_of(e, "occurred_at"),
        source_id=e.source_id,
        provider=e.provider,
        form_id=e.form_id,
        channel=e.features.channel,
        country=e.features.country,
        product=e.features.product,
        industry=e.features.industry,
        employees=e.features.employees,
        test=e.test,
        account_id=e.account_id,
    )


def touch_of(e: TouchRecorded) -> TouchFact:
    """Return the touch; its campaign is the firm's own, else the name in the link, else the id at the ad platform."""
    return TouchFact(
        touch_id=_id(e, "touch_id"),
        lead_id=_id(e, "lead_id"),
        occurred_at=time_of(e, "occurred_at"),
        kind=_code(e, "kind"),
        channel=e.channel or DIRECT,
        campaign=e.campaign or e.utm_campaign or e.campaign_id or CAMPAIGN_NOT_SET,
        utm_source=e.utm_source,
        utm_medium=e.utm_medium,
        utm_campaign=e.utm_campaign,
        campaign_id=e.campaign_id,
        adgroup_id=e.adgroup_id,
        ad_id=e.ad_id,
        form_id=e.form_id,
        page=e.page,
        referrer_domain=e.referrer_domain,
        source_id=e.source_id,
        provider=e.provider,
        test=e.test,
        within_visit=e.within_visit,
    )


def group_of(e: TouchRegrouped) -> GroupFact:
    """Return how the touch is grouped."""
    return GroupFact(
        touch_id=_id(e, "touch_id"),
        sequence=e.sequence,
        lead_id=_id(e, "lead_id"),
        occurred_at=time_of(e, "occurred_at"),
        channel=e.channel or DIRECT,
        campaign=e.campaign,
        rules_version=e.channel_rules_version,
        cause=e.cause,
    )


def decision_of(e: LeadScored) -> DecisionFact:
    """Return the decision, without its contributions."""
    return DecisionFact(
        decision_id=_id(e, "decision_id"),
        lead_id=_id(e, "lead_id"),
        cycle=e.cycle,
        evaluated_at=time_of(e, "evaluated_at"),
        kind=_code(e, "kind"),
        outcome=_code(e, "outcome"),
        score=e.score,
        agreement_digest=e.agreement.digest,
        activation_seq=e.agreement.activation_seq,
    )


def qualified_of(e: LeadQualified) -> QualifiedFact:
    """Return that the lead was handed over."""
    return QualifiedFact(
        lead_id=_id(e, "lead_id"),
        cycle=e.cycle,
        occurred_at=time_of(e, "occurred_at"),
        decision_id=e.decision_id,
        score=e.score,
        agreement_digest=e.agreement.digest,
        activation_seq=e.agreement.activation_seq,
    )


def handoff_of(e: HandoffChanged) -> HandoffFact:
    """Return this version of the handoff."""
    return HandoffFact(
        handoff_id=_id(e, "handoff_id"),
        sequence=e.sequence,
        lead_id=_id(e, "lead_id"),
        cycle=e.cycle,
        occurred_at=time_of(e, "occurred_at"),
        state=_code(e, "state"),
        rep_id=e.rep_id,
        reason=e.reason,
    )


def feedback_of(e: SalesFeedback) -> FeedbackFact:
    """Return what sales said."""
    return FeedbackFact(
        feedback_id=_id(e, "feedback_id"),
        lead_id=_id(e, "lead_id"),
        handoff_id=e.handoff_id,
        cycle=e.cycle,
        occurred_at=time_of(e, "occurred_at"),
        kind=_code(e, "kind"),
        rep_id=e.rep_id,
        reason=e.reason,
        reason_family=e.reason_family,
        first_response=e.first_response,
    )


def deal_of(e: DealClosed) -> DealFact:
    """Return this version of the deal. Raises Unprocessable for a won deal whose money has no currency."""
    if e.outcome == DealOutcome.DEAL_OUTCOME_UNSPECIFIED:
        raise Unprocessable("the deal has no outcome")
    if e.outcome == DealOutcome.DEAL_OUTCOME_WON and not (len(e.currency) == 3 and e.currency.isupper()):
        raise Unprocessable("a won deal needs a currency of ISO 4217")
    closed_at = time_of(e, "closed_at") if e.HasField("closed_at") else None
    if closed_at is None and e.outcome != DealOutcome.DEAL_OUTCOME_REOPENED:
        closed_at = time_of(e, "occurred_at")
    return DealFact(
        deal_id=_id(e, "deal_id"),
        sequence=e.sequence,
        lead_id=_id(e, "lead_id"),
        occurred_at=time_of(e, "occurred_at"),
        handoff_id=e.handoff_id,
        outcome=_code(e, "outcome"),
        amount_minor=e.amount_minor,
        currency=e.currency,
        opened_at=time_of(e, "opened_at") if e.HasField("opened_at") else None,
        closed_at=closed_at,
        reason=e.reason,
        rep_id=e.rep_id,
        product=e.product,
        crm=e.crm,
        agreement_digest=e.agreement.digest,
        account_id=e.account_id,
    )


def account_of(e: LeadAccountChanged) -> AccountFact:
    """Return the account of a lead."""
    return AccountFact(
        lead_id=_id(e, "lead_id"),
        sequence=e.sequence,
        account_id=_id(e, "account_id"),
        occurred_at=time_of(e, "occurred_at"),
    )


def account_merge_of(e: AccountMerged | AccountUnmerged) -> AccountMergeFact:
    """Return this version of the merge. Raises Unprocessable where it names no two accounts."""
    if e.from_account_id == e.into_account_id:
        raise Unprocessable("the merge names no two accounts")
    return AccountMergeFact(
        merge_id=_id(e, "merge_id"),
        version=e.version,
        account_id=_id(e, "from_account_id"),
        into_account_id=_id(e, "into_account_id"),
        occurred_at=time_of(e, "occurred_at"),
        active=isinstance(e, AccountMerged),
    )


def merge_of(e: LeadMerged | LeadUnmerged) -> MergeFact:
    """Return this version of the merge. Raises Unprocessable where it names no two leads."""
    if e.from_lead_id == e.into_lead_id:
        raise Unprocessable("the merge names no two leads")
    return MergeFact(
        merge_id=_id(e, "merge_id"),
        version=e.version,
        lead_id=_id(e, "from_lead_id"),
        into_lead_id=_id(e, "into_lead_id"),
        occurred_at=time_of(e, "occurred_at"),
        active=isinstance(e, LeadMerged),
    )


def _id(e: Message, name: str) -> str:
    value = str(getattr(e, name))
    if not value:
        raise Unprocessable(f"{e.DESCRIPTOR.name} has no {name}")
    return value


def time_of(e: Message, name: str) -> datetime:
    """Return a time of an event. Raises Unprocessable where it is none."""
    stamp: Timestamp = getattr(e, name)
    if not e.HasField(name):
        raise Unprocessable(f"{e.DESCRIPTOR.name} has no {name}")
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unprocessable(f"{name} of {e.DESCRIPTOR.name} is no time") from None


def _code(e: Message, name: str) -> str:
    """Return an enum field as a short code ("won"); a number of a newer contract stays a number."""
    kind = e.DESCRIPTOR.fields_by_name[name].enum_type
    number = int(getattr(e, name))
    if kind is None or number not in kind.values_by_number:
        return str(number)
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return kind.values_by_number[number].name.removeprefix(prefix).lower()
