"""Every SQL statement of searching."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from baton_kit.db import Tx, raw


async def put(tx: Tx, words: Mapping[str, tuple[int, str]]) -> None:
    """Keep the words of contacts as (version, words); an older version changes nothing."""
    if not words:
        return
    ids = sorted(words)
    await (await raw(tx)).execute(
        """
        INSERT INTO lead_search (lead_id, sequence, words)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[])
        ON CONFLICT (lead_id) DO UPDATE SET sequence = excluded.sequence, words = excluded.words
        WHERE lead_search.sequence < excluded.sequence
        """,
        ids,
        [words[id][0] for id in ids],
        [words[id][1] for id in ids],
    )


async def drop(tx: Tx, lead_ids: Collection[str]) -> None:
    """Forget the words of leads."""
    if lead_ids:
        await (await raw(tx)).execute("DELETE FROM lead_search WHERE lead_id = ANY($1::uuid[])", sorted(lead_ids))


def statement(patterns: Sequence[str]) -> str:
    """The search: by words through the trigram index, by address, number and provider's id through theirs."""
    by_words = " AND ".join(f"s.words LIKE ${n}" for n in range(4, 4 + len(patterns)))
    return f"""
    WITH found AS MATERIALIZED (
        {f"(SELECT s.lead_id FROM lead_search s WHERE {by_words} ORDER BY s.lead_id DESC LIMIT $3) UNION" if patterns else ""}
        SELECT l.id AS lead_id FROM identity_key k JOIN lead l ON l.person_id = k.person_id
        WHERE k.key = ANY($1::text[])
        UNION
        SELECT e.lead_id FROM source o JOIN receipt_entry e ON e.source_id = o.id AND e.key = $2
        WHERE e.outcome IN ('created', 'matched', 'touch_only', 'updated', 'pending') AND e.lead_id IS NOT NULL
    )
    SELECT l.id::text, l.created_at, l.source_id, c.data
    FROM found f JOIN lead l ON l.id = f.lead_id JOIN contact c ON c.lead_id = l.id
    WHERE NOT EXISTS (SELECT FROM erased_lead x WHERE x.lead_id = l.id::text)
    ORDER BY l.id DESC LIMIT $3
    """  # noqa: S608, E501 - numbered parameters only


async def crms(tx: Tx) -> list[str]:
    """The CRMs that exports came from: their ids are keys of leads under the CRM's name."""
    rows = await (await raw(tx)).fetch("SELECT DISTINCT layout->>'crm' FROM import_file ORDER BY 1")
    return [row[0] for row in rows if row[0]]


async def find(
    tx: Tx, *, patterns: Sequence[str], identities: Sequence[str], key: str, limit: int
) -> list[Mapping[str, Any]]:
    """Leads with their contacts, newest first."""
    connection = await raw(tx)
    # Whether the words are rare decides on the way: the trigram index for rare ones, the newest leads for common ones.
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    return list(await connection.fetch(statement(patterns), identities, key, limit, *patterns))
