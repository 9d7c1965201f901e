"""Receipt ids carry their time (UUIDv7): hours and moments as ranges of ids."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)


def floor_id(at: datetime) -> str:
    """The lowest id of a moment: every id made at it or later is not below."""
    milliseconds = max(0, int(at.timestamp() * 1000))
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


def time_of(id: str) -> datetime:
    """The time in an id."""
    return datetime.fromtimestamp(int(id.replace("-", "")[:12], 16) / 1000, UTC)


def hour_of(at: datetime) -> datetime:
    """The hour (UTC) that holds a moment."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def derived_id(receipt_id: str, name: str) -> str:
    """A UUIDv7 with the time of the receipt, always the same for a receipt and a name."""
    digest = hashlib.blake2b(f"{receipt_id}\n{name}".encode(), digest_size=10, person=b"baton.replay").digest()
    random = int.from_bytes(digest, "big")
    value = (int(receipt_id.replace("-", "")[:12], 16) << 80) | (0x7 << 76) | ((random >> 62 & 0xFFF) << 64)
    value |= (0b10 << 62) | (random & (2**62 - 1))
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
