"""Any form tool: JSON, urlencoded with bracket keys, or multipart, read through the source's mapping.

How the sender proves itself is a setting, because every tool can add something else:

* ``signature_header`` (with ``signature_encoding`` hex|base64 and ``signature_prefix``): HMAC-SHA256 of the raw body;
* ``secret_header``: the secret itself in that header;
* none of them: ``Authorization: Bearer <secret>``, the password of ``Authorization: Basic``, or ``X-Api-Key``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.calls import read_call
from lead_intake.delivery import Incoming, Inquiry, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import MAX_FIELDS, data_of
from lead_intake.sources.plain import (
    MAX_ENTRIES,
    any_same,
    each,
    kept,
    mac,
    no_handshake,
    no_secret_problem,
    receipt_reply,
)

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
# Never a bare "id": with many tools that is the form's, and every lead but the first would be a repeat.
_IDS = ("submission_id", "submissionId", "submissionID", "entry_id", "entryId", "lead_id", "response_id", "responseId")

handshake = no_handshake
reply = receipt_reply
secret_problem = no_secret_problem


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    header = str(source.settings.get("signature_header", "")).lower()
    if header:
        given = incoming.headers.get(header, "").strip()
        prefix = str(source.settings.get("signature_prefix", ""))
        in_hex = source.settings.get("signature_encoding", "hex") == "hex"
        digests = (mac(secret, incoming.body) for secret in source.secrets)
        given = given.removeprefix(prefix)
        if in_hex:
            given = given.lower()
        return any_same(given, (d.hex() if in_hex else base64.b64encode(d) for d in digests))
    return any_same(presented(incoming, source), source.secrets)


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    data = data_of(incoming)
    records = data if isinstance(data, list) else [data]
    if not records:
        raise Unparsable("empty")
    if len(records) > MAX_ENTRIES:
        raise Unparsable("too_many_entries")
    inquiries = [each(record, inquiry_of, source) for record in records]
    if len(inquiries) == 1 and not inquiries[0].key:
        key = incoming.headers.get("idempotency-key", "") or incoming.headers.get("webhook-id", "")
        if key:
            first = inquiries[0]
            return [Inquiry(key, first.fields, first.answers, occurred_at=first.occurred_at, test=first.test)]
    return inquiries


def inquiry_of(record: dict[str, Any], source: Source, *, key: str = "") -> Inquiry:
    """One record by the declared paths, then by well-known names at any depth that a form tool uses."""
    fields = mapping.fields_by_path(record, source.mapping)
    mapping.fields_by_name(leaves(record), fields)
    answers = mapping.answers_of(record, source.mapping)
    if source.settings.get("touch_kind") == "call":
        answers = read_call(fields, answers, source)
    return Inquiry(
        key=key or fields.pop("id", "") or next((as_id for n in _IDS if (as_id := mapping.as_text(record.get(n)))), ""),
        fields=fields,
        answers=answers,
        occurred_at=timestamp(fields.pop("occurred_at", "")),
        test=fields.pop("test", "").lower() in ("true", "1", "yes", "test"),
    )


def leaves(record: Any) -> Iterator[tuple[str, Any]]:
    """(name, scalar) pairs, outer ones first: nested objects, and lists of {name|label|key, value}."""
    level: list[Any] = [record]
    count = 0
    for _ in range(4):
        inner: list[Any] = []
        for node in level:
            for name, value in node.items():
                count += 1
                if count > MAX_FIELDS:
                    raise Unparsable("too_many_fields")
                if isinstance(value, dict):
                    if "value" in value:
                        yield str(value.get("label") or value.get("id") or name), value["value"]
                        yield name, value["value"]
                    else:
                        inner.append(value)
                elif isinstance(value, list):
                    for item in value[:MAX_FIELDS]:
                        if isinstance(item, dict):
                            label = item.get("name") or item.get("label") or item.get("key")
                            if isinstance(label, str) and "value" in item:
                                yield label, item["value"]
                            else:
                                inner.append(item)
                else:
                    yield name, value
        level = inner
        if not level:
            return


def presented(incoming: Incoming, source: Source) -> str:
    """The secret that a request shows in a header, by the source's settings; "" when it shows none."""
    header = str(source.settings.get("secret_header", "")).lower()
    if header:
        return incoming.headers.get(header, "")
    scheme, _, credentials = incoming.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return incoming.headers.get("x-api-key", "")
