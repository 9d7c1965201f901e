"""Ids that come out the same when the same fact is met again.

A database that went back in time reads again what it lost. Handoffs, feedback, deals and events then get the ids they
had before, so that nobody downstream takes them for something new.
"""

import hashlib
from datetime import datetime
from uuid import UUID


def derived_id(kind: str, /, *parts: str, at: datetime) -> str:
    """UUID in the layout of version 7: the time from `at`, the rest from a hash over kind and parts."""
    digest = hashlib.sha256("\x1f".join((kind, *parts)).encode("utf-8", "surrogatepass")).digest()
    milliseconds = int(at.timestamp() * 1000) & ((1 << 48) - 1)
    tail = int.from_bytes(digest[:10], "big")
    high = (tail >> 62) & 0xFFF
    low = tail & ((1 << 62) - 1)
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))
