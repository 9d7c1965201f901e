"""The operator's routes, the same in every service: parked events, the relay, consumers, keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from baton_kit import parked
from baton_kit.apply import Subscription
from baton_kit.db import raw
from baton_kit.outages import is_outage
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor
from baton_kit.policy import Caller, create_api_key, requires
from baton_kit.problems import Problem
from baton_kit.rewind import rewind


class ParkedEvent(BaseModel):
    """One event that waits for a person, without its content."""

    id: int
    consumer: str
    topic: str
    partition: int
    offset: int
    key: str
    event_id: str | None
    type: str | None
    reason: str = Field(description="poison, handler, blocked or unrouted")
    detail: str
    parked_at: datetime


class ReplayOrder(BaseModel):
    """Which key of which consumer is to be replayed."""

    consumer: str
    key: str


class Replayed(BaseModel):
    """How many events were applied."""

    applied: int


class RelayLane(BaseModel):
    """Where the relay of one lane stands."""

    lane: str
    holder: str | None
    epoch: int
    lease_until: datetime | None
    slot: int
    waiting: int = Field(description="Events not yet published")
    oldest_at: datetime | None


class RewindOrder(BaseModel):
    """From when on events are to be published again."""

    since: datetime
    lane: str = "live"


class Rewound(BaseModel):
    """How many events will be published again, marked as replays."""

    events: int


class Position(BaseModel):
    """Where a consumer goes on."""

    consumer: str
    topic: str
    partition: int
    next_offset: int
    moved_at: datetime


class NewPosition(BaseModel):
    """Where a consumer is to go on."""

    consumer: str
    topic: str
    partition: int
    next_offset: int = Field(ge=0)


class NewKey(BaseModel):
    """A key to be made."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(min_length=1)


class MadeKey(BaseModel):
    """The key, shown once."""

    key: str


