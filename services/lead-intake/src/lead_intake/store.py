"""Every SQL statement of the service. The batch statements go to asyncpg beneath the same transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.db import Direct, Tx, first, raw
from lead_intake.campaigns.matching import Placed
from lead_intake.delivery import Outcome
from lead_intake.entry import Delivery
from lead_intake.touches import Origin


@dataclass(slots=True)
class Lead:
    """A lead under its lock; `receive` moves it forward and writes it back."""

    id: str
    person_id: str
    source_id: str
    receipt_id: str
    created_at: datetime
    sequence: int
    told_at: datetime
    features: LeadFeatures
    contact: ContactChanged
    contact_sequence: int
    account_id: str = ""


@dataclass(frozen=True, slots=True)
class FirstEntry:
    """The entry that a repeated one repeats."""

    receipt_id: str
    outcome: Outcome
    lead_id: str | None


class EntryRow(NamedTuple):
    """A row of `receipt_entry`."""

    receipt_id: str
    ordinal: int
    source_id: str
    key: str
    outcome: str
    reason: str
    lead_id: str | None
    first_receipt_id: str | None


@dataclass(frozen=True, slots=True)
class Touch:
    """A row of `touch`."""

    id: str
    lead_id: str
    receipt_id: str
    occurred_at: datetime
    sequence: int
    source_id: str
    origin: Origin
    placed: Placed


@dataclass(frozen=True, slots=True)
class ProposedMerge:
    """Two persons, lower id first, that one delivery named as the same."""

    low: str
    high: str
    receipt_id: str
    proposed_at: datetime


# --- the batch of deliveries -----------------------------------------------------------------------------------------


async def lock_keys(tx: Tx | Direct, locks: Sequence[int]) -> None:
    """Take the advisory locks in the order given, until the transaction ends."""
    if locks:
        numbers = ",".join(map(str, locks))
        await first(tx, f"SELECT count(pg_advisory_xact_lock(k)) FROM unnest('{{{numbers}}}'::bigint[]) AS k")  # noqa: S608


CAMPAIGNS_LOCK = 7_312_604_551_201_934_118
"""Whoever writes touches shares it, whoever changes which touches belong to which campaign has it alone."""


async def lock_for_touches(tx: Tx | Direct, locks: Sequence[int]) -> None:
    """Like `lock_keys`, in the same statement behind a share of the campaigns: they stay until the transaction ends.

    The share comes first, so that nobody holds a key while waiting for somebody who changes the campaigns.
    """
    numbers = ",".join(map(str, (CAMPAIGNS_LOCK, *locks)))
    await first(
        tx,
        "SELECT count(CASE n WHEN 1 THEN pg_advisory_xact_lock_shared(k) ELSE pg_advisory_xact_lock(k) END) "  # noqa: S608
        f"FROM unnest('{{{numbers}}}'::bigint[]) WITH ORDINALITY AS t (k, n)",
    )


async def known(
    tx: Tx | Direct, *, entries: Sequence[tuple[str, str]], identities: Sequence[str]
) -> tuple[dict[tuple[str, str], FirstEntry], dict[str, str], int]:
    """The entries that took these (source, key) pairs already, the persons of these identity keys, and the version of
    the campaigns (0 where no entry is asked for, so that no touch can follow).

    The keys are unique; LIMIT says so to the planner, which otherwise joins by a scan, and keeps that plan while the
    tables grow.
    """
    if not entries:
        return {}, {}, 0
    rows = await (await raw(tx)).fetch(
        """
        SELECT k.source_id, k.key, e.receipt_id::text, e.outcome, e.lead_id::text
        FROM unnest($1::text[], $2::text[]) AS k (source_id, key), LATERAL (
            SELECT receipt_id, outcome, lead_id FROM receipt_entry
            WHERE source_id = k.source_id AND key = k.key
              AND (outcome IN ('created', 'matched', 'touch_only', 'updated', 'pending') OR reason = 'forgotten')
            LIMIT 1
        ) AS e
        UNION ALL
        SELECT NULL, k.key, i.person_id::text, NULL, NULL
        FROM unnest($3::text[]) AS k (key), LATERAL (
            SELECT person_id FROM identity_key WHERE key = k.key LIMIT 1
        ) AS i
        UNION ALL
        SELECT NULL, NULL, version::text, NULL, NULL FROM campaign_book
        """,
        [source for source, _ in entries],
        [key for _, key in entries],
        identities,
    )
    return (
        {(r[0], r[1]): FirstEntry(r[2], Outcome(r[3]), r[4]) for r in rows if r[0] is not None},
        {r[1]: r[2] for r in rows if r[0] is None and r[1] is not None},
        next(int(r[2]) for r in rows if r[1] is None),
    )


async def origins(tx: Tx, *, source_id: str, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Where the entries that took these keys came from, by key, in the names of `mapping.FIELDS`."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT e.key, t.utm_source, t.utm_medium, t.utm_campaign, t.campaign_id, t.page, t.referrer_domain
        FROM receipt_entry e JOIN touch t ON t.lead_id = e.lead_id AND t.receipt_id = e.receipt_id
        WHERE e.source_id = $1 AND e.key = ANY($2::text[]) AND e.outcome IN ('created', 'matched', 'touch_only')
        """,
        source_id,
        keys,
    )
    return {
        row["key"]: {
            name: value
            for name, value in (
                ("utm_source", row["utm_source"]),
                ("utm_medium", row["utm_medium"]),
                ("utm_campaign", row["utm_campaign"]),
                ("campaign_id", row["campaign_id"]),
                ("page_url", row["page"]),
                ("referrer", f"https://{row['referrer_domain']}/" if row["referrer_domain"] else ""),
            )
            if value
        }
        for row in rows
    }


