"""Times as CRMs write them, read as aware UTC."""

import re
from datetime import UTC, datetime, timedelta

_DIGITS = re.compile(r"-?[0-9]{1,16}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class Unreadable(ValueError):
    """The text or number is no time; the message names no value."""


def read_time(value: str | int) -> datetime:
    """Milliseconds since 1970, or ISO 8601 text (UTC when it names no zone); between 1990 and 2200."""
    try:
        if isinstance(value, int) or _DIGITS.fullmatch(value):
            at = _EPOCH + timedelta(milliseconds=int(value))
        else:
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Unreadable("a time cannot be read") from error
    if not EARLIEST <= at < LATEST:
        raise Unreadable("a time lies outside 1990 to 2200")
    return at
