"""Routes of CRMs: their configuration, and the receipts of what they sent."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from sales_feedback.crms import configured, store
from sales_feedback.crms.mapping import Kind, Mapping
from sales_feedback.http import Body, Id, Moment, QueryId, Text, app_of, problems

router = APIRouter()


def _once(secrets: list[str]) -> list[str]:
    if len(set(secrets)) != len(secrets):
        raise ValueError("the same secret stands there twice")
    return secrets


class CrmBody(Body):
    """A CRM. Sent again with the same id, it replaces the former; put the new secret first and the old one behind it.

    HubSpot: client secrets of the app. Pipedrive: "user:password", as given when the webhook was made.
    """

    id: Id = Field(examples=["hubspot"])
    kind: Kind
    secrets: Annotated[list[Text], Field(min_length=1, max_length=5), AfterValidator(_once)]
    mapping: Mapping = Mapping()

    @model_validator(mode="after")
    def _basic_has_user_and_password(self) -> "CrmBody":
        if self.kind is Kind.PIPEDRIVE and not all(0 < secret.find(":") < len(secret) - 1 for secret in self.secrets):
            raise ValueError("a secret of Pipedrive is user:password")
        return self


class CrmView(BaseModel):
    """A CRM without its secrets; `webhook_path` is where it is to send, on the public listener."""

    id: str
    kind: str
    mapping: dict[str, Any]
    webhook_path: str
    updated_at: Moment | None = None


class EntryView(BaseModel):
    """One entry of a delivery."""

    number: int
    crm_deal_id: str | None
    state: str
    reason: str | None


class ReceiptView(BaseModel):
    """One delivery and what became of it; `bytes` is the size of its body."""

    id: str
    crm_id: str | None
    received_at: Moment
    bytes: int
    state: str
    reason: str | None
    entries: list[EntryView]


class ReceiptCount(BaseModel):
    """Deliveries of a CRM in one state; `crm_id` is null for those of nobody known."""

    crm_id: str | None
    state: str
    count: int


class ReceiptReport(BaseModel):
    """Deliveries by CRM and state."""

    as_of: Moment
    items: list[ReceiptCount]


@router.get(
    "/v1/crms",
    operation_id="list_crms",
    summary="List CRMs",
    tags=["crms"],
    response_model=Page[CrmView],
    responses=problems(400),
)
async def list_crms(
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("crms:read"),
) -> Page[CrmView]:
    """CRMs by id; secrets are never shown."""
    position = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        found = await store.list_crms(tx, after=position[0] if position else None, limit=limit + 1)
    page = Page(
        items=[
            CrmView(
                id=one.id,
                kind=one.kind.value,
                mapping=dict(one.mapping),
                webhook_path=f"/v1/webhooks/{one.id}",
                updated_at=one.updated_at,
            )
            for one in found[:limit]
        ],
        next_cursor=encode_cursor(found[limit - 1].id) if len(found) > limit else None,
    )
    link_next(request, response, page.next_cursor)
    return page


@router.post(
    "/v1/crms",
    operation_id="put_crm",
    summary="Connect a CRM, or replace its configuration",
    tags=["crms"],
    response_model=CrmView,
    status_code=201,
    responses={200: {"model": CrmView, "description": "The CRM was known and is replaced."}, **problems()},
)
async def put_crm(
    request: Request, response: Response, body: CrmBody, caller: Caller = requires("crms:write")
) -> CrmView:
    """With another mapping, the deals seen so far are settled again."""
    app = app_of(request)
    async with app.db.begin() as tx:
        is_new = await configured.put_crm(tx, app, body.id, kind=body.kind, secrets=body.secrets, mapping=body.mapping)
    response.status_code = 201 if is_new else 200
    return CrmView(
        id=body.id,
        kind=body.kind.value,
        mapping=body.mapping.model_dump(mode="json"),
        webhook_path=f"/v1/webhooks/{body.id}",
        updated_at=app.clock.now(),
    )


@router.get(
    "/v1/receipts",
    operation_id="list_receipts",
    summary="List deliveries of CRMs, the newest first",
    tags=["receipts"],
    response_model=Page[ReceiptView],
    responses=problems(400),
)
async def list_receipts(
    request: Request,
    response: Response,
    crm: QueryId = None,
    state: Literal["applied", "pending", "duplicate", "ignored", "quarantined", "refused"] | None = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("receipts:read"),
) -> Page[ReceiptView]:
    """Each delivery with its entries; raw bodies are never shown here."""
    position = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        found = await store.list_receipts(
            tx, crm_id=crm, state=state, before=position[0] if position else None, limit=limit + 1
        )
        entries = await store.entries_of(tx, [row["id"] for row in found[:limit]])
    page = Page(
        items=[
            ReceiptView(
                id=row["id"],
                crm_id=row["crm_id"],
                received_at=row["received_at"],
                bytes=row["bytes"],
                state=row["state"],
                reason=row["reason"],
                entries=[
                    EntryView(number=e.number, crm_deal_id=e.crm_deal_id, state=e.state, reason=e.reason)
                    for e in entries.get(row["id"], [])
                ],
            )
            for row in found[:limit]
        ],
        next_cursor=encode_cursor(found[limit - 1]["id"]) if len(found) > limit else None,
    )
    link_next(request, response, page.next_cursor)
    return page


@router.get(
    "/v1/reports/receipts",
    operation_id="report_receipts",
    summary="Deliveries by CRM and state",
    tags=["reports"],
    response_model=ReceiptReport,
    responses=problems(),
)
async def report_receipts(request: Request, caller: Caller = requires("receipts:read")) -> ReceiptReport:
    """How many deliveries ended how."""
    app = app_of(request)
    async with app.db.begin() as tx:
        counts = await store.counts_by_state(tx)
    return ReceiptReport(
        as_of=app.clock.now(),
        items=[ReceiptCount(crm_id=crm_id, state=state, count=count) for crm_id, state, count in counts],
    )
