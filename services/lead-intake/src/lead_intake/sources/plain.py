"""What most providers have in one form: constant-time comparison, plain bodies, the answer nobody reads."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from lead_intake.delivery import Incoming, Inquiry, Outcome, Reply, Result, Source, Unparsable
from lead_intake.reading import json_object

MAX_ENTRIES = 100
"""HubSpot's largest batch; nobody sends more."""


def same(given: str, expected: str | bytes) -> bool:
    """Constant-time comparison of what a header says; `compare_digest` refuses text that is not ASCII."""
    expected = expected.encode() if isinstance(expected, str) else expected
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected)


def mac(secret: bytes | str, *parts: bytes) -> bytes:
    """HMAC-SHA256 over the parts one after the other."""
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.digest(key, b"".join(parts) if len(parts) > 1 else parts[0], hashlib.sha256)


def any_same(given: str, candidates: Iterable[str | bytes]) -> bool:
    """Whether one candidate is the same; every one is compared, so that the time tells nothing."""
    found = False
    for candidate in candidates:
        found |= same(given, candidate)
    return found


def each(record: Any, read: Callable[[dict[str, Any], Source], Inquiry], source: Source) -> Inquiry:
    """One entry of a batch: what cannot be read of it waits in quarantine and does not hold up the others."""
    if not isinstance(record, dict):
        return Inquiry("", {}, quarantined="not_an_object")
    try:
        return read(record, source)
    except Unparsable as error:
        return Inquiry("", {}, quarantined=error.reason)


def no_handshake(incoming: Incoming, source: Source) -> Reply | None:
    """For providers that ask nothing before they send."""
    return None


def kept(incoming: Incoming) -> bytes:
    return incoming.body


def kept_without(incoming: Incoming, name: str) -> bytes:
    """The body without the value of the JSON key `name`, in which the provider sends a secret."""
    body, count = _value_of(name).subn(rb'\1"removed"', incoming.body)
    if count:
        return body
    try:  # the name itself was written with escapes
        data = json_object(incoming)
    except Unparsable:
        return incoming.body
    return json.dumps({key: value for key, value in data.items() if key != name}).encode()


@lru_cache(maxsize=8)
def _value_of(name: str) -> re.Pattern[bytes]:
    return re.compile(rb'("' + name.encode() + rb'"\s*:\s*)"(?:[^"\\]|\\.)*"')


def no_secret_problem(secret: str) -> str:
    return "" if 8 <= len(secret) <= 500 else "a secret has 8 to 500 characters"


def plain_200(result: Result) -> Reply:
    """The receipt with exactly 200, for providers that repeat everything else."""
    return dataclasses.replace(receipt_reply(result), status=200)


def receipt_reply(result: Result) -> Reply:
    """200 with the receipt, 202 when a part of it waits in quarantine; nothing that names a person."""
    status = 202 if Outcome.QUARANTINED in result.outcomes else 200
    outcomes = ",".join(f'"{outcome}"' for outcome in result.outcomes)
    reason = f',"reason":"{result.reason}"' if result.reason else ""
    body = f'{{"receipt_id":"{result.receipt_id}","outcomes":[{outcomes}]{reason}}}'
    return Reply(status, body.encode())
