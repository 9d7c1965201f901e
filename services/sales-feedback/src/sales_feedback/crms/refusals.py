"""How many refused deliveries are written down: a stranger must not fill the disk."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Refusals:
    """Admits `per_minute` refusals in each minute of this process."""

    per_minute: int = 10
    _minute: datetime | None = field(default=None)
    _admitted: int = 0

    def admits(self, at: datetime) -> bool:
        """Say whether the refusal at this time is still to be written down, and count it."""
        minute = at.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute, self._admitted = minute, 0
        self._admitted += 1
        return self._admitted <= self.per_minute
