"""Routes of deals."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, model_validator

from baton_kit.db import Tx
from baton_kit.idempotency import IdempotencyKey, idempotent
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from sales_feedback.accounts.store import accounts_of_deals, canonical
from sales_feedback.app import App
from sales_feedback.deals import close, store
from sales_feedback.deals.deal import POSSIBLE, Deal, DealState
from sales_feedback.http import (
    AmountMinor,
    Body,
    Code,
    Currency,
    Id,
    IfMatch,
    Label,
    Moment,
    PathId,
    QueryId,
    Text,
    app_of,
    domain_problems,
    problems,
    versions_of,
    with_etag,
)

router = APIRouter()


class DealView(BaseModel):
    """A deal; `version` is its ETag and the sequence of its events, amounts are minor units of `currency`."""

    id: str
    lead_id: str
    handoff_id: str | None
    version: int
    state: str
    possible: list[str]
    stage: str | None
    amount_minor: int | None
    currency: str | None
    product: str | None
    rep_id: str | None
    reason: str | None
    crm: str
    crm_deal_id: str | None
    crm_company_id: str | None
    account_id: str | None = Field(description="The company: the CRM's of the deal, else the lead's; canonical.")
    opened_at: Moment
    closed_at: Moment | None


class OpenBody(Body):
    """A deal of a lead that was handed to sales; `crm` may be the id of a configured CRM, whose ids the others are."""

    lead_id: Id
    amount_minor: AmountMinor | None = Field(default=None, examples=[480000])
    currency: Currency | None = Field(default=None, examples=["EUR"])
    product: Label | None = None
    rep_id: Id | None = None
    opened_at: Moment | None = None
    crm: Label | None = None
    crm_deal_id: Text | None = None
    crm_company_id: Text | None = None

    @model_validator(mode="after")
    def _an_amount_has_a_currency(self) -> "OpenBody":
        if self.amount_minor is not None and self.currency is None:
            raise ValueError("amount_minor needs a currency")
        return self


class StageBody(Body):
    """The new stage, perhaps with a new amount in the deal's currency."""

    stage: Text = Field(examples=["negotiation"])
    amount_minor: AmountMinor | None = None


class WonBody(Body):
    """What the customer pays. A time still to come counts as now."""

    amount_minor: AmountMinor = Field(examples=[480000])
    currency: Currency = Field(examples=["EUR"])
    closed_at: Moment | None = None


class LostBody(Body):
    """Why the customer does not pay, as a code."""

    reason: Code = Field(examples=["price"])
    closed_at: Moment | None = None


class ReopenBody(Body):
    """Nothing to say."""


@router.post(
    "/v1/deals",
    operation_id="open_deal",
    summary="Open a deal",
    tags=["deals"],
    response_model=DealView,
    status_code=201,
    responses=problems(400, 404, 409),
)
async def open_deal(
    request: Request,
    body: OpenBody,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("deals:write"),
) -> Any:
    """The lead's latest handoff becomes an opportunity."""

    async def act(tx: Tx, app: App) -> Deal:
        return await close.open_deal(
            tx,
            app,
            body.lead_id,
            amount_minor=body.amount_minor,
            currency=body.currency,
            product=body.product,
            rep_id=body.rep_id,
            opened_at=body.opened_at,
            crm=body.crm,
            crm_deal_id=body.crm_deal_id,
            crm_company_id=body.crm_company_id,
        )

    return await _answer(request, caller, idempotency_key, act, status=201)


@router.post(
    "/v1/deals/{deal_id}/stage",
    operation_id="move_deal",
    summary="Move an open deal to another stage",
    tags=["deals"],
    response_model=DealView,
    responses=problems(400, 404, 409, 412),
)
async def move_stage(
    request: Request,
    deal_id: PathId,
    body: StageBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("deals:write"),
) -> Any:
    """Only open deals have a stage to move to."""

    async def act(tx: Tx, app: App) -> Deal:
        return await close.move_stage(
            tx,
            app,
            deal_id,
            stage=body.stage,
            amount_minor=body.amount_minor,
            versions=versions_of(if_match),
        )

    return await _answer(request, caller, idempotency_key, act)


@router.post(
    "/v1/deals/{deal_id}/won",
    operation_id="win_deal",
    summary="Close a deal as won, or correct one",
    tags=["deals"],
    response_model=DealView,
    responses=problems(400, 404, 409, 412),
)
async def win(
    request: Request,
    deal_id: PathId,
    body: WonBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("deals:write"),
) -> Any:
    """A won deal that is won again with another amount or time is corrected."""

    async def act(tx: Tx, app: App) -> Deal:
        return await close.win(
            tx,
            app,
            deal_id,
            amount_minor=body.amount_minor,
            currency=body.currency,
            closed_at=body.closed_at,
            versions=versions_of(if_match),
        )

    return await _answer(request, caller, idempotency_key, act)


