"""The SQL of the channel rules and of touches that are grouped anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from baton_kit.db import Tx, raw


@dataclass(frozen=True, slots=True)
class Table:
    """A version of the channel rules as it is stored; `document` is JSON."""

    version: int
    digest: str
    document: str
    changed_at: datetime
    changed_by: str
    touches_read: int
    touches_regrouped: int
    restated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grouping:
    """What a touch is grouped by, and how it is grouped now."""

    touch_id: str
    lead_id: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    click_kinds: str
    referrer_host: str
    channel: str
    campaign: str


_TABLE = "version, digest, document, changed_at, changed_by, touches_read, touches_regrouped, restated_at"
_GROUPING = (
    "id::text, lead_id::text, utm_source, utm_medium, utm_campaign, click_kinds, referrer_host, channel, campaign"
)


async def current(tx: Tx) -> Table:
    """The version in force."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_TABLE} FROM channel_rules ORDER BY version DESC LIMIT 1")  # noqa: S608
    return Table(*row)


async def lock_rules(tx: Tx) -> Table:
    """The version in force; nobody else changes the rules until the transaction ends."""
    connection = await raw(tx)
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('intake.channel_rules', 0))")
    return await current(tx)


async def version(tx: Tx, number: int) -> Table | None:
    """One version."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_TABLE} FROM channel_rules WHERE version = $1", number)  # noqa: S608
    return None if row is None else Table(*row)


async def versions(tx: Tx, *, before: int | None, limit: int) -> list[Table]:
    """Versions, newest first."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_TABLE} FROM channel_rules WHERE $1::bigint IS NULL OR version < $1 "  # noqa: S608
        "ORDER BY version DESC LIMIT $2",
        before, limit,
    )  # fmt: skip
    return [Table(*row) for row in rows]


async def insert(tx: Tx, table: Table) -> None:
    """Put a version into force."""
    await (await raw(tx)).execute(
        f"INSERT INTO channel_rules ({_TABLE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",  # noqa: S608
        table.version, table.digest, table.document, table.changed_at, table.changed_by, table.touches_read,
        table.touches_regrouped, table.restated_at,
    )  # fmt: skip


async def latest_touches(tx: Tx, limit: int) -> list[Grouping]:
    """The newest touches that can be grouped anew."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_GROUPING} FROM touch WHERE rules_version IS NOT NULL ORDER BY touch.id DESC LIMIT $1",  # noqa: S608
        limit,
    )
    return [Grouping(*row) for row in rows]


# --- the restatement -------------------------------------------------------------------------------------------------


async def one_restatement_at_a_time(tx: Tx) -> bool:
    """Take the right to restate until the transaction ends; False when another holds it."""
    statement = "SELECT pg_try_advisory_xact_lock(hashtextextended('intake.restate', 0))"
    return bool(await (await raw(tx)).fetchval(statement))


async def stale(tx: Tx, version: int, *, most: int) -> list[tuple[str, str]]:
    """(touch, lead) of touches that were grouped by an earlier version."""
    rows = await (await raw(tx)).fetch(
        "SELECT id::text, lead_id::text FROM touch WHERE rules_version < $1 ORDER BY rules_version LIMIT $2",
        version, most,
    )  # fmt: skip
    return [(row[0], row[1]) for row in rows]


async def left(tx: Tx, version: int) -> int:
    """How many touches were grouped by an earlier version, counted to 100,000."""
    return int(
        await (await raw(tx)).fetchval(
            "SELECT count(*) FROM (SELECT FROM touch WHERE rules_version < $1 LIMIT 100000) AS t", version
        )
    )


async def groupings(tx: Tx, touch_ids: Sequence[str], *, below: int) -> list[Grouping]:
    """These touches, as far as they were grouped by an earlier version than `below`."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_GROUPING} FROM touch WHERE id = ANY($1::uuid[]) AND rules_version < $2 "  # noqa: S608
        "ORDER BY touch.lead_id, occurred_at, touch.id",
        list(touch_ids), below,
    )  # fmt: skip
    return [Grouping(*row) for row in rows]


async def regroup(tx: Tx, touches: Sequence[tuple[str, str]], *, version: int) -> None:
    """(touch, channel): what they are grouped to by this version."""
    await (await raw(tx)).execute(
        "UPDATE touch SET rules_version = $3, channel = t.channel "
        "FROM unnest($1::uuid[], $2::text[]) AS t (id, channel) WHERE touch.id = t.id",
        [id for id, _ in touches], [channel for _, channel in touches], version,
    )  # fmt: skip


async def count(tx: Tx, version: int, *, read: int, regrouped: int) -> None:
    """Add to what was read and regrouped by a version."""
    await (await raw(tx)).execute(
        "UPDATE channel_rules SET touches_read = touches_read + $2, touches_regrouped = touches_regrouped + $3 "
        "WHERE version = $1",
        version, read, regrouped,
    )  # fmt: skip


async def restated(tx: Tx, version: int, *, at: datetime) -> None:
    """Every touch was grouped by this version."""
    await (await raw(tx)).execute("UPDATE channel_rules SET restated_at = $2 WHERE version = $1", version, at)
