"""Every model's credits for a set of journeys, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from baton_models import markov, pooled
from baton_models.journeys import NO_TOUCH, Amounts, Journeys
from baton_models.weights import DIRECT

Number = int | float
Figures = dict[str, dict[str, dict[str, Number]]]
"""Model -> "conversions" and "value" -> channel -> credit. Without a known value the second is empty."""


class AmbiguousChannel(ValueError):
    """A channel has the name of the line of journeys without a touch, and there are such journeys."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen: orders of the Markov chain, channels that are direct, half-life of time decay in hours."""

    orders: tuple[int, ...] = (1,)
    direct: tuple[str, ...] = (DIRECT,)
    half_life_hours: float = 168.0


def names(journeys: Journeys, options: Options) -> list[str]:
    """The models that these journeys can be credited under, in the order they are shown in.

    Time decay needs ages, the exact Shapley value few channels; models of milestones cannot be had from paths.
    """
    exact = 0 < len(journeys.channels) <= pooled.SUBSET_CHANNELS
    return [
        *(name for name in pooled.PICKS if name != "shapley"),
        *(["time_decay"] if journeys.ages is not None else []),
        "shapley",
        *(["shapley_subset_rate"] if exact else []),
        *(f"markov_order{order}{suffix}" for order in options.orders for suffix in ("", "_per_deal")),
    ]


def every_model(
    journeys: Journeys, options: Options, *, models: Sequence[str], begin: Callable[[str], object] = lambda _: None
) -> Figures:
    """Credit the journeys under models out of `names`; in each one the credits sum to the total.

    A figure is an integer where it is whole and known exactly. `begin` hears of every model before it is computed.
    Each channel has a line in every model. Raises `AmbiguousChannel`.
    """
    empty = journeys.lengths == 0
    told = [journeys.conversions, *([journeys.value] if journeys.value is not None else [])]
    if NO_TOUCH in journeys.channels and any(amounts.units[empty].any() for amounts in told):
        raise AmbiguousChannel(NO_TOUCH)
    effects: dict[int, markov.Effects] = {}

    def credit(model: str, amounts: Amounts, *, of_value: bool) -> Mapping[str, Fraction]:
        if model in pooled.PICKS:
            return pooled.credit(journeys, model, amounts, direct=options.direct)
        if model == "time_decay":
            return pooled.time_decay(journeys, amounts, half_life_hours=options.half_life_hours)
        if model == "shapley_subset_rate":
            return pooled.subset_shapley(journeys, amounts)
        order = int(model.removeprefix("markov_order").removesuffix("_per_deal"))
        if order not in effects:
            effects[order] = markov.effects_of(markov.chain_of(journeys, order))
        if model.endswith("_per_deal"):
            return pooled.by_effect(journeys, effects[order].conversions, amounts)
        lost = effects[order].value if of_value else effects[order].conversions
        return markov.share_out(amounts, journeys, lost)

    found: dict[str, tuple[Mapping[str, Fraction], Mapping[str, Fraction]]] = {}
    for model in models:
        begin(model)
        conversions = credit(model, journeys.conversions, of_value=False)
        value = {} if journeys.value is None else credit(model, journeys.value, of_value=True)
        found[model] = (conversions, value)
    nobodys = NO_TOUCH in journeys.channels or any(one.get(NO_TOUCH) for pair in found.values() for one in pair)
    lines = [*journeys.channels, *([NO_TOUCH] if nobodys and NO_TOUCH not in journeys.channels else [])]
    return {
        model: {
            "conversions": {name: _number(conversions[name]) for name in lines},
            "value": {name: _number(value[name]) for name in lines} if journeys.value is not None else {},
        }
        for model, (conversions, value) in found.items()
    }


def _number(exact: Fraction) -> Number:
    return exact.numerator if exact.denominator == 1 else float(exact)
