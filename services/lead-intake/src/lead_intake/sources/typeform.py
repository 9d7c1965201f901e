"""Typeform: `Typeform-Signature: sha256=<base64>` over the raw body, answers joined by `field.ref`.

404 and 410 switch a webhook off for good: neither is ever answered. The response's token is the key, `event_id`
only the delivery's. Source: typeform.com/developers/webhooks.
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

_BY_TYPE = {"email": "email", "phone_number": "phone", "phone": "phone"}


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    given = incoming.headers.get("typeform-signature", "")
    return any_same(given, (b"sha256=" + base64.b64encode(mac(s, incoming.body)) for s in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    event = json_object(incoming)
    response = event.get("form_response")
    if not isinstance(response, dict):
        if event.get("event_type", "form_response") != "form_response":
            return [Inquiry(mapping.as_text(event.get("event_id")), {}, refused="not_a_lead")]
        raise Unparsable("no_form_response")
    answers = response.get("answers") or []
    if not isinstance(answers, list):
        raise Unparsable("answers")
    titles = _titles(response.get("definition"))
    flat: dict[str, Any] = {}
    typed: dict[str, str] = {}
    labels: list[tuple[str, Any]] = []
    for answer in answers[:500]:
        field = answer.get("field") if isinstance(answer, dict) else None
        if not isinstance(field, dict):
            continue
        value = _value(answer)
        ref, field_id = mapping.as_text(field.get("ref")), mapping.as_text(field.get("id"))
        flat[field_id] = flat[ref] = value
        labels += [(ref, value), (titles.get(field_id) or titles.get(ref, ""), value)]
        ours = _BY_TYPE.get(mapping.as_text(answer.get("type")), "")
        if ours and value:
            typed.setdefault(ours, value)
    hidden = response.get("hidden")
    hidden = hidden if isinstance(hidden, dict) else {}
    flat = {**hidden, **flat, "hidden": hidden}
    fields = {**typed, **mapping.fields_by_path(flat, source.mapping)}
    mapping.fields_by_name(list(hidden.items())[:200], fields)
    mapping.fields_by_name(labels, fields)
    if form_id := mapping.as_text(response.get("form_id")):
        fields["form_id"] = form_id
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    return [
        Inquiry(
            key=mapping.as_text(response.get("token")) or mapping.as_text(event.get("event_id")),
            fields=fields,
            answers=mapping.answers_of(flat, source.mapping),
            occurred_at=timestamp(response.get("submitted_at")),
        )
    ]


def _value(answer: dict[str, Any]) -> str:
    """The value stands under a key named by the answer's type; choices are objects."""
    kind = answer.get("type")
    value = answer.get(kind) if isinstance(kind, str) else None
    if isinstance(value, dict):
        return mapping.as_text(value.get("label") or value.get("other") or value.get("labels"))
    return mapping.as_text(value)


def _titles(definition: Any) -> dict[str, str]:
    fields = definition.get("fields") if isinstance(definition, dict) else None
    titles: dict[str, str] = {}
    for field in fields[:500] if isinstance(fields, list) else ():
        if isinstance(field, dict):
            title = mapping.as_text(field.get("title"))
            titles[mapping.as_text(field.get("id"))] = titles[mapping.as_text(field.get("ref"))] = title
    return titles
