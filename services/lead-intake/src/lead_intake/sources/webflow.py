"""Webflow: form submissions, with names as the designer labelled them; exactly 200 is success.

`x-webflow-signature` is the HMAC over timestamp (milliseconds), colon and raw body. Webhooks made in the dashboard are
not signed: they need the token in the address. Source: developers.webflow.com (working with webhooks, form-submission).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object
from lead_intake.sources.plain import any_same, kept, mac, no_handshake, no_secret_problem, plain_200

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
TOLERANCE_MS = 300_000
handshake = no_handshake
reply = plain_200
secret_problem = no_secret_problem


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    sent_at = incoming.headers.get("x-webflow-timestamp", "")
    if not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 16:
        return False
    if abs(now.timestamp() * 1000 - int(sent_at)) > TOLERANCE_MS:
        return False
    given = incoming.headers.get("x-webflow-signature", "").lower()
    return any_same(given, (mac(s, sent_at.encode(), b":", incoming.body).hex() for s in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    event = json_object(incoming)
    kind = mapping.as_text(event.get("triggerType"))
    if kind not in ("", "form_submission"):
        return [Inquiry("", {}, refused="not_a_lead")]
    payload = event.get("payload") if kind else event  # before version 2 the event was the payload
    data = payload.get("data") if isinstance(payload, dict) else None
    if not isinstance(payload, dict) or not isinstance(data, dict):
        raise Unparsable("no_fields")
    flat: dict[str, Any] = {**payload, **data}
    fields = mapping.fields_by_path(flat, source.mapping)
    mapping.fields_by_name(data.items(), fields)  # a phone may be a number: it is read as its digits
    if form_id := mapping.as_text(payload.get("formId")):
        fields["form_id"] = form_id
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    return [
        Inquiry(
            key=mapping.as_text(payload.get("id") or payload.get("_id")),
            fields=fields,
            answers=mapping.answers_of(flat, source.mapping),
            occurred_at=timestamp(payload.get("submittedAt") or payload.get("d")),
        )
    ]
