"""Put what several reps did side by side, so that one of them does not speak for all."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import stdtrit

from baton_evidence.figures import Interval

_SURE = 1.959963984540054
"""Standard deviations to either side of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class FourFold:
    """Leads of one rep: those with the feature, of which so many were declined, and those without."""

    declined_with: int
    taken_with: int
    declined_without: int
    taken_without: int

    @property
    def compares(self) -> bool:
        """Whether there are leads on either side; else the rep's table says nothing of the difference."""
        return bool(self.declined_with + self.taken_with and self.declined_without + self.taken_without)


@dataclass(frozen=True, slots=True)
class Pooled:
    """How many times higher the odds of being declined are with the feature, and from how many reps that comes."""

    odds_ratio: Interval
    reps: int


def pooled_odds_ratio(tables: Iterable[FourFold]) -> Pooled | None:
    """Pool the odds ratios of the reps; None where no rep's leads compare.

    A random-effects mean of log odds ratios (DerSimonian and Laird 1986), half a lead added to each cell, with the
    interval of Hartung and Knapp (2001), never narrower than that of equal effects. Each rep is compared with itself:
    who declines everything does so on either side. Reps who disagree widen the interval instead of outvoting others.
    """
    effects: list[tuple[float, float]] = []
    for table in tables:
        if table.compares:
            a, b, c, d = (
                count + 0.5
                for count in (table.declined_with, table.taken_with, table.declined_without, table.taken_without)
            )
            effects.append((math.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d))
    if not effects:
        return None
    reps = len(effects)
    fixed = [1 / variance for _, variance in effects]
    mean = sum(w * y for w, (y, _) in zip(fixed, effects, strict=True)) / sum(fixed)
    spread = sum(w * (y - mean) ** 2 for w, (y, _) in zip(fixed, effects, strict=True))
    scale = sum(fixed) - sum(w * w for w in fixed) / sum(fixed)
    between = max(0.0, (spread - (reps - 1)) / scale) if scale > 0 else 0.0
    weights = [1 / (variance + between) for _, variance in effects]
    mean = sum(w * y for w, (y, _) in zip(weights, effects, strict=True)) / sum(weights)
    half = _SURE / math.sqrt(sum(weights))
    if reps > 1:
        seen = sum(w * (y - mean) ** 2 for w, (y, _) in zip(weights, effects, strict=True)) / (reps - 1)
        half = max(half, float(stdtrit(reps - 1, 0.975)) * math.sqrt(seen / sum(weights)))
    low, high = (math.exp(min(max(x, -700.0), 700.0)) for x in (mean - half, mean + half))
    return Pooled(Interval(math.exp(mean), low, high), reps)
