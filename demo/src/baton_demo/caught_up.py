"""Wait until every event has gone all the way: no relay holds one back, every consumer stands at the end of its topics.

Conditions, not times: what is asked again is asked until it holds, and what never holds is named.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from baton.catalogue import TOPICS
from baton_demo.place import Client, Unexpected

READS: dict[str, tuple[str, ...]] = {
    "lead-intake": ("baton.contact.v1",),
    "qualification": ("baton.lead.v1", "baton.sales.v1", "baton.erasure.v1"),
    "sales-feedback": ("baton.qualification.v1", "baton.contact.v1", "baton.erasure.v1"),
    "attribution": ("baton.lead.v1", "baton.qualification.v1", "baton.sales.v1", "baton.erasure.v1"),
}
PATIENCE_S = 120.0
ASK_AGAIN_S = 0.2


async def until(
    what: str,
    holds: Callable[[], Awaitable[bool]],
    *,
    within: float = PATIENCE_S,
    why: Callable[[], str] = lambda: "",
) -> None:
    """Return when `holds` says yes; Unexpected, naming `what` and `why` not, when it does not in time."""
    deadline = time.monotonic() + within
    while not await holds():
        if time.monotonic() > deadline:
            raise Unexpected(f"waited {within:.0f} s in vain until {what} {why()}".rstrip())
        await asyncio.sleep(ASK_AGAIN_S)


async def caught_up(client: Client, *, within: float = PATIENCE_S) -> None:
    """Return when nothing is on its way between the services any more."""
    place = client.place
    consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap_servers, group_id=None)
    await consumer.start()
    missing: list[str] = []
    try:
        partitions = {
            name: [TopicPartition(place.topic_prefix + name, p) for p in range(topic.partitions)]
            for name, topic in TOPICS.items()
        }
        before: dict[Any, int] = {}

        async def quiet() -> bool:
            nonlocal before
            ends = await consumer.end_offsets([p for each in partitions.values() for p in each])
            missing[:] = await _on_the_way(client, ends)
            # Once more with the same ends: what a consumer wrote last is then published and read as well.
            settled = not missing and ends == before
            before = ends
            return settled

        await until("every event is everywhere", quiet, within=within, why=lambda: "; ".join(missing))
    finally:
        await consumer.stop()


async def _on_the_way(client: Client, ends: dict[Any, int]) -> list[str]:
    prefix = client.place.topic_prefix
    missing: list[str] = []
    for service in client.place.api:
        lanes = await client.get(service, "/v1/ops/relay")
        missing += [f"the relay of {service} holds {lane['waiting']}" for lane in lanes if lane["waiting"]]
        parked = await client.get(service, "/v1/ops/parked", limit=200)
        if parked["items"]:
            first = parked["items"][0]
            raise Unexpected(
                f"{service} parked {len(parked['items'])} events, the first for {first['reason']!r}: "
                "see `baton parked list`, mend the cause and `baton parked replay`"
            )
        positions = await client.get(service, "/v1/ops/consumers")
        at = {(p["topic"].removeprefix(prefix), p["partition"]): p["next_offset"] for p in positions}
        for (topic, partition), end in ends.items():
            name = topic.removeprefix(prefix)
            if name in READS.get(service, ()) and at.get((name, partition), 0) < end:
                behind = end - at.get((name, partition), 0)
                missing.append(f"{service} is {behind} behind on {name}/{partition}")
    return missing