def create_router(subscriptions: Sequence[Subscription[Any]]) -> APIRouter:
    """Make the routes under /v1/ops for a service with these subscriptions."""
    router = APIRouter(prefix="/v1/ops", tags=["operate"])
    by_group = {subscription.group: subscription for subscription in subscriptions}

    @router.get("/parked", operation_id="list_parked", summary="List events that wait for a person")
    async def list_parked(
        request: Request, limit: Limit = 50, cursor: CursorParam = None, _: Caller = requires("ops:read")
    ) -> Page[ParkedEvent]:
        position = decode_cursor(cursor, kinds=[int])
        async with request.app.state.baton.db.begin() as tx:
            found = await parked.list_parked(tx, after=position[0] if position else 0, limit=limit)
        items = [ParkedEvent(**{name: getattr(p, name) for name in parked.Parked.__slots__}) for p in found]
        return Page(items=items, next_cursor=encode_cursor(found[-1].id) if len(found) == limit else None)

    @router.post("/parked/replay", operation_id="replay_parked", summary="Apply all parked events of a key, in order")
    async def replay(request: Request, order: ReplayOrder, _: Caller = requires("ops:write")) -> Replayed:
        subscription = by_group.get(order.consumer)
        if subscription is None:
            raise Problem(404, "No such consumer", detail=f"This service has: {', '.join(sorted(by_group)) or 'none'}.")
        app = request.app.state.baton
        try:
            async with app.db.begin() as tx:
                applied = await parked.replay_key(tx, app, subscription, order.key)
        except Exception as error:
            if is_outage(error):
                raise
            raise Problem(
                409,
                "The event fails again",
                detail=f"{type(error).__name__}. All stays parked. Mend the cause and replay again, or skip the event.",
            ) from error
        return Replayed(applied=applied)

    @router.post("/parked/{parked_id}/skip", operation_id="skip_parked", summary="Give one parked event up")
    async def skip(request: Request, parked_id: int, _: Caller = requires("ops:write")) -> ParkedEvent:
        async with request.app.state.baton.db.begin() as tx:
            gone = await parked.skip(tx, parked_id)
        if gone is None:
            raise Problem(404, "No such parked event", detail="List what is parked with GET /v1/ops/parked.")
        return ParkedEvent(**{name: getattr(gone, name) for name in parked.Parked.__slots__})

    @router.get("/relay", operation_id="relay_status", summary="Where the relay stands")
    async def relay_status(request: Request, _: Caller = requires("ops:read")) -> list[RelayLane]:
        async with request.app.state.baton.db.begin() as tx:
            rows = await (await raw(tx)).fetch(_RELAY_STATUS)
        return [RelayLane(**dict(row)) for row in rows]

    @router.post("/relay/rewind", operation_id="rewind_relay", summary="Publish again what was published since a time")
    async def rewind_relay(
        request: Request,
        order: RewindOrder,
        dry_run: Annotated[bool, Query(description="Only count")] = False,
        _: Caller = requires("ops:write"),
    ) -> Rewound:
        if order.since.tzinfo is None:
            raise Problem(
                422, "The time has no zone", errors=[{"pointer": "/since", "detail": "Add `Z` or an offset."}]
            )
        async with request.app.state.baton.db.begin() as tx:
            return Rewound(events=await rewind(tx, lane=order.lane, since=order.since, only_count=dry_run))

    @router.get("/consumers", operation_id="list_consumers", summary="Where the consumers stand")
    async def list_consumers(request: Request, _: Caller = requires("ops:read")) -> list[Position]:
        async with request.app.state.baton.db.begin() as tx:
            rows = await (await raw(tx)).fetch(
                "SELECT consumer, topic, partition, next_offset, moved_at FROM consumer_offset ORDER BY 1, 2, 3"
            )
        return [Position(**dict(row)) for row in rows]

    @router.post(
        "/consumers/seek",
        operation_id="seek_consumer",
        summary="Move a consumer whose position the log has lost",
    )
    async def seek(request: Request, to: NewPosition, _: Caller = requires("ops:write")) -> Position:
        async with request.app.state.baton.db.begin() as tx:
            row = await (await raw(tx)).fetchrow(
                "UPDATE consumer_offset SET next_offset = $4, moved_at = now() WHERE consumer = $1 AND topic = $2 "
                "AND partition = $3 RETURNING consumer, topic, partition, next_offset, moved_at",
                to.consumer, to.topic, to.partition, to.next_offset,
            )  # fmt: skip
        if row is None:
            raise Problem(404, "No such position", detail="List positions with GET /v1/ops/consumers.")
        return Position(**dict(row))

    @router.post("/keys", operation_id="create_key", summary="Make an API key", status_code=201)
    async def create_key(request: Request, wanted: NewKey, caller: Caller = requires("ops:write")) -> MadeKey:
        beyond = [scope for scope in wanted.scopes if not caller.may(scope)]
        if beyond:
            raise Problem(403, "A key cannot give more than it has", detail=f"Not yours to give: {', '.join(beyond)}.")
        async with request.app.state.baton.db.begin() as tx:
            return MadeKey(key=await create_api_key(tx, name=wanted.name, scopes=wanted.scopes))

    return router


_RELAY_STATUS = """
SELECT c.lane, c.holder, c.epoch, c.lease_until, r.slot, w.waiting, w.oldest_at
FROM outbox_cursor c JOIN outbox_ring r USING (lane), LATERAL (
    SELECT count(*) AS waiting, min(o.appended_at) AS oldest_at FROM outbox o
    WHERE o.slot BETWEEN CASE c.lane WHEN 'live' THEN 0 ELSE 10 END AND CASE c.lane WHEN 'live' THEN 9 ELSE 19 END
      AND o.shard BETWEEN c.shard_from AND c.shard_to
      AND o.xid >= pg_snapshot_xmin(c.snap_from) AND NOT pg_visible_in_snapshot(o.xid, c.snap_from)
      AND (c.snap_to IS NULL OR o.id > c.last_id OR NOT pg_visible_in_snapshot(o.xid, c.snap_to))
) AS w
ORDER BY c.lane
"""
