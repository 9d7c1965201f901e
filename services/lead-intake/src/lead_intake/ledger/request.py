"""What a repair needs of a request beside its body, sealed: method, address, token and headers.

The address and the headers hold tokens and secrets. Headers that only say who the visitor is are not kept.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime

from baton_kit.seal import SealBroken, seal, unseal
from lead_intake.delivery import Incoming

MOST_HEADERS = 100
LONGEST_HEADER = 4_096
_NOT_KEPT = frozenset(
    {
        "accept-language",
        "cf-connecting-ip",
        "cookie",
        "forwarded",
        "origin",
        "referer",
        "true-client-ip",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-real-ip",
    }
)


def sealed_request(key: bytes, incoming: Incoming, *, receipt_id: str, with_body: bool) -> bytes:
    """The request, sealed for its receipt; the body only where nothing else keeps it."""
    headers = {n: v for n, v in incoming.headers.items() if n not in _NOT_KEPT and len(v) <= LONGEST_HEADER}
    kept = {
        "method": incoming.method,
        "url": incoming.url,
        "token": incoming.token,
        "headers": dict(list(headers.items())[:MOST_HEADERS]),
        "body": base64.b64encode(incoming.body).decode() if with_body else None,
    }
    return seal(key, json.dumps(kept).encode(), context=f"receipt:{receipt_id}")


def opened_request(
    key: bytes,
    sealed: bytes | None,
    *,
    receipt_id: str,
    content_type: str,
    body: bytes | None,
    received_at: datetime,
) -> Incoming | None:
    """The request as it came. Without a sealed part the content type alone has to do; None when no body is left."""
    kept = None
    if sealed is not None:
        try:
            kept = json.loads(unseal(key, sealed, context=f"receipt:{receipt_id}"))
        except SealBroken:
            kept = None  # sealed with a key that is gone
    if kept is None:
        return None if body is None else Incoming("POST", "", {"content-type": content_type}, body, "", received_at)
    if kept["body"] is not None:
        body = base64.b64decode(kept["body"])
    if body is None:
        return None
    return Incoming(kept["method"], kept["url"], kept["headers"], body, kept["token"], received_at)
