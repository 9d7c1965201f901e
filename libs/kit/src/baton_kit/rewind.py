"""Publish again what is still in the ring: the way back when a log or a consumer lost what it once had."""

from datetime import datetime

from baton_kit.db import Tx, raw
from baton_kit.migration import LANES, RING
from baton_kit.problems import Problem

_FIRST = """
SELECT min(xid::text::numeric)::text AS first_xid, count(*) AS events FROM outbox
WHERE slot BETWEEN $1 AND $2 AND appended_at >= $3
"""
# Everything from the first transaction on counts as unseen, also what an earlier rewind has not reached yet.
_BACK = """
UPDATE outbox_cursor SET
    -- A rewind that follows another before it is through keeps what the first one knew to be out.
    replayed_to = CASE WHEN pg_snapshot_xmax(replayed_to) > pg_snapshot_xmax(snap_from) THEN replayed_to
        ELSE snap_from END,
    snap_to = NULL, last_id = 0,
    epoch = epoch + 1, holder = NULL, lease_until = NULL,
    -- What stays seen lies before that transaction and was seen: those that were open then are not.
    snap_from = (least(pg_snapshot_xmin(snap_from), $2::text::xid8)::text || ':'
        || least(pg_snapshot_xmax(snap_from), $2::text::xid8)::text || ':'
        || coalesce((SELECT string_agg(x::text, ',' ORDER BY x) FROM pg_snapshot_xip(snap_from) AS x
                     WHERE x < $2::text::xid8), ''))::pg_snapshot
WHERE lane = $1
"""


async def rewind(tx: Tx, *, lane: str, since: datetime, only_count: bool = False) -> int:
    """Set the lane's cursor back to the first event appended at or after `since`; returns how many go out again.

    They keep their ids and carry `baton-replay`, so that whoever applied them once drops them. The present holder
    notices by its compare-and-set and starts from the new cursor. Nothing that waits is passed over.
    """
    if lane not in LANES:
        raise Problem(404, "No such lane", detail=f"Lanes are: {', '.join(LANES)}.")
    connection = await raw(tx)
    # The cursor is held first: the present holder cannot move it between the count and the rewind.
    await connection.execute("SELECT FROM outbox_cursor WHERE lane = $1 FOR UPDATE", lane)
    row = await connection.fetchrow(_FIRST, LANES[lane], LANES[lane] + RING - 1, since)
    if not only_count and row["first_xid"] is not None:
        await connection.execute(_BACK, lane, row["first_xid"])
    return int(row["events"])
