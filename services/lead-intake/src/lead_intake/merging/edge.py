"""What can be merged: leads that are one person, accounts that are one company. The SQL that is the same for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton_kit.db import Tx, raw
from baton_kit.edges import Edge
from baton_kit.envelope import Event


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided what about a merge, and why: an id or a rule and a code, never a name."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing that is merged. `noun` is its table too, and what its columns in answers are called by."""

    noun: str
    edges: str
    decisions: str
    gate: str
    """The name of the lock of whoever merges."""
    told: Callable[[Edge, Decision, str, int], Event]
    """The event about an edge on the key of one of its two, in its new version."""
    close_proposals: Callable[[Tx, Sequence[str], Sequence[str], str], Awaitable[int]]
    """Close the open proposals between two families with a state; how many there were."""


async def lock_merges(tx: Tx, kind: Kind) -> None:
    """Be the only one who merges or undoes until the transaction ends. A statement of its own, before any read."""
    await (await raw(tx)).execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", kind.gate)


async def lock_sequences(tx: Tx, ids: Sequence[str], *, table: str = "lead") -> dict[str, int]:
    """Lock leads (or accounts) in the order of their ids; their versions, unknown ones are missing."""
    rows = await (await raw(tx)).fetch(
        f"SELECT id::text, sequence FROM {table} WHERE id = ANY($1::uuid[]) "  # noqa: S608 - a table of ours
        f"ORDER BY {table}.id FOR UPDATE",
        list(ids),
    )
    return {row[0]: row[1] for row in rows}


async def raise_sequences(tx: Tx, sequences: Mapping[str, int], *, table: str = "lead") -> None:
    """Write the versions of locked leads (or accounts) that events were made of."""
    if sequences:
        await (await raw(tx)).execute(
            f"UPDATE {table} SET sequence = s.sequence "  # noqa: S608 - a table of ours
            f"FROM unnest($1::uuid[], $2::bigint[]) AS s (id, sequence) WHERE {table}.id = s.id",
            list(sequences),
            list(sequences.values()),
        )


async def edge(tx: Tx, kind: Kind, merge_id: str) -> Edge | None:
    """One merge as it stands."""
    row = await (await raw(tx)).fetchrow(
        f"SELECT id, source, target, version, active FROM {kind.edges} WHERE id = $1",  # noqa: S608 - a table of ours
        merge_id,
    )
    return None if row is None else Edge(*row)


async def insert_decision(tx: Tx, kind: Kind, edge: Edge, *, decision: Decision) -> None:
    """Keep who decided what about a merge, for ever."""
    await (await raw(tx)).execute(
        f"INSERT INTO {kind.decisions} (merge_id, version, decided_by, reason, decided_at) "  # noqa: S608
        "VALUES ($1::uuid, $2, $3, $4, $5)",
        edge.id, edge.version, decision.by, decision.reason, decision.at,
    )  # fmt: skip


async def merges(
    tx: Tx, kind: Kind, *, ids: Sequence[str] | None, active: bool | None, before: str | None, limit: int
) -> list[Mapping[str, Any]]:
    """Merges with their decisions, newest first; those that name one of the ids, all without."""
    return list(
        await (await raw(tx)).fetch(
            f"{_merge(kind)} WHERE ($1::text[] IS NULL OR e.source = ANY($1) OR e.target = ANY($1)) "
            "AND ($2::boolean IS NULL OR e.active = $2) AND ($3::text IS NULL OR e.id < $3) "
            "ORDER BY e.id DESC LIMIT $4",
            ids, active, before, limit,
        )
    )  # fmt: skip


async def merge_of(tx: Tx, kind: Kind, merge_id: str) -> Mapping[str, Any]:
    """One merge with its decisions; the caller knows that it is there."""
    row: Mapping[str, Any] = await (await raw(tx)).fetchrow(f"{_merge(kind)} WHERE e.id = $1", merge_id)
    return row


def _merge(kind: Kind) -> str:
    return (
        f"SELECT e.id, e.source AS from_{kind.noun}_id, e.target AS into_{kind.noun}_id, "  # noqa: S608
        "e.version, e.active, d.decided_by, d.reason, d.decided_at AS merged_at, "
        "u.decided_by AS undone_by, u.reason AS undone_reason, u.decided_at AS undone_at "
        f"FROM {kind.edges} e "
        f"JOIN {kind.decisions} d ON d.merge_id = e.id::uuid AND d.version = 1 "
        f"LEFT JOIN {kind.decisions} u ON u.merge_id = e.id::uuid AND u.version = 2"
    )
