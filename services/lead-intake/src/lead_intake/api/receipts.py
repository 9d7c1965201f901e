"""Receipts: what became of every delivery. Entries, repair and the balance are in `lead_intake.ledger.api`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from baton_kit.pages import CursorParam, Limit, Page
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import store
from lead_intake.api.answers import PROBLEMS, Moment, app_of, before, page_of

router = APIRouter()


class ReceiptOut(BaseModel):
    """A receipt without its body; `size` is the body's length in bytes."""

    id: str
    source_id: str
    received_at: Moment
    state: str
    reason: str
    entries: int
    content_type: str
    size: int | None


class ReceiptEntry(BaseModel):
    """An entry and how it ended; `first_receipt_id` is what it repeats, `erased` says that its person was forgotten."""

    ordinal: int
    key: str
    outcome: str
    reason: str
    lead_id: str | None
    first_receipt_id: str | None
    erased: bool


class ReceiptDetail(ReceiptOut):
    """A receipt with its entries."""

    items: list[ReceiptEntry]


@router.get(
    "/v1/receipts", operation_id="list_receipts", summary="List the receipts", tags=["receipts"], responses=PROBLEMS
)
async def list_receipts(
    request: Request,
    response: Response,
    caller: Caller = requires("receipts:read"),
    state: Annotated[str | None, Query(pattern="^(settled|quarantined|pending|refused)$")] = None,
    source: Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = None,
    reason: Annotated[str | None, Query(pattern=r"^[a-z0-9_]{1,64}$")] = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[ReceiptOut]:
    """Receipts, newest first."""
    async with app_of(request).db.begin() as tx:
        rows = await store.receipts(
            tx, state=state, source=source, reason=reason, before=before(cursor), limit=limit + 1
        )
    return page_of(request, response, [ReceiptOut(**dict(r)) for r in rows], limit)


@router.get(
    "/v1/receipts/{id}", operation_id="get_receipt", summary="Show a receipt", tags=["receipts"], responses=PROBLEMS
)
async def get_receipt(request: Request, id: UUID, caller: Caller = requires("receipts:read")) -> ReceiptDetail:
    """One receipt with its entries."""
    async with app_of(request).db.begin() as tx:
        found = await store.receipt(tx, str(id))
    if found is None:
        raise Problem(404, "There is no such receipt")
    return ReceiptDetail(**dict(found[0]), items=[ReceiptEntry(**dict(e)) for e in found[1]])
