"""Tally: `Tally-Signature` is base64 of the HMAC over the raw body; fields carry labels and types.

Choices come as option ids and are looked up in `options`. Source: tally.so/help/webhooks.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object
from lead_intake.sources.plain import any_same, kept, mac, no_handshake, no_secret_problem, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake
reply = receipt_reply
secret_problem = no_secret_problem

_BY_TYPE = {"INPUT_EMAIL": "email", "INPUT_PHONE_NUMBER": "phone"}


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    given = incoming.headers.get("tally-signature", "")
    return any_same(given, (base64.b64encode(mac(secret, incoming.body)) for secret in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    event = json_object(incoming)
    if event.get("eventType", "FORM_RESPONSE") != "FORM_RESPONSE":
        return [Inquiry(mapping.as_text(event.get("eventId")), {}, refused="not_a_lead")]
    data = event.get("data")
    entries = data.get("fields") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(entries, list):
        raise Unparsable("no_fields")
    flat: dict[str, Any] = {}
    typed: dict[str, str] = {}
    labels: list[tuple[str, Any]] = []
    for field in entries[:500]:
        if not isinstance(field, dict):
            continue
        value = _value(field)
        label = mapping.as_text(field.get("label"))
        flat[label] = flat[mapping.as_text(field.get("key"))] = value
        labels.append((label, value))
        ours = _BY_TYPE.get(mapping.as_text(field.get("type")), "")
        if ours and value:
            typed.setdefault(ours, value)
    fields = {**typed, **mapping.fields_by_path(flat, source.mapping)}
    mapping.fields_by_name(labels, fields)
    if form_id := mapping.as_text(data.get("formId")):
        fields["form_id"] = form_id
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    return [
        Inquiry(
            key=mapping.as_text(data.get("responseId")) or mapping.as_text(event.get("eventId")),
            fields=fields,
            answers=mapping.answers_of(flat, source.mapping),
            occurred_at=timestamp(data.get("createdAt")),
        )
    ]


def _value(field: dict[str, Any]) -> str:
    value, options = field.get("value"), field.get("options")
    if isinstance(value, list) and isinstance(options, list):
        texts = {mapping.as_text(o.get("id")): o.get("text") for o in options[:500] if isinstance(o, dict)}
        value = [texts.get(mapping.as_text(v)) or v for v in value[:50]]
    return mapping.as_text(value)
