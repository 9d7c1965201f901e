"""A service that writes down each string it hears, in order, and passes an integer on.

It uses protobuf's own wrapper messages as events, so that the kit's tests need no contracts.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue
from sqlalchemy import Column, Integer, MetaData, PrimaryKeyConstraint, Table, Text

from baton_kit.api import create_fastapi
from baton_kit.apply import Subscription
from baton_kit.clock import Clock, SystemClock
from baton_kit.db import Database, Tx, open_database, raw
from baton_kit.envelope import Received, event
from baton_kit.failpoint import failpoint
from baton_kit.idempotency import IdempotencyKey, idempotent
from baton_kit.outages import Unprocessable
from baton_kit.outbox import Outbox
from baton_kit.policy import Caller, requires
from baton_kit.runtime import Service
from baton_kit.settings import ServiceSettings

metadata = MetaData()
Table(
    "note",
    metadata,
    Column("key", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("told", Text, nullable=False),
    PrimaryKeyConstraint("key", "told"),
)

HEARD, TOLD = "toy.heard.v1", "toy.told.v1"
TOPIC_OF = {
    "google.protobuf.StringValue": HEARD,
    "google.protobuf.BytesValue": HEARD,
    "google.protobuf.Int64Value": TOLD,
}


@dataclass(frozen=True)
class Toy:
    """The toy's parts; `refuse` are words its handler fails on."""

    settings: ServiceSettings
    db: Database
    clock: Clock
    outbox: Outbox
    refuse: set[str] = field(default_factory=set)


@contextlib.asynccontextmanager
async def open_app(settings: ServiceSettings) -> AsyncIterator[Toy]:
    """Open the toy."""
    db = open_database(settings.database, application_name="toy")
    yield Toy(settings, db, SystemClock(), Outbox(topic_of=TOPIC_OF, source="/toy"))
    await db.close()


async def heard(tx: Tx, app: Toy, events: Sequence[Received[StringValue]]) -> None:
    """Write each word down behind the others of its key, and tell how many there are."""
    for e in events:
        if e.body.value in app.refuse:
            raise Unprocessable("a refused word")
        if e.body.value == "bug":
            raise KeyError("anna@example.com")
    connection = await raw(tx)
    failpoint("toy.before_effects")
    for e in events:
        n = await connection.fetchval(
            "INSERT INTO note SELECT $1, count(*) + 1, $2 FROM note WHERE key = $1 RETURNING n", e.key, e.body.value
        )
        failpoint("toy.between_effects")
        await app.outbox.append(tx, [event(Int64Value(value=n), key=e.key, occurred_at=e.occurred_at)])


SUBSCRIPTION: Subscription[Toy] = Subscription(
    group="toy.count", topics=(HEARD,), handlers={StringValue: heard}, ignores=frozenset({BytesValue})
)

router = APIRouter()


@router.post("/v1/words", operation_id="say", summary="Say a word", status_code=201)
async def say(
    request: Request, word: str, idempotency_key: IdempotencyKey = None, caller: Caller = requires("words:write")
) -> Any:
    """Write a word once a key."""
    app: Toy = request.app.state.baton
    async with app.db.begin() as tx:

        async def act() -> dict[str, str]:
            await app.outbox.append(tx, [event(StringValue(value=word), key="lead-1", occurred_at=app.clock.now())])
            return {"word": word}

        return await idempotent(tx, request, caller, key=idempotency_key, status=201, act=act)


def create_api(app: Toy) -> FastAPI:
    """Make the toy's API."""
    return create_fastapi(
        app, title="Toy", version="1", description="A toy.", routers=[router], subscriptions=[SUBSCRIPTION]
    )


SERVICE: Service[Toy] = Service(
    name="toy",
    package="toy",
    settings=ServiceSettings,
    open_app=open_app,
    create_api=create_api,
    subscriptions=(SUBSCRIPTION,),
)
