"""HubSpot deal webhooks: signature v3, an array of up to 100 property changes.

Wire facts: HubSpot's request validation and webhook pages; hubspot-api-python `hubspot/utils/signature.py`. `eventId`
is not unique by itself, order is not kept, and a failed delivery comes again whole.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sales_feedback.crms.delivery import Delivery, Json, id_of, read_json, text_of
from sales_feedback.crms.mapping import Mapping
from sales_feedback.crms.seen import Entry, Field, Observation
from sales_feedback.times import Unreadable, read_time

REPLAY_WINDOW = timedelta(seconds=300)
MAX_ENTRIES = 1000

# HubSpot signs the address with these escapes decoded (request validation page, the list of characters).
_DECODED = re.compile("%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_DEALS = "0-3"
_FIELDS: MappingOf[str, Field] = {
    "dealstage": Field.STAGE,
    "pipeline": Field.PIPELINE,
    "amount": Field.AMOUNT,
    "deal_currency_code": Field.CURRENCY,
    "closedate": Field.CLOSED_AT,
    "createdate": Field.OPENED_AT,
    "closed_lost_reason": Field.REASON,
    "hubspot_owner_id": Field.OWNER,
}


def verify(delivery: Delivery, secrets: Sequence[str], *, now: datetime) -> bool:
    """True when one of the secrets signed exactly these bytes for this address within 300 seconds of `now`.

    base64(HMAC-SHA256(secret, method + uri + body + timestamp)), the timestamp in milliseconds.
    """
    timestamp = delivery.headers.get("x-hubspot-request-timestamp", "")
    given = delivery.headers.get("x-hubspot-signature-v3", "").encode("utf-8", "surrogateescape")
    fresh = _is_fresh(timestamp, now)
    uri = _DECODED.sub(lambda match: chr(int(match[1], 16)), delivery.uri)
    signed = f"{delivery.method}{uri}".encode() + delivery.body + timestamp.encode("utf-8", "surrogateescape")
    good = False
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256))
        good |= hmac.compare_digest(expected, given)
    return good and fresh


def entries(body: bytes, mapping: Mapping, *, received_at: datetime) -> list[Entry]:
    """One entry for each event of the array; an unreadable event is an entry with its problem.

    Raises Unreadable when the body is no array of events. Times after `received_at` count as `received_at`.
    """
    document = read_json(body)
    if not isinstance(document, list):
        raise Unreadable("the body is not an array of events")
    if len(document) > MAX_ENTRIES:
        raise Unreadable("the array holds too many events")
    return [_entry(event, index, body, mapping, received_at=received_at) for index, event in enumerate(document)]


def _entry(event: Json, index: int, body: bytes, mapping: Mapping, *, received_at: datetime) -> Entry:
    # What has no readable key is told apart by the delivery's own bytes.
    key = f"{hashlib.sha256(body).hexdigest()}:{index}"
    try:
        if not isinstance(event, dict):
            raise Unreadable("an event is not an object")
        kind, prefix = text_of(event.get("subscriptionType")), "object" if "objectTypeId" in event else "deal"
        if not kind:
            raise Unreadable("an event names no subscriptionType")
        property_name = text_of(event.get("propertyName"))
        occurred = event.get("occurredAt")
        if isinstance(occurred, bool) or not isinstance(occurred, int | str):
            raise Unreadable("an event has no occurredAt")
        at = min(read_time(occurred), received_at)
        object_id = id_of(event.get("objectId"))
        parts = (
            text_of(event.get("portalId")),
            text_of(event.get("subscriptionId")),
            object_id,
            property_name,
            text_of(occurred),
            text_of(event.get("eventId")),
        )
        key = hashlib.sha256("\x1f".join(("hubspot", kind, *parts)).encode()).hexdigest()
        if mapping.account is not None and parts[0] != mapping.account:
            raise Unreadable("the event belongs to another portal")
        if prefix == "object" and text_of(event.get("objectTypeId")) != _DEALS:
            return Entry(key)
        values = _values(kind, property_name, event, mapping)
    except Unreadable as error:
        return Entry(key, problem=str(error))
    if values is None:
        return Entry(key)
    tie = text_of(event.get("eventId")).zfill(20)
    return Entry(key, Observation(object_id, at, tie, values))


def _values(kind: str, property_name: str, event: dict[str, Json], mapping: Mapping) -> dict[Field, str] | None:
    match kind.partition("."):
        case ("deal" | "object", _, "propertyChange"):
            value = text_of(event.get("propertyValue"))
            values = {_FIELDS[property_name]: value} if property_name in _FIELDS else {}
            if property_name == mapping.lead_id_property:
                values[Field.LEAD_ID] = value
            if property_name == mapping.product_property:
                values[Field.PRODUCT] = value
            if property_name == mapping.company_id_property:
                values[Field.COMPANY_ID] = value
            return values or None
        case ("deal" | "object", _, "creation"):
            return {Field.OPENED_AT: text_of(event.get("occurredAt")), Field.DELETED: "false"}
        case ("deal" | "object", _, "deletion"):
            return {Field.DELETED: "true"}
        case ("deal" | "object", _, "restore"):
            return {Field.DELETED: "false"}
        case _:
            return None


def _is_fresh(timestamp: str, now: datetime) -> bool:
    try:
        if not timestamp.isascii() or not timestamp.isdigit():
            return False
        return abs(read_time(timestamp) - now.astimezone(UTC)) <= REPLAY_WINDOW
    except Unreadable:
        return False
