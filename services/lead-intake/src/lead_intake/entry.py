"""From what an inquiry says to what the ledger needs: keys to lock, features, touch, contact, ids. Pure.

Everything that costs time or could fail on odd input happens here, before the delivery is queued; the ids are made
here, before the first attempt, so that a repeat writes the same rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime

from baton.lead.v1.contact_pb2 import ClickId, Consent, ContactChanged
from baton.lead.v1.history_pb2 import DealImported, FeedbackImported
from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.ids import new_id
from lead_intake import features, normalise
from lead_intake.accounts.keys import account_keys
from lead_intake.contact import stamp
from lead_intake.delivery import Incoming, Inquiry, Lookup, Outcome, Source, Visit
from lead_intake.erasing.mention import mentions_of
from lead_intake.identity.keys import DEFAULT, keys_of, rules_of
from lead_intake.spam import suspicion
from lead_intake.touches import NOWHERE, Origin, origin_of

LONGEST_KEY = 1_000
"""Google's lead ids may be that long."""


@dataclass(frozen=True, slots=True)
class Person:
    """What an open entry tells of a person; the ids are used if it turns out to be a new one."""

    identities: tuple[str, ...]
    features: LeadFeatures
    consent_told: bool | None
    origin: Origin
    contact: ContactChanged
    person_id: str
    lead_id: str
    touch_id: str
    created_event: str
    touch_event: str
    contact_event: str
    visitors: tuple[str, ...] = ()
    """Under which keys a tracker may know the person: earlier visits under them are theirs."""
    only_known: bool = False
    """Never makes a lead: without one the entry is refused."""
    record_key: str = ""
    """The identity key of a CRM's record: where it is known, the record is told again, and that is no touch."""
    quiet: bool = False
    """No contact with marketing: of a known person it is no touch."""
    fact: DealImported | FeedbackImported | None = None
    """Told of the lead in place of a touch."""
    account_keys: tuple[str, ...] = ()
    """By which the company is known again, strongest first; `account_id` is its id if nobody knows it."""
    account_id: str = ""
    account_event: str = ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a tracker's entry tells of somebody it does not name.

    Without `origin` it is no touch: only that the keys are one's, and what else was told of the person.
    """

    visitors: tuple[str, ...]
    origin: Origin | None
    touch_id: str
    touch_event: str
    contact_event: str
    features: LeadFeatures = field(default_factory=LeadFeatures)
    consent_told: bool | None = None
    contact: ContactChanged = field(default_factory=ContactChanged)
    mentions: tuple[int, ...] = ()
    """Addresses and numbers in the body it came in, hashed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a delivery. It is open (`person` given), to be looked up, or settled before the ledger (`outcome`).

    `forgets` is the key of an entry whose person is to be forgotten. `ordinal` is its place in the receipt where that
    is not its place in the delivery: in a replay of some entries. `visitor` is given instead of `person` where a
    tracker tells of somebody it does not name.
    """

    key: str
    occurred_at: datetime
    person: Person | None = None
    outcome: Outcome | None = None
    reason: str = ""
    lookup: Lookup | None = None
    forgets: str = ""
    visitor: Visitor | None = None
    ordinal: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery, ready to be received; `request` is what a repair needs beside the body, sealed."""

    receipt_id: str
    source_id: str
    provider: str
    received_at: datetime
    content_type: str
    body: bytes | None
    entries: tuple[Entry, ...]
    reason: str = ""
    traceparent: str | None = None
    request: bytes | None = None
    imported: bool = False
    """Of the past: its events say so, and travel on the lane that never delays the others."""
    handed_in: datetime | None = None
    """When its export was: who was forgotten since is not brought back by it."""


