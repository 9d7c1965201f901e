"""Unbounce: a urlencoded form whose `data.json` holds the answers, each a list; nothing is signed or has an id.

A submission is known again by page, variant, time (to the minute) and person. Source: snowplow/enrich, UnbounceAdapter
and its specification (a captured body).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.reading import data_of, json_of
from lead_intake.sources.generic import verify
from lead_intake.sources.plain import kept, no_handshake, no_secret_problem, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake
reply = receipt_reply
secret_problem = no_secret_problem

_OF_THE_PAGE = ("page_name", "page_uuid", "page_id", "variant", "ip_address", "time_submitted", "date_submitted")


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    form = data_of(incoming)
    raw = form.get("data.json") if isinstance(form, dict) else None
    if not isinstance(raw, str):
        raise Unparsable("no_fields")
    data = json_of(raw.encode("utf-8", "surrogatepass"), charset="")
    if not isinstance(data, dict):
        raise Unparsable("no_fields")
    flat: dict[str, Any] = {name: mapping.as_text(value) for name, value in data.items()}
    fields = mapping.fields_by_path(flat, source.mapping)
    mapping.fields_by_name(((n, v) for n, v in flat.items() if n not in _OF_THE_PAGE), fields)
    page_id = mapping.as_text(form.get("page_id")) or flat.get("page_uuid", "")
    page_url = mapping.as_text(form.get("page_url"))
    if page_id:
        fields["form_id"] = page_id
    if page_url:
        fields.setdefault("page_url", page_url)
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    told = (page_id, form.get("variant"), flat.get("date_submitted"), flat.get("time_submitted"))
    person = (fields.get("email", "").lower(), fields.get("phone", ""))
    return [
        Inquiry(
            # Without a time the body on one day decides (see `entry`): the form again next month is a new inquiry.
            key=_digest(*told, *person) if flat.get("date_submitted") and flat.get("time_submitted") else "",
            fields=fields,
            answers=mapping.answers_of(flat, source.mapping),
            occurred_at=_time(flat.get("date_submitted", ""), flat.get("time_submitted", "")),
        )
    ]


def _digest(*parts: object) -> str:
    text = "\n".join(mapping.as_text(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _time(date: str, time: str) -> datetime | None:
    """`2026-01-05` and `08:00 AM UTC`; a time of another zone is left open."""
    try:
        return datetime.strptime(f"{date} {time}", "%Y-%m-%d %I:%M %p UTC").replace(tzinfo=UTC)
    except ValueError:
        return None
