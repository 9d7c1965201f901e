"""Carry the outbox to Kafka: every committed event at least once, the events of one key in their order.

The cursor is a pair of snapshots and an id. A round publishes, in the order of ids, the rows visible in `snap_to`
and not in `snap_from`; then `snap_from := snap_to`. Ids alone lose rows that commit late; transaction ids alone
break the order per key and stall behind any open transaction. One holder per lane by a lease row with an epoch;
whoever lost the lease cannot move the cursor. Events sent twice (a crash between send and cursor) carry the same
id: the inbox removes them.
"""

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from sqlalchemy import text

from baton_kit import broker, telemetry
from baton_kit.db import Database, Tx, raw
from baton_kit.envelope import REPLAY_HEADER
from baton_kit.failpoint import failpoint
from baton_kit.migration import LANES, RING
from baton_kit.outages import is_outage
from baton_kit.outbox import unpack
from baton_kit.settings import KafkaSettings
from baton_kit.telemetry import log

LEASE_SECONDS = 10
SMALLEST_PAGE, LARGEST_PAGE = 500, 8_000
FASTEST_POLL, SLOWEST_POLL = 0.003, 0.1
NOTHING_SEEN = "1:1:"
_PUBLISHED_BEFORE, _REPLAYED_BEFORE = "3", "4:4:"
"""The lowest ordinary transaction id, which no transaction after initdb has, and a snapshot that sees it alone."""
ACKNOWLEDGED_WITHIN = 10.0
"""Seconds for a page; the client itself would repeat for ever and keep the relay from saying that it waits."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a lane's relay stands. `snap_to` is None between rounds."""

    lane: str
    shard_from: int
    shard_to: int
    snap_from: str
    snap_to: str | None
    last_id: int
    replayed_to: str | None
    epoch: int


class LeaseLost(Exception):
    """Another process holds the lane now, or the cursor was moved by a rewind."""


class Producer(Protocol):
    """What the relay needs of a producer."""

    async def send(self, topic: str, *, value: bytes | None, key: bytes, headers: Any) -> Any:
        """Queue one record; the result is awaited for its acknowledgement."""


# One row is claimed when its lease has run out by the database's clock. The identity of the cluster tells a restored or
# promoted database apart from the one the snapshots were taken in.
_ACQUIRE = """
UPDATE outbox_cursor SET holder = $3, epoch = epoch + 1,
    lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE lane = $1 AND shard_from = $2
  AND (holder IS NULL OR holder = $3 OR lease_until < clock_timestamp())
RETURNING lane, shard_from, shard_to, snap_from::text, snap_to::text, last_id, replayed_to::text, epoch,
    system_identifier, timeline
"""
_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()),
       left(pg_walfile_name(pg_current_wal_lsn()), 8)
"""
_MOVE = """
UPDATE outbox_cursor
SET snap_from = $4::text::pg_snapshot, snap_to = $5::text::pg_snapshot, last_id = $6,
    lease_until = clock_timestamp() + make_interval(secs => $7)
WHERE lane = $1 AND shard_from = $2 AND epoch = $3
  AND snap_from::text = $8 AND snap_to::text IS NOT DISTINCT FROM $9 AND last_id = $10
"""
_RENEW = """
UPDATE outbox_cursor SET lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE lane = $1 AND shard_from = $2 AND epoch = $3
"""
# A new window ends with the snapshot of the statement that reads it: one round trip, and no transaction to end.
# Columns are qualified: an output column of the same name would be sorted instead, as text.
_WINDOW = """
WITH bounds AS MATERIALIZED (SELECT coalesce($4::text::pg_snapshot, pg_current_snapshot()) AS snap_to)
SELECT o.id, o.topic, o.key, o.headers, o.value,
    coalesce(pg_visible_in_snapshot(o.xid, $7::text::pg_snapshot), false) AS replayed,
    (SELECT snap_to::text FROM bounds) AS snap_to
FROM outbox o
WHERE o.slot BETWEEN {first} AND {last}
  AND o.shard BETWEEN $1 AND $2
  AND o.xid >= pg_snapshot_xmin($3::text::pg_snapshot)
  AND o.xid < (SELECT pg_snapshot_xmax(snap_to) FROM bounds)
  AND pg_visible_in_snapshot(o.xid, (SELECT snap_to FROM bounds))
  AND NOT pg_visible_in_snapshot(o.xid, $3::text::pg_snapshot)
  AND o.id > $5
