"""Identifiers: UUIDv7, so that they sort by the time they were made."""

from datetime import datetime

import uuid_utils


def new_id(at: datetime | None = None) -> str:
    """Return a new UUIDv7 as text; `at` (aware) sets its time, the present otherwise."""
    if at is None:
        return str(uuid_utils.uuid7())
    return str(uuid_utils.uuid7(nanoseconds=int(at.timestamp() * 1_000_000) * 1000))
