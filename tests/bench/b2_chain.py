"""B2: webhook to `LeadQualified` seen by an outside consumer, against two bare produce/consume hops and two commits."""

import asyncio
import secrets
import time

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from baton_local.stack import Stack

from .b1_intake import signed_requests
from .load import open_loop
from .result import Figure, Say, percentile

SECONDS = 10
GRACE = 30


async def measure(stack: Stack, say: Say, *, rounds: int) -> Figure:
    """Measure B2 on the whole running stack; the agreement in force must qualify the bench's payload."""
    figure = Figure(
        "B2",
        "webhook to LeadQualified seen by an outside consumer, median at 100/s",
        "ms",
        "p50 <= 25 ms at 100/s; p99 <= 100 ms at 300/s; <= 3 x the floor",
    )
    slow: list[float] = []
    fast: list[float] = []
    for n in range(rounds):
        at_100 = await chain(stack, rate=100, run=f"s{n}")
        at_300 = await chain(stack, rate=300, run=f"q{n}")
        floor = await two_hops(stack, rate=100)
        slow += at_100
        fast += at_300
        figure.pairs.append((percentile(at_100, 50), percentile(floor, 50)))
        say(
            f"B2 {n + 1}/{rounds}: p50 {percentile(at_100, 50):.1f} ms at 100/s, p99 {percentile(at_300, 99):.1f} ms "
            f"at 300/s; floor p50 {percentile(floor, 50):.1f} ms"
        )
    figure.more = {
        "p50_ms_at_100": round(percentile(slow, 50), 1),
        "p99_ms_at_100": round(percentile(slow, 99), 1),
        "p50_ms_at_300": round(percentile(fast, 50), 1),
        "p99_ms_at_300": round(percentile(fast, 99), 1),
    }
    ratio = figure.as_json()["ratio"]
    figure.met = figure.more["p50_ms_at_100"] <= 25 and figure.more["p99_ms_at_300"] <= 100 and ratio <= 3
    return figure


async def chain(stack: Stack, *, rate: float, run: str) -> list[float]:
    """Return the milliseconds from each request's scheduled time to its `LeadQualified`, found by its trace."""
    port = stack.services["lead-intake"].public_port
    assert port is not None
    count = int(rate * SECONDS)
    traces = [secrets.token_hex(16) for _ in range(count)]
    requests = [
        one.replace(b"\r\n\r\n", f"\r\ntraceparent: 00-{trace}-{'1' * 16}-01\r\n\r\n".encode(), 1)
        for one, trace in zip(signed_requests(count, run=run, port=port), traces, strict=True)
    ]
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    consumer = AIOKafkaConsumer(
        stack.topic_prefix + "baton.qualification.v1",
        bootstrap_servers=stack.bootstrap_servers,
        auto_offset_reset="latest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    await consumer.seek_to_end()
    for tp in consumer.assignment():
        await consumer.position(tp)

    async def look() -> None:
        async for found in consumer:
            headers = dict(found.headers)
            if headers["ce_type"].endswith(b".LeadQualified"):
                seen.setdefault(headers["traceparent"].decode().split("-")[1], time.perf_counter())
                if len(seen) == count:
                    return

    looking = asyncio.create_task(look())
    await open_loop(port, requests, rate=rate, on_send=lambda n, due: sent.__setitem__(traces[n], due))
    try:
        await asyncio.wait_for(looking, GRACE)
    except TimeoutError:
        raise RuntimeError(f"{count - len(seen)} of {count} leads were not seen as qualified") from None
    finally:
        await consumer.stop()
    return [(seen[trace] - sent[trace]) * 1000 for trace in traces]


async def two_hops(stack: Stack, *, rate: float) -> list[float]:
    """Return the milliseconds of commit, produce, consume, commit, produce, consume, with nothing else in between."""
    run = secrets.token_hex(4)
    first, second = f"bench.{run}.first", f"bench.{run}.second"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, 12, 1) for name in (first, second)])
    pool = await asyncpg.create_pool(stack.postgres.admin_url, min_size=4, max_size=8)
    await pool.execute("CREATE TABLE IF NOT EXISTS bench_hop (id bigint GENERATED ALWAYS AS IDENTITY, value bytea)")
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    consumers = [
        AIOKafkaConsumer(name, bootstrap_servers=stack.bootstrap_servers, auto_offset_reset="earliest")
        for name in (first, second)
    ]
    for consumer in consumers:
        await consumer.start()
    count = int(rate * SECONDS)
    sent: dict[bytes, float] = {}
    seen: dict[bytes, float] = {}

    async def hop(source: AIOKafkaConsumer, target: str) -> None:
        async for found in source:
            await pool.execute("INSERT INTO bench_hop (value) VALUES ($1)", found.value)
            await producer.send(target, key=found.key, value=found.value)

    async def look() -> None:
        async for found in consumers[1]:
            seen[found.key] = time.perf_counter()
            if len(seen) == count:
                return

    hopping, looking = asyncio.create_task(hop(consumers[0], second)), asyncio.create_task(look())
    body = b"x" * 600

    async def begin(key: bytes, due: float) -> None:
        sent[key] = due
        await pool.execute("INSERT INTO bench_hop (value) VALUES ($1)", body)
        await producer.send(first, key=key, value=body)

    start = time.perf_counter() + 0.05
    tasks = []
    for n in range(count):
        due = start + n / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(begin(str(n).encode(), due)))
    await asyncio.gather(*tasks)
    try:
        await asyncio.wait_for(looking, GRACE)
    finally:
        hopping.cancel()
        for consumer in consumers:
            await consumer.stop()
        await producer.stop()
        await pool.execute("DROP TABLE bench_hop")
        await pool.close()
        await admin.delete_topics([first, second])
        await admin.close()
    return [(seen[key] - sent[key]) * 1000 for key in sent]
