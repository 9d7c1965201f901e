"""Calendly: a booking is an inquiry. `Calendly-Webhook-Signature: t=<seconds>,v1=<hex>` over time, dot and raw body.

A reschedule fires two events: `invitee.canceled` of the old booking, which is no inquiry, and `invitee.created` of the
new one, whose UTM values may be lost: it `continues` the old one.
Sources: developer.calendly.com; api-evangelist/calendly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object
from lead_intake.sources.plain import any_same, kept, mac, no_handshake, no_secret_problem, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
TOLERANCE_S = 180
handshake = no_handshake
reply = receipt_reply
secret_problem = no_secret_problem

CREATED, ROUTED = "invitee.created", "routing_form_submission.created"


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    parts = incoming.headers.get("calendly-webhook-signature", "").split(",")[:10]
    pairs = [part.strip().partition("=") for part in parts]
    sent_at = next((value for name, _, value in pairs if name == "t"), "")
    if not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 15:
        return False
    if abs(now.timestamp() - int(sent_at)) > TOLERANCE_S:
        return False
    expected = [mac(secret, sent_at.encode(), b".", incoming.body).hex() for secret in source.secrets]
    found = False
    for name, _, given in pairs:
        if name == "v1":
            found |= any_same(given.lower(), expected)
    return found


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    event = json_object(incoming)
    kind, payload = mapping.as_text(event.get("event")), event.get("payload")
    if not isinstance(payload, dict):
        raise Unparsable("no_fields")
    key = _key(payload.get("uri"), kind)
    at = timestamp(event.get("created_at"))
    if kind == "invitee.canceled":
        moved = payload.get("rescheduled") is True
        return [Inquiry(key, {}, occurred_at=at, refused="rescheduled" if moved else "canceled")]
    if kind not in (CREATED, ROUTED):
        return [Inquiry(key, {}, occurred_at=at, refused="not_a_lead")]
    tracking = payload.get("tracking")
    questions = list(_questions(payload.get("questions_and_answers")))
    flat: dict[str, Any] = {**payload, "questions": dict(questions)}
    fields = mapping.fields_by_path(flat, source.mapping)
    told = {name: payload.get(name) for name in ("email", "name", "first_name", "last_name")}
    told["phone"] = payload.get("text_reminder_number")
    mapping.fields_by_name(told.items(), fields)
    mapping.fields_by_name(list(tracking.items())[:50] if isinstance(tracking, dict) else (), fields)
    mapping.fields_by_name(questions, fields)
    booked = payload.get("scheduled_event")
    event_type = mapping.as_text(booked.get("event_type")) if isinstance(booked, dict) else ""
    if event_type:
        fields.setdefault("form_id", event_type.rpartition("/")[2])
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    inquiry = Inquiry(key, fields, mapping.answers_of(flat, source.mapping), occurred_at=at)
    old = mapping.as_text(payload.get("old_invitee"))
    return [dataclasses.replace(inquiry, continues=_key(old, CREATED)) if old else inquiry]


def _key(uri: Any, kind: str) -> str:
    text = mapping.as_text(uri)
    return f"{text} {kind}" if text else ""


def _questions(listed: Any) -> Iterator[tuple[str, Any]]:
    for item in listed[:100] if isinstance(listed, list) else ():
        if isinstance(item, dict):
            yield mapping.as_text(item.get("question")), item.get("answer")