def delivery_of(
    incoming: Incoming, source: Source, inquiries: list[Inquiry], *, body: bytes, traceparent: str | None = None
) -> Delivery:
    """The delivery that holds these inquiries."""
    digest = ""
    entries = []
    for ordinal, inquiry in enumerate(inquiries):
        key = stored_key(inquiry.key)
        if not key:
            digest = digest or hashlib.sha256(incoming.body).hexdigest()
            # No id: the same bytes on the same day are a repeat, the same form next month is a new inquiry.
            key = f"sha256:{digest}:{ordinal}:{incoming.received_at:%Y%m%d}"
        elif key == inquiry.fields.get("phone"):
            key = "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        entries.append(entry_of(inquiry, source, key=key, received_at=incoming.received_at))
    if any(e.visitor is not None and e.visitor.origin is not None for e in entries):
        mentions = mentions_of(body)
        if mentions:
            entries = [
                e if e.visitor is None else replace(e, visitor=replace(e.visitor, mentions=mentions)) for e in entries
            ]
    return Delivery(
        receipt_id=new_id(),
        source_id=source.id,
        provider=source.provider,
        received_at=incoming.received_at,
        content_type=_content_type(incoming),
        body=body,
        entries=tuple(entries),
        traceparent=traceparent,
    )


def unreadable(incoming: Incoming, source: Source, *, reason: str, body: bytes) -> Delivery:
    """The delivery of a body that nobody can read: one quarantined entry."""
    at = incoming.received_at
    entry = Entry("", at, outcome=Outcome.QUARANTINED, reason=reason)
    return Delivery(new_id(), source.id, source.provider, at, _content_type(incoming), body, (entry,), reason=reason)


def refusal(source: Source, *, reason: str, at: datetime) -> Delivery:
    """The receipt of a delivery that was turned away at the door."""
    entry = Entry("", at, outcome=Outcome.REFUSED, reason=reason)
    return Delivery(new_id(), source.id, source.provider, at, "", None, (entry,), reason=reason)


def entry_of(inquiry: Inquiry, source: Source, *, key: str, received_at: datetime, also: tuple[str, ...] = ()) -> Entry:
    """One entry; `also` are identity keys beside those of its fields. A future time is the sender's clock: capped."""
    at = min(inquiry.occurred_at or received_at, received_at)
    if inquiry.refused:
        forgets = stored_key(inquiry.forgets)
        return Entry(key, at, outcome=Outcome.REFUSED, reason=inquiry.refused, forgets=forgets)
    if inquiry.quarantined:
        return Entry(key, at, outcome=Outcome.QUARANTINED, reason=inquiry.quarantined)
    if inquiry.test:
        return Entry(key, at, outcome=Outcome.TEST)
    if inquiry.lookup is not None:
        lookup = stored_lookup(inquiry.lookup)
        if not lookup.id:
            return Entry(key, at, outcome=Outcome.QUARANTINED, reason="no_lead_id")
        return Entry(key, at, outcome=Outcome.PENDING, lookup=lookup)
    told = inquiry.fields
    email = normalise.email(told["email"]) if told.get("email") else ""
    phone, country = normalise.phone(told["phone"], source.default_region) if told.get("phone") else ("", "")
    visitors = visitors_of(inquiry, source)
    if inquiry.visit is not None and visitors and not told.get("email") and not told.get("phone"):
        # A cookie alone makes nobody a lead, whatever the source identifies people by.
        return Entry(key, at, visitor=_visitor(inquiry, source, inquiry.visit, visitors=visitors, received_at=at))
    origin = origin_of(inquiry, kind=_kind(inquiry, source), rules=source.rules)
    derived = features.derive(inquiry, source, email=email, phone=phone, phone_country=country, channel=origin.channel)
    identities = keys_of(
        rules_of(source.settings.get("identity", DEFAULT)),
        source_id=source.id,
        fields=told,
        email=email,
        phone=phone,
        company_domain=derived.company_domain,
        shared=source.shared_keys,
    )
    identities = (*also, *identities)
    if not identities:
        return Entry(key, at, outcome=Outcome.QUARANTINED, reason="no_identity")
    if suspect := suspicion(told, source.settings, email=email):
        return Entry(key, at, outcome=Outcome.QUARANTINED, reason=suspect)
    company = account_keys(told, email=email, country=derived.country, crm=crm_of(source), shared=source.shared_keys)
    return Entry(
        key,
        at,
        person=Person(
            identities=identities,
            features=derived,
            consent_told=features.consent(told.get("consent_marketing", "")),
            origin=origin,
            contact=contact_of(inquiry, origin, email=email, phone=phone, at=at, derived=derived),
            person_id=new_id(),
            lead_id=new_id(),
            touch_id=new_id(),
            created_event=new_id(),
            touch_event=new_id(),
            contact_event=new_id(),
            visitors=visitors,
            only_known=inquiry.update,
            quiet=inquiry.update or (inquiry.visit is not None and not inquiry.visit.touch),
            account_keys=company,
            account_id=new_id() if company else "",
            account_event=new_id() if company else "",
        ),
    )


