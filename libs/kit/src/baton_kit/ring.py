"""Keep the outbox's ring turning: one slot a day, emptied when nobody needs it, never created or dropped."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import DBAPIError

from baton_kit import telemetry
from baton_kit.db import Database, Tx, raw
from baton_kit.migration import LANES, RING
from baton_kit.outages import is_outage
from baton_kit.telemetry import log

REPLAY_DAYS = 7
_LOCK_NOT_AVAILABLE = "55P03"

Held = Callable[[str, int], Awaitable[bool]]
"""Says of a lane's slot whether everything it holds is where it was sent."""

_BEHIND_EVERY_CURSOR = """
SELECT NOT EXISTS (
    SELECT FROM outbox o
    WHERE o.slot = $1 AND (
        o.appended_at > now() - make_interval(days => $3)
        OR EXISTS (SELECT FROM outbox_cursor c WHERE c.lane = $2 AND o.shard BETWEEN c.shard_from AND c.shard_to
                   AND NOT pg_visible_in_snapshot(o.xid, c.snap_from))
    )
)
"""


async def maintain(db: Database, *, held: Held | None = None, every: float = 60.0) -> None:
    """Turn and empty for ever; an outage is waited out."""
    while True:
        for lane in LANES:
            try:
                await turn(db, lane)
                await empty(db, lane, held=held)
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("ring_waits", lane=lane, error=type(error).__name__)
        await asyncio.sleep(every)


async def turn(db: Database, lane: str, *, days: float = 1.0) -> bool:
    """Write on in the next slot once the present one is a day old; True when it turned.

    A next slot that still holds rows is an alarm, and the present one goes on being written: intake never stops for it.
    """
    async with db.begin() as tx:
        connection = await raw(tx)
        row = await connection.fetchrow(
            "SELECT slot FROM outbox_ring WHERE lane = $1 AND since <= now() - make_interval(secs => $2) FOR UPDATE",
            lane, days * 86_400,
        )  # fmt: skip
        if row is None:
            return False
        following = next_slot(lane, row["slot"])
        full = not await _is_empty(tx, following)
        telemetry.OUTBOX_RING_FULL.labels(lane).set(full)
        if full:
            log.error("outbox_ring_full", lane=lane, slot=following)
            return False
        await connection.execute("UPDATE outbox_ring SET slot = $2, since = now() WHERE lane = $1", lane, following)
        return True


async def empty(db: Database, lane: str, *, replay_days: int = REPLAY_DAYS, held: Held | None = None) -> list[int]:
    """Truncate the slots that lie behind every cursor and beyond the replay window; returns which.

    With `held`, only those of which it says that nothing is missing where it was sent.
    """
    done = []
    for slot in range(LANES[lane], LANES[lane] + RING):
        try:
            async with db.begin() as tx:
                may_go = await _may_go(tx, lane, slot, replay_days=replay_days)
            # Reading a topic takes its time: no transaction is open, and nobody writes to this slot.
            if not may_go or (held is not None and not await held(lane, slot)):
                continue
            async with db.begin() as tx:
                if await _may_go(tx, lane, slot, replay_days=replay_days):
                    # All inserts queue behind a TRUNCATE that waits: better no slot emptied than intake held up.
                    connection = await raw(tx)
                    await connection.execute("SET LOCAL lock_timeout = '1s'")
                    await connection.execute(f"TRUNCATE outbox_s{slot:02d}")
                    done.append(slot)
        except Exception as error:
            state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
            if state != _LOCK_NOT_AVAILABLE:
                raise
            log.info("ring_slot_busy", lane=lane, slot=slot)
    return done


async def _may_go(tx: Tx, lane: str, slot: int, *, replay_days: int) -> bool:
    connection = await raw(tx)
    # Holding the ring's row, nobody turns to this slot between the question and the TRUNCATE.
    if slot == await connection.fetchval("SELECT slot FROM outbox_ring WHERE lane = $1 FOR UPDATE", lane):
        return False
    if await _is_empty(tx, slot):
        return False
    return bool(await connection.fetchval(_BEHIND_EVERY_CURSOR, slot, lane, replay_days))


def next_slot(lane: str, slot: int) -> int:
    """Return the slot that follows in the lane's ring."""
    return LANES[lane] + (slot - LANES[lane] + 1) % RING


async def _is_empty(tx: Tx, slot: int) -> bool:
    found = await (await raw(tx)).fetchval(f"SELECT EXISTS (SELECT FROM outbox_s{slot:02d})")  # noqa: S608 - a number
    return not found
