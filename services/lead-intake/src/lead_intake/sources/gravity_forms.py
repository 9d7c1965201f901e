"""Gravity Forms' Webhooks add-on: the raw entry keyed by field numbers, or chosen fields under own names.

Nothing is signed: a header with a secret can be added in the feed. Of a raw entry the mapping says which number is
what; without one, the parts of a name field (`.3` first, `.6` last) and the only value that reads as an e-mail address
or an international phone number are taken. Source: docs.gravityforms.com (entry object, triggering webhooks).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from lead_intake import mapping, normalise
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.reading import data_of
from lead_intake.sources.generic import verify
from lead_intake.sources.plain import kept, no_handshake, no_secret_problem, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake
reply = receipt_reply
secret_problem = no_secret_problem

_FIELD = re.compile(r"(\d{1,5})(?:\.(\d{1,3}))?")
# Names of the entry itself: none of them is an answer.
_OF_THE_ENTRY = mapping.words(
    """
    id form_id post_id date_created date_updated is_starred is_read ip source_url user_agent currency payment_status
    payment_date payment_amount payment_method transaction_id is_fulfilled created_by transaction_type status
    """
)


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    entry = data_of(incoming)
    if not isinstance(entry, dict):
        raise Unparsable("not_an_object")
    fields = mapping.fields_by_path(entry, source.mapping)
    mapping.fields_by_name(((n, v) for n, v in entry.items() if n not in _OF_THE_ENTRY), fields)
    _guess(entry, fields)
    if form_id := mapping.as_text(entry.get("form_id")):
        fields["form_id"] = form_id
    if address := mapping.as_text(entry.get("source_url")):
        fields.setdefault("page_url", address)
    entry_id = fields.pop("id", "") or mapping.as_text(entry.get("id"))
    created = mapping.as_text(entry.get("date_created")) or fields.get("occurred_at", "")
    fields.pop("occurred_at", None)
    return [
        Inquiry(
            key=f"{form_id}:{entry_id}" if entry_id and form_id else "",
            fields=fields,
            answers=mapping.answers_of(entry, source.mapping),
            occurred_at=normalise.timestamp(created),
        )
    ]


def _guess(entry: dict[str, Any], fields: dict[str, str]) -> None:
    """Fill in what the mapping leaves open, only where there is no choice."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name, value in entry.items():
        if match := _FIELD.fullmatch(name):
            groups[match.group(1)][match.group(2) or ""] = mapping.as_text(value)
    # An address has parts .3 (city) and .6 (country) as well, but also .1 and .5, which a name has not.
    names = [g for g in groups.values() if ("3" in g or "6" in g) and not g.keys() & {"1", "5"}]
    if len(names) == 1:
        for part, ours in (("3", "first_name"), ("6", "last_name")):
            if names[0].get(part):
                fields.setdefault(ours, names[0][part])
    values = [value for group in groups.values() for value in group.values()]
    for ours, found in (
        ("email", [v for v in values if normalise.email(v)]),
        ("phone", [v for v in values if v.strip().startswith("+") and normalise.phone(v, "")[0]]),
    ):
        if len(found) == 1:
            fields.setdefault(ours, found[0])
