"""Keys whose person was forgotten: what every service keeps of an erasure, and holds late events against.

`erased_lead` names no person. A row is in force from its commit on, whoever wrote it: the service itself, or a restore
that brought back a database from before the erasure. Until `done_at` is set the service still has to delete.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Index, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from baton_kit.db import Direct, Tx, raw
from baton_kit.envelope import Received

SCHEMA_V1 = (
    """
    CREATE TABLE IF NOT EXISTS erased_lead (
        lead_id text PRIMARY KEY,
        erasure_id text NOT NULL,
        sequence bigint NOT NULL,
        reason text NOT NULL,
        asked_at timestamptz,
        key_id text NOT NULL DEFAULT '',
        erased_at timestamptz NOT NULL,
        done_at timestamptz,
        swept_at timestamptz,
        removed jsonb
    )
    """,
    "CREATE INDEX IF NOT EXISTS erased_lead_order ON erased_lead (erasure_id, lead_id)",
    "CREATE INDEX IF NOT EXISTS erased_lead_to_do ON erased_lead (erased_at) WHERE done_at IS NULL",
    "CREATE INDEX IF NOT EXISTS erased_lead_to_sweep ON erased_lead (done_at) WHERE swept_at IS NULL",
)
"""Safe to run twice: a restore makes the table in a database that is older than it, before the migrations do."""
_COLUMNS = "lead_id, erasure_id, sequence, reason, asked_at, key_id, erased_at"
_LOCK = "hashtextextended('baton.forgotten' || chr(31) || k, 11)"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One lead of one erasure: what the log keeps of it."""

    lead_id: str
    erasure_id: str
    sequence: int
    reason: str
    asked_at: datetime | None
    key_id: str
    erased_at: datetime


def told_by(received: Received[Any]) -> Forgotten:
    """Read an erasure from the event that tells of it (the fields are those of LeadErased)."""
    body = received.body
    return Forgotten(
        body.lead_id or received.key,
        body.erasure_id,
        body.sequence,
        body.reason,
        body.asked_at.ToDatetime(tzinfo=UTC) if body.HasField("asked_at") else None,
        body.key_id,
        body.occurred_at.ToDatetime(tzinfo=UTC) if body.HasField("occurred_at") else received.occurred_at,
    )


def create_forgotten_v1(op: Any) -> None:
    """Create the table; called in one revision of every service."""
    for statement in SCHEMA_V1:
        op.execute(statement)


def add_forgotten_table(metadata: MetaData) -> Table:
    """Add the table to a service's metadata."""

    def time(name: str, *, nullable: bool = True) -> Column[Any]:
        return Column(name, DateTime(timezone=True), nullable=nullable)

    return Table(
        "erased_lead",
        metadata,
        Column("lead_id", Text, primary_key=True),
        Column("erasure_id", Text, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("reason", Text, nullable=False),
        time("asked_at"),
        Column("key_id", Text, nullable=False, server_default=text("''")),
        time("erased_at", nullable=False),
        time("done_at"),
        time("swept_at"),
        Column("removed", JSONB),
        Index("erased_lead_order", "erasure_id", "lead_id"),
        Index("erased_lead_to_do", "erased_at", postgresql_where=text("done_at IS NULL")),
        Index("erased_lead_to_sweep", "done_at", postgresql_where=text("swept_at IS NULL")),
    )


async def hold(tx: Tx, lead_ids: Collection[str]) -> None:
    """Be the only one who writes of these persons until the commit; in a statement of its own, before any read."""
    await (await raw(tx)).execute(
        f"SELECT pg_advisory_xact_lock({_LOCK}) FROM (SELECT k FROM unnest($1::text[]) AS k ORDER BY {_LOCK}) AS s",  # noqa: S608
        sorted(set(lead_ids)),
    )


async def hold_shared(tx: Tx, lead_ids: Collection[str]) -> set[str]:
    """Keep these persons from being forgotten until the commit, and return those that are forgotten already.

    Whoever is about to write something personal asks here first: either it sees the erasure, or the erasure sees it.
    """
    if not lead_ids:
        return set()
    await (await raw(tx)).execute(
        f"SELECT pg_advisory_xact_lock_shared({_LOCK}) FROM (SELECT k FROM unnest($1::text[]) AS k ORDER BY {_LOCK}) AS s",  # noqa: S608, E501
        sorted(set(lead_ids)),
    )
    return await forgotten(tx, lead_ids)


async def forgotten(tx: Tx | Direct, lead_ids: Collection[str]) -> set[str]:
    """Return which of the leads have no person any more."""
    if not lead_ids:
        return set()
    rows = await (await raw(tx)).fetch(
        "SELECT lead_id FROM erased_lead WHERE lead_id = ANY($1::text[])", sorted(set(lead_ids))
    )
    return {row["lead_id"] for row in rows}


async def note(tx: Tx, erased: Sequence[Forgotten]) -> list[Forgotten]:
    """Write erasures down, in force from the commit on; returns those that still have to be carried out here."""
    if not erased:
        return []
    connection = await raw(tx)
    rows = sorted({e.lead_id: e for e in reversed(erased)}.values(), key=lambda e: e.lead_id)
    await connection.execute(
        f"INSERT INTO erased_lead ({_COLUMNS}) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], "  # noqa: S608
        "$4::text[], $5::timestamptz[], $6::text[], $7::timestamptz[]) ON CONFLICT (lead_id) DO NOTHING",
        [e.lead_id for e in rows], [e.erasure_id for e in rows], [e.sequence for e in rows], [e.reason for e in rows],
        [e.asked_at for e in rows], [e.key_id for e in rows], [e.erased_at for e in rows],
    )  # fmt: skip
    found = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erased_lead WHERE lead_id = ANY($1::text[]) AND done_at IS NULL "  # noqa: S608
        "ORDER BY lead_id FOR UPDATE",
        [e.lead_id for e in rows],
    )
    return [Forgotten(*row) for row in found]


