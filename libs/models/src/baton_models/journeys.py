"""Many journeys at once: each distinct path kept once, with how often it was won and lost and what it was worth."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NO_TOUCH: Final = "(none)"
"""The line of won journeys without a touch, and of what no channel can be given credit for."""


class EmptyStep(ValueError):
    """A path has a touch without a name; `path` is its place among the paths, `step` counts touches from 1."""

    def __init__(self, path: int, step: int) -> None:
        super().__init__(f"touch {step} of path {path} has no name")
        self.path, self.step = path, step


@dataclass(frozen=True, slots=True)
class Amounts:
    """Exact numbers, one a path: `units` (whole, of any size, also negative) times 10^-`decimals`.

    `units` is an array of int64 where all fit, of Python's integers otherwise: make it with `amounts`.
    """

    units: npt.NDArray[Any]
    decimals: int = 0

    def exact(self, units: int) -> Fraction:
        """What a sum of units is worth."""
        return Fraction(units, 10**self.decimals)

    def total(self, where: Bools | None = None) -> Fraction:
        """The sum of all numbers, or of those of some paths."""
        return self.exact(sum((self.units if where is None else self.units[where]).tolist()))

    def floats(self) -> Floats:
        """The numbers as floats."""
        if self.units.dtype == object:
            scale = 10**self.decimals
            return np.array([units / scale for units in self.units])
        return self.units / float(10**self.decimals)

    def limbs(self, bits: int) -> list[Floats]:
        """The units in parts of `bits` bits (at most 52), lowest first: units = sum of part n times 2^(n * bits).

        So cut, numbers of any size are added up exactly by what adds floats.
        """
        rest, parts = self.units, []
        while True:
            low, rest = rest & ((1 << bits) - 1), rest >> bits
            if bool(np.all((rest == 0) | (rest == -1))):
                # What is left is the sign: it belongs to the highest part.
                parts.append((low + rest * (1 << bits)).astype(np.float64))
                return parts
            parts.append(low.astype(np.float64))


def amounts(units: Sequence[int], *, decimals: int = 0) -> Amounts:
    """Whole numbers as `Amounts`."""
    small = not units or max(max(units), -min(units)) < 2**62
    return Amounts(np.array(units, dtype=np.int64 if small else object), decimals)


@dataclass(frozen=True, slots=True)
class Journeys:
    """Distinct paths with their outcomes.

    Path p has the touches `steps[starts[p]:starts[p + 1]]`, each an index into `channels`; a path may be empty.
    `conversions`, `nulls` and `value` have one number a path; `value` is what its won journeys are worth together,
    None where nobody knows. `ages`, where known, has the hours before the close of each step.
    """

    channels: tuple[str, ...]
    steps: Ints
    starts: Ints
    conversions: Amounts
    nulls: Amounts
    value: Amounts | None = None
    ages: Floats | None = None

    @property
    def lengths(self) -> Ints:
        """Touches of each path."""
        return np.diff(self.starts)

    @property
    def path_of_step(self) -> Ints:
        """The path that each step belongs to."""
        return np.repeat(np.arange(len(self.starts) - 1), self.lengths)


def split(paths: Sequence[str], *, separator: str = ">") -> tuple[tuple[str, ...], Ints, Ints]:
    """Split paths into channels, steps and starts. White space around a touch is none of its name.

    A path that is empty or white space has no touch. Channels come in the order of their names.
    Raises `EmptyStep` for a touch without a name beside others.
    """
    counts = np.fromiter(map(operator.methodcaller("count", separator), paths), np.int64, len(paths)) + 1
    if len(separator) == 1:
        names = separator.join(paths).split(separator) if paths else []
    else:  # joined, the end of one path and a longer separator could make another one
        names = [name for path in paths for name in path.split(separator)]
    stripped = {name: name.strip() for name in set(names)}
    channels = tuple(sorted({name for name in stripped.values() if name}))
    places = {name: place for place, name in enumerate(channels)}
    place_of = {raw: places.get(name, -1) for raw, name in stripped.items()}
    steps = np.fromiter(map(place_of.__getitem__, names), np.int64, len(names))
    if (steps < 0).any():
        ends = np.cumsum(counts)
        nameless = np.flatnonzero(steps < 0)
        path = np.searchsorted(ends, nameless, side="right")
        wrong = np.flatnonzero(counts[path] > 1)
        if len(wrong):
            place = wrong[0]
            raise EmptyStep(int(path[place]), int(nameless[place] - (ends - counts)[path[place]] + 1))
        counts[path] = 0
        steps = steps[steps >= 0]
    return channels, steps, np.concatenate(([0], np.cumsum(counts)))


def pooled(rows: Iterable[tuple[Sequence[str], int, int, int]]) -> Journeys:
    """Pool journeys given as (channels in time order, conversions, nulls, value in whole units)."""
    pool: dict[tuple[str, ...], list[int]] = {}
    for path, conversions, nulls, value in rows:
        sums = pool.setdefault(tuple(path), [0, 0, 0])
        sums[0] += conversions
        sums[1] += nulls
        sums[2] += value
    channels = tuple(sorted({channel for path in pool for channel in path}))
    places = {name: place for place, name in enumerate(channels)}
    steps = np.array([places[c] for path in pool for c in path], dtype=np.int64)
    starts = np.cumsum([0, *(len(path) for path in pool)], dtype=np.int64)
    sums_of = list(pool.values())
    conversions_of, nulls_of, value_of = ([sums[n] for sums in sums_of] for n in range(3))
    return Journeys(channels, steps, starts, amounts(conversions_of), amounts(nulls_of), amounts(value_of))


def counting(journeys: Journeys, *, lookback_hours: float | None = None, excluded: Sequence[str] = ()) -> Journeys:
    """The journeys with only the touches that count: not older than the lookback, not of an excluded channel.

    A path may be empty afterwards. Raises `ValueError` for a lookback on journeys whose ages nobody knows.
    """
    counted = np.array([name not in excluded for name in journeys.channels], dtype=bool)[journeys.steps]
    if lookback_hours is not None:
        if journeys.ages is None:
            raise ValueError("a lookback needs the age of every touch")
        counted &= journeys.ages <= lookback_hours
    lengths = np.bincount(journeys.path_of_step[counted], minlength=len(journeys.starts) - 1)
    left = [n for n, name in enumerate(journeys.channels) if name not in excluded]
    place = np.full(len(journeys.channels), -1)
    place[left] = np.arange(len(left))
    return replace(
        journeys,
        channels=tuple(journeys.channels[n] for n in left),
        steps=place[journeys.steps[counted]],
        starts=np.concatenate(([0], np.cumsum(lengths))),
        ages=None if journeys.ages is None else journeys.ages[counted],
    )