async def lock_leads(tx: Tx | Direct, person_ids: Sequence[str]) -> dict[str, Lead]:
    """Lock the leads of these persons in the order of their ids and read them as they stand then; by person."""
    if not person_ids:
        return {}
    rows = await (await raw(tx)).fetch(
        """
        SELECT l.id::text, l.person_id::text, l.source_id, l.receipt_id::text, l.created_at, l.sequence, l.told_at,
               l.features, c.data, c.sequence, coalesce(l.account_id::text, '')
        FROM lead l JOIN contact c ON c.lead_id = l.id
        WHERE l.person_id = ANY($1::uuid[])
        ORDER BY l.id
        FOR UPDATE
        """,
        person_ids,
    )
    return {
        r[1]: Lead(
            r[0], r[1], r[2], r[3], r[4], r[5], r[6],
            LeadFeatures.FromString(r[7]), ContactChanged.FromString(r[8]), r[9], r[10],
        )
        for r in rows
    }  # fmt: skip


_WRITTEN: Mapping[str, str] = {
    "receipt": "id uuid, source_id text, received_at timestamptz, state text, reason text, entries smallint, "
    "content_type text, body bytea",
    "receipt_entry": "receipt_id uuid, ordinal smallint, source_id text, key text, outcome text, reason text, "
    "lead_id uuid, first_receipt_id uuid",
    "identity_key": "key text, person_id uuid",
    "lead": "id uuid, person_id uuid, source_id text, receipt_id uuid, created_at timestamptz, sequence bigint, "
    "told_at timestamptz, features bytea, account_id uuid",
    "contact": "lead_id uuid, sequence bigint, data bytea",
    "touch": "id uuid, lead_id uuid, receipt_id uuid, occurred_at timestamptz, sequence bigint, source_id text, "
    "kind text, channel text, utm_source text, utm_medium text, utm_campaign text, campaign_id text, form_id text, "
    "page text, referrer_domain text, adgroup_id text, ad_id text, referrer_host text, click_kinds text, "
    "within_visit boolean, action text, rules_version bigint, campaign text, campaign_key text",
}
"""The columns that a batch inserts, by table."""


def _insert_all() -> tuple[str, tuple[int, ...]]:
    """The statement that inserts a batch into all its tables in one round trip, and each table's count of columns."""
    parts, number, widths = [], 0, []
    for table, columns in _WRITTEN.items():
        pairs = [column.split() for column in columns.split(", ")]
        places = [f"${number + n}::{kind}[]" for n, (_, kind) in enumerate(pairs, start=1)]
        names = ", ".join(name for name, _ in pairs)
        parts.append(
            f"{table}_rows AS (INSERT INTO {table} ({names}) SELECT * FROM unnest({', '.join(places)}))"  # noqa: S608
        )
        number += len(pairs)
        widths.append(len(pairs))
    return f"WITH {', '.join(parts)} SELECT", tuple(widths)


_INSERT_ALL, _WIDTHS = _insert_all()