def crm_of(source: Source) -> str:
    """Whose company ids this source tells: the CRM that its settings name, else its own."""
    return source.settings.get("crm", "") or ("hubspot" if source.provider == "hubspot" else source.id)


def visitors_of(inquiry: Inquiry, source: Source) -> tuple[str, ...]:
    """The keys under which a tracker may have told of the person before; a user id counts in its source only."""
    anonymous = inquiry.fields.get("anonymous_id", "")
    user = inquiry.visit.user_id if inquiry.visit is not None else ""
    if not anonymous and not user:
        return ()
    anonymous, user = normalise.text(anonymous, 200), normalise.text(user, 200)
    keys = (f"anonymous:{anonymous}" if anonymous else "", f"user:{source.id}/{user}" if user else "")
    return tuple(key for key in keys if key)


def _visitor(
    inquiry: Inquiry, source: Source, visit: Visit, *, visitors: tuple[str, ...], received_at: datetime
) -> Visitor:
    if visit.touch:
        origin = origin_of(inquiry, kind=_kind(inquiry, source), rules=source.rules)
        return Visitor(visitors, origin, touch_id=new_id(), touch_event=new_id(), contact_event=new_id())
    derived = features.derive(inquiry, source, email="", phone="", phone_country="", channel="")
    at = inquiry.occurred_at or received_at
    return Visitor(
        visitors,
        None,
        touch_id=new_id(),
        touch_event=new_id(),
        contact_event=new_id(),
        features=derived,
        consent_told=features.consent(inquiry.fields.get("consent_marketing", "")),
        contact=contact_of(inquiry, NOWHERE, email="", phone="", at=at, derived=derived),
    )


def _kind(inquiry: Inquiry, source: Source) -> str:
    kind: str = source.settings.get("touch_kind", "form" if inquiry.visit is None else "visit")
    return kind


def contact_of(
    inquiry: Inquiry, origin: Origin, *, email: str, phone: str, at: datetime, derived: LeadFeatures
) -> ContactChanged:
    """The contact as this inquiry tells it; lead, person and sequence are set when it is received."""
    told = inquiry.fields
    contact = ContactChanged(country=derived.country, language=derived.language)
    for name in ("full_name", "first_name", "last_name", "company_name", "job_title"):
        if name in told:
            setattr(contact, name, normalise.text(told[name], 200))
    if not contact.full_name and (contact.first_name or contact.last_name):
        contact.full_name = f"{contact.first_name} {contact.last_name}".strip()
    if "message" in told:
        contact.message = normalise.paragraphs(told["message"])
    if email:
        contact.emails.append(email)
    if phone:
        contact.phones.append(phone)
    for kind, value in origin.click_ids:
        contact.click_ids.append(ClickId(kind=kind, value=value, occurred_at=stamp(at)))
    consent = features.consent(told.get("consent_marketing", ""))
    if consent is not None:
        contact.consents.append(Consent(purpose="marketing", granted=consent, occurred_at=stamp(at)))
    return contact


def stored_key(key: str) -> str:
    """A provider's key as the ledger keeps it: no controls, at most `LONGEST_KEY`, longer ones by digest.

    A key outlives the person it came with: one that holds an address is kept by digest as well.
    """
    cleaned = normalise.text(key, LONGEST_KEY + 1)
    if "@" in cleaned:
        return "sha256:" + hashlib.sha256(cleaned.lower().encode("utf-8", "surrogatepass")).hexdigest()
    if len(cleaned) > LONGEST_KEY:
        return "long:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return cleaned


def stored_lookup(lookup: Lookup) -> Lookup:
    """What is to be asked for, as the database takes it: no controls, NUL or surrogates, each id at most 500 long."""
    about = {name: normalise.text(value) for name, value in lookup.about.items()}
    return Lookup(normalise.text(lookup.id), normalise.text(lookup.form_id), about)


def _content_type(incoming: Incoming) -> str:
    return normalise.text(incoming.headers.get("content-type", ""), 200)
