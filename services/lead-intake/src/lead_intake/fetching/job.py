"""A lookup that waits, and when it is tried again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3_600.0
MOST_MALFORMED = 5
"""Answers that cannot be read before the entry goes to a person: waiting does not mend them."""


@dataclass(frozen=True, slots=True)
class Job:
    """One pending entry and what is to be asked about it; `epoch` is the claim that this worker holds."""

    id: str
    source_id: str
    provider: str
    receipt_id: str
    ordinal: int
    key: str
    lookup_id: str
    form_id: str
    about: Mapping[str, str]
    occurred_at: datetime
    received_at: datetime
    attempt: int
    malformed: int
    expires_at: datetime
    epoch: int


def wait_of(attempt: int, *, jitter: float) -> timedelta:
    """How long until the next attempt: doubles from five seconds to an hour, spread by `jitter` in [0, 1)."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt, 20))
    return timedelta(seconds=longest * (0.5 + jitter / 2))


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token bucket: `left` calls may be made at `at`."""

    left: float
    at: datetime

    def refilled(self, *, per_minute: float, burst: int, now: datetime) -> Allowance:
        """The bucket as it stands now; a clock that went back takes nothing away."""
        passed = max(0.0, (now - self.at).total_seconds())
        return Allowance(min(float(burst), self.left + passed * per_minute / 60), max(self.at, now))

    def less(self, calls: int) -> Allowance:
        """The bucket after so many calls; a call that had to be made may overdraw it."""
        return Allowance(self.left - calls, self.at)
