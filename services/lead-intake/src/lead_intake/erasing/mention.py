"""Whom a body may speak of: addresses and numbers in it, by 64 bits of a hash. Pure.

The visits of people whom nobody knows are many, and nearly none of them names anybody. What one mentions is noted when
it comes, so that forgetting a person looks at the visits that may speak of them and not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

MOST = 1_000
"""Mentions kept of one body; it takes an attack to have more."""

_ADDRESS = re.compile(rb"[a-z0-9._+\-\x80-\xff]+@[a-z0-9.\-\x80-\xff]+")
_DIGITS = re.compile(rb"\d+")
_TIME = re.compile(rb"1[5-9]\d{8}(?:\d{3})?")
"""Unix seconds and milliseconds of this age. No number in E.164 looks so: after the 1 come ten digits."""


def mentions_of(body: bytes) -> tuple[int, ...]:
    """What a body mentions: every address, and every row of digits that may be a number in E.164."""
    lower = body.lower()
    found: set[bytes] = set()
    for text in {lower, lower.replace(b"\\u0040", b"@"), unquote_to_bytes(lower)}:
        if b"@" in text:
            found.update(one.strip(b".-") for one in _ADDRESS.findall(text))
        found.update(one for one in _DIGITS.findall(text) if 8 <= len(one) <= 15 and not _TIME.fullmatch(one))
    return tuple(sorted(_hash(one) for one in sorted(found)[:MOST]))


def mentions_of_person(emails: Collection[str], phones: Collection[str]) -> list[int]:
    """How the mentions of a person hash."""
    told = [e.lower().strip(".-") for e in emails] + [p.removeprefix("+") for p in phones]
    return sorted({_hash(text.encode("utf-8", "surrogatepass")) for text in told})


def _hash(text: bytes) -> int:
    digest = hashlib.blake2b(text, digest_size=8, person=b"baton.mention").digest()
    return int.from_bytes(digest, "big", signed=True)