@router.post(
    "/v1/deals/{deal_id}/lost",
    operation_id="lose_deal",
    summary="Close a deal as lost, or correct one",
    tags=["deals"],
    response_model=DealView,
    responses=problems(400, 404, 409, 412),
)
async def lose(
    request: Request,
    deal_id: PathId,
    body: LostBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("deals:write"),
) -> Any:
    """The reason is a code; text stays in the CRM."""

    async def act(tx: Tx, app: App) -> Deal:
        return await close.lose(
            tx, app, deal_id, reason=body.reason, closed_at=body.closed_at, versions=versions_of(if_match)
        )

    return await _answer(request, caller, idempotency_key, act)


@router.post(
    "/v1/deals/{deal_id}/reopen",
    operation_id="reopen_deal",
    summary="Open a closed deal again",
    tags=["deals"],
    response_model=DealView,
    responses=problems(400, 404, 409, 412),
)
async def reopen(
    request: Request,
    deal_id: PathId,
    body: ReopenBody | None = None,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("deals:write"),
) -> Any:
    """Nothing of the former close counts any more."""

    async def act(tx: Tx, app: App) -> Deal:
        return await close.reopen(tx, app, deal_id, versions=versions_of(if_match))

    return await _answer(request, caller, idempotency_key, act)


@router.get(
    "/v1/deals/{deal_id}",
    operation_id="get_deal",
    summary="Read a deal",
    tags=["deals"],
    response_model=DealView,
    responses=problems(404),
)
async def get_deal(
    request: Request, response: Response, deal_id: PathId, caller: Caller = requires("deals:read")
) -> DealView:
    """A deal as it stands now."""
    async with app_of(request).db.begin() as tx:
        found = await store.get_deal(tx, deal_id)
        if found is None:
            raise Problem(404, "There is no such deal", type="/problems/unknown")
        [shown] = await _views(tx, [found])
    response.headers["ETag"] = f'"{found.sequence}"'
    return shown


@router.get(
    "/v1/deals",
    operation_id="list_deals",
    summary="List deals, the newest first",
    tags=["deals"],
    response_model=Page[DealView],
    responses=problems(400),
)
async def list_deals(
    request: Request,
    response: Response,
    state: DealState | None = None,
    lead_id: QueryId = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("deals:read"),
) -> Page[DealView]:
    """Deals, by state or lead."""
    position = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        found = await store.list_deals(
            tx, state=state, lead_id=lead_id, before=position[0] if position else None, limit=limit + 1
        )
        shown = await _views(tx, found[:limit])
    page = Page(
        items=shown,
        next_cursor=encode_cursor(found[limit - 1].id) if len(found) > limit else None,
    )
    link_next(request, response, page.next_cursor)
    return page


async def _answer(
    request: Request,
    caller: Caller,
    key: str | None,
    act: Callable[[Tx, App], Awaitable[Deal]],
    *,
    status: int = 200,
) -> Response:
    app = app_of(request)
    with domain_problems():
        async with app.db.begin() as tx:

            async def once() -> DealView:
                [shown] = await _views(tx, [await act(tx, app)])
                return shown

            response = await idempotent(tx, request, caller, key=key, status=status, act=once)
    return with_etag(response)


async def _views(tx: Tx, deals: Sequence[Deal]) -> list[DealView]:
    accounts = await canonical(tx, await accounts_of_deals(tx, deals))
    return [_view(deal, accounts.get(deal.id)) for deal in deals]


def _view(deal: Deal, account_id: str | None) -> DealView:
    return DealView(
        id=deal.id,
        lead_id=deal.lead_id,
        handoff_id=deal.handoff_id,
        version=deal.sequence,
        state=deal.state.value,
        possible=list(POSSIBLE[deal.state]),
        stage=deal.stage,
        amount_minor=deal.amount_minor,
        currency=deal.currency,
        product=deal.product,
        rep_id=deal.rep_id,
        reason=deal.reason,
        crm=deal.crm,
        crm_deal_id=deal.crm_deal_id,
        crm_company_id=deal.crm_company_id,
        account_id=account_id,
        opened_at=deal.opened_at,
        closed_at=deal.closed_at,
    )
