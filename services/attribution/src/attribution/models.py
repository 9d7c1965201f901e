"""The models: how the money of one deal is divided over the touches before it.

Definitions: position and linear as everyone has them, time decay as 2^(-age / half-life). Every weight is an
integer, so that a division of money never depends on the order of additions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DIRECT: Final = "direct"
_MICROSECONDS_PER_HOUR: Final = 3_600_000_000
# Time decay is the one model whose weights are not rational; they are cut to this many bits, the precision of
# the float they come from, and are integers from there on.
_DECAY_BITS: Final = 53


@dataclass(frozen=True, slots=True)
class Touch:
    """One contact of a lead with marketing, as far as attribution needs it."""

    touch_id: str
    occurred_at: datetime
    channel: str
    campaign: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a projection was computed with; stored beside it and named on every report.

    `lookback_days` None counts every earlier touch. `half_life_hours` is that of time decay.
    """

    lookback_days: int | None = 90
    half_life_hours: int = 168

    def __post_init__(self) -> None:
        if self.lookback_days is not None and self.lookback_days < 1:
            raise ValueError("lookback_days must be at least 1, or none")
        if self.half_life_hours < 1:
            raise ValueError("half_life_hours must be at least 1")


def journey_before(touches: Sequence[Touch], closed_at: datetime, *, lookback_days: int | None) -> tuple[Touch, ...]:
    """The touches that count for a deal closed at `closed_at`, by (time, touch id).

    A touch at the very time of the close counts, a later one does not; nor does one older than the lookback.
    """
    oldest = None if lookback_days is None else closed_at - timedelta(days=lookback_days)
    counted = (t for t in touches if t.occurred_at <= closed_at and (oldest is None or t.occurred_at >= oldest))
    return tuple(sorted(counted, key=lambda t: (t.occurred_at, t.touch_id)))


Weigh = Callable[[Sequence[Touch], datetime, Parameters], list[int]]
"""Journey (not empty, in order), time of the close, parameters -> one weight >= 0 a touch, not all zero."""


def _only(index: int, length: int) -> list[int]:
    weights = [0] * length
    weights[index] = 1
    return weights


def first(journey: Sequence[Touch], _closed_at: datetime, _parameters: Parameters) -> list[int]:
    """All to the first touch."""
    return _only(0, len(journey))


def last(journey: Sequence[Touch], _closed_at: datetime, _parameters: Parameters) -> list[int]:
    """All to the last touch."""
    return _only(len(journey) - 1, len(journey))


def last_non_direct(journey: Sequence[Touch], _closed_at: datetime, _parameters: Parameters) -> list[int]:
    """All to the last touch that is not direct; to the last touch when every one is direct."""
    for index in range(len(journey) - 1, -1, -1):
        if journey[index].channel != DIRECT:
            return _only(index, len(journey))
    return _only(len(journey) - 1, len(journey))


def linear(journey: Sequence[Touch], _closed_at: datetime, _parameters: Parameters) -> list[int]:
    """The same to each touch."""
    return [1] * len(journey)


def position(journey: Sequence[Touch], _closed_at: datetime, _parameters: Parameters) -> list[int]:
    """40 % to the first touch, 40 % to the last, 20 % shared by those between; without any between, halves."""
    between = len(journey) - 2
    if between <= 0:
        return [1] * len(journey)
    return [2 * between, *([1] * between), 2 * between]


def time_decay(journey: Sequence[Touch], closed_at: datetime, parameters: Parameters) -> list[int]:
    """Half the weight for every half-life of age at the close.

    Ages count from the youngest touch, so that an old journey does not underflow to nothing.
    """
    microsecond = timedelta(microseconds=1)
    ages = [(closed_at - touch.occurred_at) // microsecond for touch in journey]
    youngest = min(ages)
    half_life = parameters.half_life_hours * _MICROSECONDS_PER_HOUR
    return [int(math.ldexp(2.0 ** (-(age - youngest) / half_life), _DECAY_BITS)) for age in ages]


MODELS: Final[Mapping[str, Weigh]] = {
    "first": first,
    "last": last,
    "last_non_direct": last_non_direct,
    "linear": linear,
    "position": position,
    "time_decay": time_decay,
}
"""Every model by its public name."""


def apportion(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Divide an amount by weights into integers that sum exactly to it (largest remainder).

    Units left over by rounding down go to the largest remainders, ties to the earlier touch. A negative amount (a
    deal that ended as a refund) is divided like its opposite. `weights` are integers >= 0, not all zero.
    """
    total = sum(weights)
    size = abs(amount_minor)
    shares, remainders = [], []
    for weight in weights:
        whole, remainder = divmod(size * weight, total)
        shares.append(whole)
        remainders.append(remainder)
    left_over = size - sum(shares)
    if left_over:
        by_remainder = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
        for index in by_remainder[:left_over]:
            shares[index] += 1
    return shares if amount_minor >= 0 else [-share for share in shares]
