"""The sample in examples/ is run as its reader would run it, against a real Kafka."""

import asyncio
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from baton.catalogue import TOPIC_OF

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "examples" / "consumer_python" / "consumer.py"
EXAMPLES = REPOSITORY / "proto" / "examples"


def record(event: str, example: str, *, id: str) -> dict[str, Any]:
    """A record as the relay writes it: the golden bytes of an example in a binary-mode CloudEvent."""
    headers = {"ce_specversion": "1.0", "ce_id": id, "ce_type": event, "content-type": "application/protobuf"}
    return {
        "topic": TOPIC_OF.get(event, "baton.sales.v1"),
        "key": b"a-lead",
        "value": (EXAMPLES / event / f"{example}.bin").read_bytes() if event in TOPIC_OF else b"?",
        "headers": [(key, value.encode()) for key, value in headers.items()],
    }


async def produced(bootstrap: str, prefix: str, *records: dict[str, Any]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for each in records:
            await producer.send_and_wait(prefix + each["topic"], **{k: v for k, v in each.items() if k != "topic"})


@pytest.fixture
async def kafka(kafka_server: Any) -> tuple[str, str]:
    """A Kafka with the two topics that the sample reads, under a prefix of this test's own."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap_servers)
    await admin.start()
    try:
        names = ["baton.qualification.v1", "baton.sales.v1"]
        await admin.create_topics([NewTopic(prefix + name, num_partitions=2, replication_factor=1) for name in names])
    finally:
        await admin.close()
    return kafka_server.bootstrap_servers, prefix


async def test_the_sample_consumer_prints_each_event_once_and_passes_over_what_it_does_not_know(
    kafka: tuple[str, str], tmp_path: Path
) -> None:
    bootstrap, prefix = kafka
    await produced(
        bootstrap,
        prefix,
        record("baton.qualification.v1.LeadScored", "typical", id="1"),
        record("baton.qualification.v1.LeadQualified", "typical", id="2"),
        record("baton.qualification.v1.LeadQualified", "typical", id="2"),
        record("baton.sales.v1.SomethingOfTomorrow", "", id="3"),
        record("baton.sales.v1.DealClosed", "future", id="4"),
        record("baton.sales.v1.DealClosed", "lost", id="5"),
        record("baton.sales.v1.DealClosed", "typical", id="6"),
    )
    environment = os.environ | {
        "KAFKA": bootstrap,
        "KAFKA_TOPIC_PREFIX": prefix,
        "SEEN": str(tmp_path / "seen.sqlite"),
    }

    first = await lines_of(environment, 2)
    assert sorted(line.split()[0] for line in first) == ["qualified", "won"]
    assert any(line.endswith("1849000 EUR (minor units)") for line in first)

    # Started again it goes on where it was: a repeated event is not printed, a new one is.
    await produced(
        bootstrap,
        prefix,
        record("baton.sales.v1.DealClosed", "typical", id="6"),
        record("baton.sales.v1.DealClosed", "yen", id="7"),
    )
    [line] = await lines_of(environment, 1)
    assert line.endswith("2400000 JPY (minor units)")


async def lines_of(environment: dict[str, str], count: int) -> list[str]:
    """The first lines the sample prints; it is stopped afterwards and must not have printed more."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            lines = [(await process.stdout.readline()).decode().rstrip() for _ in range(count)]
    finally:
        process.terminate()
        rest, _ = await process.communicate()
    assert rest == b""
    return lines
