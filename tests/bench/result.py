"""One figure: several interleaved measurements of subject and floor, as median and range."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[str], None]


@dataclass(slots=True)
class Figure:
    """`ratio` is the median of the pairwise ratios value/floor; `pairs` are (value, floor) of each round."""

    name: str
    what: str
    unit: str
    must: str
    pairs: list[tuple[float, float]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    met: bool = False

    @property
    def ratios(self) -> list[float]:
        """value/floor, round by round."""
        return [value / floor for value, floor in self.pairs if floor]

    def as_json(self) -> dict[str, Any]:
        """The figure for build/bench.json."""
        values, floors = [v for v, _ in self.pairs], [f for _, f in self.pairs]
        return {
            "what": self.what,
            "unit": self.unit,
            "ratio": _median(self.ratios),
            "value": _median(values),
            "floor": _median(floors),
            "ratio_range": _range(self.ratios),
            "value_range": _range(values),
            "floor_range": _range(floors),
            "rounds": len(self.pairs),
            "must": self.must,
            "met": self.met,
            **self.more,
        }


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None


def _range(values: Sequence[float]) -> list[float] | None:
    return [round(min(values), 4), round(max(values), 4)] if values else None


def percentile(values: Sequence[float], p: float) -> float:
    """Return a percentile of values."""
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * p / 100))]