async def insert_batch(
    tx: Tx | Direct,
    *,
    deliveries: Sequence[Delivery],
    states: Sequence[str],
    entries: Sequence[EntryRow],
    identities: Sequence[tuple[str, str]] = (),
    leads: Sequence[Lead] = (),
    touches: Sequence[Touch] = (),
) -> None:
    """Write what a batch adds. The locks make each key new: a conflict would be a fault and fails the batch."""
    rows: tuple[Sequence[tuple[Any, ...]], ...] = (
        [
            (d.receipt_id, d.source_id, d.received_at, state, d.reason, len(d.entries), d.content_type, d.body)
            for d, state in zip(deliveries, states, strict=True)
        ],
        entries,
        identities,
        [
            (
                lead.id, lead.person_id, lead.source_id, lead.receipt_id, lead.created_at, lead.sequence, lead.told_at,
                lead.features.SerializeToString(deterministic=True), lead.account_id or None,
            )
            for lead in leads
        ],
        [(lead.id, lead.contact_sequence, lead.contact.SerializeToString(deterministic=True)) for lead in leads],
        [
            (
                t.id, t.lead_id, t.receipt_id, t.occurred_at, t.sequence, t.source_id, t.origin.kind,
                t.origin.channel, t.origin.utm_source, t.origin.utm_medium, t.origin.utm_campaign, t.origin.campaign_id,
                t.origin.form_id, t.origin.page, t.origin.referrer_domain, t.origin.adgroup_id, t.origin.ad_id,
                t.origin.referrer_host, " ".join(t.origin.click_kinds), t.origin.within_visit, t.origin.action,
                t.origin.rules_version, t.placed.campaign, t.placed.key,
            )
            for t in touches
        ],
    )  # fmt: skip
    columns: list[Sequence[Any]] = []
    for width, table in zip(_WIDTHS, rows, strict=True):
        columns.extend(zip(*table, strict=True) if table else [()] * width)
    await (await raw(tx)).execute(_INSERT_ALL, *columns)


async def update_leads(tx: Tx | Direct, leads: Sequence[Lead]) -> None:
    """Known leads with their contacts, in one statement."""
    if not leads:
        return
    await (await raw(tx)).execute(
        """
        WITH told AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::bytea[], $5::bigint[], $6::bytea[],
                $7::uuid[]) AS t (id, sequence, told_at, features, version, data, account_id)
        ), leads AS (
            UPDATE lead SET sequence = t.sequence, told_at = t.told_at, features = t.features,
                account_id = t.account_id
            FROM told t WHERE lead.id = t.id
        )
        UPDATE contact SET sequence = t.version, data = t.data
        FROM told t WHERE contact.lead_id = t.id AND contact.sequence <> t.version
        """,
        [lead.id for lead in leads],
        [lead.sequence for lead in leads],
        [lead.told_at for lead in leads],
        [lead.features.SerializeToString(deterministic=True) for lead in leads],
        [lead.contact_sequence for lead in leads],
        [lead.contact.SerializeToString(deterministic=True) for lead in leads],
        [lead.account_id or None for lead in leads],
    )


async def insert_merges(tx: Tx | Direct, merges: Sequence[ProposedMerge]) -> None:
    """Proposed merges; one that stands already stays as it is."""
    if merges:
        await (await raw(tx)).execute(
            """
            INSERT INTO proposed_merge (person_low, person_high, receipt_id, proposed_at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[]) ORDER BY 1, 2
            ON CONFLICT DO NOTHING
            """,
            [m.low for m in merges],
            [m.high for m in merges],
            [m.receipt_id for m in merges],
            [m.proposed_at for m in merges],
        )


# --- sources ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source as it is stored; `secrets` are (id, sealed, created_at), oldest first."""

    id: str
    provider: str
    name: str
    default_region: str
    mapping: Mapping[str, Any]
    settings: Mapping[str, Any]
    token_digest: bytes | None
    created_at: datetime
    secrets: tuple[tuple[str, bytes, datetime], ...] = ()


async def source_version(tx: Tx) -> int:
    """The version that rises with every change of a source."""
    return int(await (await raw(tx)).fetchval("SELECT version FROM source_version"))


async def sources(tx: Tx, *, id: str | None = None) -> list[SourceRow]:
    """All sources, or the one with this id, with their sealed secrets."""
    connection = await raw(tx)
    rows = await connection.fetch(
        "SELECT id, provider, name, default_region, mapping::text, settings::text, token_digest, created_at "
        "FROM source "
        "WHERE $1::text IS NULL OR id = $1 ORDER BY id",
        id,
    )
    secrets: dict[str, list[tuple[str, bytes, datetime]]] = {}
    for s in await connection.fetch(
        "SELECT source_id, id::text, sealed, created_at FROM source_secret "
        "WHERE $1::text IS NULL OR source_id = $1 ORDER BY id",
        id,
    ):
        secrets.setdefault(s[0], []).append((s[1], s[2], s[3]))
    return [
        SourceRow(r[0], r[1], r[2], r[3], json.loads(r[4]), json.loads(r[5]), r[6], r[7], tuple(secrets.get(r[0], ())))
        for r in rows
    ]


