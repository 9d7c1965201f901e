"""LinkedIn Lead Sync: one notification a request; the answers are asked for afterwards.

`X-LI-Signature` is the hex HMAC-SHA256 of `hmacsha256=` and the raw body: the prefix is part of the signed text. Every
two hours LinkedIn sends a challenge, which has to be answered within three seconds with its HMAC.
Source: learn.microsoft.com, linkedin/shared/api-guide/webhook-validation and marketing/lead-sync/leadsync.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Lookup, Reply, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object, query_of
from lead_intake.sources.plain import any_same, kept, mac, no_secret_problem, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = True
reply = receipt_reply
secret_problem = no_secret_problem

SIGNED_PREFIX = b"hmacsha256="
# A UUID and nothing else: whoever could have other text signed could have `hmacsha256={…}` signed, which is a delivery.
_CHALLENGE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def handshake(incoming: Incoming, source: Source) -> Reply | None:
    """The challenge and its HMAC with the newest secret; None where it is no challenge."""
    challenge = query_of(incoming).get("challengeCode", "") if incoming.method == "GET" else ""
    if not _CHALLENGE.fullmatch(challenge) or not source.secrets:
        return None
    answer = {"challengeCode": challenge, "challengeResponse": mac(source.secrets[-1], challenge.encode()).hex()}
    return Reply(200, json.dumps(answer).encode())


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    given = incoming.headers.get("x-li-signature", "").lower().removeprefix("hmacsha256=")
    return any_same(given, (mac(secret, SIGNED_PREFIX, incoming.body).hex() for secret in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    notice = json_object(incoming)
    response = mapping.as_text(notice.get("leadGenFormResponse"))
    action = mapping.as_text(notice.get("leadAction"))
    at = timestamp(notice.get("occurredAt"))
    if notice.get("type", "LEAD_ACTION") != "LEAD_ACTION" or action not in ("CREATED", "DELETED"):
        return [Inquiry("", {}, occurred_at=at, refused="not_a_lead")]
    if not response:
        raise Unparsable("no_lead_id")
    if action == "DELETED":
        # The member took the lead back: whatever it made of a person here is to be forgotten.
        key = f"{response}:DELETED"
        return [Inquiry(key, {}, occurred_at=at, refused="erase_requested", forgets=created_key(response))]
    about = {"lead_type": mapping.as_text(notice.get("leadType")), "creative": _creative(notice)}
    return [
        Inquiry(
            created_key(response),
            {},
            occurred_at=at,
            lookup=Lookup(
                response.rpartition(":")[2],
                form_of(mapping.as_text(notice.get("leadGenForm"))),
                {name: value for name, value in about.items() if value},
            ),
        )
    ]


def created_key(response: str) -> str:
    """The key under which a form response is received; LinkedIn repeats itself by response and action."""
    return f"{response}:CREATED"


def form_of(urn: str) -> str:
    """The id of the form in `urn:li:versionedLeadGenForm:(urn:li:leadGenForm:112233,1)`."""
    found = re.search(r"leadGenForm:(\d{1,30})", urn)
    return found.group(1) if found else ""


def _creative(notice: dict[str, Any]) -> str:
    entity = notice.get("associatedEntity")
    return mapping.as_text(entity.get("sponsoredCreative")).rpartition(":")[2] if isinstance(entity, dict) else ""
