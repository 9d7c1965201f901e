"""Measure what the database alone knows, for `/metrics` and `/readyz`."""

import asyncio

from baton_kit import telemetry
from baton_kit.db import Database, raw
from baton_kit.idempotency import forget_old_keys
from baton_kit.migration import LANES, RING
from baton_kit.outages import is_outage

_AGE = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(o.appended_at)), 0)::float8
FROM outbox_cursor c JOIN outbox o ON o.shard BETWEEN c.shard_from AND c.shard_to
WHERE c.lane = $1 AND o.slot BETWEEN $2 AND $3
  AND o.xid >= pg_snapshot_xmin(c.snap_from)
  AND NOT pg_visible_in_snapshot(o.xid, c.snap_from)
  AND (c.snap_to IS NULL OR o.id > c.last_id OR NOT pg_visible_in_snapshot(o.xid, c.snap_to))
"""


async def measure(db: Database, *, every: float = 5.0) -> None:
    """Write the gauges for ever; an outage is waited out. Kept answers that are too old go as well."""
    while True:
        try:
            await measure_once(db)
        except Exception as error:
            if not is_outage(error):
                raise
        await asyncio.sleep(every)


async def measure_once(db: Database) -> None:
    """Write every gauge once."""
    async with db.begin() as tx:
        connection = await raw(tx)
        for lane, first in LANES.items():
            telemetry.OUTBOX_AGE.labels(lane).set(await connection.fetchval(_AGE, lane, first, first + RING - 1))
        telemetry.OLDEST_TRANSACTION.set(
            await connection.fetchval(
                "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 "
                "FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
            )
        )
        telemetry.PREPARED_TRANSACTIONS.set(await connection.fetchval("SELECT count(*) FROM pg_prepared_xacts"))
        waiting = dict(await connection.fetch("SELECT consumer, count(*) FROM parked GROUP BY consumer"))
        known = await connection.fetch("SELECT DISTINCT consumer FROM consumer_offset")
        for (consumer,) in known:
            telemetry.PARKED.labels(consumer).set(waiting.get(consumer, 0))
        await forget_old_keys(tx)
