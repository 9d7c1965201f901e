"""Attribution by removal effects in a Markov chain of order k, solved directly: no simulation.

After Anderl, Becker, von Wangenheim, Schumann: Mapping the customer journey (IJRM 33, 2016). States are start, the
k-grams seen, conversion and null; a journey shorter than k is one state. A channel is removed by letting every entry
into a state that contains it lead to null. The removal effect is the part of the conversions that is lost so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import splu

from baton_models.journeys import NO_TOUCH, Amounts, Floats, Ints, Journeys

ORDERS: Final = (1, 2, 3, 4)
DENSE_STATES: Final = 400
"""Up to this many states of an order above 1, every channel's system is solved as it is."""
DENSE_CHANNELS: Final = 4_000
"""Up to this many channels order 1 is one inverse; above, a sparse factorisation is asked for its diagonal."""
_COLUMNS: Final = 256
_ROUNDS: Final = 2_000
_LEFT: Final = 1e-16
_BLOCK: Final = 20_000_000
# What is left of 1 - x when x is 1 up to the rounding of the sums.
_NOISE: Final = 1e-13


@dataclass(frozen=True, slots=True)
class Chain:
    """The absorbing chain of some journeys: probabilities out of each state, steps back into itself left out.

    `enter` has those of the start, `onward` of state to state, `won` of each state to conversion, `worth` the value
    expected on leaving a state for conversion. `grams` has the channels of each state, -1 where a journey was shorter.
    `rate` is conversions per journey, `value_rate` value per journey (0 where nobody knows the value).
    """

    enter: Floats
    onward: Any
    won: Floats
    worth: Floats
    grams: Ints
    channels: tuple[str, ...]
    rate: float
    value_rate: float

    @property
    def states(self) -> int:
        """How many, start included, conversion and null not."""
        return len(self.enter) + 1


@dataclass(frozen=True, slots=True)
class Effects:
    """What removing a channel costs: the part of the conversions, and of the value, that is lost."""

    conversions: Mapping[str, float]
    value: Mapping[str, float]


def chain_of(journeys: Journeys, order: int) -> Chain:
    """Count the transitions of all journeys that have a touch and an outcome."""
    if order not in ORDERS:
        raise ValueError(f"the order is one of {', '.join(map(str, ORDERS))}")
    # 1. Only what was walked: journeys with a touch, won or lost at least once.
    won, lost = journeys.conversions.floats(), journeys.nulls.floats()
    value = np.zeros(len(won)) if journeys.value is None else journeys.value.floats()
    walked = won + lost
    lengths = np.where(walked > 0, journeys.lengths, 0)
    counted = walked > 0
    step = journeys.steps[np.repeat(counted, journeys.lengths)]
    path = np.repeat(np.arange(len(lengths)), lengths)
    end = np.cumsum(lengths)
    begin = end - lengths

    # 2. A state begins at each step that has order - 1 more behind it, and at the first of a shorter journey.
    place = np.arange(len(step))
    is_state = (place + order <= end[path]) | (place == begin[path])
    at, path = place[is_state], path[is_state]
    code = np.zeros(len(at), dtype=np.int64)
    base = len(journeys.channels) + 1
    for n in range(order):
        if n and int(code.max(initial=0)) > (2**62) // base:
            code = np.unique(code, return_inverse=True)[1]
        inside = at + n < end[path]
        code = code * base + np.where(inside, step[np.minimum(at + n, max(0, len(step) - 1))] + 1, 0)
    _, example, state = np.unique(code, return_index=True, return_inverse=True)
    size = len(example)
    grams = np.full((size, order), -1, dtype=np.int64)
    for n in range(order):
        there = at[example] + n
        inside = there < end[path[example]]
        grams[inside, n] = step[there[inside]]

    # 3. Counts, then probabilities.
    same = path[1:] == path[:-1]
    source, target, weight = state[:-1][same], state[1:][same], walked[path[1:][same]]
    moved = source != target  # how often a state follows itself changes nothing about where it leads in the end
    onward = csr_array((weight[moved], (source[moved], target[moved])), shape=(size, size))
    onward.sum_duplicates()
    ends = np.concatenate((path[1:] != path[:-1], [True])) if len(path) else np.zeros(0, dtype=bool)
    begins = np.concatenate(([True], path[1:] != path[:-1])) if len(path) else np.zeros(0, dtype=bool)
    left = np.asarray(onward.sum(axis=1)).ravel() + _added(state[ends], walked[path[ends]], size)
    enter = _added(state[begins], walked[path[begins]], size)
    everyone = float(walked[path[begins]].sum())
    each = np.divide(1.0, left, out=np.zeros(size), where=left > 0)
    return Chain(
        enter=enter / everyone if everyone else enter,
        onward=(diags_array(each) @ onward).tocsr() if size else onward,
        won=_added(state[ends], won[path[ends]], size) * each,
        worth=_added(state[ends], value[path[ends]], size) * each,
        grams=grams,
        channels=journeys.channels,
        rate=float(won[path[begins]].sum()) / everyone if everyone else 0.0,
        value_rate=float(value[path[begins]].sum()) / everyone if everyone else 0.0,
    )


