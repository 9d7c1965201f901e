"""Every SQL statement about what became of the leads that were handed over."""

from collections.abc import Sequence

from baton_kit.db import Tx, raw
from baton_kit.failpoint import failpoint
from qualification.evidence.outcomes import Alike, Deal


async def put_deals(tx: Tx, deals: Sequence[Deal]) -> None:
    """Keep each deal in its highest version."""
    newest: dict[str, Deal] = {}
    for deal in deals:
        if deal.id not in newest or newest[deal.id].sequence < deal.sequence:
            newest[deal.id] = deal
    rows = sorted(newest.values())
    await (await raw(tx)).execute(
        "INSERT INTO deal (id, lead_id, sequence, outcome, closed_at) "
        "SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[]) "
        "ON CONFLICT (id) DO UPDATE SET lead_id = excluded.lead_id, sequence = excluded.sequence, "
        "outcome = excluded.outcome, closed_at = excluded.closed_at WHERE deal.sequence < excluded.sequence",
        [deal.id for deal in rows],
        [deal.lead_id for deal in rows],
        [deal.sequence for deal in rows],
        [deal.outcome for deal in rows],
        [deal.closed_at for deal in rows],
    )
    failpoint("evidence.after_deals")


async def handed_over(tx: Tx, digest: str) -> list[Alike]:
    """Count the leads that this version handed over, by rules, rep, answer and end.

    A cycle that was rejected counts as rejected, whatever was answered before. A deal belongs to the last handover
    before it was closed.
    """
    rows = await (await raw(tx)).fetch(
        """
        WITH handed AS (
            SELECT q.lead_id, q.cycle, q.at, d.rules,
                   lead(q.at) OVER (PARTITION BY q.lead_id ORDER BY q.cycle) AS next_at, d.digest
            FROM qualified q JOIN decision d ON d.id = q.decision_id
        ), answers AS (
            SELECT DISTINCT ON (lead_id, cycle) lead_id, cycle, kind, reason, rep_id
            FROM feedback WHERE kind IN ('accepted', 'rejected')
            ORDER BY lead_id, cycle, kind DESC, sequence DESC
        ), ends AS (
            SELECT h.lead_id, h.cycle, bool_or(deal.outcome = 'won') AS won
            FROM handed h JOIN deal ON deal.lead_id = h.lead_id AND deal.outcome <> 'open'
                 AND deal.closed_at >= h.at AND (h.next_at IS NULL OR deal.closed_at < h.next_at)
            GROUP BY 1, 2
        )
        SELECT h.rules, coalesce(a.rep_id, ''), coalesce(a.kind, ''),
               CASE WHEN a.kind = 'rejected' THEN a.reason ELSE '' END,
               CASE WHEN e.won THEN 'won' WHEN e.won IS NOT NULL THEN 'lost' ELSE '' END, count(*)
        FROM handed h
        LEFT JOIN answers a ON a.lead_id = h.lead_id AND a.cycle = h.cycle
        LEFT JOIN ends e ON e.lead_id = h.lead_id AND e.cycle = h.cycle
        WHERE h.digest = $1
        GROUP BY 1, 2, 3, 4, 5
        """,
        digest,
    )
    return [Alike(tuple(row[0]), *row[1:]) for row in rows]
