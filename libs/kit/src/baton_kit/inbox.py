"""Apply events once: claims, position and parking in the transaction of the effects.

Every statement here runs on the consumer's own database. Worker and replay take the same advisory locks on keys, so
that a key is never worked twice at the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton_kit.db import Tx, raw

# The smallest lock id comes first everywhere: batches that share keys queue instead of deadlocking.
_HASHES = """
SELECT DISTINCT hashtextextended($1 || chr(31) || k, 7) AS h FROM unnest({keys}::text[]) AS k ORDER BY h
"""
_LOCK_KEYS = f"SELECT pg_advisory_xact_lock(h) FROM ({_HASHES.format(keys='$2')}) AS hashes"  # noqa: S608 - fixed text
# Two locks in one round trip. The count is asked before the first key: whoever holds a position may hold its keys.
# A row that another transaction moves meanwhile is read as that one leaves it.
_HOLD = f"""
WITH held AS MATERIALIZED (
    SELECT o.topic, o.partition, o.next_offset
    FROM consumer_offset o
    JOIN unnest($2::text[], $3::int[]) AS w(topic, partition) ON w.topic = o.topic AND w.partition = o.partition
    WHERE o.consumer = $1
    ORDER BY o.topic, o.partition FOR UPDATE OF o
), keys AS MATERIALIZED (
    SELECT count(pg_advisory_xact_lock(h)) FROM ({_HASHES.format(keys="$4")}) AS hashes
    WHERE (SELECT count(*) FROM held) = cardinality($2::text[])
)
SELECT held.* FROM held, keys
"""  # noqa: S608 - fixed text
_CLAIM = """
INSERT INTO inbox (consumer, event_id, outcome)
SELECT $1, e.id, e.outcome FROM unnest($2::text[], $3::text[]) AS e(id, outcome)
ON CONFLICT DO NOTHING RETURNING event_id
"""
_PARK = """
INSERT INTO parked (consumer, topic, partition, "offset", key, event_id, type, reason, detail, raw_key, headers, value)
SELECT $1, $2, $3, p.* FROM unnest(
    $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::bytea[], $12::bytea[]
) AS p ON CONFLICT (consumer, topic, partition, "offset") DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Parking:
    """One record on its way to the `parked` table. `reason`: poison, handler, blocked or unrouted."""

    offset: int
    key: str
    event_id: str | None
    type: str | None
    reason: str
    detail: str
    raw_key: bytes | None
    headers: bytes
    value: bytes | None


async def positions(tx: Tx, consumer: str) -> Mapping[tuple[str, int], int]:
    """Return the next offset of each (topic, partition) that this consumer has worked on."""
    rows = await (await raw(tx)).fetch(
        "SELECT topic, partition, next_offset FROM consumer_offset WHERE consumer = $1", consumer
    )
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def hold(
    tx: Tx, consumer: str, partitions: Sequence[tuple[str, int]], *, keys: Sequence[str]
) -> Mapping[tuple[str, int], int]:
    """Return the next offset of each (topic, partition), and hold these positions and the keys until the end of the
    transaction.

    Who lost a partition waits here, and sees what its successor did. Positions come before keys, each in one order.
    """
    wanted = sorted(partitions)
    topics, numbers = [topic for topic, _ in wanted], [partition for _, partition in wanted]
    # Through SQLAlchemy: as a transaction's first statement it begins it, where `raw` would spend a round trip on that.
    rows: Sequence[Any] = (await tx.exec_driver_sql(_HOLD, (consumer, topics, numbers, list(keys)))).all()
    if len(rows) < len(wanted):
        connection = await raw(tx)
        # ON CONFLICT makes a second first-comer wait for the first one's commit; its rows are then read anew.
        await connection.execute(
            "INSERT INTO consumer_offset (consumer, topic, partition, next_offset) "
            "SELECT $1, w.topic, w.partition, 0 FROM unnest($2::text[], $3::int[]) AS w(topic, partition) "
            "ORDER BY 2, 3 ON CONFLICT DO NOTHING",
            consumer, topics, numbers,
        )  # fmt: skip
        rows = await connection.fetch(_HOLD, consumer, topics, numbers, keys)
    return {(topic, partition): next_offset for topic, partition, next_offset in rows}


async def move_positions(tx: Tx, consumer: str, moved: Mapping[tuple[str, int], int]) -> None:
    """Write where the consumer goes on; in the transaction of the effects before it."""
    await (await raw(tx)).execute(
        "UPDATE consumer_offset o SET next_offset = m.next_offset, moved_at = now() "
        "FROM unnest($2::text[], $3::int[], $4::bigint[]) AS m(topic, partition, next_offset) "
        "WHERE o.consumer = $1 AND o.topic = m.topic AND o.partition = m.partition",
        consumer, [topic for topic, _ in moved], [partition for _, partition in moved], list(moved.values()),
    )  # fmt: skip


async def lock_keys(tx: Tx, consumer: str, keys: Sequence[str]) -> None:
    """Hold the keys against every other worker and replay of this consumer until the end of the transaction."""
    await (await raw(tx)).execute(_LOCK_KEYS, consumer, list(keys))


async def blocked_keys(tx: Tx, consumer: str, keys: Sequence[str]) -> set[str]:
    """Return which keys have a parked event before them. Read it after `lock_keys`, in a statement of its own."""
    rows = await (await raw(tx)).fetch(
        "SELECT key FROM parked_key WHERE consumer = $1 AND key = ANY($2::text[])", consumer, list(keys)
    )
    return {row["key"] for row in rows}


async def claim(tx: Tx, consumer: str, outcomes: Mapping[str, str]) -> set[str]:
    """Claim event ids with their outcomes; returns those that nobody had claimed before."""
    if not outcomes:
        return set()
    rows = await (await raw(tx)).fetch(_CLAIM, consumer, list(outcomes), list(outcomes.values()))
    return {row["event_id"] for row in rows}


async def park(tx: Tx, consumer: str, *, topic: str, partition: int, parkings: Sequence[Parking]) -> None:
    """Write records to `parked` in the order of their offsets; whatever is not merely unrouted blocks its key."""
    if not parkings:
        return
    connection = await raw(tx)
    rows = sorted(parkings, key=lambda p: p.offset)
    await connection.execute(
        _PARK, consumer, topic, partition, [p.offset for p in rows], [p.key for p in rows], [p.event_id for p in rows],
        [p.type for p in rows], [p.reason for p in rows], [p.detail for p in rows], [p.raw_key for p in rows],
        [p.headers for p in rows], [p.value for p in rows],
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO parked_key (consumer, key) SELECT $1, k FROM unnest($2::text[]) AS k ON CONFLICT DO NOTHING",
        consumer, sorted({p.key for p in rows if p.reason != "unrouted"}),
    )  # fmt: skip


async def recent_parkings(tx: Tx, consumer: str, *, minutes: int) -> int:
    """Return how many events this consumer parked lately of itself: the measure of a bad deploy, kept over restarts."""
    found = await (await raw(tx)).fetchval(
        "SELECT count(*) FROM parked WHERE consumer = $1 AND reason IN ('poison', 'handler') "
        "AND parked_at > now() - make_interval(mins => $2)",
        consumer, minutes,
    )  # fmt: skip
    return int(found)
