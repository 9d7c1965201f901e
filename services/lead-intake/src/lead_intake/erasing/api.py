"""Forgetting over REST. Addresses and numbers are in the body only: addresses of requests are written to logs."""

import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, Field

from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.edges import families_of
from baton_kit.erasure_log import Erasure, create_router, erasure_of
from baton_kit.idempotency import IdempotencyKey, idempotent
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import normalise
from lead_intake.api.answers import PROBLEMS, Body, app_of
from lead_intake.app import App
from lead_intake.erasing import store
from lead_intake.erasing.erase import Moved, Order, Reason, erase, order

router = APIRouter()
router.include_router(create_router())

ATTEMPTS = 5
COLUMNS = ("lead_id", "erasure_id", "reason", "asked_at", "key_id", "erased_at", "done_at", "removed")


class EraseLead(Body):
    """Why the person is forgotten, and since when that is asked for."""

    reason: Reason = Reason.PERSON_REQUEST
    asked_at: AwareDatetime | None = Field(default=None, description="When it was asked for; now, where it is not said")


class ErasePerson(EraseLead):
    """By which address or number the person is known; at least one of them."""

    email: str | None = Field(default=None, max_length=254)
    phone: str | None = Field(default=None, max_length=64)
    region: str = Field(default="", pattern="^([A-Z]{2})?$", description="Where a number without country code is from")


class Erased(BaseModel):
    """What was done: one line a lead."""

    items: list[Erasure]


class Format(StrEnum):
    """How the log is written out."""

    CSV = "csv"
    JSONL = "jsonl"


@router.post(
    "/v1/leads/{id}/erase",
    operation_id="erase_lead",
    summary="Forget the person behind a lead",
    tags=["erasures"],
    response_model=Erased,
    responses=PROBLEMS,
)
async def erase_lead(
    request: Request,
    id: UUID,
    body: EraseLead,
    caller: Caller = requires("contacts:erase"),
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Contact, identity keys, raw bodies and click ids go at once and for good; figures and decisions stay.

    A lead that is forgotten already is answered as it was forgotten.
    """

    async def the_lead(tx: Tx) -> list[str]:
        known = await store.persons(tx, [str(id)])
        if not known and await forgotten.one(tx, str(id)) is None:
            raise Problem(404, "There is no such lead")
        return [str(id)]

    return await _forget(request, caller, body, key=idempotency_key, leads=the_lead)


@router.post(
    "/v1/leads/erase",
    operation_id="erase_person",
    summary="Forget a person by e-mail address or phone number",
    tags=["erasures"],
    response_model=Erased,
    responses=PROBLEMS,
)
async def erase_person(
    request: Request,
    body: ErasePerson,
    caller: Caller = requires("contacts:erase"),
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The same as by the lead's id. 409 where address and number belong to different persons: nothing is done then."""

    async def the_leads(tx: Tx) -> list[str]:
        found = await store.leads_of_identities(tx, _identities(body))
        whole = await families_of(tx, found)
        if not found:
            raise Problem(404, "Nobody is known by that")
        if len({whole.root(lead_id) for lead_id in found}) > 1:
            raise Problem(
                409,
                "They belong to different persons",
                detail=f"Erase each by its id: {', '.join(found)}.",
            )
        return found

    return await _forget(request, caller, body, key=idempotency_key, leads=the_leads)


@router.get(
    "/v1/erasures/export",
    operation_id="export_erasures",
    summary="Write out the erasure log",
    tags=["erasures"],
    responses=PROBLEMS
    | {200: {"content": {"text/csv": {}, "application/jsonl": {}}, "description": "The whole log, newest first"}},
    response_class=StreamingResponse,
)
async def export_erasures(
    request: Request,
    caller: Caller = requires("erasures:read"),
    format: Annotated[Format, Query(description="csv or jsonl")] = Format.CSV,
) -> StreamingResponse:
    """Each forgotten lead: when asked, when done, by which key, and what was deleted. It names no person."""
    app = app_of(request)

    async def lines() -> AsyncIterator[str]:
        if format is Format.CSV:
            yield _csv(COLUMNS)
        before: tuple[str, str] | None = None
        while True:
            async with app.db.begin() as tx:
                rows = await forgotten.page(tx, before=before, limit=500)
            for row in rows:
                line = erasure_of(row).model_dump(mode="json")
                if format is Format.CSV:
                    counts = ";".join(f"{table}={n}" for table, n in sorted(line["removed"].items()))
                    yield _csv([*(line[name] for name in COLUMNS[:-1]), counts])
                else:
                    yield json.dumps(line) + "\n"
            if len(rows) < 500:
                return
            before = (rows[-1]["erasure_id"], rows[-1]["lead_id"])

    media = "text/csv; charset=utf-8" if format is Format.CSV else "application/jsonl"
    return StreamingResponse(lines(), media_type=media)


async def _forget(
    request: Request,
    caller: Caller,
    body: EraseLead,
    *,
    key: str | None,
    leads: Callable[[Tx], Awaitable[list[str]]],
) -> Response:
    app = app_of(request)
    for _ in range(ATTEMPTS):
        now = app.clock.now()
        ordered = order(reason=body.reason, key_id=caller.key_id, asked_at=body.asked_at, now=now)
        try:
            async with app.db.begin() as tx:
                act = partial(_act, tx, app, leads, ordered)
                return await idempotent(tx, request, caller, key=key, status=200, act=act)
        except Moved:
            continue  # a delivery of the same person came in between
    raise Problem(503, "The person keeps coming in", detail="Try again.", headers={"Retry-After": "1"})


async def _act(tx: Tx, app: App, leads: Callable[[Tx], Awaitable[list[str]]], ordered: Order) -> Erased:
    done = await erase(tx, app, await leads(tx), ordered)
    rows = [row for id in done if (row := await forgotten.one(tx, id)) is not None]
    return Erased(items=[erasure_of(row) for row in rows])


def _identities(body: ErasePerson) -> list[str]:
    keys = []
    if body.email is not None:
        if not (email := normalise.email(body.email)):
            raise _unreadable("email", "not an e-mail address")
        keys.append(f"email:{email.lower()}")
    if body.phone is not None:
        phone, _ = normalise.phone(body.phone, body.region)
        if not phone:
            raise _unreadable("phone", "not a phone number; name the region of a number without country code")
        keys.append(f"phone:{phone}")
    if not keys:
        raise _unreadable("email", "an address or a number is needed")
    return keys


def _unreadable(field: str, detail: str) -> Problem:
    return Problem(422, "The request is not valid", errors=[{"pointer": f"/{field}", "detail": detail}])


def _csv(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(["" if v is None else v for v in values])
    return line.getvalue()