ORDER BY o.id LIMIT $6
"""


class Relay:
    """One lane's relay. `run` never returns; it waits out every outage and steps aside when the lease is lost."""

    def __init__(self, db: Database, kafka: KafkaSettings, *, lane: str, holder: str | None = None) -> None:
        self.db = db
        self.kafka = kafka
        self.lane = lane
        self.holder = holder or f"{socket.gethostname()}:{os.getpid()}:{id(self)}"
        self.page = SMALLEST_PAGE
        self.healthy = False
        self.rounds = 0
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Hold the lease when it can be had, and publish."""
        pause = 0.2
        while True:
            try:
                async with self.db.begin() as tx:
                    cursor = await acquire(tx, self.lane, holder=self.holder)
                if cursor is None:
                    telemetry.RELAY_LEADER.labels(self.lane).set(0)
                    self.healthy = True  # another process carries the lane
                    await asyncio.sleep(LEASE_SECONDS / 5)
                    continue
                telemetry.RELAY_LEADER.labels(self.lane).set(1)
                log.info("relay_leads", lane=self.lane, epoch=cursor.epoch)
                await self._lead(cursor)
            except LeaseLost:
                log.warning("relay_lease_lost", lane=self.lane)
            except Exception as error:
                if not is_outage(error) and not isinstance(error, KafkaError | TimeoutError | OSError):
                    raise
                self.healthy = False
                log.warning("relay_waits", lane=self.lane, error=type(error).__name__)
                await asyncio.sleep(pause)

    async def _lead(self, cursor: Cursor) -> None:
        # A producer is never kept across an error: an idempotent one can be stuck on its sequence for ever.
        producer = broker.producer(self.kafka, client_id=f"relay.{self.lane}")
        try:
            await producer.start()
            pause = FASTEST_POLL
            loop = asyncio.get_running_loop()
            renewed = loop.time()
            while True:
                moved, count = await publish_page(
                    self.db, producer, cursor, limit=self.page, prefix=self.kafka.topic_prefix
                )
                self.healthy = True
                self.rounds += 1
                if count:
                    telemetry.OUTBOX_PUBLISHED.labels(self.lane).inc(count)
                    renewed = loop.time()
                # A full page means a backlog: larger pages pass over its window fewer times.
                self.page = min(self.page * 2, LARGEST_PAGE) if count == self.page else SMALLEST_PAGE
                cursor = moved
                if count:
                    pause = FASTEST_POLL
                    continue
                if loop.time() - renewed > LEASE_SECONDS / 3:
                    await self._renew(cursor)
                    renewed = loop.time()
                await self._sleep(pause)
                pause = min(pause * 1.5, SLOWEST_POLL)
        finally:
            self.page = SMALLEST_PAGE
            await broker.abandon(producer)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
            self.wake.clear()
        except TimeoutError:
            pass

    async def _renew(self, cursor: Cursor) -> None:
        async with self.db.begin() as tx:
            done = await (await raw(tx)).execute(_RENEW, cursor.lane, cursor.shard_from, cursor.epoch, LEASE_SECONDS)
        if done == "UPDATE 0":
            raise LeaseLost

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait for it to run out."""
        async with self.db.begin() as tx:
            await tx.execute(
                text(
                    "UPDATE outbox_cursor SET lease_until = NULL, holder = NULL WHERE lane = :lane AND holder = :holder"
                ),
                {"lane": self.lane, "holder": self.holder},
            )


async def acquire(tx: Tx, lane: str, *, holder: str, shard_from: int = 0) -> Cursor | None:
    """Take the lane's lease if it is free, with a higher epoch; None while another holds it.

    A database that was restored or promoted since (another system identifier or timeline) has transaction ids that mean
    nothing to the stored snapshots: its rows get new ones, and the whole ring is published again.
    """
    connection = await raw(tx)
    row = await connection.fetchrow(_ACQUIRE, lane, shard_from, holder, LEASE_SECONDS)
    if row is None:
        return None
    cursor = Cursor(*tuple(row)[:8])
    identity = tuple(await connection.fetchrow(_IDENTITY))
    if identity == (row["system_identifier"], row["timeline"]):
        return cursor
    if row["system_identifier"] is not None:
        log.warning("relay_database_changed", lane=lane, system_identifier=identity[0], timeline=identity[1])
        cursor = await _begin_anew(tx, cursor)
    await connection.execute(
        "UPDATE outbox_cursor SET system_identifier = $3, timeline = $4 WHERE lane = $1 AND shard_from = $2",
        lane, shard_from, *identity,
    )  # fmt: skip
    return cursor


