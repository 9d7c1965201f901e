"""One journey at a time: which touches count, and how a deal's money is divided over them.

Every weight is an integer, so that a division of money never depends on the order of additions, and raw weights are
always divided by their sum: what a missing milestone leaves over is shared by the rest in proportion. `pooled.py`
computes the same models over many journeys at once, by channel; a test holds the two together.
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
class Milestones:
    """When a deal was closed, and the lead and the opportunity behind it were created; None where nobody knows."""

    closed_at: datetime
    lead_created_at: datetime | None = None
    opportunity_created_at: datetime | None = None


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


def journey_before(
    touches: Sequence[Touch], closed_at: datetime, *, lookback_days: int | None, excluded: Sequence[str] = ()
) -> tuple[Touch, ...]:
    """The touches that count for a deal closed at `closed_at`, by (time, touch id).

    A touch at the very time of the close counts, a later one does not; nor does one older than the lookback, nor one
    of an excluded channel.
    """
    oldest = None if lookback_days is None else closed_at - timedelta(days=lookback_days)
    counted = (
        t
        for t in touches
        if t.occurred_at <= closed_at
        and (oldest is None or t.occurred_at >= oldest)
        and (not excluded or t.channel not in excluded)
    )
    return tuple(sorted(counted, key=lambda t: (t.occurred_at, t.touch_id)))


def milestone_touch(journey: Sequence[Touch], at: datetime | None) -> int | None:
    """The place of the last touch at or before a milestone; None when the milestone or such a touch is missing."""
    if at is None:
        return None
    places = [place for place, touch in enumerate(journey) if touch.occurred_at <= at]
    return places[-1] if places else None


Weigh = Callable[[Sequence[Touch], Milestones, Parameters], list[int]]
"""Journey (not empty, in order), milestones of the deal, parameters -> one weight >= 0 a touch, not all zero."""


def _only(index: int, length: int) -> list[int]:
    weights = [0] * length
    weights[index] = 1
    return weights


def first(journey: Sequence[Touch], _milestones: Milestones, _parameters: Parameters) -> list[int]:
    """All to the first touch: what a deal was sourced by."""
    return _only(0, len(journey))


def last(journey: Sequence[Touch], _milestones: Milestones, _parameters: Parameters) -> list[int]:
    """All to the last touch."""
    return _only(len(journey) - 1, len(journey))


def last_non_direct(journey: Sequence[Touch], _milestones: Milestones, _parameters: Parameters) -> list[int]:
    """All to the last touch that is not direct; to the last touch when every one is direct."""
    for index in range(len(journey) - 1, -1, -1):
        if journey[index].channel != DIRECT:
            return _only(index, len(journey))
    return _only(len(journey) - 1, len(journey))


def linear(journey: Sequence[Touch], _milestones: Milestones, _parameters: Parameters) -> list[int]:
    """The same to each touch."""
    return [1] * len(journey)


def shaped(length: int, poles: Sequence[tuple[int, int | None]], *, rest: int) -> list[int]:
    """Weigh a journey that has poles: (weight, place) each, and a rest shared evenly by the touches that are no pole.

    Weights that fall on one touch add up; a pole without a place gives nothing, nor does a rest with nobody to take
    it. Whoever divides by the sum gets two touches under 30/20/50 as 3/8 and 5/8.
    """
    placed = [(weight, place) for weight, place in poles if place is not None]
    others = length - len({place for _, place in placed})
    # Everything is taken times the number that shares the rest, so that its parts are whole.
    scale = others or 1
    weights = [rest] * length if others else [0] * length
    for place in {place for _, place in placed}:
        weights[place] = 0
    for weight, place in placed:
        weights[place] += weight * scale
    divisor = math.gcd(*weights)
    return [weight // divisor for weight in weights]


def position(journey: Sequence[Touch], _milestones: Milestones, _parameters: Parameters) -> list[int]:
    """40 % to the first touch, 40 % to the last, 20 % shared by those between; without any between, halves."""
    between = len(journey) - 2
    if between <= 0:
        return [1] * len(journey)
    return [2 * between, *([1] * between), 2 * between]


def u_shaped(journey: Sequence[Touch], milestones: Milestones, _parameters: Parameters) -> list[int]:
    """40 % to the first touch, 40 % to that of the lead's creation, 20 % shared by the others."""
    lead = milestone_touch(journey, milestones.lead_created_at)
    return shaped(len(journey), [(40, 0), (40, lead)], rest=20)


def w_shaped(journey: Sequence[Touch], milestones: Milestones, _parameters: Parameters) -> list[int]:
    """30 % each to the first touch and those of the lead's and the opportunity's creation, 10 % to the others."""
    lead = milestone_touch(journey, milestones.lead_created_at)
    opportunity = milestone_touch(journey, milestones.opportunity_created_at)
    return shaped(len(journey), [(30, 0), (30, lead), (30, opportunity)], rest=10)


def full_path(journey: Sequence[Touch], milestones: Milestones, _parameters: Parameters) -> list[int]:
    """22.5 % each to the first touch and those of lead, opportunity and close, 10 % shared by the others."""
    at = (milestones.lead_created_at, milestones.opportunity_created_at, milestones.closed_at)
    poles = [(225, 0), *((225, milestone_touch(journey, one)) for one in at)]
    return shaped(len(journey), poles, rest=100)


def shapley(journey: Sequence[Touch], _milestones: Milestones, _parameters: Parameters) -> list[int]:
    """The same to each distinct channel, shared evenly by the channel's own touches.

    Zhao, Mahboobi, Bagheri: Shapley Value Methods for Attribution Modeling in Online Advertising (2018), section 3,
    the simplified form. It is linear over distinct channels and knows nothing of lost deals.
    """
    times: dict[str, int] = {}
    for touch in journey:
        times[touch.channel] = times.get(touch.channel, 0) + 1
    scale = math.lcm(*times.values())
    return [scale // times[touch.channel] for touch in journey]


def time_decay(journey: Sequence[Touch], milestones: Milestones, parameters: Parameters) -> list[int]:
    """Half the weight for every half-life of age at the close: 2^(-age / half-life), continuous.

    Ages count from the youngest touch, so that an old journey does not underflow to nothing.
    """
    microsecond = timedelta(microseconds=1)
    ages = [(milestones.closed_at - touch.occurred_at) // microsecond for touch in journey]
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
    "u_shaped": u_shaped,
    "w_shaped": w_shaped,
    "full_path": full_path,
    "shapley": shapley,
}
"""Every model that looks at one journey only, by its public name. Markov needs all of them: `markov.py`."""


def influenced(journey: Sequence[Touch]) -> frozenset[str]:
    """The channels that influenced a deal: any touch. Each counts the whole deal, so they do not add up to it."""
    return frozenset(touch.channel for touch in journey)


def by_effect(journey: Sequence[Touch], effects: Mapping[str, float]) -> list[int]:
    """Weigh a journey's touches by the removal effects of their channels: Markov "per deal".

    Integers as in time decay. All zero, when no channel of the journey has an effect: such a deal goes to "(none)".
    """
    return [int(math.ldexp(max(0.0, effects.get(touch.channel, 0.0)), _DECAY_BITS)) for touch in journey]


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
