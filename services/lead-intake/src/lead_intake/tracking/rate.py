"""How many tracked events a source may send: a bucket that refills. Pure but for its own memory."""

from __future__ import annotations

from dataclasses import dataclass, field

BURST = 10
"""Seconds' worth of events that may come at once."""


@dataclass(slots=True)
class Rates:
    """The buckets of this process, one a source; a source's visitors share it."""

    a_second: int
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admits(self, source_id: str, events: int, *, now: float) -> bool:
        """Take the events from the source's bucket, or none of them; `now` is in seconds of a clock that only rises.

        A full bucket admits any one batch, so that none is larger than can ever be taken.
        """
        full = float(self.a_second * BURST)
        left, at = self._left.get(source_id, (full, now))
        left = min(full, left + (now - at) * self.a_second)
        admitted = events <= left or left >= full
        self._left[source_id] = (left - events if admitted else left, now)
        return admitted

    def give_back(self, source_id: str, events: int) -> None:
        """Return what was taken for events that the sender was asked to repeat."""
        left, at = self._left[source_id]
        self._left[source_id] = (min(float(self.a_second * BURST), left + events), at)
