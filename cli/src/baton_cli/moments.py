"""Times as people type them."""

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, *, now: datetime | None = None) -> datetime:
    """The UTC time meant by `90s`, `10m`, `2h`, `3d` (ago) or an RFC 3339 time. Anything else is wrong usage."""
    if found := re.fullmatch(r"([0-9]{1,5})([smhd])", text):
        return (now or datetime.now(UTC)) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise typer.BadParameter(f"{text} is neither a span like 10m, 2h, 3d nor a time like 2026-09-01T08:00:00Z")
    return at.astimezone(UTC)
