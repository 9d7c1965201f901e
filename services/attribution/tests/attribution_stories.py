"""Events in few words."""

from datetime import UTC, datetime, timedelta

from baton.lead.v1.channels_pb2 import ChannelRulesChanged, ChannelRulesRestated, TouchRegrouped
from baton.lead.v1.lead_pb2 import LeadCreated, LeadMerged, LeadUnmerged, TouchRecorded
from baton.qualification.v1.qualification_pb2 import LeadQualified
from baton.sales.v1.sales_pb2 import DealClosed, DealOutcome, HandoffChanged, HandoffState
from baton_kit.envelope import Event, event

CLOSE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def touched(
    lead: str,
    *,
    id: str,
    channel: str = "email",
    campaign: str = "",
    before_close: timedelta = timedelta(days=10),
    test: bool = False,
) -> Event:
    at = CLOSE - before_close
    body = TouchRecorded(touch_id=id, lead_id=lead, channel=channel, utm_campaign=campaign, test=test)
    body.occurred_at.FromDatetime(at)
    return event(body, key=lead, occurred_at=at)


def closed(
    lead: str,
    *,
    deal: str,
    sequence: int = 1,
    outcome: str = "WON",
    amount: int = 10_000,
    currency: str = "EUR",
    at: datetime = CLOSE,
) -> Event:
    body = DealClosed(
        deal_id=deal,
        lead_id=lead,
        sequence=sequence,
        outcome=DealOutcome.Value(f"DEAL_OUTCOME_{outcome}"),
        amount_minor=amount,
        currency=currency,
    )
    body.occurred_at.FromDatetime(at)
    if outcome != "REOPENED":
        body.closed_at.FromDatetime(at)
    return event(body, key=lead, occurred_at=at)


def created(lead: str, *, at: datetime = CLOSE - timedelta(days=20), test: bool = False) -> Event:
    body = LeadCreated(lead_id=lead, sequence=1, test=test)
    body.occurred_at.FromDatetime(at)
    return event(body, key=lead, occurred_at=at)


def qualified(lead: str, *, cycle: int = 1) -> Event:
    body = LeadQualified(lead_id=lead, cycle=cycle)
    body.occurred_at.FromDatetime(CLOSE - timedelta(days=19))
    return event(body, key=lead, occurred_at=CLOSE)


def handed(lead: str, state: str, *, sequence: int) -> Event:
    body = HandoffChanged(
        handoff_id=f"h-{lead}", lead_id=lead, sequence=sequence, state=HandoffState.Value(f"HANDOFF_STATE_{state}")
    )
    body.occurred_at.FromDatetime(CLOSE - timedelta(days=18))
    return event(body, key=lead, occurred_at=CLOSE)


def regrouped(
    lead: str,
    *,
    id: str,
    channel: str,
    sequence: int,
    version: int = 2,
    campaign: str = "",
    cause: str = "channel_rules",
) -> Event:
    body = TouchRegrouped(
        touch_id=id, lead_id=lead, sequence=sequence, channel=channel, channel_rules_version=version,
        campaign=campaign, cause=cause,
    )  # fmt: skip
    body.occurred_at.FromDatetime(CLOSE)
    return event(body, key=lead, occurred_at=CLOSE)


def rules_changed(version: int) -> Event:
    body = ChannelRulesChanged(sequence=version, digest="0" * 64)
    body.occurred_at.FromDatetime(CLOSE)
    return event(body, key="channel-rules", occurred_at=CLOSE)


def rules_restated(version: int, touches: int) -> Event:
    body = ChannelRulesRestated(sequence=version, touches_regrouped=touches)
    body.occurred_at.FromDatetime(CLOSE)
    return event(body, key="channel-rules", occurred_at=CLOSE)


def merged(merge_id: str, source: str, target: str, *, version: int = 1, on: str | None = None) -> Event:
    """The merge (odd versions) or its undoing (even ones), on the key of one of its leads."""
    kind = LeadMerged if version % 2 else LeadUnmerged
    body = kind(
        merge_id=merge_id, lead_id=on or target, sequence=5, from_lead_id=source, into_lead_id=target, version=version
    )
    body.occurred_at.FromDatetime(CLOSE)
    return event(body, key=on or target, occurred_at=CLOSE)
