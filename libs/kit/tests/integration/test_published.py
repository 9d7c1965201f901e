"""A slot of the outbox goes only when the topic holds everything that it held."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from google.protobuf.wrappers_pb2 import StringValue
from structlog.testing import capture_logs

from baton_kit import published, relay, rewind, ring
from baton_kit.db import raw
from baton_kit.envelope import Event, event
from baton_kit.published import Published
from baton_kit.settings import KafkaSettings
from baton_kit.testing import START, Harness, Server, open_harness, record
from toy.running import make_topics
from toy.service import HEARD, SERVICE, TOLD, Toy


@dataclass
class Log:
    """A toy whose outbox goes to a topic of a real Kafka."""

    toy: Harness[Toy]
    kafka: KafkaSettings
    producer: AIOKafkaProducer

    def published(self) -> Published:
        return Published(self.toy.db, self.kafka)

    async def append(self, ids: list[str], *, key: str | None = None, ended: bool = False) -> None:
        async with self.toy.db.begin() as tx:
            made = [
                Event(type="google.protobuf.StringValue", body=None, key=key or i, occurred_at=START, id=i)
                if ended
                else event(StringValue(value=i), key=key or i, occurred_at=START, id=i)
                for i in ids
            ]
            await self.toy.app.outbox.append(tx, made)

    async def carry(self, *, without: frozenset[str] = frozenset()) -> None:
        """Let the relay publish, to a broker that acknowledges some events and loses them."""
        producer = Forgetful(self.producer, without)
        async with self.toy.db.begin() as tx:
            cursor = await relay.acquire(tx, "live", holder="test")
        assert cursor is not None
        count = 1
        while count:
            cursor, count = await relay.publish_page(
                self.toy.db, producer, cursor, limit=500, prefix=self.kafka.topic_prefix
            )

    async def age(self) -> None:
        """The slot is full of days: it is behind the cursor and beyond the replay window."""
        await ring.turn(self.toy.db, "live", days=0)
        async with self.toy.db.begin() as tx:
            await (await raw(tx)).execute("UPDATE outbox SET appended_at = now() - interval '8 days'")
        await self.carry()

    async def rows(self) -> int:
        return len(await self.toy.fetch("SELECT FROM outbox"))


@dataclass
class Forgetful:
    producer: Any
    without: frozenset[str]

    async def send(self, topic: str, *, value: bytes | None, key: bytes, headers: Any) -> Any:
        if dict(headers)["ce_id"].decode() in self.without:
            lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            lost.set_result(None)
            return lost
        return await self.producer.send(topic, value=value, key=key, headers=headers)


@contextlib.asynccontextmanager
async def _log(server: Server, bootstrap: str, *, compacted: bool) -> AsyncIterator[Log]:
    async with open_harness(SERVICE, server) as toy:
        [row] = await toy.fetch("SELECT current_database() AS name")
        kafka = KafkaSettings(bootstrap_servers=bootstrap, topic_prefix=f"{row['name']}.")
        if compacted:
            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            config = {"cleanup.policy": "compact"}
            await admin.create_topics(
                [NewTopic(kafka.topic_prefix + name, 3, 1, topic_configs=config) for name in (HEARD, TOLD)]
            )
            await admin.close()
        else:
            await make_topics(bootstrap, prefix=kafka.topic_prefix)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        yield Log(toy, kafka, producer)
        await producer.stop()


@pytest.fixture
async def log(postgres_server: Server, kafka_server: Any) -> AsyncIterator[Log]:
    async with _log(postgres_server, kafka_server.bootstrap_servers, compacted=False) as made:
        yield made


@pytest.fixture
async def compacted(postgres_server: Server, kafka_server: Any) -> AsyncIterator[Log]:
    async with _log(postgres_server, kafka_server.bootstrap_servers, compacted=True) as made:
        yield made


async def test_a_slot_whose_events_are_all_there_is_emptied(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MOST_AT_ONCE", 7)  # in several passes
    await log.append([f"e{n}" for n in range(40)])
    await log.carry()
    await log.age()
    assert await ring.empty(log.toy.db, "live", held=log.published()) == [0]
    assert await log.rows() == 0


async def test_an_event_that_kafka_acknowledged_and_lost_keeps_its_slot_until_it_is_there(log: Log) -> None:
    await log.append([f"e{n}" for n in range(20)])
    await log.carry(without=frozenset({"e3", "e17"}))
    await log.age()
    held = log.published()
    with capture_logs() as logs:
        assert await ring.empty(log.toy.db, "live", held=held) == []
        assert await ring.empty(log.toy.db, "live", held=held) == []
    [told] = [line for line in logs if line["event"] == "outbox_not_on_topic"]
    assert (told["missing"], told["first"]) == (2, ("e17", "e3"))
    assert await log.rows() == 20

    async with log.toy.db.begin() as tx:
        await rewind.rewind(tx, lane="live", since=START.replace(year=2020))
    await log.carry()
    assert await ring.empty(log.toy.db, "live", held=log.published()) == [0]


async def test_what_retention_has_let_go_of_does_not_keep_a_slot(log: Log) -> None:
    await log.append([f"e{n}" for n in range(20)])
    await log.carry()
    await log.age()
    admin = AIOKafkaAdminClient(bootstrap_servers=log.kafka.bootstrap_servers)
    await admin.start()
    consumer = AIOKafkaConsumer(
        log.kafka.topic_prefix + HEARD, log.kafka.topic_prefix + TOLD, bootstrap_servers=log.kafka.bootstrap_servers
    )
    await consumer.start()
    everything = {partition: RecordsToDelete(-1) for partition in consumer.assignment()}
    await consumer.stop()
    await admin.delete_records(everything)
    await admin.close()
    with capture_logs() as logs:
        assert await ring.empty(log.toy.db, "live", held=log.published()) == [0]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["outbox_beyond_retention"]


async def test_on_a_compacted_topic_a_later_event_of_the_key_will_do(compacted: Log) -> None:
    await compacted.append(["a1"], key="a")
    await compacted.append(["a2"], key="a")
    await compacted.append(["b1"], key="b")
    await compacted.carry(without=frozenset({"a1", "b1"}))  # a1 is as if compaction had been there
    await compacted.age()
    [missing] = await published.missing(compacted.toy.db, compacted.kafka, 0)
    assert missing.event_ids == ("b1",)
    # What came in a later slot stands for the earlier one.
    later = record(event(StringValue(value="b2"), key="b", occurred_at=START, id="b2"), offset=0)
    await compacted.producer.send_and_wait(
        missing.topic if missing.topic.startswith(compacted.kafka.topic_prefix)
        else compacted.kafka.topic_prefix + missing.topic,
        key=later.key, value=later.value, headers=list(later.headers),
    )  # fmt: skip
    assert await published.missing(compacted.toy.db, compacted.kafka, 0) == []


async def test_a_key_that_was_ended_leaves_nothing_to_look_for(compacted: Log) -> None:
    await compacted.append(["a1"], key="a")
    await compacted.carry(without=frozenset({"a1"}))
    await compacted.age()
    await compacted.append(["a2"], key="a", ended=True)
    assert await published.missing(compacted.toy.db, compacted.kafka, 0) == []
