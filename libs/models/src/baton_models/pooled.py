"""The models that look at one journey only, over many journeys at once: credits by channel.

What is rational stays exact to the end: whole numerators are summed for each denominator, of any size, and divided
once, so a figure is the float nearest to the true one, and a whole one is an integer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from scipy.sparse import csr_array, diags_array

from baton_models.journeys import NO_TOUCH, Amounts, Floats, Ints, Journeys
from baton_models.weights import DIRECT

Credits = Mapping[str, Fraction]
"""Channel -> what it is given, with `NO_TOUCH` where something is nobody's. They sum to the total."""

SUBSET_CHANNELS: Final = 16
"""The exact Shapley value looks at 2^channels coalitions; above this many channels it is not computed."""


@dataclass(frozen=True, slots=True)
class _Picks:
    """Weights of some steps: channel and path of each, and what the weights of each path sum to."""

    channel: Ints
    path: Ints
    weight: Ints
    total: Ints


def _shared(journeys: Journeys, picks: _Picks, amounts: Amounts) -> dict[str, Fraction]:
    """Share each path's amount by weight. An amount of a path without a pick goes to `NO_TOUCH`."""
    totals, group = np.unique(picks.total, return_inverse=True)
    key = picks.channel * len(totals) + group[picks.path]
    cells = len(journeys.channels) * len(totals)
    # A part times a weight, added up, has to stay below 2^53 to be exact.
    bits = max(1, 52 - int(picks.weight.sum()).bit_length())
    numerators = [0] * cells
    for place, part in enumerate(amounts.limbs(bits)):
        sums = np.bincount(key, weights=part[picks.path] * picks.weight, minlength=cells)
        for cell in np.flatnonzero(sums):
            numerators[cell] += int(sums[cell]) << (place * bits)
    common = math.lcm(*(int(total) for total in totals if total))
    scales = [common // int(total) if total else 0 for total in totals]
    credits = {}
    for n, channel in enumerate(journeys.channels):
        row = numerators[n * len(totals) : (n + 1) * len(totals)]
        whole = sum(numerator * scale for numerator, scale in zip(row, scales, strict=True) if numerator)
        credits[channel] = amounts.exact(whole) / common
    credits[NO_TOUCH] = credits.get(NO_TOUCH, Fraction()) + amounts.total(picks.total == 0)
    return credits


def _one_step(journeys: Journeys, steps: Ints, paths: Ints) -> _Picks:
    total = np.zeros(len(journeys.starts) - 1, dtype=np.int64)
    total[paths] = 1
    return _Picks(journeys.steps[steps], paths, np.ones(len(steps), dtype=np.int64), total)


def first(journeys: Journeys) -> _Picks:
    """All to the first touch."""
    paths = np.flatnonzero(journeys.lengths)
    return _one_step(journeys, journeys.starts[paths], paths)


def last(journeys: Journeys) -> _Picks:
    """All to the last touch."""
    paths = np.flatnonzero(journeys.lengths)
    return _one_step(journeys, journeys.starts[paths + 1] - 1, paths)


def last_non_direct(journeys: Journeys, *, direct: Sequence[str] = (DIRECT,)) -> _Picks:
    """All to the last touch that is not direct; to the last touch when every one is."""
    paths = np.flatnonzero(journeys.lengths)
    is_direct = np.array([name in direct for name in journeys.channels], dtype=bool)[journeys.steps]
    # Places of the steps, direct ones as if they stood before the first: the greatest is the one wanted.
    place = np.where(is_direct, -1, np.arange(len(journeys.steps)))
    found = np.maximum.reduceat(place, journeys.starts[paths]) if len(paths) else paths
    return _one_step(journeys, np.where(found < 0, journeys.starts[paths + 1] - 1, found), paths)


def linear(journeys: Journeys) -> _Picks:
    """The same to each touch."""
    return _Picks(journeys.steps, journeys.path_of_step, np.ones(len(journeys.steps), np.int64), journeys.lengths)


def position(journeys: Journeys) -> _Picks:
    """40 % to the first touch, 40 % to the last, 20 % shared by those between; without any between, halves."""
    weight = np.ones(len(journeys.steps), dtype=np.int64)
    paths = np.flatnonzero(journeys.lengths > 2)
    poles = 2 * (journeys.lengths[paths] - 2)
    weight[journeys.starts[paths]] = weight[journeys.starts[paths + 1] - 1] = poles
    lengths = journeys.lengths
    return _Picks(journeys.steps, journeys.path_of_step, weight, np.where(lengths > 2, 5 * (lengths - 2), lengths))


def _distinct(journeys: Journeys) -> tuple[Ints, Ints]:
    """Each channel of each path once: (channels, paths)."""
    width = max(1, len(journeys.channels))
    pairs = np.sort(journeys.path_of_step * width + journeys.steps)
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs % width, pairs // width


def shapley(journeys: Journeys) -> _Picks:
    """The same to each distinct channel of a journey: Zhao 2018, the simplified form."""
    channel, path = _distinct(journeys)
    total = np.bincount(path, minlength=len(journeys.starts) - 1)
    return _Picks(channel, path, np.ones(len(path), dtype=np.int64), total)


def time_decay(journeys: Journeys, amounts: Amounts, *, half_life_hours: float) -> dict[str, Fraction]:
    """Half the weight for every half-life of age. Ages count from the youngest touch. In floats, unlike the others.

    Raises `ValueError` when nobody knows the ages.
    """
    if journeys.ages is None:
        raise ValueError("time decay needs the age of every touch")
    paths = np.flatnonzero(journeys.lengths)
    youngest = np.zeros(len(journeys.starts) - 1)
    if len(paths):
        youngest[paths] = np.minimum.reduceat(journeys.ages, journeys.starts[paths])
    path = journeys.path_of_step
    weight = np.exp2(-(journeys.ages - youngest[path]) / half_life_hours)
    return _by_weight(journeys, weight, amounts)


def _by_weight(journeys: Journeys, weight: Floats, amounts: Amounts) -> dict[str, Fraction]:
    """Share amounts by weights that are floats; a path whose weights are all zero goes to `NO_TOUCH`."""
    path = journeys.path_of_step
    total = np.bincount(path, weights=weight, minlength=len(journeys.starts) - 1)
    share = np.divide(amounts.floats(), total, out=np.zeros(len(total)), where=total > 0)
    sums = np.bincount(journeys.steps, weights=weight * share[path], minlength=len(journeys.channels))
    credits = {name: Fraction(float(x)) for name, x in zip(journeys.channels, sums, strict=True)}
    credits[NO_TOUCH] = credits.get(NO_TOUCH, Fraction()) + amounts.total(total <= 0)
    return credits


def by_effect(journeys: Journeys, effects: Mapping[str, float], amounts: Amounts) -> dict[str, Fraction]:
    """Share each journey over its touches by the removal effects of their channels: Markov "per deal"."""
    effect = np.array([max(0.0, effects.get(name, 0.0)) for name in journeys.channels])
    return _by_weight(journeys, effect[journeys.steps], amounts)


def influenced(journeys: Journeys, amounts: Amounts) -> dict[str, Fraction]:
    """What the journeys are worth that have a channel anywhere. These overlap and do not add up to the total."""
    channel, path = _distinct(journeys)
    picks = _Picks(channel, path, np.ones(len(path), np.int64), (journeys.lengths > 0).astype(np.int64))
    return _shared(journeys, picks, amounts)


PICKS: Final = {
    "first": first,
    "last": last,
    "last_non_direct": last_non_direct,
    "linear": linear,
    "position": position,
    "shapley": shapley,
}
"""The models that need nothing but the path, by public name."""


def credit(journeys: Journeys, model: str, amounts: Amounts, *, direct: Sequence[str] = (DIRECT,)) -> Credits:
    """Share amounts under one of `PICKS`. Exact; `NO_TOUCH` has what the empty paths are worth."""
    picks = last_non_direct(journeys, direct=direct) if model == "last_non_direct" else PICKS[model](journeys)
    return _shared(journeys, picks, amounts)


def subset_shapley(journeys: Journeys, amounts: Amounts) -> dict[str, Fraction]:
    """The exact Shapley value of the channels in the game v(S) = amount per journey whose channels all lie in S.

    It sees lost journeys, and a channel with few wins of its own can come out below zero. Shares are of the amount
    per journey, times the journeys. Journeys without a touch are not part of the game. Raises `ValueError` above
    `SUBSET_CHANNELS` channels.
    """
    size = len(journeys.channels)
    if size > SUBSET_CHANNELS:
        raise ValueError(f"the exact Shapley value is for at most {SUBSET_CHANNELS} channels")
    paths = np.flatnonzero(journeys.lengths)
    coalition = np.zeros(len(journeys.starts) - 1, dtype=np.int64)
    if len(paths):
        coalition[paths] = np.bitwise_or.reduceat(1 << journeys.steps, journeys.starts[paths])
    touched = coalition > 0
    won = np.bincount(coalition[touched], weights=amounts.floats()[touched], minlength=1 << size)
    all_of = (journeys.conversions.floats() + journeys.nulls.floats())[touched]
    seen = np.bincount(coalition[touched], weights=all_of, minlength=1 << size)
    for n in range(size):  # sums over all subsets, one channel after the other
        for sums in (won, seen):
            cube = sums.reshape(-1, 2, 1 << n)
            cube[:, 1] += cube[:, 0]
    worth = np.divide(won, seen, out=np.zeros(len(won)), where=seen > 0)
    sizes = np.bitwise_count(np.arange(1 << size, dtype=np.int64))
    chance = np.array([1 / (size * math.comb(size - 1, k)) for k in range(size)])
    credits = {}
    for n, name in enumerate(journeys.channels):
        cube, without = worth.reshape(-1, 2, 1 << n), sizes.reshape(-1, 2, 1 << n)[:, 0]
        credits[name] = Fraction(float(np.sum((cube[:, 1] - cube[:, 0]) * chance[without]) * seen[-1]))
    credits[NO_TOUCH] = credits.get(NO_TOUCH, Fraction()) + amounts.total(~touched)
    return credits


def ordered_shapley(journeys: Journeys) -> dict[str, list[float]]:
    """Conversions of `shapley` by the place in the journey: channel -> credit at place 1, 2, …

    A channel's part of a journey is shared evenly by its own touches (Zhao 2018, section 4, the ordered form).
    """
    _, path = _distinct(journeys)
    width = max(1, len(journeys.channels))
    pair = journeys.path_of_step * width + journeys.steps
    _, back, times = np.unique(pair, return_inverse=True, return_counts=True)
    distinct = np.bincount(path, minlength=len(journeys.starts) - 1)
    share = journeys.conversions.floats()[journeys.path_of_step] / distinct[journeys.path_of_step] / times[back]
    place = np.arange(len(journeys.steps)) - journeys.starts[journeys.path_of_step]
    longest = int(journeys.lengths.max(initial=0))
    sums = np.bincount(journeys.steps * longest + place, weights=share, minlength=width * longest)
    rows: list[list[float]] = sums.astype(np.float64).reshape(width, longest).tolist()
    return {name: rows[n] for n, name in enumerate(journeys.channels)}


def probabilistic(journeys: Journeys) -> dict[str, float]:
    """The simple probabilistic model of Shao and Li (Data-driven Multi-touch Attribution Models, KDD 2011), C(x).

    C(x) = p(x) + sum over y != x of (p(x, y) - p(x) - p(y)) / (2 (N - 1)), where p is the part of the journeys with
    these channels that were won, 0 where there is none.
    """
    size = len(journeys.channels)
    channel, path = _distinct(journeys)
    has = csr_array((np.ones(len(path)), (path, channel)), shape=(len(journeys.starts) - 1, size))
    conversions = journeys.conversions.floats()
    won = (has.T @ diags_array(conversions) @ has).toarray()
    seen = (has.T @ diags_array(conversions + journeys.nulls.floats()) @ has).toarray()
    rate = np.divide(won, seen, out=np.zeros_like(won), where=seen > 0)
    alone = np.diag(rate)
    pairs = (rate - alone[:, None] - alone[None, :]) * (1 - np.eye(size))
    values = alone + pairs.sum(axis=1) / (2 * max(1, size - 1))
    return {name: float(values[n]) for n, name in enumerate(journeys.channels)}
