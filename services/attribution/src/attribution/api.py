"""The HTTP edge: reports, one lead's credits, rebuild."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from attribution import rebuild as rebuilding
from attribution import report
from attribution.contribution import Credit, Deal
from attribution.report import AttributionReport
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from baton_models.weights import Parameters

if TYPE_CHECKING:
    from attribution.app import App

router = APIRouter()

Model = Literal["first", "last", "last_non_direct", "linear", "position", "time_decay"]
From = Annotated[date | None, Query(alias="from", description="First day, UTC, included.")]
To = Annotated[date | None, Query(description="Last day, UTC, included.")]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        401: "An API key is needed",
        403: "The key does not allow this",
        422: "The request is not valid",
    }.items()
}


class ReportParameters(BaseModel):
    """What the credits were computed with."""

    lookback_days: int | None = Field(description="Touches older than this at the close do not count; null: all do")
    half_life_hours: int = Field(description="Half-life of time decay")


class ReportRow(BaseModel):
    """What one model gives to one channel or campaign, in one currency."""

    model: str
    key: str = Field(description="Channel or campaign; `(none)` is the line of deals without a touch")
    currency: str
    deals: int = Field(description="Deals that gave this key a share")
    credit_minor: int
    share: float = Field(description="Part of the currency's total, 0..1")


class ReportTotal(BaseModel):
    """All won deals of one currency; the rows of each model sum to it exactly."""

    currency: str
    total_minor: int
    deals: int


class ReportRules(BaseModel):
    """The version of the channel rules that the channels follow."""

    version: int
    restated: bool = Field(description="False while earlier touches are still being grouped by this version")


class Report(BaseModel):
    """Credits under one or more models side by side."""

    model: str | None = Field(description="The model, when one was asked for")
    models: list[str]
    by: str
    as_of: datetime
    position: int = Field(description="Position in the log of facts that the report covers")
    parameters: ReportParameters
    channel_rules: ReportRules
    closed_from: date | None
    closed_to: date | None
    rows: list[ReportRow]
    totals: list[ReportTotal]
    total_minor: int | None = Field(description="The total, when there is one currency; null otherwise")


@router.get(
    "/v1/reports/attribution",
    operation_id="get_attribution_report",
    summary="Revenue by channel or campaign under several models",
    tags=["reports"],
    responses=PROBLEMS,
)
async def get_attribution_report(
    request: Request,
    model: Annotated[list[Model] | None, Query(description="Repeat it to see models side by side.")] = None,
    by: Literal["channel", "campaign"] = "channel",
    closed_from: From = None,
    to: To = None,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$", description="Only deals in this currency.")] = None,
    caller: Caller = requires("reports:read"),
) -> Report:
    """Each deal takes all touches of its lead before the close, within the lookback. Without `model`: linear."""
    if closed_from and to and closed_from > to:
        raise Problem(422, "The request is not valid", detail="`from` must not be after `to`.")
    models: list[str] = list(dict.fromkeys(model or ["linear"]))
    found = await report.attribution(
        _app(request), models, dimension=by, closed_from=closed_from, closed_to=to, currency=currency
    )
    return _report(found, models, by=by, closed_from=closed_from, closed_to=to)


def _report(
    found: AttributionReport, models: list[str], *, by: str, closed_from: date | None, closed_to: date | None
) -> Report:
    total_of = {total.currency: total.total_minor for total in found.totals}
    return Report(
        model=models[0] if len(models) == 1 else None,
        models=models,
        by=by,
        as_of=found.as_of,
        position=found.position,
        parameters=ReportParameters(
            lookback_days=found.parameters.lookback_days, half_life_hours=found.parameters.half_life_hours
        ),
        channel_rules=ReportRules(version=found.channel_rules.version, restated=found.channel_rules.restated),
        closed_from=closed_from,
        closed_to=closed_to,
        rows=[
            ReportRow(
                model=row.model,
                key=row.key,
                currency=row.currency,
                deals=row.deals,
                credit_minor=row.credit_minor,
                share=round(row.credit_minor / total_of[row.currency], 6) if total_of[row.currency] else 0.0,
            )
            for row in found.rows
        ],
        totals=[ReportTotal(currency=t.currency, total_minor=t.total_minor, deals=t.deals) for t in found.totals],
        total_minor=found.totals[0].total_minor if len(found.totals) == 1 else None,
    )


class FunnelStage(BaseModel):
    """How many leads reached a stage, and the one department that owns it."""

    stage: str
    owner: str = Field(description="marketing or sales")
    leads: int


class Funnel(BaseModel):
    """The funnel of the leads created in a period."""

    as_of: datetime
    created_from: date | None
    created_to: date | None
    stages: list[FunnelStage]


@router.get(
    "/v1/reports/funnel",
    operation_id="get_funnel",
    summary="Leads by stage, each stage with its owning department",
    tags=["reports"],
    responses=PROBLEMS,
)
async def get_funnel(
    request: Request,
    created_from: From = None,
    to: To = None,
    caller: Caller = requires("reports:read"),
) -> Funnel:
    """Count a lead once for each stage it reached. An opportunity is what sales called one, or any closed deal."""
    if created_from and to and created_from > to:
        raise Problem(422, "The request is not valid", detail="`from` must not be after `to`.")
    as_of, stages = await report.funnel(_app(request), created_from=created_from, created_to=to)
    return Funnel(
        as_of=as_of,
        created_from=created_from,
        created_to=to,
        stages=[FunnelStage(stage=s.stage, owner=s.owner, leads=s.leads) for s in stages],
    )


class TimelineItem(BaseModel):
    """Something that happened to a lead."""

    at: datetime
    service: str
    kind: str
    title: str
    detail: dict[str, Any]


class Timeline(BaseModel):
    """What this service can tell of a lead, oldest first."""

    lead_id: str
    as_of: datetime
    items: list[TimelineItem]


@router.get(
    "/v1/leads/{lead_id}/timeline",
    operation_id="get_timeline",
    summary="The credits of a lead's won deals",
    tags=["leads"],
    responses={**PROBLEMS, 404: {"description": "Unknown lead", "content": {"application/problem+json": {}}}},
)
async def get_timeline(
    request: Request,
    lead_id: str,
    caller: Caller = requires("leads:read"),
) -> Timeline:
    """One item a won deal, with the credit of each touch under every model."""
    app = _app(request)
    found = None if "\x00" in lead_id else await report.credits_of_lead(app, lead_id)
    if found is None:
        raise Problem(404, "There is no such lead here", detail="Its events may not have arrived yet.")
    models, deals = found
    items = [_timeline_item(deal, credits, models) for deal, credits in deals]
    return Timeline(lead_id=lead_id, as_of=app.clock.now(), items=sorted(items, key=lambda item: item.at))


def _timeline_item(deal: Deal, credits: tuple[Credit, ...], models: tuple[str, ...]) -> TimelineItem:
    if deal.closed_at is None:
        raise ValueError("a credited deal is closed")
    touches = len([c for c in credits if c.touch_id is not None])
    return TimelineItem(
        at=deal.closed_at,
        service="attribution",
        kind="credit",
        title=f"Won deal credited to {touches} touch{'' if touches == 1 else 'es'}",
        detail={
            "deal_id": deal.deal_id,
            "amount_minor": deal.amount_minor,
            "currency": deal.currency,
            "touches": [
                {
                    "touch_id": c.touch_id,
                    "channel": c.channel,
                    "campaign": c.campaign,
                    "credit_minor": dict(zip(models, (credit or 0 for credit in c.credits), strict=True)),
                }
                for c in credits
            ],
        },
    )


class RebuildOrder(BaseModel):
    """What to do: compare only, or make the projection anew."""

    verify: bool = Field(default=False, description="Change nothing; compare and list every difference")
    parameters: ReportParameters | None = Field(default=None, description="Other parameters from now on")


class DifferenceFound(BaseModel):
    """One place where increment and rebuild disagree."""

    kind: str = Field(description="credit or total")
    place: dict[str, str | int | None]
    stored: list[int | None] | None
    rebuilt: list[int | None] | None


class RebuildDone(BaseModel):
    """What was rebuilt or compared. `identical` is null where nothing was compared."""

    identical: bool | None
    position: int
    deals: int
    differing: int
    differences: list[DifferenceFound]
    generation_id: int | None = Field(description="The projection now in use, after a rebuild")


@router.post(
    "/v1/rebuild",
    operation_id="rebuild",
    summary="Make all credits anew from the facts, or compare",
    tags=["operations"],
    responses={
        **PROBLEMS,
        409: {"description": "Another rebuild is under way", "content": {"application/problem+json": {}}},
    },
)
async def rebuild(
    request: Request,
    order: RebuildOrder,
    caller: Caller = requires("ops:write"),
) -> RebuildDone:
    """A rebuild changes places with the projection in use at its end; reports and events go on meanwhile."""
    app = _app(request)
    if order.verify:
        if order.parameters is not None:
            raise Problem(
                422, "The request is not valid", detail="A comparison uses the parameters of the projection in use."
            )
        found = await rebuilding.verify(app)
        return RebuildDone(
            identical=found.identical,
            position=found.position,
            deals=found.deals,
            differing=found.differing,
            differences=[
                DifferenceFound(
                    kind=d.kind,
                    place=dict(d.place),
                    stored=None if d.stored is None else list(d.stored),
                    rebuilt=None if d.rebuilt is None else list(d.rebuilt),
                )
                for d in found.differences
            ],
            generation_id=None,
        )
    try:
        parameters = (
            Parameters(lookback_days=order.parameters.lookback_days, half_life_hours=order.parameters.half_life_hours)
            if order.parameters
            else None
        )
    except ValueError as error:
        raise Problem(422, "The request is not valid", detail=str(error)) from None
    try:
        done = await rebuilding.rebuild(app, parameters)
    except rebuilding.AlreadyRebuilding:
        raise Problem(
            409, "Another rebuild is under way", detail="Ask again when it has ended.", headers={"Retry-After": "10"}
        ) from None
    return RebuildDone(
        identical=None,
        position=done.position,
        deals=done.deals,
        differing=0,
        differences=[],
        generation_id=done.generation_id,
    )


def _app(request: Request) -> "App":
    app: App = request.app.state.baton
    return app
