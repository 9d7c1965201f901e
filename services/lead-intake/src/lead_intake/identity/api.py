"""The list of addresses and numbers that many persons share."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import normalise
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of
from lead_intake.channels import site_of
from lead_intake.identity import shared

router = APIRouter()


class SharedOrder(Body):
    """An address, a number (E.164) or a company's web domain and whether many share it.

    `false` keeps the rule from saying so. A shared domain (an agency's, a holding's) makes no account.
    """

    kind: Literal["email", "phone", "domain"]
    value: str = Field(max_length=254)
    shared: bool = True


class SharedKey(BaseModel):
    """What many share."""

    kind: str = Field(description="email, phone or domain")
    value: str


class SharedOut(BaseModel):
    """What was put on the list; the value itself is not repeated."""

    kind: str
    shared: bool
    added_by: str
    added_at: Moment


@router.post(
    "/v1/shared-keys",
    operation_id="put_shared_key",
    summary="Say that many share an address or a number",
    tags=["identity"],
    responses=PROBLEMS,
)
async def put_shared_key(request: Request, body: SharedOrder, caller: Caller = requires("sources:write")) -> SharedOut:
    """From now on it identifies a person only together with the name. Said again, the last word counts."""
    app = app_of(request)
    value = _value(body)
    if not value:
        raise Problem(
            422,
            "The value cannot be read",
            errors=[{"pointer": "/value", "detail": "an e-mail address, a number that begins with +, or a domain"}],
        )
    by = caller.person_id or f"key:{caller.key_id}"
    now = app.clock.now()
    async with app.db.begin() as tx:
        await shared.put(tx, f"{body.kind}:{value}", shared=body.shared, by=by, at=now)
    await app.sources.refresh()
    return SharedOut(kind=body.kind, shared=body.shared, added_by=by, added_at=now)


def _value(body: SharedOrder) -> str:
    if body.kind == "email":
        return normalise.email(body.value).lower()
    return normalise.phone(body.value, "")[0] if body.kind == "phone" else site_of(body.value).domain


@router.get(
    "/v1/shared-keys",
    operation_id="list_shared_keys",
    summary="What many persons share",
    tags=["identity"],
    responses=PROBLEMS,
)
async def list_shared_keys(
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("contacts:read"),
) -> Page[SharedKey]:
    """Addresses and numbers are contact data, so that they are shown to whom may see contacts.

    In an order that says nothing of them: the cursor stands in addresses of pages, and must name nobody.
    """
    after = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        rows = await shared.page(tx, after=after[0] if after else "", limit=limit + 1)
    next_cursor = encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    keys = [key.partition(":") for _, key in rows[:limit]]
    return Page(items=[SharedKey(kind=kind, value=value) for kind, _, value in keys], next_cursor=next_cursor)
