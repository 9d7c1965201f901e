"""Run the toy's roles as processes of their own, against a real PostgreSQL and a real Kafka."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from aiokafka import AIOKafkaConsumer
from google.protobuf.wrappers_pb2 import StringValue

from baton_kit import broker
from baton_kit.db import Database, open_database
from baton_kit.envelope import event
from baton_kit.outbox import Outbox
from baton_kit.settings import DatabaseSettings, KafkaSettings
from baton_kit.testing import SEAL_KEY, START, Server, database_of
from baton_kit.topics import apply_topics
from baton_local.process import free_ports
from toy.service import HEARD, TOLD, TOPIC_OF

OPERATOR_KEY = "bk_operator"


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int = 3
    config: Mapping[str, str] = field(default_factory=dict)


async def make_topics(bootstrap: str, *, prefix: str) -> None:
    admin = broker.admin(KafkaSettings(bootstrap_servers=bootstrap), client_id="tests")
    await admin.start()
    try:
        await apply_topics(admin, [Topic(HEARD), Topic(TOLD)], prefix=prefix)
    finally:
        await admin.close()


async def until(
    condition: Callable[[], Awaitable[Any]], *, within: float = 20, what: str = "the condition held"
) -> Any:
    """Return what the condition answers once that is true; a database or port that is away counts as not yet."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, httpx2.HTTPError):
            if found := await condition():
                return found
        assert time.monotonic() < deadline, f"within {within:.0f} s it did not happen that {what}"
        await asyncio.sleep(0.05)


class Process:
    """One role of the toy."""

    def __init__(self, role: str, env: Mapping[str, str], *, log: Path) -> None:
        self.role, self.env, self.log = role, dict(env), log
        self.api_port, self.ops_port = free_ports(2)
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, **extra: str) -> None:
        ports = {"BATON_HTTP__PORT": str(self.api_port), "BATON_HTTP__OPS_PORT": str(self.ops_port)}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "toy", self.role], env={**self.env, **ports, **extra}, stdout=log, stderr=log
            )

    @property
    def returncode(self) -> int | None:
        return None if self.popen is None else self.popen.poll()

    async def ended(self, *, within: float) -> int:
        async def gone() -> bool:
            return self.returncode is not None

        try:
            await until(gone, within=within, what=f"the {self.role} ended; its log ends with\n{self.tail()}")
        except AssertionError:
            self.kill()
            raise
        assert self.returncode is not None
        return self.returncode

    async def terminate(self, *, within: float = 8) -> int:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGCONT)
        self.popen.send_signal(signal.SIGTERM)
        return await self.ended(within=within)

    def signal(self, number: int) -> None:
        if self.popen is not None and self.returncode is None:
            self.popen.send_signal(number)

    def kill(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    async def ready(self, *, within: float = 30) -> None:
        async with httpx2.AsyncClient() as client:

            async def ok() -> bool:
                assert self.returncode is None, f"{self.role} ended with {self.returncode}:\n{self.tail()}"
                found = await client.get(f"http://127.0.0.1:{self.ops_port}/readyz")
                return bool(found.status_code == 200)

            await until(ok, within=within, what=f"the {self.role} was ready; its log ends with\n{self.tail()}")

    async def readyz(self) -> dict[str, str]:
        async with httpx2.AsyncClient() as client:
            found = await client.get(f"http://127.0.0.1:{self.ops_port}/readyz?verbose")
            return dict(found.json())

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:]) if self.log.exists() else ""


@dataclass
class Stage:
    """A database, a pair of topics, and what was accepted so far."""

    url: str
    bootstrap: str
    prefix: str
    directory: Path
    db: Database
    processes: list[Process] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=lambda: Outbox(topic_of=TOPIC_OF, source="/toy"))

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "BATON_DATABASE__URL": self.url,
            "BATON_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "BATON_KAFKA__TOPIC_PREFIX": self.prefix,
            "BATON_KAFKA__SESSION_TIMEOUT_MS": "6000",
            "BATON_SEAL_KEY": SEAL_KEY,
            "BATON_BOOTSTRAP_API_KEY": OPERATOR_KEY,
        }

    def process(self, role: str) -> Process:
        made = Process(role, self.env, log=self.directory / f"{role}-{len(self.processes)}.log")
        self.processes.append(made)
        return made

    async def say(self, words: Sequence[str], *, keys: int = 5) -> None:
        """Append each word in its own transaction, spread over the keys; it is accepted once that has committed."""
        for word in words:
            e = event(StringValue(value=word), key=f"lead-{hash(word) % keys}", occurred_at=START)
            async with self.db.begin() as tx:
                await self.outbox.append(tx, [e])
            self.accepted[e.id] = word

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        connection = await asyncpg.connect(self.url, timeout=2)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def all_noted(self) -> bool:
        found = await self.fetch("SELECT told FROM note")
        return {row["told"] for row in found} >= set(self.accepted.values())

    async def on_topic(self, topic: str) -> list[str]:
        """Return the event ids on a topic, every partition read to its present end."""
        return [dict(r.headers)["ce_id"].decode() for r in await read_topic(self.bootstrap, self.prefix + topic)]

    async def check(self) -> None:
        """The oracle: each accepted event is on the topic and took effect once; what it told on went out as well."""
        notes = await self.fetch("SELECT key, n, told FROM note ORDER BY key, n")
        assert sorted(row["told"] for row in notes) == sorted(self.accepted.values())
        numbers: dict[str, list[int]] = {}
        for row in notes:
            numbers.setdefault(row["key"], []).append(row["n"])
        assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
        assert set(await self.on_topic(HEARD)) >= set(self.accepted)
        appended = {r["event_id"] for r in await self.fetch("SELECT event_id FROM outbox WHERE topic = $1", TOLD)}
        assert len(appended) == len(self.accepted)

        async def out() -> bool:
            return set(await self.on_topic(TOLD)) >= appended

        await until(out, what="what the toy told on was on its topic")
        assert await self.fetch("SELECT 1 FROM parked") == []


async def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Return every record of a topic up to its present end."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        records: list[Any] = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(found)
        return records
    finally:
        await consumer.stop()


@contextlib.asynccontextmanager
async def stage(server: Server, bootstrap: str, directory: Path) -> AsyncIterator[Stage]:
    """A new database and new topics; every process started on it is ended with it."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    await make_topics(bootstrap, prefix=prefix)
    async with database_of("toy", server) as url:
        db = open_database(DatabaseSettings(url=url), application_name="tests", pool_size=4)  # type: ignore[arg-type]
        made = Stage(url, bootstrap, prefix, directory, db)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
            await db.close()
