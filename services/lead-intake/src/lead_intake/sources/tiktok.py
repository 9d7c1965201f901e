"""TikTok instant forms: several leads a request, answers included.

Whether lead webhooks are signed is not certain. So the token in the address is always needed, and a `TikTok-Signature`
(`t=…,s=…`, HMAC-SHA256 of time, dot and raw body) must verify where it comes and a secret is set, but is never asked
for. Its time is not judged: nobody says whether a repeat after hours is signed anew, and the lead's id tells a repeat.
Source: integrations that run against it; TikTok publishes the shape behind a login only.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Lookup, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import MAX_FIELDS, json_object
from lead_intake.sources.plain import MAX_ENTRIES, any_same, kept, mac, no_handshake, no_secret_problem, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake
reply = receipt_reply
secret_problem = no_secret_problem


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    header = incoming.headers.get("tiktok-signature")
    if header is None:
        return bool(source.token_digest)
    parts = dict(part.strip().partition("=")[::2] for part in header[:500].split(","))
    signed = f"{parts.get('t', '')}.".encode("utf-8", "surrogatepass")
    given = parts.get("s", "").lower()
    return any_same(given, (mac(secret, signed, incoming.body).hex() for secret in source.secrets))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    entries = json_object(incoming).get("entry")
    if not isinstance(entries, list):
        raise Unparsable("entry")
    if not entries:
        raise Unparsable("empty")
    if len(entries) > MAX_ENTRIES:
        raise Unparsable("too_many_entries")
    return [_inquiry(entry, source) for entry in entries]


def _inquiry(entry: Any, source: Source) -> Inquiry:
    lead_id = mapping.as_text(entry.get("id")) if isinstance(entry, dict) else ""
    if not lead_id:
        return Inquiry("", {}, quarantined="no_lead_id")
    at = timestamp(entry.get("create_time"))
    form_id = mapping.as_text(entry.get("page_id"))
    changes = entry.get("changes")
    if not isinstance(changes, list) or not changes:
        return Inquiry(lead_id, {}, occurred_at=at, lookup=Lookup(lead_id, form_id))
    pairs = [(mapping.as_text(c.get("field")), c.get("value")) for c in changes[:MAX_FIELDS] if isinstance(c, dict)]
    return inquiry_of(lead_id, pairs, entry | {"form_id": form_id}, source=source, at=at)


def inquiry_of(
    lead_id: str, pairs: Iterable[tuple[str, Any]], about: dict[str, Any], *, source: Source, at: datetime | None
) -> Inquiry:
    """One lead from its questions and answers; `about` holds the ids and names of form, campaign and ad."""
    flat = dict(pairs)
    fields = mapping.fields_by_path(flat, source.mapping)
    mapping.fields_by_name(flat.items(), fields)
    for theirs, ours in (
        ("form_id", "form_id"), ("campaign_id", "campaign_id"), ("adgroup_id", "adgroup_id"), ("ad_id", "ad_id"),
        ("campaign_name", "utm_campaign"),
    ):  # fmt: skip
        if value := mapping.as_text(about.get(theirs)):
            fields.setdefault(ours, value)
    fields.setdefault("utm_source", "tiktok")
    fields.setdefault("utm_medium", "paid_social")
    fields.pop("id", None)
    test = mapping.as_text(about.get("is_test")).lower() in ("true", "1")
    return Inquiry(lead_id, fields, mapping.answers_of(flat, source.mapping), occurred_at=at, test=test)
