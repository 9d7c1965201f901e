"""Standard Webhooks 1.0 (and Svix, which sends the same under its own header names).

Signed are id, timestamp and raw body; the secret is base64 after `whsec_`; several signatures may be listed.
Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object
from lead_intake.sources.generic import inquiry_of
from lead_intake.sources.plain import any_same, kept, mac, no_handshake, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = True
TOLERANCE_S = 300
MAX_SIGNATURES = 10
handshake = no_handshake
reply = receipt_reply


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    sent_at = _header(incoming, "timestamp")
    if not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 15:
        return False
    if abs(now.timestamp() - int(sent_at)) > TOLERANCE_S:
        return False
    signed = f"{_header(incoming, 'id')}.{sent_at}.".encode("utf-8", "surrogatepass")
    expected = [b"v1," + base64.b64encode(mac(key_of(s), signed, incoming.body)) for s in source.secrets]
    found = False
    for given in _header(incoming, "signature").split(" ")[:MAX_SIGNATURES]:
        found |= any_same(given, expected)
    return found


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    event = json_object(incoming)
    data = event.get("data", event)
    if not isinstance(data, dict):
        raise Unparsable("not_an_object")
    key = _header(incoming, "id")
    inquiry = inquiry_of(data, source, key=key)
    return [
        Inquiry(
            key,
            inquiry.fields,
            inquiry.answers,
            occurred_at=inquiry.occurred_at or timestamp(event.get("timestamp")),
            test=inquiry.test,
        )
    ]


def key_of(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return b""


def secret_problem(secret: str) -> str:
    if not secret.startswith("whsec_") or not 24 <= len(key_of(secret)) <= 64:
        return "whsec_ and then 24 to 64 random bytes in base64"
    return ""


def _header(incoming: Incoming, name: str) -> str:
    return incoming.headers.get(f"webhook-{name}") or incoming.headers.get(f"svix-{name}", "")