def _added(state: Ints, weights: Floats, size: int) -> Floats:
    return np.bincount(state, weights, size).astype(np.float64)


def effects_of(chain: Chain) -> Effects:
    """Return the removal effect of every channel, 0 for all where there is no conversion (or no value) to lose."""
    size = len(chain.channels)
    if not len(chain.enter) or not chain.rate:
        nothing = dict.fromkeys(chain.channels, 0.0)
        return Effects(nothing, nothing)
    if chain.grams.shape[1] == 1:
        lost = _lost_of_order_one(chain)
    else:
        lost = np.array([chain.rate, chain.value_rate])[:, None] - _reached_without(chain, size)
    total = np.array([chain.rate, chain.value_rate])[:, None]
    part = np.divide(lost, total, out=np.zeros_like(lost), where=total != 0)
    part[np.abs(part) < _NOISE] = 0.0
    named = [dict(zip(chain.channels, row.tolist(), strict=True)) for row in part]
    return Effects(named[0], named[1])


def _lost_of_order_one(chain: Chain) -> Floats:
    """By one inverse N of (I - Q): what is lost without c is N[0,c] / N[c,c] * (what c leads to)."""
    size = len(chain.enter)
    ends = np.stack((chain.won, chain.worth), axis=1)
    if size <= DENSE_CHANNELS:
        inverse = np.linalg.inv(np.eye(size) - chain.onward.toarray())
        visits, own, leads_to = chain.enter @ inverse, np.diag(inverse), inverse @ ends
    else:
        factors = splu((eye_array(size) - chain.onward).tocsc())
        visits, leads_to = factors.solve(chain.enter, trans="T"), factors.solve(ends)
        own = np.empty(size)
        for low in range(0, size, _COLUMNS):
            columns = np.arange(low, min(size, low + _COLUMNS))
            unit = np.zeros((size, len(columns)))
            unit[columns, columns - low] = 1.0
            own[columns] = factors.solve(unit)[columns, columns - low]
    lost = np.zeros((2, len(chain.channels)))
    lost[:, chain.grams[:, 0]] = (visits / own) * leads_to.T
    return lost


def _reached_without(chain: Chain, size: int) -> Floats:
    """Conversions and value per journey (2 rows) when a channel (column) is removed."""
    if len(chain.enter) <= DENSE_STATES:
        matrix = np.eye(len(chain.enter)) - chain.onward.toarray()
        return _solved(chain, size, lambda kept: np.linalg.solve(matrix[np.ix_(kept, kept)].T, chain.enter[kept]))
    reached = _propagated(chain, size)
    if reached is None:
        # Journeys that go round for long: few rounds are not enough, so the systems are factorised.
        system = (eye_array(len(chain.enter)) - chain.onward).tocsc()
        reached = _solved(
            chain, size, lambda kept: splu(system[np.ix_(kept, kept)].tocsc()).solve(chain.enter[kept], trans="T")
        )
    return reached


def _solved(chain: Chain, size: int, visits_of: Callable[[Ints], Floats]) -> Floats:
    """Solve for the expected visits of the states that remain, one system a channel."""
    reached = np.empty((2, size))
    for channel in range(size):
        kept = np.flatnonzero((chain.grams != channel).all(axis=1))
        visits = visits_of(kept) if len(kept) else np.zeros(0)
        reached[:, channel] = visits @ chain.won[kept], visits @ chain.worth[kept]
    return reached


def _propagated(chain: Chain, size: int) -> Floats | None:
    """Walk all removals at once, step by step, until less than 1e-16 of the journeys is still on its way.

    That part bounds the error: what is still walking can at most convert. None when it takes too many steps.
    """
    backward = chain.onward.T.tocsr()
    ends = np.stack((chain.won, chain.worth))
    reached = np.zeros((2, size))
    block = max(1, _BLOCK // len(chain.enter))
    for low in range(0, size, block):
        channels = np.arange(low, min(size, low + block))
        kept = np.ones((len(chain.enter), len(channels)))
        for column in range(chain.grams.shape[1]):
            gram = chain.grams[:, column]
            inside = np.flatnonzero((gram >= low) & (gram < low + len(channels)))
            kept[inside, gram[inside] - low] = 0.0
        walking = chain.enter[:, None] * kept
        for _ in range(_ROUNDS):
            reached[:, channels] += ends @ walking
            walking = (backward @ walking) * kept
            if walking.sum(axis=0).max() < _LEFT * chain.rate:
                break
        else:
            return None
    return reached


def share_out(amounts: Amounts, journeys: Journeys, effects: Mapping[str, float]) -> dict[str, Fraction]:
    """Share the total by the removal effects: the "global share". Without any effect all of it is `NO_TOUCH`'s."""
    empty = amounts.total(journeys.lengths == 0)
    total = amounts.total() - empty
    whole = sum(map(Fraction, effects.values()))
    credits = {name: total * Fraction(effect) / whole if whole else Fraction() for name, effect in effects.items()}
    nobodys = empty if whole else empty + total
    credits[NO_TOUCH] = credits.get(NO_TOUCH, Fraction()) + nobodys
    return credits
