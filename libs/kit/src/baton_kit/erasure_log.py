"""The erasure log over REST, the same in every service: who was forgotten when, and what was deleted here."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from baton_kit import forgotten
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires


class Erasure(BaseModel):
    """One forgotten lead. It names no person."""

    lead_id: str
    erasure_id: str = Field(description="One request; the leads of one person share it")
    reason: str
    asked_at: datetime | None = Field(description="When the person or the provider asked for it")
    key_id: str = Field(description="The API key that ordered it")
    erased_at: datetime = Field(description="From when on nothing of the person was kept or shown")
    done_at: datetime | None = Field(description="When this service had deleted what it had; null until then")
    removed: dict[str, int] = Field(description="What was deleted or emptied in this service: table to count")


def create_router() -> APIRouter:
    """Make the route for a service that keeps `erased_lead`."""
    router = APIRouter(tags=["erasures"])

    @router.get("/v1/erasures", operation_id="list_erasures", summary="Show the erasure log")
    async def list_erasures(
        request: Request,
        response: Response,
        caller: Caller = requires("erasures:read"),
        limit: Limit = 50,
        cursor: CursorParam = None,
    ) -> Page[Erasure]:
        """Forgotten leads, newest erasure first."""
        position = decode_cursor(cursor, kinds=[str, str])
        before = (position[0], position[1]) if position else None
        async with request.app.state.baton.db.begin() as tx:
            rows = await forgotten.page(tx, before=before, limit=limit + 1)
        items = [erasure_of(row) for row in rows[:limit]]
        more = len(rows) > limit
        next_cursor = encode_cursor(items[-1].erasure_id, items[-1].lead_id) if more else None
        link_next(request, response, next_cursor)
        return Page(items=items, next_cursor=next_cursor)

    return router


def erasure_of(row: Mapping[str, Any]) -> Erasure:
    """A row of the log as it is answered."""
    return Erasure(**{**dict(row), "removed": json.loads(row["removed"] or "{}")})
