"""For the tests of a service: a real database from a template, and the service's own parts around it.

A pytest plugin. It expects the fixtures `postgres_server` and `kafka_server` of whoever starts the servers.
"""

import base64
import contextlib
import dataclasses
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol

import asyncpg
import httpx2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from starlette.types import ASGIApp

from baton_kit import migration
from baton_kit.apply import App, Batch, apply_batches
from baton_kit.clock import FixedClock
from baton_kit.db import Database, raw
from baton_kit.envelope import Event, Received, decode, encode_headers
from baton_kit.outbox import unpack
from baton_kit.policy import ALL, create_api_key
from baton_kit.runtime import Service
from baton_kit.settings import DatabaseSettings, KafkaSettings

SEAL_KEY = base64.b64encode(b"a key for tests, 32 bytes long..").decode()
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When tests begin, unless they say otherwise: a Monday morning."""


class Server(Protocol):
    """A PostgreSQL that tests may make databases in."""

    @property
    def admin_url(self) -> str:
        """The superuser's URL of the database `postgres`."""

    def url(self, database: str) -> str:
        """The URL of a database."""


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """A Kafka record as the consumer reads it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@contextlib.asynccontextmanager
async def database_of(package: str, server: Server) -> AsyncIterator[str]:
    """Yield the URL of a new database with the service's tables, dropped afterwards; commits in it are real."""
    template = await _template(package, server)
    name = f"test_{uuid.uuid4().hex[:16]}"
    await _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield server.url(name)
    finally:
        await _administer(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _administer(server: Server, statement: str) -> None:
    # A connection each: a test may have killed the server in between.
    admin = await asyncpg.connect(server.admin_url)
    try:
        await admin.execute(statement)
    finally:
        await admin.close()


async def _template(package: str, server: Server) -> str:
    folder = migration.migrations_of(package) / "versions"
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    content += "".join(migration._KIT_V1).encode()
    name = f"template_{package}_{hashlib.sha256(content).hexdigest()[:12]}"
    admin = await asyncpg.connect(server.admin_url)
    try:
        # Several workers of one run share the server: one makes the template, the others wait for it.
        await admin.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", name)
        if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            making = f"{name}_{uuid.uuid4().hex[:6]}"
            await admin.execute(f'CREATE DATABASE "{making}"')
            # alembic brings a loop of its own
            await _in_thread(migration.migrate, package, url=server.url(making))
            await admin.execute(f'ALTER DATABASE "{making}" RENAME TO "{name}"')
    finally:
        await admin.close()
    return name


async def _in_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    import asyncio
    import functools

    return await asyncio.get_running_loop().run_in_executor(None, functools.partial(function, *args, **kwargs))


@dataclass(slots=True)
class Harness(Generic[App]):
    """A service opened on a database of its own, with a clock that the test moves."""

    service: Service[App]
    app: App
    clock: FixedClock
    api: httpx2.AsyncClient
    public: httpx2.AsyncClient | None
    operator_key: str
    offsets: dict[str, int] = field(default_factory=dict)
    seen: int = 0

    @property
    def db(self) -> Database:
        """The service's database."""
        return self.app.db

    async def receive(self, events: Sequence[Event], *, one_by_one: bool = False) -> None:
        """Let every subscription of the service apply the events, in the order given, as its consumer would."""
        batches = [[e] for e in events] if one_by_one else [list(events)]
        for batch in batches:
            for topic, found in _by_topic(batch, self.app.outbox.topic_of):
                start = self.offsets.get(topic, 0)
                records = [record(e, offset=start + n) for n, e in enumerate(found)]
                self.offsets[topic] = start + len(records)
                for subscription in self.service.subscriptions:
                    if topic not in subscription.topics:
                        continue
                    async with self.app.db.begin() as tx:
                        await apply_batches(tx, self.app, subscription, [Batch(topic, 0, records)])

    async def outbox(self) -> list[Received[Any]]:
        """Return every event appended so far, in order."""
        async with self.app.db.begin() as tx:
            rows = await (await raw(tx)).fetch("SELECT id, topic, key, headers, value FROM outbox ORDER BY id")
        return [_received(row) for row in rows]

    async def new_events(self) -> list[Received[Any]]:
        """Return the events appended since this was last asked."""
        found = await self.outbox()
        fresh, self.seen = found[self.seen :], len(found)
        return fresh

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Return the rows of a query, for assertions."""
        async with self.app.db.begin() as tx:
            return list(await (await raw(tx)).fetch(query, *args))

    async def key(self, *scopes: str, person_id: str | None = None, department: str | None = None) -> str:
        """Return a new API key with these scopes."""
        async with self.app.db.begin() as tx:
            return await create_api_key(
                tx, name="test", scopes=list(scopes), person_id=person_id, department=department
            )


@contextlib.asynccontextmanager
async def open_harness(
    service: Service[App], server: Server, *, at: datetime = START, kafka: str = "127.0.0.1:1", **overrides: Any
) -> AsyncIterator[Harness[App]]:
    """Open the service on a new database; `overrides` are settings of it."""
    async with database_of(service.package, server) as url:
        settings = service.settings(
            database=DatabaseSettings(url=url, pool_size=8),  # type: ignore[arg-type]  # pydantic makes it a secret
            kafka=KafkaSettings(bootstrap_servers=kafka),
            seal_key=SEAL_KEY,  # type: ignore[arg-type]  # pydantic makes it a secret
            **overrides,
        )
        async with service.open_app(settings) as opened:
            clock = FixedClock(at)
            app: Any = dataclasses.replace(opened, clock=clock)  # type: ignore[type-var]  # an App is a dataclass
            async with app.db.begin() as tx:
                key = await create_api_key(tx, name="operator", scopes=[ALL])
            async with contextlib.AsyncExitStack() as stack:
                headers = {"Authorization": f"Bearer {key}"}
                api = await stack.enter_async_context(client(service.create_api(app), headers=headers))
                public = None
                if service.create_public is not None:
                    public = await stack.enter_async_context(client(service.create_public(app)))
                yield Harness(service, app, clock, api, public, key)


def client(app: ASGIApp, *, headers: dict[str, str] | None = None) -> httpx2.AsyncClient:
    """Return a client that speaks to an ASGI app without a network."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def record(e: Event, *, offset: int) -> FakeRecord:
    """Return the Kafka record of an event."""
    headers = encode_headers(
        id=e.id,
        type=e.type,
        source="/test",
        key=e.key,
        occurred_at=e.occurred_at,
        traceparent=e.traceparent,
        replay=False,
    )
    return FakeRecord(offset, e.key.encode(), None if e.body is None else e.body.SerializeToString(), headers)


def message_class(type_name: str) -> type[Message]:
    """Return the class of a full proto name, once its module was imported."""
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(type_name))


def _by_topic(events: Sequence[Event], topic_of: Any) -> Iterator[tuple[str, list[Event]]]:
    # Consecutive events of one topic make a batch, so that a test decides what comes before what.
    batch: list[Event] = []
    for e in events:
        if batch and topic_of[batch[-1].type] != topic_of[e.type]:
            yield topic_of[batch[-1].type], batch
            batch = []
        batch.append(e)
    if batch:
        yield topic_of[batch[-1].type], batch


def _received(row: Any) -> Received[Any]:
    headers = unpack(row["headers"])
    type_name = dict(headers)["ce_type"].decode()
    return decode(
        headers=headers,
        key=row["key"].encode(),
        value=row["value"],
        types={type_name: message_class(type_name)},
        topic=row["topic"],
        partition=0,
        offset=row["id"],
    )
