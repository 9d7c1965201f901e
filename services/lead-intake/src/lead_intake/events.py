"""Domain to protobuf: one function an event. None of the facts names a person."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.history_pb2 import DealImported, FeedbackImported
from baton.lead.v1.lead_pb2 import (
    LeadCreated,
    LeadErased,
    LeadFeatures,
    LeadMerged,
    LeadUnmerged,
    LeadUpdated,
    TouchKind,
    TouchRecorded,
)
from baton_kit.edges import Edge
from baton_kit.envelope import Event, event
from baton_kit.forgotten import Forgotten
from lead_intake.contact import stamp
from lead_intake.entry import Delivery, Entry, Person, Visitor
from lead_intake.touches import TOUCH_KINDS, Origin

_KINDS = {kind: TouchKind.Value(f"TOUCH_KIND_{kind.upper()}") for kind in TOUCH_KINDS}

if TYPE_CHECKING:
    from lead_intake.merging.edge import Decision


def lead_created(d: Delivery, e: Entry, p: Person, *, lead_id: str, features: LeadFeatures, account_id: str) -> Event:
    body = LeadCreated(
        lead_id=lead_id,
        sequence=1,
        source_id=d.source_id,
        provider=d.provider,
        form_id=p.origin.form_id,
        receipt_id=d.receipt_id,
        occurred_at=stamp(e.occurred_at),
        imported=d.imported,
        account_id=account_id,
    )
    body.features.CopyFrom(features)  # a third of what it costs as an argument
    return _event(body, d, key=lead_id, at=e.occurred_at, id=p.created_event)


def touch_recorded(
    d: Delivery,
    e: Entry,
    p: Person | Visitor,
    *,
    origin: Origin,
    lead_id: str,
    sequence: int,
    features: LeadFeatures,
    campaign: str,
    account_id: str,
) -> Event:
    body = touch_of(
        origin, touch_id=p.touch_id, lead_id=lead_id, sequence=sequence, source_id=d.source_id, provider=d.provider,
        at=e.occurred_at, features=features, imported=d.imported, campaign=campaign, account_id=account_id,
    )  # fmt: skip
    return _event(body, d, key=lead_id, at=e.occurred_at, id=p.touch_event)


def lead_updated(
    d: Delivery, e: Entry, p: Person | Visitor, *, lead_id: str, sequence: int, features: LeadFeatures, account_id: str
) -> Event:
    body = LeadUpdated(
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=stamp(e.occurred_at),
        source_id=d.source_id,
        provider=d.provider,
        receipt_id=d.receipt_id,
        imported=d.imported,
        account_id=account_id,
    )
    body.features.CopyFrom(features)
    return _event(body, d, key=lead_id, at=e.occurred_at, id=p.touch_event)


def touch_of(
    o: Origin,
    *,
    touch_id: str,
    lead_id: str,
    sequence: int,
    source_id: str,
    provider: str,
    at: datetime,
    features: LeadFeatures,
    campaign: str,
    account_id: str,
    imported: bool = False,
) -> TouchRecorded:
    """The fact of a touch."""
    body = TouchRecorded(
        touch_id=touch_id,
        lead_id=lead_id,
        sequence=sequence,
        kind=_KINDS[o.kind],
        channel=o.channel,
        utm_source=o.utm_source,
        utm_medium=o.utm_medium,
        utm_campaign=o.utm_campaign,
        campaign_id=o.campaign_id,
        adgroup_id=o.adgroup_id,
        ad_id=o.ad_id,
        form_id=o.form_id,
        page=o.page,
        referrer_domain=o.referrer_domain,
        referrer_host=o.referrer_host,
        click_kinds=o.click_kinds,
        channel_rules_version=o.rules_version,
        within_visit=o.within_visit,
        action=o.action,
        source_id=source_id,
        provider=provider,
        occurred_at=stamp(at),
        imported=imported,
        campaign=campaign,
        account_id=account_id,
    )
    body.features.CopyFrom(features)
    return body


def contact_changed(d: Delivery, p: Person | Visitor, contact: ContactChanged, *, at: datetime) -> Event:
    return _event(contact, d, key=contact.lead_id, at=at, id=p.contact_event)


def lead_erased(one: Forgotten) -> Event:
    body = LeadErased(
        lead_id=one.lead_id,
        sequence=one.sequence,
        erasure_id=one.erasure_id,
        reason=one.reason,
        key_id=one.key_id,
    )
    body.occurred_at.FromDatetime(one.erased_at)
    if one.asked_at is not None:
        body.asked_at.FromDatetime(one.asked_at)
    return event(body, key=one.lead_id, occurred_at=one.erased_at)


def contact_erased(lead_id: str, *, at: datetime) -> Event:
    """The tombstone: compaction drops every earlier contact of the key."""
    return Event(ContactChanged.DESCRIPTOR.full_name, lead_id, None, at)


def merge_told(edge: Edge, decision: Decision, lead_id: str, sequence: int) -> Event:
    """LeadMerged or LeadUnmerged, as the edge stands, on the key of one of its leads."""
    body = (LeadMerged if edge.active else LeadUnmerged)(
        merge_id=edge.id,
        lead_id=lead_id,
        sequence=sequence,
        from_lead_id=edge.source,
        into_lead_id=edge.target,
        version=edge.version,
        decided_by=decision.by,
        reason=decision.reason,
    )
    body.occurred_at.FromDatetime(decision.at)
    return event(body, key=lead_id, occurred_at=decision.at)


def lead_account_changed(
    d: Delivery, p: Person, *, at: datetime, lead_id: str, sequence: int, account_id: str, previous: str
) -> Event:
    """A known lead belongs to an account, or to another one. It has the id that its creation would have had."""
    body = LeadAccountChanged(
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=stamp(at),
        account_id=account_id,
        previous_account_id=previous,
    )
    return event(body, key=lead_id, occurred_at=at, id=p.created_event, traceparent=d.traceparent)


def account_linked(account_id: str, *, crm: str, company_id: str, at: datetime, id: str) -> Event:
    """An account is what a CRM knows by this id."""
    told = stamp(at)
    body = AccountLinked(
        account_id=account_id,
        sequence=told.seconds * 1_000_000 + told.nanos // 1_000,
        occurred_at=told,
        crm=crm,
        crm_company_id=company_id,
    )
    return event(body, key=account_id, occurred_at=at, id=id)


def account_merge_told(edge: Edge, decision: Decision, account_id: str, sequence: int) -> Event:
    """AccountMerged or AccountUnmerged, as the edge stands, on the key of one of its accounts."""
    body = (AccountMerged if edge.active else AccountUnmerged)(
        merge_id=edge.id,
        account_id=account_id,
        sequence=sequence,
        from_account_id=edge.source,
        into_account_id=edge.target,
        version=edge.version,
        decided_by=decision.by,
        reason=decision.reason,
    )
    body.occurred_at.FromDatetime(decision.at)
    return event(body, key=account_id, occurred_at=decision.at)


def fact_imported(d: Delivery, e: Entry, p: Person, fact: DealImported | FeedbackImported, *, lead_id: str) -> Event:
    fact.lead_id = lead_id
    return _event(fact, d, key=lead_id, at=e.occurred_at, id=p.touch_event)


def _event(
    body: LeadCreated | TouchRecorded | LeadUpdated | ContactChanged | DealImported | FeedbackImported,
    d: Delivery,
    *,
    key: str,
    at: datetime,
    id: str,
) -> Event:
    return event(body, key=key, occurred_at=at, id=id, traceparent=d.traceparent)