async def insert_source(tx: Tx, row: SourceRow) -> bool:
    """Add a source; False when its id is taken."""
    added = await (await raw(tx)).fetchval(
        "INSERT INTO source (id, provider, name, default_region, mapping, settings, token_digest, created_at) "
        "VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7, $8) ON CONFLICT DO NOTHING RETURNING 1",
        row.id, row.provider, row.name, row.default_region, json.dumps(row.mapping), json.dumps(row.settings),
        row.token_digest, row.created_at,
    )  # fmt: skip
    return added is not None


async def update_source(tx: Tx, row: SourceRow) -> None:
    """Write a source anew."""
    await (await raw(tx)).execute(
        "UPDATE source SET name = $2, default_region = $3, mapping = $4::text::jsonb, settings = $5::text::jsonb, "
        "token_digest = $6 WHERE id = $1",
        row.id, row.name, row.default_region, json.dumps(row.mapping), json.dumps(row.settings), row.token_digest,
    )  # fmt: skip


async def lock_source(tx: Tx, id: str) -> bool:
    """Hold a source until the transaction ends; False when there is none."""
    return await (await raw(tx)).fetchval("SELECT 1 FROM source WHERE id = $1 FOR UPDATE", id) is not None


async def insert_secret(tx: Tx, *, id: str, source_id: str, sealed: bytes, created_at: datetime) -> None:
    """Add a sealed secret."""
    await (await raw(tx)).execute(
        "INSERT INTO source_secret (id, source_id, sealed, created_at) VALUES ($1::uuid, $2, $3, $4)",
        id, source_id, sealed, created_at,
    )  # fmt: skip


async def delete_secret(tx: Tx, *, id: str, source_id: str) -> bool:
    """Remove a secret; False when the source has none with this id."""
    removed = await (await raw(tx)).fetchval(
        "DELETE FROM source_secret WHERE id::text = $1 AND source_id = $2 RETURNING 1", id, source_id
    )
    return removed is not None


async def raise_source_version(tx: Tx) -> None:
    """Tell every process to read the sources again."""
    await (await raw(tx)).execute("UPDATE source_version SET version = version + 1")


# --- reading ---------------------------------------------------------------------------------------------------------


async def receipts(
    tx: Tx, *, state: str | None, source: str | None, reason: str | None, before: str | None, limit: int
) -> list[Mapping[str, Any]]:
    """Receipts, newest first, without their bodies."""
    return list(
        await (await raw(tx)).fetch(
            """
            SELECT id::text, source_id, received_at, state, reason, entries, content_type, length(body) AS size
            FROM receipt
            WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR source_id = $2)
              AND ($3::uuid IS NULL OR id < $3::uuid) AND ($5::text IS NULL OR reason = $5)
            ORDER BY receipt.id DESC LIMIT $4
            """,
            state, source, before, limit, reason,
        )
    )  # fmt: skip


async def receipt(tx: Tx, id: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]] | None:
    """A receipt and its entries."""
    connection = await raw(tx)
    row = await connection.fetchrow(
        "SELECT id::text, source_id, received_at, state, reason, entries, content_type, length(body) AS size "
        "FROM receipt WHERE id = $1::uuid",
        id,
    )
    if row is None:
        return None
    entries = await connection.fetch(
        "SELECT ordinal, key, outcome, reason, lead_id::text, first_receipt_id::text, "
        "EXISTS (SELECT FROM erased_lead x WHERE x.lead_id = receipt_entry.lead_id::text) AS erased FROM receipt_entry "
        "WHERE receipt_id = $1::uuid ORDER BY ordinal",
        id,
    )
    return row, list(entries)


async def leads(
    tx: Tx, *, before: str | None, limit: int, accounts: Sequence[str] | None = None
) -> list[Mapping[str, Any]]:
    """Leads, newest first; with `accounts` those that came to one of them."""
    return list(
        await (await raw(tx)).fetch(
            "SELECT id::text, source_id, receipt_id::text, created_at, sequence, features, account_id::text FROM lead "
            "WHERE ($1::uuid IS NULL OR id < $1::uuid) AND ($3::uuid[] IS NULL OR account_id = ANY($3::uuid[])) "
            "ORDER BY lead.id DESC LIMIT $2",
            before, limit, accounts,
        )
    )  # fmt: skip


