"""Pipedrive webhooks v2: HTTP Basic, one change of one deal, with the deal as it stands after it.

Wire facts: Pipedrive's webhook v2 guide. There is no signature. A repeat has the same `meta.id` and a higher `attempt`;
`previous` holds only what changed and may be null, so the last-seen state is kept here instead.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from sales_feedback.crms.delivery import Delivery, Json, id_of, read_json, text_of
from sales_feedback.crms.mapping import Mapping
from sales_feedback.crms.seen import Entry, Field, Observation
from sales_feedback.times import Unreadable, read_time


def verify(delivery: Delivery, secrets: Sequence[str], *, now: datetime) -> bool:
    """True when the Authorization header carries one of the secrets ("user:password") as HTTP Basic."""
    scheme, _, encoded = delivery.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip().encode("utf-8", "surrogateescape"), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    good = False
    for secret in secrets:
        good |= hmac.compare_digest(secret.encode(), given)
    return good and scheme.lower() == "basic"


def entries(body: bytes, mapping: Mapping, *, received_at: datetime) -> list[Entry]:
    """The one entry of a delivery; raises Unreadable when the body is no v2 webhook.

    Times after `received_at` count as `received_at`.
    """
    document = read_json(body)
    if not isinstance(document, dict):
        raise Unreadable("the body is not an object")
    meta = document.get("meta")
    if not isinstance(meta, dict):
        raise Unreadable("the body has no meta object")
    if not text_of(meta.get("version")).startswith("2"):
        raise Unreadable("only webhooks of version 2.0 are read")
    key = hashlib.sha256(f"pipedrive\x1f{id_of(meta.get('id'))}".encode()).hexdigest()
    try:
        return [_entry(key, meta, document, mapping, received_at=received_at)]
    except Unreadable as error:
        return [Entry(key, problem=str(error))]


def _entry(
    key: str, meta: dict[str, Json], document: dict[str, Json], mapping: Mapping, *, received_at: datetime
) -> Entry:
    if mapping.account is not None and text_of(meta.get("company_id")) != mapping.account:
        raise Unreadable("the event belongs to another company")
    action = text_of(meta.get("action"))
    if text_of(meta.get("entity")) != "deal" or action not in {"create", "change", "delete"}:
        return Entry(key)
    timestamp = meta.get("timestamp")
    if not isinstance(timestamp, str):
        raise Unreadable("the event has no timestamp")
    at = min(read_time(timestamp), received_at)
    deal_id = id_of(meta.get("entity_id"))
    # A delete comes without data; what it had stands in `previous`, and is known already.
    values = {Field.DELETED: "true"} if action == "delete" else _values(document.get("data"), mapping)
    return Entry(key, Observation(deal_id, at, text_of(meta.get("id")), values))


def _values(data: Json, mapping: Mapping) -> dict[Field, str]:
    if not isinstance(data, dict):
        raise Unreadable("the event has no data")
    status = text_of(data.get("status"))
    if status not in {"open", "won", "lost", "deleted"}:
        raise Unreadable("the deal has no known status")
    values = {
        Field.STATUS: status,
        Field.DELETED: "true" if status == "deleted" else "false",
        Field.STAGE: text_of(data.get("stage_id")),
        Field.PIPELINE: text_of(data.get("pipeline_id")),
        Field.AMOUNT: text_of(data.get("value")),
        Field.CURRENCY: text_of(data.get("currency")),
        Field.REASON: text_of(data.get("lost_reason")),
        Field.OWNER: text_of(data.get("owner_id")),
        Field.COMPANY_ID: text_of(data.get("org_id")),
        Field.OPENED_AT: text_of(data.get("add_time")),
        Field.CLOSED_AT: text_of(data.get("won_time") if status == "won" else data.get("lost_time")),
    }
    values[Field.LEAD_ID] = _custom(data, mapping.lead_id_property)
    if mapping.product_property is not None:
        values[Field.PRODUCT] = _custom(data, mapping.product_property)
    return values


def _custom(data: dict[str, Json], name: str) -> str:
    fields = data.get("custom_fields")
    value = fields.get(name) if isinstance(fields, dict) else None
    if isinstance(value, dict):
        value = value.get("value")
    return text_of(value)
