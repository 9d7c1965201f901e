"""Jotform: multipart with the answers as JSON text in `rawRequest`, keyed `q<number>_<name>`; nothing is signed.

Jotform adds nothing of ours to a request, so the token in the address is the only proof. An edited submission may
come again under its id: the key holds a digest of the answers, so that an edit is taken and a repeat is not.
Source: integration code and catalogues that quote Jotform (docs/providers.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.reading import data_of, json_of
from lead_intake.sources.plain import kept, no_handshake, receipt_reply

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake
reply = receipt_reply

_QUESTION = re.compile(r"q\d{1,6}_(.+)", re.DOTALL)


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    return False


def secret_problem(secret: str) -> str:
    return "Jotform cannot show a secret: give none, the address carries a token"


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    form = data_of(incoming)
    raw = form.get("rawRequest") if isinstance(form, dict) else None
    if not isinstance(raw, str):
        raise Unparsable("no_fields")
    answers = json_of(raw.encode("utf-8", "surrogatepass"), charset="")
    if not isinstance(answers, dict):
        raise Unparsable("no_fields")
    flat = {**answers, **{_name(key): value for key, value in answers.items()}}
    fields = mapping.fields_by_path(flat, source.mapping)
    mapping.fields_by_name(_pairs(answers), fields)
    if form_id := mapping.as_text(form.get("formID")):
        fields["form_id"] = form_id
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    submission = mapping.as_text(form.get("submissionID"))
    told = json.dumps({key: value for key, value in answers.items() if _QUESTION.fullmatch(key)}, sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return [
        Inquiry(
            key=f"{submission}:{digest}" if submission else "",
            fields=fields,
            answers=mapping.answers_of(flat, source.mapping),
        )
    ]


def _name(key: str) -> str:
    match = _QUESTION.fullmatch(key)
    return match.group(1) if match else key


def _pairs(answers: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of the questions; composite ones by their parts."""
    for key, value in answers.items():
        match = _QUESTION.fullmatch(key)
        if match is None:
            continue
        if not isinstance(value, dict):
            yield match.group(1), value
        elif "first" in value or "last" in value:
            yield "first_name", value.get("first")
            yield "last_name", value.get("last")
        elif "full" in value:
            yield match.group(1), value["full"]
        elif "area" in value and "phone" in value:
            yield match.group(1), f"{mapping.as_text(value['area'])} {mapping.as_text(value['phone'])}"
        elif "country" in value:
            yield "country", value["country"]