async def lead(tx: Tx, id: str) -> Mapping[str, Any] | None:
    """A lead."""
    row: Mapping[str, Any] | None = await (await raw(tx)).fetchrow(
        "SELECT id::text, source_id, receipt_id::text, created_at, sequence, features, account_id::text FROM lead "
        "WHERE id = $1::uuid",
        id,
    )
    return row


async def leads_by_id(tx: Tx, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """Leads, in the order of their ids; unknown ones are missing."""
    return list(
        await (await raw(tx)).fetch(
            "SELECT id::text, source_id, receipt_id::text, created_at, sequence, features, account_id::text FROM lead "
            "WHERE id = ANY($1::uuid[]) ORDER BY id",
            ids,
        )
    )


async def touches(tx: Tx, lead_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The touches of leads, by lead in the order of its versions."""
    return list(
        await (await raw(tx)).fetch(
            "SELECT id::text AS touch_id, lead_id::text AS origin_lead_id, occurred_at, sequence, source_id, kind, "
            "channel, utm_source, utm_medium, utm_campaign, campaign_id, form_id, page, referrer_domain, "
            "receipt_id::text, adgroup_id, ad_id, referrer_host, click_kinds, within_visit, action, campaign, "
            "rules_version FROM touch WHERE lead_id = ANY($1::uuid[]) ORDER BY lead_id, sequence LIMIT 1000",
            lead_ids,
        )
    )


async def contact(tx: Tx, lead_id: str) -> ContactChanged | None:
    """The contact of a lead; of a forgotten person there is none, also where a restored row still waits to go."""
    data = await (await raw(tx)).fetchval(
        "SELECT data FROM contact WHERE lead_id = $1::uuid "
        "AND NOT EXISTS (SELECT FROM erased_lead WHERE lead_id = $1::uuid::text)",
        lead_id,
    )
    return None if data is None else ContactChanged.FromString(data)


# --- entries that are decided again ----------------------------------------------------------------------------------


async def lock_entries(tx: Tx, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Outcome]:
    """Lock the receipts of these (receipt, ordinal) in order, then read how the entries stand."""
    connection = await raw(tx)
    receipts = sorted({receipt_id for receipt_id, _ in places})
    await connection.execute("SELECT FROM receipt WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", receipts)
    rows = await connection.fetch(
        "SELECT e.receipt_id::text, e.ordinal, e.outcome FROM receipt_entry e "
        "JOIN unnest($1::uuid[], $2::smallint[]) AS p (receipt_id, ordinal) USING (receipt_id, ordinal)",
        [receipt_id for receipt_id, _ in places],
        [ordinal for _, ordinal in places],
    )
    return {(r[0], r[1]): Outcome(r[2]) for r in rows}


async def update_entries(tx: Tx, rows: Sequence[EntryRow]) -> None:
    """Write how entries end now, and the states of their receipts, whose rows are locked."""
    connection = await raw(tx)
    await connection.execute(
        """
        UPDATE receipt_entry e
        SET outcome = t.outcome, reason = t.reason, lead_id = t.lead_id, first_receipt_id = t.first_receipt_id
        FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
            AS t (receipt_id, ordinal, outcome, reason, lead_id, first_receipt_id)
        WHERE e.receipt_id = t.receipt_id AND e.ordinal = t.ordinal
        """,
        [r.receipt_id for r in rows],
        [r.ordinal for r in rows],
        [r.outcome for r in rows],
        [r.reason for r in rows],
        [r.lead_id for r in rows],
        [r.first_receipt_id for r in rows],
    )
    # A new statement, so that it sees what the one before has written.
    await connection.execute(
        """
        UPDATE receipt r SET state = s.state
        FROM (
            SELECT receipt_id, CASE
                WHEN bool_or(outcome = 'quarantined') THEN 'quarantined'
                WHEN bool_or(outcome = 'pending') THEN 'pending'
                WHEN bool_and(outcome = 'refused') THEN 'refused'
                ELSE 'settled' END AS state
            FROM receipt_entry WHERE receipt_id = ANY($1::uuid[]) GROUP BY receipt_id
        ) AS s
        WHERE r.id = s.receipt_id AND r.state <> s.state
        """,
        sorted({r.receipt_id for r in rows}),
    )
