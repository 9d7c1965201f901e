"""HubSpot: workflow webhooks (old nested and new flat shape, one record or a list) and CRM events.

Signatures v3 (HMAC, with time), v2 and v1 (plain SHA-256). v3 is checked first; where it is present an older one
does not help. Sources: HubSpot/hubspot-api-python utils/signature.py; knowledge.hubspot.com, workflow webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Lookup, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import MAX_FIELDS, data_of
from lead_intake.sources.generic import presented
from lead_intake.sources.plain import (
    MAX_ENTRIES,
    any_same,
    each,
    kept,
    mac,
    no_handshake,
    no_secret_problem,
    receipt_reply,
)

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
TOLERANCE_MS = 300_000
handshake = no_handshake
CONTACTS = "0-1"
INQUIRY_PROPERTIES = "recent_conversion_date,recent_conversion_event_name,num_conversion_events"
"""Properties that change when a known contact sends a form again; a source can name its own."""
UPDATE_PROPERTIES = (
    "email,firstname,lastname,phone,mobilephone,company,jobtitle,country,website,hs_language,numberofemployees,industry"
)
"""Properties that say something of a known person when they change; a source can name its own, `none` for none."""
reply = receipt_reply
secret_problem = no_secret_problem

# Escapes that HubSpot decodes in the address before it signs (request validation, v3).
_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ESCAPE = re.compile("|".join(_DECODED), re.IGNORECASE)


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    method, url, body = incoming.method.encode(), incoming.url, incoming.body
    given = incoming.headers.get("x-hubspot-signature-v3")
    if given is not None:
        sent_at = incoming.headers.get("x-hubspot-request-timestamp", "")
        if not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 16:
            return False
        if abs(now.timestamp() * 1000 - int(sent_at)) > TOLERANCE_MS:
            return False
        decoded = _ESCAPE.sub(lambda m: _DECODED[m.group().upper()], url)
        return any_same(
            given,
            (
                base64.b64encode(mac(secret, method, uri.encode(), body, sent_at.encode()))
                for secret in source.secrets
                for uri in dict.fromkeys((decoded, url))
            ),
        )
    given = incoming.headers.get("x-hubspot-signature", "").lower()
    if not given:  # a workflow may show an API key in a header instead
        return any_same(presented(incoming, source), source.secrets)
    if incoming.headers.get("x-hubspot-signature-version", "").lower() == "v1":
        signed = body
    else:
        signed = method + url.encode() + body
    return any_same(given, (hashlib.sha256(s.encode() + signed).hexdigest() for s in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    data = data_of(incoming)
    records = data if isinstance(data, list) else [data]
    if not records:
        raise Unparsable("empty")
    if len(records) > MAX_ENTRIES:
        raise Unparsable("too_many_entries")
    return [each(record, _inquiry, source) for record in records]


def _inquiry(record: dict[str, Any], source: Source) -> Inquiry:
    return _event(record, source) if "subscriptionType" in record else _record(record, source)


def _event(event: dict[str, Any], source: Source) -> Inquiry:
    """A CRM event names a record but does not hold it. `eventId` is not unique: the key is composite."""
    kind = mapping.as_text(event["subscriptionType"])
    parts = ("portalId", "subscriptionId", "objectId", "propertyName", "occurredAt", "eventId")
    key = ":".join(mapping.as_text(event.get(part)) for part in parts)
    at = timestamp(event.get("occurredAt"))
    contact_id = mapping.as_text(event.get("objectId"))
    of_contact = kind.startswith("contact.") or mapping.as_text(event.get("objectTypeId")) == CONTACTS
    if not of_contact or not contact_id:
        return Inquiry(key, {}, occurred_at=at, refused="not_a_lead")
    contact = f"contact:{mapping.as_text(event.get('portalId'))}:{contact_id}"
    what = kind.rpartition(".")[2]
    if what == "privacyDeletion":
        return Inquiry(key, {}, occurred_at=at, refused="erase_requested", forgets=contact)
    wanted = str(source.settings.get("inquiry_properties", INQUIRY_PROPERTIES)).split(",")
    changed = mapping.as_text(event.get("propertyName"))
    if what == "creation" or (what == "propertyChange" and changed in (name.strip() for name in wanted)):
        # One form changes several properties at once: what one contact did in a minute is one inquiry.
        minute = int(at.timestamp()) // 60 if at else 0
        return Inquiry(
            f"{contact}:{minute}", {}, occurred_at=at, lookup=Lookup(contact_id, about={"erased_as": contact})
        )
    telling = str(source.settings.get("update_properties", UPDATE_PROPERTIES)).split(",")
    if what == "propertyChange" and changed in (name.strip() for name in telling):
        # What was saved at once has one time and is one look-up; a later change is another.
        moment = int(at.timestamp() * 1_000) if at else 0
        about = {"erased_as": contact, "tells": "update"}
        return Inquiry(f"{contact}:told:{moment}", {}, occurred_at=at, lookup=Lookup(contact_id, about=about))
    return Inquiry(key, {}, occurred_at=at, refused="not_an_inquiry")


def _record(record: dict[str, Any], source: Source) -> Inquiry:
    nested = record.get("properties")
    properties = nested if isinstance(nested, dict) else record
    if len(properties) > MAX_FIELDS:
        raise Unparsable("too_many_fields")
    flat = {name: mapping.as_text(value) for name, value in properties.items()}
    fields = mapping.fields_by_path(flat, source.mapping) | {
        k: v for k, v in mapping.fields_by_path(record, source.mapping).items() if k not in flat
    }
    mapping.fields_by_name(((name, value) for name, value in flat.items() if value), fields)
    record_id = mapping.as_text(record.get("vid") or record.get("objectId") or record.get("id"))
    portal = mapping.as_text(record.get("portal-id") or record.get("portalId"))
    changed = flat.get("lastmodifieddate", "") or flat.get("hs_lastmodifieddate", "")
    fields.pop("id", None)
    return Inquiry(
        # Without a time of the record the same contact may enrol again: then the body decides (see `entry`).
        key=f"{portal}:{record_id}:{changed}" if record_id and changed else "",
        fields=fields,
        answers=mapping.answers_of(flat, source.mapping),
        occurred_at=timestamp(changed) or timestamp(fields.pop("occurred_at", "")),
    )
