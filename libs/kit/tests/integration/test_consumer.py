import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from baton_kit import broker, telemetry
from baton_kit import consumer as consuming
from baton_kit.consumer import Consumer, NoProgress
from baton_kit.db import raw
from baton_kit.envelope import Event, event
from baton_kit.relay import Relay
from baton_kit.settings import KafkaSettings
from baton_kit.testing import START, Harness, Server, open_harness, record
from toy.running import make_topics, read_topic, until
from toy.service import HEARD, SERVICE, SUBSCRIPTION, TOLD, Toy


class Log:
    """A topic of its own for one test, written to directly."""

    def __init__(self, toy: Harness[Toy], producer: AIOKafkaProducer, prefix: str) -> None:
        self.toy, self.producer, self.prefix = toy, producer, prefix

    async def write(self, events: Sequence[Event], *, partition: int = 0, value: bytes | None = None) -> None:
        for e in events:
            r = record(e, offset=0)
            await self.producer.send_and_wait(
                self.prefix + HEARD, key=r.key, value=value or r.value, headers=list(r.headers), partition=partition
            )

    def member(self) -> Consumer[Toy]:
        return Consumer(self.toy.app, SUBSCRIPTION)

    async def noted(self, *told: str) -> None:
        async def all_there() -> bool:
            return {r["told"] for r in await self.toy.fetch("SELECT told FROM note")} >= set(told)

        await until(all_there, within=30, what=f"{told} were noted")

    async def order(self) -> list[str]:
        return [r["told"] for r in await self.toy.fetch("SELECT told FROM note ORDER BY key, n")]


