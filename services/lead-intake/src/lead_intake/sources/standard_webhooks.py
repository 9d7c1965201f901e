"""Standard Webhooks 1.0 (and Svix, which sends the same under its own header names).

Signed are id, timestamp and raw body; several signatures may be listed. The secret is base64 after `whsec_` (`v1`,
HMAC), or the sender's public key after `whpk_` (`v1a`, Ed25519).
Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object
from lead_intake.sources.generic import inquiry_of
from lead_intake.sources.plain import any_same, kept, mac, no_handshake, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = True
TOLERANCE_S = 300
MAX_SIGNATURES = 10
PUBLIC = "whpk_"
handshake = no_handshake
reply = receipt_reply


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    sent_at = _header(incoming, "timestamp")
    if not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 15:
        return False
    if abs(now.timestamp() - int(sent_at)) > TOLERANCE_S:
        return False
    signed = f"{_header(incoming, 'id')}.{sent_at}.".encode("utf-8", "surrogatepass")
    # Without a key anybody could sign.
    keys = [key for s in source.secrets if not s.startswith(PUBLIC) and (key := key_of(s))]
    expected = [b"v1," + base64.b64encode(mac(key, signed, incoming.body)) for key in keys]
    found = False
    for given in _header(incoming, "signature").split(" ")[:MAX_SIGNATURES]:
        found |= any_same(given, expected)
        if given.startswith("v1a,"):
            found |= any(_made_by(s, given, signed + incoming.body) for s in source.secrets if s.startswith(PUBLIC))
    return found


def _made_by(public_key: str, given: str, signed: bytes) -> bool:
    try:
        signature = base64.b64decode(given.removeprefix("v1a,"), validate=True)
        Ed25519PublicKey.from_public_bytes(key_of(public_key)).verify(signature, signed)
    except (InvalidSignature, ValueError):  # binascii.Error is one
        return False
    return True


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
        return base64.b64decode(secret.removeprefix("whsec_").removeprefix(PUBLIC), validate=True)
    except (binascii.Error, ValueError):
        return b""


def secret_problem(secret: str) -> str:
    if secret.startswith(PUBLIC):
        return "" if len(key_of(secret)) == 32 else "whpk_ and then the 32 bytes of the public key in base64"
    if not secret.startswith("whsec_") or not 24 <= len(key_of(secret)) <= 64:
        return "whsec_ and then 24 to 64 random bytes in base64"
    return ""


def _header(incoming: Incoming, name: str) -> str:
    return incoming.headers.get(f"webhook-{name}") or incoming.headers.get(f"svix-{name}", "")
