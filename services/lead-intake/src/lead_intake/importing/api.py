"""Routes of imports: hand in an export piece by piece, see how far it is, read what was not taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import store as sources
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of, before, page_of
from lead_intake.app import App
from lead_intake.importing import escape, store
from lead_intake.importing.layout import Faults, layout_of
from lead_intake.importing.propose import HEAD, propose
from lead_intake.importing.row import CODES
from lead_intake.source_cache import IMPORT

router = APIRouter()

PART = 256 * 1024
"""Bytes of a transaction of an upload."""
PROBLEMS_HERE = {**PROBLEMS, 413: {**PROBLEMS[409], "description": "More bytes than are taken"}}


class NewImport(Body):
    """An export to be handed in. Its bytes follow under `/content`; `digest` is their SHA-256 in hex.

    `trial` names a set of dry runs, so that the later ones see what the earlier ones would have made.
    """

    source: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", examples=["crm-history"])
    name: str = Field(default="", max_length=200, examples=["contacts.csv"])
    size: int = Field(ge=1, examples=[48_211])
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    layout: dict[str, Any] = Field(
        examples=[
            {
                "kind": "leads",
                "crm": "hubspot",
                "columns": {
                    "id": "Record ID",
                    "email": "Email",
                    "occurred_at": {"column": "Created", "formats": ["iso"]},
                },
            }
        ]
    )
    dry_run: bool = False
    trial: str = Field(default="", max_length=100)


class ImportOut(BaseModel):
    """An import. `received` and `position` are bytes of `size`; `counts` are rows by outcome, as in the ledger."""

    id: str
    source: str
    name: str
    kind: str
    dry_run: bool
    state: str = Field(description="receiving, waiting, running, done or failed; more may come.")
    reason: str
    size: int
    received: int
    position: int
    rows: int
    counts: dict[str, int]
    created_at: Moment
    finished_at: Moment | None


class RowErrorOut(BaseModel):
    """A row that was not taken: its number as a spreadsheet counts, why, and the column to blame."""

    row: int
    column: str
    code: str
    meaning: str


class Proposal(BaseModel):
    """A layout for a person to confirm; with `faults` it cannot be used yet."""

    name: str
    layout: dict[str, Any]
    unmapped: list[str]
    notes: list[str]
    faults: list[dict[str, str]]


@router.post(
    "/v1/imports/proposals",
    operation_id="propose_import",
    summary="Propose how an export is to be read",
    tags=["imports"],
    responses=PROBLEMS_HERE,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)
async def propose_import(
    request: Request,
    name: Annotated[str, Query(max_length=200)] = "",
    caller: Caller = requires("imports:write"),
) -> Proposal:
    """Read the beginning of an export (at most 256 KiB are looked at) and store nothing."""
    head = bytearray()
    async for piece in request.stream():
        head += piece
        if len(head) >= HEAD:
            break
    if not head:
        raise Problem(422, "There is nothing to read", detail="Send the first bytes of the export as the body.")
    return Proposal(**propose(bytes(head[:HEAD]), name))


@router.post(
    "/v1/imports",
    status_code=201,
    operation_id="open_import",
    summary="Announce an export",
    tags=["imports"],
    responses={200: {"description": "The same export under the same layout is here already"}, **PROBLEMS_HERE},
)
async def open_import(
    request: Request, response: Response, body: NewImport, caller: Caller = requires("imports:write")
) -> ImportOut:
    """Announce an export; asked again for the same bytes and layout, the import that is under way is shown (200).

    A finished one is shown again when every row was taken. Otherwise a new one begins, in which what was taken before
    is a duplicate.
    """
    app = app_of(request)
    if body.size > app.settings.import_max_bytes:
        raise Problem(
            413, "The export is too large", detail=f"At most {app.settings.import_max_bytes} bytes are taken."
        )
    try:
        layout = layout_of(body.layout)
    except Faults as error:
        raise Problem(
            422,
            "The layout is not valid",
            detail="Correct the fields named in `errors` and send the request again.",
            errors=[{"pointer": f"/layout{pointer}", "detail": detail} for pointer, detail in error.found],
        ) from None
    text = json.dumps(body.layout, sort_keys=True)
    if "\\u0000" in text or "\x00" in body.name + body.trial:
        raise Problem(422, "NUL characters cannot be stored")
    now, id = app.clock.now(), new_id()
    one = store.Import(
        id=id,
        source_id=body.source,
        name=body.name,
        kind=layout.kind,
        layout=body.layout,
        layout_digest=hashlib.sha256(text.encode()).hexdigest(),
        digest=body.digest,
        size=body.size,
        trial=(body.trial or id) if body.dry_run else None,
        state="receiving",
        reason="",
        received=0,
        position=0,
        records=0,
        header=None,
        counts={},
        created_at=now,
        finished_at=None,
    )
    async with app.db.begin() as tx:
        added = await sources.insert_source(
            tx, sources.SourceRow(body.source, IMPORT, body.source, "", {}, {}, None, now)
        )
        if added:
            await sources.raise_source_version(tx)
        await sources.lock_source(tx, body.source)
        [row] = await sources.sources(tx, id=body.source)
        if row.provider != IMPORT:
            raise Problem(409, "The source is no import", detail="Choose another name for the source of this export.")
        known = await store.same(
            tx, source_id=one.source_id, digest=one.digest, layout_digest=one.layout_digest, trial=one.trial
        )
        if (
            known is not None
            and known.state != "failed"
            and not (known.state == "done" and (known.counts.get("refused") or known.counts.get("pending")))
        ):
            response.status_code = 200
            return _out(known)
        await store.insert(tx, one)
        failpoint("import.opened")
    return _out(one)


@router.post(
    "/v1/imports/{id}/content",
    operation_id="append_to_import",
    summary="Send bytes of an export",
    tags=["imports"],
    responses=PROBLEMS_HERE,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)
async def append_to_import(
    request: Request,
    id: UUID,
    offset: Annotated[int, Query(ge=0)] = 0,
    caller: Caller = requires("imports:write"),
) -> ImportOut:
    """Send the bytes from `offset` on, in one request or many. What is stored stays, also when the connection breaks:
    `received` says where to go on. With the last byte the import begins, if the digest is right.
    """
    app = app_of(request)
    one = await _get(app, str(id))
    if one.state != "receiving" or offset != one.received:
        raise _elsewhere(one)
    held, at = bytearray(), offset
    async for piece in request.stream():
        held += piece
        if at + len(held) > one.size:
            raise Problem(413, "There are more bytes than were announced", detail=f"Announced were {one.size}.")
        while len(held) >= PART:
            at = await _append(app, one, bytes(held[:PART]), at)
            del held[:PART]
    if held:
        await _append(app, one, bytes(held), at)
    return _out(await _get(app, one.id))


@router.get(
    "/v1/imports",
    operation_id="list_imports",
    summary="List imports, newest first",
    tags=["imports"],
    responses=PROBLEMS,
)
async def list_imports(
    request: Request,
    response: Response,
    source: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("imports:read"),
) -> Page[ImportOut]:
    """Imports and dry runs, by source."""
    async with app_of(request).db.begin() as tx:
        found = await store.page(tx, source_id=source, before=before(cursor), limit=limit + 1)
    return page_of(request, response, [_out(one) for one in found], limit)


@router.get(
    "/v1/imports/{id}", operation_id="get_import", summary="Show an import", tags=["imports"], responses=PROBLEMS
)
async def get_import(request: Request, id: UUID, caller: Caller = requires("imports:read")) -> ImportOut:
    """How far an import is, and how its rows ended."""
    return _out(await _get(app_of(request), str(id)))


@router.get(
    "/v1/imports/{id}/errors",
    operation_id="list_import_errors",
    summary="List rows that were not taken",
    tags=["imports"],
    responses=PROBLEMS,
)
async def list_import_errors(
    request: Request,
    response: Response,
    id: UUID,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("imports:read"),
) -> Page[RowErrorOut]:
    """Row numbers, reasons and columns; never what stands there."""
    app = app_of(request)
    await _get(app, str(id))
    position = decode_cursor(cursor, kinds=[int])
    async with app.db.begin() as tx:
        found = await store.errors(tx, str(id), after=position[0] if position else 0, limit=limit + 1)
    page = Page(
        items=[RowErrorOut(row=e.record, column=e.column, code=e.code, meaning=CODES[e.code]) for e in found[:limit]],
        next_cursor=encode_cursor(found[limit - 1].record) if len(found) > limit else None,
    )
    link_next(request, response, page.next_cursor)
    return page


@router.get(
    "/v1/imports/{id}/errors.csv",
    operation_id="download_import_errors",
    summary="Rows that were not taken, as CSV",
    tags=["imports"],
    responses={**PROBLEMS, 200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    response_class=StreamingResponse,
)
async def download_import_errors(request: Request, id: UUID, caller: Caller = requires("imports:read")) -> Response:
    """The whole list for a spreadsheet; no cell of it is taken for a formula."""
    app = app_of(request)
    await _get(app, str(id))

    async def lines() -> AsyncIterator[str]:
        yield escape.line(["row", "column", "code", "meaning"])
        after = 0
        while True:
            async with app.db.begin() as tx:
                found = await store.errors(tx, str(id), after=after, limit=1_000)
            if not found:
                return
            yield "".join(escape.line([e.record, e.column, e.code, CODES[e.code]]) for e in found)
            after = found[-1].record

    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8")


async def _append(app: App, one: store.Import, data: bytes, at: int) -> int:
    """Keep the next bytes; with the last ones the export is handed to the worker, or dropped if it is another."""
    right = True
    async with app.db.begin() as tx:
        if not await store.append(tx, one.id, position=at, data=data):
            raise _elsewhere(await store.get(tx, one.id) or one)
        failpoint("import.part_kept")
        if at + len(data) == one.size:
            right = await _digest(tx, one) == one.digest
            await (store.set_state(tx, one.id, "waiting") if right else store.start_over(tx, one.id))
            failpoint("import.complete")
    if not right:
        detail = "The digest differs. Send them again from offset 0."
        raise Problem(422, "These are not the bytes that were announced", detail=detail)
    return at + len(data)


async def _digest(tx: Tx, one: store.Import) -> str:
    digest, at = hashlib.sha256(), 0
    while piece := await store.bytes_from(tx, one.id, at, at_least=4 * 1024 * 1024):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


async def _get(app: App, id: str) -> store.Import:
    async with app.db.begin() as tx:
        found = await store.get(tx, id)
    if found is None:
        raise Problem(404, "There is no such import")
    return found


def _elsewhere(one: store.Import) -> Problem:
    if one.state == "receiving":
        return Problem(409, "Other bytes come next", detail=f"Go on with offset={one.received}.")
    return Problem(409, "The export is here already", detail=f"It is {one.state}.")


def _out(one: store.Import) -> ImportOut:
    return ImportOut(
        id=one.id,
        source=one.source_id,
        name=one.name,
        kind=one.kind,
        dry_run=one.trial is not None,
        state=one.state,
        reason=one.reason,
        size=one.size,
        received=one.received,
        position=one.position,
        rows=sum(one.counts.values()),
        counts=dict(one.counts),
        created_at=one.created_at,
        finished_at=one.finished_at,
    )