@pytest.fixture
async def log(postgres_server: Server, kafka_server: Any, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    bootstrap = kafka_server.bootstrap_servers
    async with open_harness(SERVICE, postgres_server) as toy:
        [row] = await toy.fetch("SELECT current_database() AS name")
        prefix = f"{row['name']}."
        await make_topics(bootstrap, prefix=prefix)
        kafka = KafkaSettings(bootstrap_servers=bootstrap, topic_prefix=prefix, session_timeout_ms=6_000)
        toy.app = replace(toy.app, settings=toy.app.settings.model_copy(update={"kafka": kafka}))
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        yield Log(toy, producer, prefix)
        await producer.stop()


@contextlib.asynccontextmanager
async def running(member: Consumer[Toy]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(member.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, NoProgress):
            await task


def word(value: str, key: str = "lead-1", **more: Any) -> Event:
    return event(StringValue(value=value), key=key, occurred_at=START, **more)


async def test_a_restored_database_reads_again_what_it_lost(log: Log) -> None:
    await log.write([word("a"), word("b"), word("c")])
    async with running(log.member()):
        await log.noted("a", "b", "c")
    # As a restore to the state after the first event leaves it, with Kafka's own position far ahead.
    await log.toy.fetch("UPDATE consumer_offset SET next_offset = 1 WHERE next_offset = 3")
    await log.toy.fetch("DELETE FROM note WHERE n > 1")
    await log.toy.fetch("DELETE FROM inbox WHERE event_id <> (SELECT min(event_id) FROM inbox)")
    async with running(log.member()):
        await log.noted("a", "b", "c")
    assert await log.order() == ["a", "b", "c"]


async def test_a_database_that_goes_back_under_a_running_consumer_loses_nothing(log: Log) -> None:
    async with running(log.member()):
        await log.write([word("a"), word("b"), word("c")])
        await log.noted("a", "b", "c")
        async with log.toy.db.begin() as tx:
            for statement in ("DELETE FROM note", "DELETE FROM inbox", "UPDATE consumer_offset SET next_offset = 0"):
                await (await raw(tx)).execute(statement)
        await log.write([word("d")])
        await log.noted("a", "b", "c", "d")
    assert await log.order() == ["a", "b", "c", "d"]


class BeganElsewhere:
    """A client that fetched from Kafka's own position before it was told ours."""

    def __init__(self, tp: TopicPartition, found: Any) -> None:
        self.tp, self.found, self.sought = tp, found, dict[TopicPartition, int]()

    async def getmany(self, **_: Any) -> dict[TopicPartition, Any]:
        return {self.tp: self.found}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.sought[tp] = offset


async def test_records_fetched_before_the_seek_are_not_applied(toy: Harness[Toy]) -> None:
    await toy.fetch(
        "INSERT INTO consumer_offset (consumer, topic, partition, next_offset) VALUES ('toy.count', $1, 0, 3)", HEARD
    )
    client = BeganElsewhere(TopicPartition(HEARD, 0), [record(word("far ahead"), offset=900)])
    await Consumer(toy.app, SUBSCRIPTION)._step(client)
    assert client.sought == {client.tp: 3}
    assert await toy.fetch("SELECT 1 FROM note") == []


async def test_a_failing_event_is_repeated_alone_then_parked_and_the_rest_flows(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "HANDLER_PAUSES", (0.01, 0.01))
    await log.write([word("a"), word("bug"), word("b"), word("c", "lead-2")])
    repeats = telemetry.RETRIES.labels("toy.count", "handler")._value.get()
    member = log.member()
    async with running(member):
        await log.noted("a", "c")

        async def both_parked() -> bool:
            return len(await log.toy.fetch("SELECT 1 FROM parked")) == 2

        await until(both_parked)
    rows = await log.toy.fetch("SELECT reason, detail FROM parked ORDER BY id")
    assert [tuple(r) for r in rows] == [("handler", "KeyError"), ("blocked", "behind a parked event of this key")]
    assert telemetry.RETRIES.labels("toy.count", "handler")._value.get() == repeats + 2


async def test_a_failing_partition_holds_no_other_of_the_same_poll(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its repeats would take longer than the test may last: whoever waited for them would never be noted.
    monkeypatch.setattr(consuming, "HANDLER_PAUSES", (600.0,))
    await log.write([word("before", "lead-1"), word("bug", "lead-1")], partition=0)
    await log.write([word("other", "lead-2")], partition=1)
    member = log.member()
    async with running(member):
        await log.noted("before", "other")
        await log.write([word("later", "lead-2")], partition=1)
        await log.noted("later")
    [row] = await log.toy.fetch("SELECT next_offset FROM consumer_offset WHERE partition = 0")
    assert row["next_offset"] == 1
    assert await log.toy.fetch("SELECT 1 FROM parked") == []


async def test_a_client_that_is_never_let_in_is_made_anew(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = broker.consumer

    def first_one_waits_for_ever(*args: Any, **options: Any) -> Any:
        client = make(*args, **options)
        if not made:
            # As a client does whose own task for metadata has died of a lost connection.
            monkeypatch.setattr(client, "start", asyncio.Event().wait)
        made.append(client)
        return client

    monkeypatch.setattr(broker, "consumer", first_one_waits_for_ever)
    monkeypatch.setattr(consuming, "STARTS_WITHIN_SESSIONS", 0.03)
    await log.write([word("a")])
    member = log.member()
    async with running(member):
        await until(waits_for(member, "TimeoutError"))
        monkeypatch.setattr(consuming, "STARTS_WITHIN_SESSIONS", 5)
        await log.noted("a")
    assert len(made) >= 2


def waits_for(member: Consumer[Toy], reason: str) -> Callable[[], Awaitable[bool]]:
    async def waits() -> bool:
        return member.reason == reason

    return waits


class LostOnTheWay:
    """A client whose connection breaks while it says good-bye."""

    def __init__(self) -> None:
        self._client = self

    async def stop(self) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    close = stop


async def test_a_client_that_cannot_say_good_bye_ends_no_process() -> None:
    await consuming._stopped(LostOnTheWay())


class Polls:
    """A client that brings one poll after the other of a partition."""

    def __init__(self, tp: TopicPartition, *polls: Sequence[Any]) -> None:
        self.tp, self.polls = tp, list(polls)

    async def getmany(self, **_: Any) -> dict[TopicPartition, Any]:
        found = self.polls.pop(0)
        return {self.tp: found} if found else {}

    def assignment(self) -> set[TopicPartition]:
        return set()


async def test_a_consumer_on_which_nobody_waits_gathers_unless_more_waits(
    toy: Harness[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(consuming, "_rest", rest)
    tp = TopicPartition(HEARD, 0)
    found = [record(word(f"w{n}"), offset=n) for n in range(3)]
    client = Polls(tp, found[:2], found[2:], [])
    member = Consumer(toy.app, replace(SUBSCRIPTION, gather_seconds=0.25, largest_batch=2), known={tp: 0})
    seen = []
    for _ in range(3):
        await member._step(client)
        seen.append(len(rests))
    assert seen == [1, 1, 2]
    assert len(await toy.fetch("SELECT 1 FROM note")) == 3


async def test_an_unprocessable_event_is_parked_without_a_repeat(log: Log) -> None:
    log.toy.app.refuse.add("no")
    await log.write([word("no"), word("yes", "lead-2")])
    async with running(log.member()):
        await log.noted("yes")
    [row] = await log.toy.fetch("SELECT reason, detail FROM parked")
    assert tuple(row) == ("handler", "a refused word")


async def test_too_many_parkings_stop_the_consumer_also_after_a_restart(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "TOO_MANY", 3)
    for n in range(5):
        await log.write([word(f"w{n}", f"lead-{n}")], value=b"\xff\xff")
    member = log.member()

    async def waits() -> bool:
        return "were parked within" in member.reason

    async with running(member):
        await until(waits)
    assert not member.healthy
    parked = len(await log.toy.fetch("SELECT 1 FROM parked"))
    await log.write([word("good", "lead-9")])
    member = log.member()
    async with running(member):
        await until(waits)
        assert await log.order() == []
        assert len(await log.toy.fetch("SELECT 1 FROM parked")) == parked
        # A person has looked at them.
        await log.toy.fetch("DELETE FROM parked")
        await log.noted("good")
        assert member.healthy


async def test_an_outage_never_parks(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consuming, "HANDLER_PAUSES", (0.01,))
    monkeypatch.setattr(consuming, "OUTAGE_PAUSES", (0.01,))
    member = log.member()
    async with running(member):
        await log.write([word("a")])
        await log.noted("a")
        await log.toy.fetch("ALTER TABLE note RENAME TO gone")
        await log.write([word("b")])

        async def repeated() -> bool:
            return any(b.outages > 5 for b in member.backlogs.values()) and not member.healthy

        await until(repeated, what="the outage was waited out")
        await log.toy.fetch("ALTER TABLE gone RENAME TO note")
        await log.noted("b")

        async def healthy() -> bool:
            return member.healthy

        await until(healthy)
    assert await log.toy.fetch("SELECT 1 FROM parked") == []


async def test_a_position_outside_the_log_waits_for_a_person(log: Log) -> None:
    await log.write([word("a"), word("b")])
    await log.toy.fetch(
        "INSERT INTO consumer_offset (consumer, topic, partition, next_offset) VALUES ('toy.count', $1, 0, 900)", HEARD
    )
    member = log.member()

    async def alarmed() -> bool:
        return "lies outside the log" in member.reason

    async with running(member):
        await until(alarmed)
        await log.write([word("elsewhere", "lead-2")], partition=1)
        await log.noted("elsewhere")
        assert not member.healthy
        assert await log.order() == ["elsewhere"]
        await log.toy.fetch("UPDATE consumer_offset SET next_offset = 0 WHERE partition = 0")
        await log.noted("a", "b")


async def test_two_members_share_and_hand_over_without_loss(log: Log) -> None:
    words = [f"w{n:03d}" for n in range(240)]
    first, second = log.member(), log.member()

    async def write() -> None:
        for n, w in enumerate(words):
            await log.write([word(w, f"lead-{n % 3}")], partition=n % 3)

    async with running(first):
        writing = asyncio.create_task(write())
        await log.noted("w010")
        async with running(second):

            async def shared() -> bool:
                return bool(first.known) and bool(second.known)

            await until(shared, what="both members had partitions")
            await log.noted("w120")
        await writing
        await log.noted(*words)
    rows = await log.toy.fetch("SELECT key, told FROM note ORDER BY key, n")
    assert len(rows) == 240
    for n in range(3):
        assert [r["told"] for r in rows if r["key"] == f"lead-{n}"] == words[n::3]


async def test_a_client_that_does_not_move_though_events_wait_is_made_anew(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "DISPLAY_SECONDS", 0.2)
    monkeypatch.setattr(consuming, "NO_PROGRESS_SECONDS", 0.5)
    made: list[Any] = []
    make = consuming.broker.consumer

    def stuck_at_first(*args: Any, **kwargs: Any) -> Any:
        client = make(*args, **kwargs)
        made.append(client)
        if len(made) == 1:

            async def nothing(**_: Any) -> dict[Any, Any]:
                await asyncio.sleep(0.01)
                return {}

            client.getmany = nothing
        return client

    monkeypatch.setattr(consuming.broker, "consumer", stuck_at_first)
    await log.write([word("a")])
    async with running(log.member()):
        await log.noted("a")
    assert len(made) >= 2


async def test_one_trace_runs_from_the_request_to_what_the_consumer_tells_on(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("t"))
    trace_id = "0123456789abcdef0123456789abcdef"
    sent = {"Idempotency-Key": "k", "traceparent": f"00-{trace_id}-0123456789abcdef-01"}
    answer = await log.toy.api.post("/v1/words?word=hello", headers=sent)
    assert answer.headers["traceparent"].split("-")[1] == trace_id
    relay = asyncio.create_task(Relay(log.toy.db, log.toy.app.settings.kafka, lane="live").run())
    async with running(log.member()):
        await log.noted("hello")

        async def told() -> list[Any]:
            return await read_topic(log.toy.app.settings.kafka.bootstrap_servers, log.prefix + TOLD)

        [found] = await until(told)
    relay.cancel()
    await asyncio.gather(relay, return_exceptions=True)
    assert dict(found.headers)["traceparent"].decode().split("-")[1] == trace_id
    names = {s.name for s in spans.get_finished_spans() if f"{s.context.trace_id:032x}" == trace_id}
    assert names >= {"POST /v1/words", "apply google.protobuf.StringValue"}
