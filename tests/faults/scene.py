"""One service on a copy of a prepared database, its role started and killed, and what it left behind in words."""

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from aiokafka import AIOKafkaProducer
from aiokafka.protocol.group import LeaveGroupRequest
from forks import Nursery, Role
from google.protobuf.json_format import MessageToJson

from baton import catalogue
from baton_kit import broker
from baton_kit.envelope import Event
from baton_kit.outbox import unpack
from baton_kit.settings import KafkaSettings
from baton_kit.testing import SEAL_KEY, Server, message_class, record
from baton_kit.topics import apply_topics
from toy.running import Topic, read_topic, until

Contents = Mapping[str, Sequence[str]]
"""Every row of every table, as text without what differs between two runs."""

_NOT_STATE = ("alembic_version", "outbox_cursor", "outbox_ring")
"""Where the relay stands is no effect: a repeat moves it on."""
_NOT_EFFECTS = ("epoch", "lease_until", "allowance", "found")
"""Who works on a row and how many calls may still be made: a crash takes both with it until time gives them back. And
what the last run of the reconciler found: the run after a crash does not find again what the dead one handed in.
"""
PATIENCE = 90.0
"""Seconds that a step may take; on a machine with other work each takes many times as long as alone."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)?|\b1[789]\d{11}\b")
_ATTEMPT = re.compile(r'"attemptNumber\\*": \d+')
"""A provider numbers its attempts in the body, which is kept as it came."""
_MADE_UP = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9_/+=.\\-]{32,}", re.IGNORECASE
)


@dataclass
class Scene:
    """`known` is what the story's beginning returned; `attempts` counts the deliveries of a provider.

    The tables `aside` are no part of the contents.
    """

    url: str
    key: str
    known: Any
    role: Role
    bootstrap: str
    prefix: str
    aside: Sequence[str] = ()
    attempts: int = 0
    records: dict[str, int] = field(default_factory=dict)

    async def post(
        self, path: str, *, public: bool = False, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx2.Response:
        port = self.role.public_port if public else self.role.api_port
        who = {} if public else {"Authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            return await client.post(f"http://127.0.0.1:{port}{path}", headers={**who, **(headers or {})}, **body)

    async def put(self, path: str, *, headers: Mapping[str, str], **body: Any) -> httpx2.Response:
        who = {"Authorization": f"Bearer {self.key}", **headers}
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            return await client.put(f"http://127.0.0.1:{self.role.api_port}{path}", headers=who, **body)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        connection = await asyncpg.connect(self.url, timeout=30)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def make_topics(self) -> None:
        admin = broker.admin(KafkaSettings(bootstrap_servers=self.bootstrap), client_id="tests")
        await admin.start()
        try:
            # One partition each: what a worker finds on a topic at its start is one batch.
            await apply_topics(admin, [Topic(name, partitions=1) for name in catalogue.TOPICS], prefix=self.prefix)
        finally:
            await admin.close()

    async def publish(self, events: Sequence[Event]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for offset, e in enumerate(events):
                made = record(e, offset=offset)
                topic = catalogue.TOPIC_OF[e.type]
                self.records[topic] = self.records.get(topic, 0) + 1
                await producer.send(self.prefix + topic, made.value, made.key, partition=0, headers=list(made.headers))
            await producer.flush()
        finally:
            await producer.stop()

    async def bury(self, groups: Sequence[str]) -> None:
        """Take a dead worker's leases and memberships away, as time would."""
        leases = await self.fetch(
            "SELECT table_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND column_name = 'lease_until'"
        )
        for [table] in leases:
            await self.fetch(f'UPDATE "{table}" SET lease_until = now() WHERE lease_until > now()')
        admin = broker.admin(KafkaSettings(bootstrap_servers=self.bootstrap), client_id="tests")
        await admin.start()
        try:
            for group in (self.prefix + name for name in groups):
                [answer] = await admin.describe_consumer_groups([group])
                for found in answer.groups:
                    # error, group, state, kind of protocol, protocol, members
                    for member in found[5]:
                        node = await admin.find_coordinator(group)
                        await admin._send_request_to_node(node, LeaveGroupRequest(group, member[0]))
        finally:
            await admin.close()

    async def through(self, query: str, groups: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Wait until every group has applied what is on its topics, and the query returns a row."""

        async def applied() -> bool:
            rows = await self.fetch("SELECT consumer, topic, next_offset FROM consumer_offset")
            at = {(row["consumer"], row["topic"]): row["next_offset"] for row in rows}
            wanted = [(group, t) for group, topics in groups for t in topics if t in self.records]
            return all(at.get(place, 0) >= self.records[place[1]] for place in wanted) and bool(await self.fetch(query))

        await until(applied, within=PATIENCE, what=f"the worker was through; its log ends with\n{self.role.tail()}")

    async def told(self) -> None:
        """Wait until the topics hold exactly the events of the outbox, whatever is there twice."""
        rows = await self.fetch("SELECT topic, event_id FROM outbox")
        expected = {(row["topic"], row["event_id"]) for row in rows}
        assert len(expected) == len(rows), "an event stands in the outbox twice"
        given = {topic for topic, _ in expected}

        async def there() -> bool:
            found = {
                (topic, dict(r.headers)["ce_id"].decode())
                for topic in given
                for r in (await read_topic(self.bootstrap, self.prefix + topic))[self.records.get(topic, 0) :]
            }
            return found == expected

        await until(there, within=PATIENCE, what=f"the topics held the outbox; the log ends with\n{self.role.tail()}")

    async def contents(self, *, known_ids: str = "") -> Contents:
        """Return what the database holds; ids that are not in `known_ids`, times and secrets are masked."""

        def masked(text: str) -> str:
            text = _ATTEMPT.sub("<attempt>", _TIME.sub("<time>", text))
            return _MADE_UP.sub(lambda found: found[0] if found[0] in known_ids else "<new>", text)

        connection = await asyncpg.connect(self.url, timeout=30)
        try:
            # What a sequence numbers has gaps after a crash, by design.
            tables = await connection.fetch(
                "SELECT table_name, array_agg(column_name::text) FILTER (WHERE is_identity = 'YES' OR "
                "column_default LIKE 'nextval%' OR column_name IN ('xid', 'generation_id')) AS numbered "
                "FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) "
                "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name !~ '^outbox_.*\\d$' "
                "GROUP BY table_name ORDER BY table_name"
            )
            found: dict[str, list[str]] = {}
            for table, numbered in tables:
                if table in _NOT_STATE or table in self.aside:
                    continue
                rows = [dict(row) for row in await connection.fetch(f'SELECT * FROM "{table}"')]
                for row in rows:
                    for name in (*(numbered or ()), *_NOT_EFFECTS):
                        row.pop(name, None)
                    if table == "outbox":
                        row |= _event(row)
                found[table] = sorted(masked(json.dumps(row, default=_text, sort_keys=True)) for row in rows)
            return found
        finally:
            await connection.close()


def _event(row: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = dict(unpack(row["headers"]))["ce_type"].decode()
    body = None
    if row["value"] is not None:
        body = json.loads(MessageToJson(message_class(kind).FromString(row["value"])))
    return {"headers": kind, "value": body, "shard": None}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
        return "<bytes>"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def ids_in(contents: Contents) -> str:
    return "\n".join(row for rows in contents.values() for row in rows)


@contextlib.asynccontextmanager
async def scene(
    server: Server, template: str, nursery: Nursery, *, service: str, argv: Sequence[str], env: Mapping[str, str],
    key: str, known: Any, bootstrap: str, directory: Path, aside: Sequence[str],
) -> AsyncIterator[Scene]:  # fmt: skip
    """A copy of a prepared database, and a role that is ready to be started on it."""
    name = f"scene_{uuid.uuid4().hex[:12]}"
    prefix = f"{name[6:]}."
    await administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    settings = {
        "BATON_DATABASE__URL": server.url(name),
        "BATON_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "BATON_KAFKA__TOPIC_PREFIX": prefix,
        "BATON_KAFKA__SESSION_TIMEOUT_MS": "6000",
        "BATON_SEAL_KEY": SEAL_KEY,
        **env,
    }
    role = Role(nursery, service, argv, settings, log=directory / f"{name}.log")
    try:
        yield Scene(server.url(name), key, known, role, bootstrap, prefix, aside)
    finally:
        role.kill()
        await administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def administer(server: Server, statement: str) -> None:
    connection = await asyncpg.connect(server.admin_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
