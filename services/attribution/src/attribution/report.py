"""Read the reports: revenue by channel or campaign under several models, the funnel, and the credits of one lead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from attribution import store
from attribution.contribution import Credit, Deal
from attribution.store import KeyTotal, RulesInForce
from baton_models.weights import Parameters

if TYPE_CHECKING:
    from attribution.app import App

OWNER_OF_STAGE: Final = {
    "lead": "marketing",
    "qualified": "marketing",
    "accepted": "sales",
    "opportunity": "sales",
    "won": "sales",
}
"""Every stage of the funnel has exactly one owning department."""


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The money of the won deals in one currency; every model divides exactly this."""

    currency: str
    total_minor: int
    deals: int


@dataclass(frozen=True, slots=True)
class AttributionReport:
    """Credits per model, key and currency as of a position. Amounts of different currencies are never added."""

    as_of: datetime
    position: int
    parameters: Parameters
    rows: list[KeyTotal]
    totals: list[CurrencyTotal]
    channel_rules: RulesInForce


async def attribution(
    app: "App",
    models: Sequence[str],
    *,
    dimension: str,
    closed_from: date | None = None,
    closed_to: date | None = None,
    currency: str | None = None,
) -> AttributionReport:
    """Return the report over deals closed in the UTC days from..to, both included."""
    # Every won deal gives its whole money to one first touch: that model also counts deals and money.
    asked = sorted({*models, "first"})
    async with app.db.begin() as tx:
        await store.one_snapshot(tx)
        projection = await store.current_projection(tx)
        position = await store.position(tx)
        rules = await store.rules_in_force(tx)
        found = await store.totals_by_key(
            tx,
            projection,
            asked,
            dimension=dimension,
            closed_from=closed_from,
            closed_to=closed_to,
            currency=currency,
        )
    totals: dict[str, CurrencyTotal] = {}
    for row in found:
        if row.model == "first":
            so_far = totals.get(row.currency, CurrencyTotal(row.currency, 0, 0))
            totals[row.currency] = CurrencyTotal(
                row.currency, so_far.total_minor + row.credit_minor, so_far.deals + row.deals
            )
    order = {model: n for n, model in enumerate(models)}
    rows = sorted((row for row in found if row.model in order), key=lambda row: order[row.model])
    return AttributionReport(
        app.clock.now(), position, projection.parameters, rows, [totals[c] for c in sorted(totals)], rules
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """How many leads reached a stage of the funnel, and which department owns it."""

    stage: str
    owner: str
    leads: int


async def funnel(
    app: "App", *, created_from: date | None = None, created_to: date | None = None
) -> tuple[datetime, list[Stage]]:
    """Return the funnel of the leads created in the UTC days from..to, as it stands now."""
    async with app.db.begin() as tx:
        counts = await store.leads_by_stage(tx, created_from=created_from, created_to=created_to)
    return app.clock.now(), [Stage(name, owner, counts[name]) for name, owner in OWNER_OF_STAGE.items()]


async def credits_of_lead(
    app: "App", lead_id: str
) -> tuple[tuple[str, ...], list[tuple[Deal, tuple[Credit, ...]]]] | None:
    """Return the models and the won deals of a lead with their credits; None for a lead nobody told of."""
    async with app.db.begin() as tx:
        await store.one_snapshot(tx)
        if not await store.knows_lead(tx, lead_id):
            return None
        projection = await store.current_projection(tx)
        return projection.models, await store.credited_deals(tx, projection, lead_id)
