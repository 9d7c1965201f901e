"""Every SQL statement about leads that are one person."""

from collections.abc import Sequence
from datetime import datetime

from baton_kit.db import Tx, raw
from baton_kit.failpoint import failpoint
from qualification.merging.person import LastDecision, Past


async def add_unknown_leads(tx: Tx, lead_ids: Sequence[str]) -> None:
    """Give a row to each lead that an edge names before anything else of it came, so that it can be locked.

    Like every lead of which nothing live was told so far, it begins as history.
    """
    await (await raw(tx)).execute(
        "INSERT INTO lead (id, sequence, test, features, features_sequence, cycle, cycle_state) "
        "SELECT id, 0, false, '{}'::jsonb, -1, 1, 'history' FROM unnest($1::text[]) AS l (id) ORDER BY id "
        "ON CONFLICT DO NOTHING",
        sorted(set(lead_ids)),
    )
    failpoint("merging.after_unknown")


async def past_of(tx: Tx, lead_ids: Sequence[str]) -> dict[str, Past]:
    """What was decided about these leads, as far as it says where they stand."""
    connection = await raw(tx)
    handed: dict[str, set[int]] = {}
    for lead_id, cycle in await connection.fetch(
        "SELECT lead_id, cycle FROM qualified WHERE lead_id = ANY($1::text[])", list(lead_ids)
    ):
        handed.setdefault(lead_id, set()).add(cycle)
    last: dict[str, dict[int, LastDecision]] = {}
    for row in await connection.fetch(
        "SELECT DISTINCT ON (lead_id, cycle) lead_id, cycle, id, activation_seq, outcome, score, stopped_by "
        "FROM decision WHERE lead_id = ANY($1::text[]) ORDER BY lead_id, cycle, sequence DESC",
        list(lead_ids),
    ):
        last.setdefault(row[0], {})[row[1]] = LastDecision(*row[2:])
    failpoint("merging.after_past")
    return {i: Past(frozenset(handed.get(i, ())), last.get(i)) for i in lead_ids}


async def put_resting(tx: Tx, rows: Sequence[tuple[str, int, int, bool]]) -> None:
    """Keep (lead, cycle, sequence of the handoff, superseded); the highest sequence stands, whichever came last."""
    newest: dict[tuple[str, int], tuple[str, int, int, bool]] = {}
    for row in rows:
        if row[:2] not in newest or newest[row[:2]][2] < row[2]:
            newest[row[:2]] = row
    ordered = [newest[key] for key in sorted(newest)]
    await (await raw(tx)).execute(
        "INSERT INTO resting_handoff AS r (lead_id, cycle, sequence, superseded) "
        "SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::boolean[]) "
        "ON CONFLICT (lead_id, cycle) DO UPDATE SET sequence = excluded.sequence, superseded = excluded.superseded "
        "WHERE r.sequence < excluded.sequence",
        *(list(column) for column in zip(*ordered, strict=True)),
    )
    failpoint("merging.after_resting")


async def resting(tx: Tx, lead_ids: Sequence[str]) -> set[tuple[str, int]]:
    """The (lead, cycle) pairs whose handoff rests while another one of the person is worked."""
    rows = await (await raw(tx)).fetch(
        "SELECT lead_id, cycle FROM resting_handoff WHERE superseded AND lead_id = ANY($1::text[])", list(lead_ids)
    )
    return {(row[0], row[1]) for row in rows}


async def due_canonical(tx: Tx, *, at: datetime, waiting: bool, limit: int) -> list[str]:
    """Canonical leads of several whose points change at `at` or before, or (`waiting`) that no agreement judged yet.

    Nothing is locked: a person's leads are locked together, in order, by whoever decides about them.
    """
    condition = (
        "l.activation_seq IS NULL AND l.created_at IS NOT NULL AND NOT l.test AND l.cycle_state = 'open'"
        if waiting
        else "l.next_change_at <= $1"
    )
    rows = await (await raw(tx)).fetch(
        "SELECT DISTINCT l.id FROM merge_edge e JOIN lead l ON l.id = e.target "  # noqa: S608 - one of two conditions
        f"WHERE e.active AND {condition} AND $1::timestamptz IS NOT NULL "
        "AND NOT EXISTS (SELECT FROM merge_edge up WHERE up.active AND up.source = l.id) ORDER BY l.id LIMIT $2",
        at,
        limit,
    )
    return [row[0] for row in rows]
