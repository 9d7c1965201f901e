"""What one deal contributes to the reports: its credits, and the totals they add up to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from baton_models.weights import MODELS, Milestones, Parameters, Touch, apportion, journey_before

NO_TOUCH: Final = "(none)"
"""The line of won deals without any counted touch."""

CAMPAIGN_NOT_SET: Final = "(not set)"
"""The line of touches that name no campaign."""

COMPUTED: Final = ("first", "last", "last_non_direct", "linear", "position", "time_decay")
"""The models whose credits are kept for every touch of a won deal, in the order of a new generation's columns."""

DIMENSIONS: Final = ("channel", "campaign")


@dataclass(frozen=True, slots=True)
class Projection:
    """One computed set of credits: the models and parameters that all of its rows share."""

    generation_id: int
    models: tuple[str, ...]
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Deal:
    """The latest version of a deal, as far as money goes; `closed_at` is None while it is open (again)."""

    deal_id: str
    lead_id: str
    outcome: str
    amount_minor: int
    currency: str
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credit:
    """What one touch of a deal's journey gets: minor units in the order of the projection's models.

    None is where a model gives the touch no weight at all; 0 is a share that came to nothing. A deal without a touch
    has one row without a touch id.
    """

    deal_id: str
    place: int
    lead_id: str
    touch_id: str | None
    channel: str
    campaign: str
    currency: str
    closed_on: date
    credits: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class TotalKey:
    """One cell of the aggregates; `closed_on` is the UTC day of the close."""

    model: str
    dimension: str
    key: str
    currency: str
    closed_on: date


@dataclass(frozen=True, slots=True)
class Total:
    """The money of a cell, and how many deals gave it a share."""

    credit_minor: int
    deals: int


def credits_of(deal: Deal, touches: Sequence[Touch], projection: Projection) -> tuple[Credit, ...]:
    """Return the credits of a deal, one row a touch of its journey; nothing unless it stands as won.

    In every model they sum to the deal's amount exactly. `touches` are all touches of its lead, in any order.
    """
    if deal.outcome != "won" or deal.closed_at is None:
        return ()
    closed_on = deal.closed_at.astimezone(UTC).date()
    journey = journey_before(touches, deal.closed_at, lookback_days=projection.parameters.lookback_days)
    if not journey:
        everything: tuple[int | None, ...] = (deal.amount_minor,) * len(projection.models)
        return (Credit(deal.deal_id, 0, deal.lead_id, None, NO_TOUCH, NO_TOUCH, deal.currency, closed_on, everything),)
    by_model = []
    for model in projection.models:
        weights = MODELS[model](journey, Milestones(deal.closed_at), projection.parameters)
        shares = apportion(deal.amount_minor, weights)
        by_model.append([share if weight else None for share, weight in zip(shares, weights, strict=True)])
    return tuple(
        Credit(
            deal_id=deal.deal_id,
            place=place,
            lead_id=deal.lead_id,
            touch_id=touch.touch_id,
            channel=touch.channel,
            campaign=touch.campaign,
            currency=deal.currency,
            closed_on=closed_on,
            credits=tuple(shares[place] for shares in by_model),
        )
        for place, touch in enumerate(journey)
    )


def totals_of(credits: Iterable[Credit], projection: Projection) -> dict[TotalKey, Total]:
    """Add credits up by model, dimension, key, currency and day; a deal counts once for a key it gave a share."""
    money: dict[TotalKey, int] = defaultdict(int)
    deals: dict[TotalKey, set[str]] = defaultdict(set)
    for row in credits:
        for dimension, key in (("channel", row.channel), ("campaign", row.campaign)):
            for model, credit in zip(projection.models, row.credits, strict=True):
                if credit is not None:
                    cell = TotalKey(model, dimension, key, row.currency, row.closed_on)
                    money[cell] += credit
                    deals[cell].add(row.deal_id)
    return {cell: Total(money[cell], len(deals[cell])) for cell in money}


def difference(new: Mapping[TotalKey, Total], old: Mapping[TotalKey, Total]) -> dict[TotalKey, Total]:
    """Return what must be added to the stored totals to replace the old contribution by the new one."""
    nothing = Total(0, 0)
    changes = {}
    for cell in {**old, **new}:
        after, before = new.get(cell, nothing), old.get(cell, nothing)
        if after != before:
            changes[cell] = Total(after.credit_minor - before.credit_minor, after.deals - before.deals)
    return changes
