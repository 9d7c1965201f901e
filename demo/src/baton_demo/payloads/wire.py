"""The values that all providers have in common: an open door and a request on the wire."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Door:
    """A configured source: the address that the provider calls, and what it signs with."""

    source: str
    provider: str
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, exactly as sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


def dumps(value: Any) -> bytes:
    """JSON as most senders write it: compact, non-ASCII as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def mac(secret: str | bytes, signed: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.digest(secret.encode() if isinstance(secret, str) else secret, signed, hashlib.sha256)


def mac_base64(secret: str | bytes, signed: bytes) -> str:
    """HMAC-SHA256 in base64."""
    return base64.b64encode(mac(secret, signed)).decode()


def json_request(url: str, body: bytes, **headers: str) -> Request:
    """A JSON body with more headers; underscores in their names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(url, {"Content-Type": "application/json", **named}, body)


def spoilt(request: Request, oddity: str) -> Request:
    """The request of a forger (signed bytes changed) or of a broken line (cut in the middle)."""
    if oddity == "bad_signature":
        return replace(request, body=request.body.replace(b"form_response", b"form_Response", 1))
    if oddity == "broken":
        # The last byte begins a percent escape or a character that never ends.
        return replace(request, body=request.body[: len(request.body) // 2] + b"%C3%")
    return request
