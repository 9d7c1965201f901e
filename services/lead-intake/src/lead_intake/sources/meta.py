r"""Meta (Facebook, Instagram) Lead Ads: notifications that name leads; their contents are asked for afterwards.

HMAC-SHA256 of the raw body with the app secret; Meta signs the escaped form (`\uXXXX`) that it sends, so that a body
which was read and written again never verifies. Up to a thousand changes come in one request.
Source: developers.facebook.com, docs/graph-api/webhooks/getting-started and webhooks-for-leadgen.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Lookup, Reply, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object, query_of
from lead_intake.sources.plain import any_same, kept, mac, no_secret_problem, receipt_reply, same

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = True
MOST_CHANGES = 1_000
reply = receipt_reply
secret_problem = no_secret_problem

_CHALLENGE = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_ABOUT = ("page_id", "ad_id", "adgroup_id")


def handshake(incoming: Incoming, source: Source) -> Reply | None:
    """The challenge alone, as it came, where the verify token is ours; None otherwise."""
    query = query_of(incoming) if incoming.method == "GET" else {}
    expected = source.credentials.get("verify_token", "")
    known = same(query.get("hub.verify_token", ""), expected) and bool(expected)
    challenge = query.get("hub.challenge", "")
    if not known or query.get("hub.mode") != "subscribe" or not _CHALLENGE.fullmatch(challenge):
        return None
    return Reply(200, challenge.encode(), "text/plain")


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    given = incoming.headers.get("x-hub-signature-256", "").removeprefix("sha256=")
    return any_same(given, (mac(secret, incoming.body).hex() for secret in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    entries = json_object(incoming).get("entry")
    if not isinstance(entries, list):
        raise Unparsable("entry")
    inquiries: list[Inquiry] = []
    for entry in entries:
        changes = entry.get("changes") if isinstance(entry, dict) else None
        if not isinstance(changes, list):
            inquiries.append(Inquiry("", {}, quarantined="changes"))
            continue
        inquiries.extend(_inquiry(change, entry) for change in changes)
        if len(inquiries) > MOST_CHANGES:
            raise Unparsable("too_many_entries")
    if not inquiries:
        raise Unparsable("empty")
    return inquiries


def _inquiry(change: Any, entry: dict[str, Any]) -> Inquiry:
    if not isinstance(change, dict) or change.get("field") != "leadgen":
        return Inquiry("", {}, refused="not_a_lead")
    value = change.get("value")
    if not isinstance(value, dict):
        return Inquiry("", {}, quarantined="no_lead_id")
    lead_id = mapping.as_text(value.get("leadgen_id"))
    if not lead_id:
        return Inquiry("", {}, quarantined="no_lead_id")
    about = {name: mapping.as_text(value.get(name)) for name in _ABOUT} | {"entry_id": mapping.as_text(entry.get("id"))}
    return Inquiry(
        lead_id,
        {},
        occurred_at=timestamp(value.get("created_time")),
        lookup=Lookup(lead_id, mapping.as_text(value.get("form_id")), {n: v for n, v in about.items() if v}),
    )