async def done(tx: Tx, removed: Mapping[str, Mapping[str, int]], *, at: datetime) -> None:
    """Write down what was deleted of each lead, as counts by table."""
    await (await raw(tx)).execute(
        "UPDATE erased_lead e SET done_at = $3, removed = r.removed::jsonb "
        "FROM unnest($1::text[], $2::text[]) AS r (lead_id, removed) WHERE e.lead_id = r.lead_id",
        list(removed), [json.dumps(counts) for counts in removed.values()], at,
    )  # fmt: skip


async def to_do(tx: Tx, *, limit: int = 100) -> list[Forgotten]:
    """Return erasures that were brought in by a restore and not carried out yet."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_COLUMNS} FROM erased_lead WHERE done_at IS NULL ORDER BY erased_at, lead_id LIMIT $1",  # noqa: S608
        limit,
    )
    return [Forgotten(*row) for row in rows]


async def to_sweep(tx: Tx, *, done_before: datetime, limit: int = 100) -> list[Forgotten]:
    """Hold erasures that were carried out before this time and not looked at again since."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_COLUMNS} FROM erased_lead WHERE swept_at IS NULL AND done_at < $1 "  # noqa: S608
        "ORDER BY done_at, lead_id LIMIT $2 FOR UPDATE SKIP LOCKED",
        done_before, limit,
    )  # fmt: skip
    return [Forgotten(*row) for row in rows]


async def swept(tx: Tx, lead_ids: Sequence[str], *, at: datetime) -> None:
    """Write down that they were looked at again."""
    await (await raw(tx)).execute(
        "UPDATE erased_lead SET swept_at = $2 WHERE lead_id = ANY($1::text[])", list(lead_ids), at
    )


async def drop_parked(tx: Tx, *, topic: str) -> int:
    """Give up what is parked of forgotten persons from a topic that names them, and free the keys; returns how many.

    `topic` is the whole name, with its prefix.
    """
    connection = await raw(tx)
    rows = await connection.fetch(
        "DELETE FROM parked p USING erased_lead e WHERE p.key = e.lead_id AND p.topic = $1 "
        "RETURNING p.consumer, p.key, p.event_id",
        topic,
    )
    if rows:
        await connection.execute(
            "UPDATE inbox i SET outcome = 'skipped' FROM unnest($1::text[], $2::text[]) AS d (consumer, event_id) "
            "WHERE i.consumer = d.consumer AND i.event_id = d.event_id",
            [row["consumer"] for row in rows], [row["event_id"] for row in rows],
        )  # fmt: skip
        await connection.execute(
            "DELETE FROM parked_key k WHERE k.key = ANY($1::text[]) AND NOT EXISTS (SELECT FROM parked p "
            "WHERE p.consumer = k.consumer AND p.key = k.key AND p.reason <> 'unrouted')",
            [row["key"] for row in rows],
        )
    return len(rows)


async def page(tx: Tx, *, before: tuple[str, str] | None, limit: int) -> list[Mapping[str, Any]]:
    """Return the log, newest first; `before` is the erasure and the lead that the page comes before."""
    erasure, lead = before or (None, None)
    return list(
        await (await raw(tx)).fetch(
            f"SELECT {_COLUMNS}, done_at, removed::text FROM erased_lead "  # noqa: S608
            "WHERE $1::text IS NULL OR (erasure_id, lead_id) < ($1, $2) "
            "ORDER BY erasure_id DESC, lead_id DESC LIMIT $3",
            erasure, lead, limit,
        )
    )  # fmt: skip


async def one(tx: Tx, lead_id: str) -> Mapping[str, Any] | None:
    """Return what the log says of a lead."""
    row: Mapping[str, Any] | None = await (await raw(tx)).fetchrow(
        f"SELECT {_COLUMNS}, done_at, removed::text FROM erased_lead WHERE lead_id = $1",  # noqa: S608
        lead_id,
    )
    return row