async def _begin_anew(tx: Tx, cursor: Cursor) -> Cursor:
    connection = await raw(tx)
    first = LANES[cursor.lane]
    # 1. Ids must not come twice: a sequence may stand behind the rows after a promotion.
    await connection.execute(
        "SELECT setval(pg_get_serial_sequence('outbox', 'id'), greatest((SELECT max(id) FROM outbox), "
        "(SELECT last_value FROM outbox_id_seq)))"
    )
    # 2. What was out by the old cursor gets the id of bootstrap, visible to every snapshot; the rest becomes this
    #    transaction's. Both are beyond NOTHING_SEEN.
    await connection.execute(
        f"""
        UPDATE outbox SET xid = CASE
            WHEN pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
              OR (pg_visible_in_snapshot(xid, $4::text::pg_snapshot) AND id <= $5) THEN '{_PUBLISHED_BEFORE}'::xid8
            ELSE pg_current_xact_id() END
        WHERE slot BETWEEN {first} AND {first + RING - 1} AND shard BETWEEN $1 AND $2
        """,  # noqa: S608 - numbers of the kit's own
        cursor.shard_from, cursor.shard_to, cursor.snap_from, cursor.snap_to, cursor.last_id,
    )  # fmt: skip
    # 3. The window is the whole ring; what was out already is marked as a replay.
    await connection.execute(
        "UPDATE outbox_cursor SET snap_from = $3::text::pg_snapshot, snap_to = NULL, last_id = 0, "
        "replayed_to = $4::text::pg_snapshot WHERE lane = $1 AND shard_from = $2",
        cursor.lane, cursor.shard_from, NOTHING_SEEN, _REPLAYED_BEFORE,
    )  # fmt: skip
    return Cursor(
        cursor.lane, cursor.shard_from, cursor.shard_to, NOTHING_SEEN, None, 0, _REPLAYED_BEFORE, cursor.epoch
    )


async def publish_page(
    db: Database, producer: Producer, cursor: Cursor, *, limit: int, prefix: str = ""
) -> tuple[Cursor, int]:
    """Publish the next page and move the cursor behind it; returns the moved cursor and how many events went out.

    The cursor moves only after every record of the page is acknowledged, and only if it still stands where `cursor`
    says under the same epoch. Raises LeaseLost otherwise, and whatever the producer raised.
    """
    # 1. A fixed window: rows that commit while it is being published belong to the next one.
    first = LANES[cursor.lane]
    async with db.statements() as connection:
        rows = await connection.fetch(
            _WINDOW.format(first=first, last=first + RING - 1),
            cursor.shard_from, cursor.shard_to, cursor.snap_from, cursor.snap_to, cursor.last_id, limit,
            cursor.replayed_to,
        )  # fmt: skip
    failpoint("relay.after_read")
    snap_to = rows[0]["snap_to"] if rows else cursor.snap_to
    if snap_to is None:
        return cursor, 0

    # 2. Everything is sent before anything is awaited; then every acknowledgement is awaited.
    async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
        acknowledgements = []
        for row in rows:
            headers = unpack(row["headers"])
            if row["replayed"]:
                headers.append((REPLAY_HEADER, b"true"))
            acknowledgements.append(
                await producer.send(prefix + row["topic"], value=row["value"], key=row["key"].encode(), headers=headers)
            )
            acknowledgements[-1].add_done_callback(_heard)
        failpoint("relay.after_send")
        if acknowledgements:
            done, _ = await asyncio.wait(acknowledgements, return_when=asyncio.FIRST_EXCEPTION)
            for acknowledgement in done:
                acknowledgement.result()
    failpoint("relay.after_acknowledgement")

    # 3. Compare and set: a holder that was paused beyond its lease fails here.
    if len(rows) < limit:
        moved = Cursor(
            cursor.lane,
            cursor.shard_from,
            cursor.shard_to,
            snap_to,
            None,
            0,
            cursor.replayed_to,
            cursor.epoch,
        )
    else:
        last_id = rows[-1]["id"]
        moved = Cursor(
            cursor.lane,
            cursor.shard_from,
            cursor.shard_to,
            cursor.snap_from,
            snap_to,
            last_id,
            cursor.replayed_to,
            cursor.epoch,
        )
    failpoint("relay.before_cursor")
    async with db.statements() as connection:
        done = await connection.execute(
            _MOVE,
            cursor.lane, cursor.shard_from, cursor.epoch, moved.snap_from, moved.snap_to, moved.last_id, LEASE_SECONDS,
            cursor.snap_from, cursor.snap_to, cursor.last_id,
        )  # fmt: skip
    failpoint("relay.after_cursor")
    if done == "UPDATE 0":
        raise LeaseLost
    return moved, len(rows)


def _heard(acknowledgement: "asyncio.Future[Any]") -> None:
    # The first failure is raised where it is awaited; the others are the same outage and need no warning of their own.
    if not acknowledgement.cancelled():
        acknowledgement.exception()
