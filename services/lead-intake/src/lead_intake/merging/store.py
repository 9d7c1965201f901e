"""Every SQL statement about merges of leads and proposals of them, but for what merges of all kinds share (edge.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit.db import Tx, raw
from lead_intake import events
from lead_intake.merging.edge import Kind


async def part_of(tx: Tx, lead_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What each lead of a merge brings: features, contact, and counts; by lead id."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT l.id::text, l.sequence, l.created_at, l.source_id, l.features, c.data AS contact,
               (SELECT count(*) FROM touch t WHERE t.lead_id = l.id) AS touches,
               (SELECT array_agg(DISTINCT t.channel) FROM touch t WHERE t.lead_id = l.id) AS channels,
               (SELECT array_agg(split_part(k.key, ':', 1)) FROM identity_key k WHERE k.person_id = l.person_id) AS keys
        FROM lead l LEFT JOIN contact c ON c.lead_id = l.id
        WHERE l.id = ANY($1::uuid[]) ORDER BY l.id
        """,
        lead_ids,
    )
    return {r["id"]: r for r in rows}


# --- proposals -------------------------------------------------------------------------------------------------------


async def proposals(
    tx: Tx, *, state: str, kind: str | None, lead_id: str | None, after: tuple[str, str] | None, limit: int
) -> list[Mapping[str, Any]]:
    """Proposals as pairs of leads, in the order of their persons."""
    low, high = after or (None, None)
    return list(
        await (await raw(tx)).fetch(
            """
            SELECT p.person_low::text, p.person_high::text, a.id::text AS low_lead, b.id::text AS high_lead,
                   p.kind, p.score, p.state, p.proposed_at,
                   nullif(p.receipt_id, '00000000-0000-0000-0000-000000000000')::text AS receipt_id
            FROM proposed_merge p
            JOIN lead a ON a.person_id = p.person_low JOIN lead b ON b.person_id = p.person_high
            WHERE p.state = $1 AND ($2::text IS NULL OR p.kind = $2)
              AND ($3::uuid IS NULL OR a.id = $3 OR b.id = $3)
              AND ($4::uuid IS NULL OR (p.person_low, p.person_high) > ($4::uuid, $5::uuid))
            ORDER BY p.person_low, p.person_high LIMIT $6
            """,
            state, kind, lead_id, low, high, limit,
        )
    )  # fmt: skip


async def close_proposals(tx: Tx, some: Sequence[str], others: Sequence[str], state: str) -> int:
    """Close the open proposals between two sets of leads; how many there were."""
    rows = await (await raw(tx)).fetch(
        """
        UPDATE proposed_merge p SET state = $3
        FROM lead a, lead b
        WHERE p.state = 'open' AND a.person_id = p.person_low AND b.person_id = p.person_high
          AND ((a.id = ANY($1::uuid[]) AND b.id = ANY($2::uuid[]))
            OR (a.id = ANY($2::uuid[]) AND b.id = ANY($1::uuid[])))
        RETURNING 1
        """,
        list(some),
        list(others),
        state,
    )
    return len(rows)


LEADS = Kind("lead", "merge_edge", "merge_decision", "intake.merge", events.merge_told, close_proposals)


# --- looking for leads that are alike --------------------------------------------------------------------------------


async def lock_round(tx: Tx, *, restart_before: datetime, at: datetime) -> str | None:
    """Hold the round until the commit and return the lead to go on after; None while another process holds it.

    A round that began before `restart_before` begins again.
    """
    row = await (await raw(tx)).fetchrow(
        "SELECT after_lead::text, started_at FROM likeness_round FOR UPDATE SKIP LOCKED"
    )
    if row is None:
        return None
    if row["started_at"] is None or row["started_at"] < restart_before:
        await (await raw(tx)).execute(
            "UPDATE likeness_round SET started_at = $1, after_lead = '00000000-0000-0000-0000-000000000000'", at
        )
        return "00000000-0000-0000-0000-000000000000"
    return str(row["after_lead"])


async def move_round(tx: Tx, after: str | None) -> None:
    """Go on after this lead next time."""
    if after is not None:
        await (await raw(tx)).execute("UPDATE likeness_round SET after_lead = $1::uuid", after)


async def contacts_after(tx: Tx, after: str, *, until: str, limit: int) -> list[tuple[str, ContactChanged]]:
    """The next contacts in the order of their leads, those made before `until`."""
    rows = await (await raw(tx)).fetch(
        "SELECT lead_id::text, data FROM contact WHERE lead_id > $1::uuid AND lead_id < $2::uuid "
        "ORDER BY lead_id LIMIT $3",
        after, until, limit,
    )  # fmt: skip
    return [(r[0], ContactChanged.FromString(r[1])) for r in rows]


async def put_likeness(tx: Tx, words: Mapping[str, tuple[str, str]]) -> None:
    """Keep name and company of leads as they are compared; nothing for a contact that is being forgotten."""
    await (await raw(tx)).execute(
        "INSERT INTO likeness AS l (lead_id, name, company) SELECT w.* "
        "FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w (lead_id, name, company) "
        "JOIN contact c ON c.lead_id = w.lead_id ORDER BY w.lead_id FOR KEY SHARE OF c "
        "ON CONFLICT (lead_id) DO UPDATE SET name = excluded.name, company = excluded.company "
        "WHERE (l.name, l.company) <> (excluded.name, excluded.company)",
        list(words),
        [w[0] for w in words.values()],
        [w[1] for w in words.values()],
    )


async def alike(tx: Tx, lead_ids: Sequence[str]) -> list[tuple[str, str, tuple[str, str]]]:
    """(lead, another one, its words) for leads whose trigrams are alike: what is worth scoring, at most 20 a lead."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT me.lead_id::text, other.lead_id::text, other.name, other.company
        FROM likeness me CROSS JOIN LATERAL (
            SELECT lead_id, name, company FROM likeness
            WHERE company % me.company AND name % me.name AND lead_id <> me.lead_id
            ORDER BY similarity(name, me.name) DESC, lead_id LIMIT 20
        ) AS other
        WHERE me.lead_id = ANY($1::uuid[])
        """,
        lead_ids,
    )
    return [(r[0], r[1], (r[2], r[3])) for r in rows]


async def insert_alike(tx: Tx, pairs: Sequence[tuple[str, str, int]], *, at: datetime) -> None:
    """Propose pairs of leads with their scores; a pair that was proposed before stays as it is."""
    if not pairs:
        return
    await (await raw(tx)).execute(
        """
        INSERT INTO proposed_merge (person_low, person_high, receipt_id, proposed_at, kind, score)
        SELECT least(a.person_id, b.person_id), greatest(a.person_id, b.person_id),
               '00000000-0000-0000-0000-000000000000', $4, 'alike', p.score
        FROM unnest($1::uuid[], $2::uuid[], $3::smallint[]) AS p (a, b, score)
        JOIN lead a ON a.id = p.a JOIN lead b ON b.id = p.b
        ORDER BY 1, 2 ON CONFLICT DO NOTHING
        """,
        [p[0] for p in pairs],
        [p[1] for p in pairs],
        [p[2] for p in pairs],
        at,
    )
