"""Hold the events of an outbox slot against the topics, as sets of ids, before the slot is emptied.

The relay moves its cursor over what Kafka acknowledged. Whether it is there is another question: a broker that lost its
disk has acknowledged as well. As long as the slot stands, `relay rewind` publishes it again; afterwards nobody could.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer

from baton_kit import broker, telemetry
from baton_kit.db import Database, Tx, raw
from baton_kit.migration import SHARDS
from baton_kit.outbox import shard_of
from baton_kit.settings import KafkaSettings
from baton_kit.telemetry import log
from baton_kit.topics import cleanup_policies

MOST_AT_ONCE = 100_000
"""Ids in memory; a slot with more is held against the topic in several passes, by shards."""
CLOCKS_APART = timedelta(hours=1)
AGAIN_AFTER_S = 3_600.0
"""A slot that was found wanting is read again after so long, or after a restart."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Events of a slot that a topic does not hold."""

    topic: str
    event_ids: tuple[str, ...]


class Published:
    """Answers whether a slot may go: called with the slot, True when the topics hold all its events.

    What is missing is told as an alarm and the slot stays. On a compacted topic an event counts as held where its key
    has a later one; tombstones, which Kafka removes in time, are not looked for.
    """

    def __init__(self, db: Database, kafka: KafkaSettings) -> None:
        self._db, self._kafka = db, kafka
        self._wanting: dict[int, float] = {}

    async def __call__(self, lane: str, slot: int) -> bool:
        """Compare; raises what Kafka and the database raise when they are away."""
        if time.monotonic() < self._wanting.get(slot, 0):
            return False
        found = await missing(self._db, self._kafka, slot)
        telemetry.OUTBOX_NOT_ON_TOPIC.labels(lane).set(sum(len(m.event_ids) for m in found))
        for one in found:
            # The ids name no person; the first ones are enough to look for.
            log.error(
                "outbox_not_on_topic",
                lane=lane,
                slot=slot,
                topic=one.topic,
                missing=len(one.event_ids),
                first=one.event_ids[:3],
                hint="baton relay rewind",
            )
        if found:
            self._wanting[slot] = time.monotonic() + AGAIN_AFTER_S
            return False
        self._wanting.pop(slot, None)
        return True


async def missing(db: Database, kafka: KafkaSettings, slot: int) -> list[Missing]:
    """Return what the topics do not hold of a slot that nobody writes to any more."""
    async with db.begin() as tx:
        topics = await (await raw(tx)).fetch(
            f"SELECT topic, count(*), min(appended_at) FROM outbox_s{slot:02d} GROUP BY 1 ORDER BY 1"  # noqa: S608
        )
    if not topics:
        return []
    names = [kafka.topic_prefix + row[0] for row in topics]
    admin = broker.admin(kafka, client_id="outbox.published")
    await admin.start()
    try:
        policies = await cleanup_policies(admin, names)
    finally:
        await admin.close()
    found = []
    for name, (topic, count, since) in zip(names, topics, strict=True):
        compacted = "compact" in policies[name]
        passes = -(-count // MOST_AT_ONCE)
        gone: list[str] = []
        cut = False
        for number in range(passes):
            shards = [shard for shard in range(SHARDS) if shard % passes == number]
            async with db.begin() as tx:
                wanted = await _wanted(tx, slot, topic, shards=shards, compacted=compacted)
            await _take_off(kafka, name, wanted, shards=frozenset(shards), since=since - CLOCKS_APART)
            gone += wanted.ids
            cut = cut or wanted.cut
        if gone and cut and not compacted:
            # Retention, or a person, has taken the beginning: what is gone there was let go of and not lost.
            log.warning("outbox_beyond_retention", slot=slot, topic=topic, not_found=len(gone))
            continue
        if compacted and gone:
            async with db.begin() as tx:
                gone = await _not_forgotten(tx, slot, gone)
        if gone:
            found.append(Missing(topic, tuple(sorted(gone))))
    return found


@dataclass(slots=True)
class _Wanted:
    """Ids that are looked for; on a compacted topic also by key, with the time from which any event of it will do.

    `cut` is set where the topic begins later than the slot.
    """

    ids: set[str]
    by_key: dict[str, tuple[str, datetime]]
    cut: bool = False


async def _wanted(tx: Tx, slot: int, topic: str, *, shards: list[int], compacted: bool) -> _Wanted:
    connection = await raw(tx)
    if not compacted:
        rows = await connection.fetch(
            f"SELECT event_id FROM outbox_s{slot:02d} "  # noqa: S608 - a number
            "WHERE topic = $1 AND shard = ANY($2::smallint[])",
            topic,
            shards,
        )
        return _Wanted({row[0] for row in rows}, {})
    rows = await connection.fetch(
        f"SELECT DISTINCT ON (key) key, event_id, appended_at, value IS NULL AS ended FROM outbox_s{slot:02d} "  # noqa: S608
        "WHERE topic = $1 AND shard = ANY($2::smallint[]) ORDER BY key, id DESC",
        topic,
        shards,
    )
    newest = {row[0]: (row[1], row[2]) for row in rows if not row[3]}
    return _Wanted({event_id for event_id, _ in newest.values()}, newest)


async def _not_forgotten(tx: Tx, slot: int, ids: list[str]) -> list[str]:
    # A key that ended later leaves nothing on a compacted topic, and so it should be.
    rows = await (await raw(tx)).fetch(
        f"""
        SELECT o.event_id FROM outbox_s{slot:02d} o WHERE o.event_id = ANY($1::text[]) AND NOT EXISTS (
            SELECT FROM outbox later
            WHERE later.topic = o.topic AND later.key = o.key AND later.value IS NULL AND later.id > o.id)
        """,  # noqa: S608 - a number
        ids,
    )
    return [row[0] for row in rows]


async def _take_off(
    kafka: KafkaSettings, name: str, wanted: _Wanted, *, shards: frozenset[int], since: datetime
) -> None:
    """Read the topic from `since` to its present end and take off what it holds."""
    if not wanted.ids:
        return
    consumer = AIOKafkaConsumer(
        name,
        **broker.connection(kafka, client_id="outbox.published"),
        # Every partition is sought before it is read; without a group there is no position to be lost.
        **broker.CONSUMER | {"auto_offset_reset": "latest"},
        group_id=None,
    )
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        if not partitions:
            return
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        starts = await consumer.offsets_for_times(dict.fromkeys(partitions, int(since.timestamp() * 1000)))
        at = {}
        for partition in partitions:
            start = starts.get(partition)
            at[partition] = ends[partition] if start is None else start.offset
            wanted.cut |= 0 < begins[partition] == at[partition]
            consumer.seek(partition, at[partition])
        while wanted.ids and any(at[partition] < ends[partition] for partition in partitions):
            batches = await consumer.getmany(*(p for p in partitions if at[p] < ends[p]), timeout_ms=500)
            for batch in batches.values():
                _tick_off(batch, wanted, shards)
            for partition in partitions:
                at[partition] = await consumer.position(partition)
            await asyncio.sleep(0)  # the relay lives in the same loop
    finally:
        await consumer.stop()


def _tick_off(records: list[Any], wanted: _Wanted, shards: frozenset[int]) -> None:
    for record in records:
        key = (record.key or b"").decode()
        if wanted.by_key:
            newest = wanted.by_key.get(key)
            if newest is not None and record.timestamp >= int(newest[1].timestamp() * 1000):
                wanted.ids.discard(newest[0])
        elif len(shards) < SHARDS and shard_of(key) not in shards:
            continue
        for name, value in record.headers:
            if name == "ce_id":
                wanted.ids.discard(value.decode())
                break
