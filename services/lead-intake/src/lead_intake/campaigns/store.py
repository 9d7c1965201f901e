"""The SQL of campaigns, their worklist, and touches that are matched anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from baton_kit.db import Direct, Tx, raw
from baton_kit.outages import sqlstate
from lead_intake.campaigns.campaign import Campaign
from lead_intake.campaigns.matching import Claim, Mark, bare, mark_of
from lead_intake.store import CAMPAIGNS_LOCK

COUNTED_TO = 1_000
"""Touches of one key that the worklist counts."""
HOLD_WITHIN_MS = 250
LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Stored:
    """A campaign and its version."""

    campaign: Campaign
    version: int
    created_at: datetime
    changed_at: datetime


class Book(NamedTuple):
    """The version of all claims together, and how far earlier touches follow it (`restated_at` where all do)."""

    version: int
    changed_at: datetime
    after_touch: str | None
    touches_read: int
    touches_regrouped: int
    restated_at: datetime | None


class Change(NamedTuple):
    """A version of a campaign; `document` is the whole record as JSON."""

    version: int
    changed_at: datetime
    changed_by: str
    document: str


class Reached(NamedTuple):
    """What a campaign has brought: touches, and persons with at least one of them."""

    touches: int
    leads: int


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Touches that no campaign claims, by the key they are known by; counted to COUNTED_TO. The example is the last."""

    key: str
    touches: int
    leads: int
    first_seen: datetime
    last_seen: datetime
    example: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a touch stands now, and what it is matched by."""

    touch_id: str
    lead_id: str
    occurred_at: datetime
    mark: Mark
    channel: str
    rules_version: int
    campaign: str
    key: str


_FIELDS = (
    "code, version, name, owner_department, owner_person, product, segment, starts_on, ends_on, planned_spend_minor, "
    "currency, planned_leads, archived, created_at, changed_at"
)


# --- the version of all claims ---------------------------------------------------------------------------------------


async def hold(tx: Tx) -> bool:
    """Have the campaigns alone until the transaction ends; False when that takes longer than HOLD_WITHIN_MS.

    Whoever writes touches shares them, and waits behind this: it must not wait for long.
    """
    connection = await raw(tx)
    await connection.execute(f"SAVEPOINT hold; SET LOCAL lock_timeout = {HOLD_WITHIN_MS}")
    try:
        await connection.execute(f"SELECT pg_advisory_xact_lock({CAMPAIGNS_LOCK})")
    except Exception as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        await connection.execute("ROLLBACK TO hold")
        return False
    await connection.execute("SET LOCAL lock_timeout TO DEFAULT")
    return True


async def share(tx: Tx) -> None:
    """Let nobody change the campaigns until the transaction ends."""
    await (await raw(tx)).execute(f"SELECT pg_advisory_xact_lock_shared({CAMPAIGNS_LOCK})")


async def version(tx: Tx | Direct) -> int:
    """The version of all claims together."""
    return int(await (await raw(tx)).fetchval("SELECT version FROM campaign_book"))


async def book(tx: Tx) -> Book:
    """The version of all claims together, and how far earlier touches follow it."""
    row = await (await raw(tx)).fetchrow(
        "SELECT version, changed_at, after_touch::text, touches_read, touches_regrouped, restated_at FROM campaign_book"
    )
    return Book(*row)


async def claims(tx: Tx | Direct) -> list[Claim]:
    """Every claim of every campaign."""
    rows = await (await raw(tx)).fetch(
        "SELECT k.key, k.code, c.starts_on, c.ends_on FROM campaign_key k JOIN campaign c USING (code)"
    )
    return [Claim(*row) for row in rows]


async def raise_version(tx: Tx, *, at: datetime) -> None:
    """The claims were changed: every earlier touch is to be looked at, from the first on."""
    await (await raw(tx)).execute(
        "UPDATE campaign_book SET version = version + 1, changed_at = $1, after_touch = NULL, touches_read = 0, "
        "touches_regrouped = 0, restated_at = NULL",
        at,
    )


# --- campaigns -------------------------------------------------------------------------------------------------------


async def count(tx: Tx) -> int:
    """How many campaigns there are."""
    return int(await (await raw(tx)).fetchval("SELECT count(*) FROM campaign"))


async def codes(tx: Tx) -> set[str]:
    """The codes of all campaigns."""
    return {row[0] for row in await (await raw(tx)).fetch("SELECT code FROM campaign")}


async def campaigns(tx: Tx, wanted: Collection[str]) -> dict[str, Stored]:
    """These campaigns by their codes; unknown ones are missing."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_FIELDS} FROM campaign WHERE code = ANY($1::text[])",  # noqa: S608
        list(wanted),
    )
    return {one.campaign.code: one for one in await _with_keys(tx, rows)}


async def page(tx: Tx, *, archived: bool, after: str, limit: int) -> list[Stored]:
    """Campaigns by their codes."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_FIELDS} FROM campaign WHERE code > $1 AND archived = $2 "  # noqa: S608
        "ORDER BY code LIMIT $3",
        after, archived, limit,
    )  # fmt: skip
    return await _with_keys(tx, rows)


async def _with_keys(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> list[Stored]:
    keys: dict[str, list[str]] = {}
    for row in await (await raw(tx)).fetch(
        "SELECT code, key FROM campaign_key WHERE code = ANY($1::text[])", [row["code"] for row in rows]
    ):
        keys.setdefault(row[0], []).append(row[1])
    own = ("version", "created_at", "changed_at")
    return [
        Stored(
            Campaign(
                **{name: value for name, value in row.items() if name not in own},
                keys=tuple(sorted(keys.get(row["code"], ()))),
            ),
            *(row[name] for name in own),
        )
        for row in rows
    ]


async def write(tx: Tx, found: Sequence[Stored], *, by: str) -> None:
    """Put these versions in the place of what stands, and note who made them."""
    connection = await raw(tx)
    await connection.executemany(
        f"INSERT INTO campaign ({_FIELDS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "  # noqa: S608
        "ON CONFLICT (code) DO UPDATE SET version = excluded.version, name = excluded.name, "
        "owner_department = excluded.owner_department, owner_person = excluded.owner_person, "
        "product = excluded.product, segment = excluded.segment, starts_on = excluded.starts_on, "
        "ends_on = excluded.ends_on, planned_spend_minor = excluded.planned_spend_minor, "
        "currency = excluded.currency, planned_leads = excluded.planned_leads, archived = excluded.archived, "
        "changed_at = excluded.changed_at",
        [
            (
                c.code, s.version, c.name, c.owner_department, c.owner_person, c.product, c.segment, c.starts_on,
                c.ends_on, c.planned_spend_minor, c.currency, c.planned_leads, c.archived, s.created_at, s.changed_at,
            )
            for s in found
            for c in (s.campaign,)
        ],
    )  # fmt: skip
    await connection.execute("DELETE FROM campaign_key WHERE code = ANY($1::text[])", [s.campaign.code for s in found])
    keys = [(key, s.campaign.code, bare(key)) for s in found for key in s.campaign.keys]
    await connection.execute(
        "INSERT INTO campaign_key (key, code, bare) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])",
        [key for key, _, _ in keys], [code for _, code, _ in keys], [one for _, _, one in keys],
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO campaign_change (code, version, changed_at, changed_by, document) "
        "SELECT c.code, c.version, c.at, $4, c.document "
        "FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $5::text[]) AS c (code, version, at, document)",
        [s.campaign.code for s in found], [s.version for s in found], [s.changed_at for s in found], by,
        [json.dumps(s.campaign.document, ensure_ascii=False, sort_keys=True) for s in found],
    )  # fmt: skip


async def claimants(tx: Tx, keys: Collection[str]) -> list[Claim]:
    """The claims that campaigns have on these keys or on the same ids elsewhere."""
    rows = await (await raw(tx)).fetch(
        "SELECT k.key, k.code, c.starts_on, c.ends_on FROM campaign_key k JOIN campaign c USING (code) "
        "WHERE k.bare = ANY($1::text[])",
        sorted({bare(key) for key in keys}),
    )
    return [Claim(*row) for row in rows]


async def changes(tx: Tx, code: str, *, before: int | None, limit: int) -> list[Change]:
    """The versions of a campaign, newest first."""
    rows = await (await raw(tx)).fetch(
        "SELECT version, changed_at, changed_by, document FROM campaign_change "
        "WHERE code = $1 AND ($2::bigint IS NULL OR version < $2) ORDER BY version DESC LIMIT $3",
        code, before, limit,
    )  # fmt: skip
    return [Change(*row) for row in rows]


async def reached(tx: Tx, wanted: Sequence[str]) -> dict[str, Reached]:
    """What these campaigns have brought so far; leads that were merged are one person."""
    connection = await raw(tx)
    # In the order of the index, without a sort: the few leads that were merged are taken off afterwards.
    rows = await connection.fetch(
        "SELECT campaign, count(*), count(DISTINCT lead_id) FROM touch "
        "WHERE campaign = ANY($1::text[]) AND campaign <> '' GROUP BY campaign",
        list(wanted),
    )
    sources, roots = await _merged(tx)
    twice: dict[str, int] = {}
    if sources:
        merged = await connection.fetch(
            "SELECT campaign, count(*) - count(DISTINCT m.root) FROM ("
            "SELECT DISTINCT campaign, lead_id FROM touch "
            "WHERE campaign = ANY($1::text[]) AND campaign <> '' AND lead_id = ANY($2::uuid[])"
            ") AS t JOIN unnest($2::uuid[], $3::uuid[]) AS m (lead_id, root) USING (lead_id) GROUP BY campaign",
            list(wanted), [*sources, *set(roots)], [*roots, *set(roots)],
        )  # fmt: skip
        twice = {row[0]: row[1] for row in merged}
    return {row[0]: Reached(row[1], row[2] - twice.get(row[0], 0)) for row in rows}


async def _merged(tx: Tx) -> tuple[list[str], list[str]]:
    """Leads that were merged into others, and the leads that stand for them."""
    rows = await (await raw(tx)).fetch(
        """
        WITH RECURSIVE up AS (
            SELECT source, target FROM merge_edge WHERE active
            UNION
            SELECT up.source, e.target FROM up JOIN merge_edge e ON e.source = up.target AND e.active
        )
        SELECT source, target FROM up WHERE NOT EXISTS (
            SELECT FROM merge_edge e WHERE e.source = up.target AND e.active
        )
        """
    )
    return [row[0] for row in rows], [row[1] for row in rows]


async def imported(tx: Tx, source_id: str) -> list[str]:
    """The `utm_campaign` of every campaign in an imported export, in order."""
    rows = await (await raw(tx)).fetch(
        "SELECT DISTINCT utm_campaign FROM import_campaign WHERE source_id = $1 AND utm_campaign <> '' ORDER BY 1",
        source_id,
    )
    return [row[0] for row in rows]


# --- the worklist ----------------------------------------------------------------------------------------------------

NEXT_KEYS = """
WITH RECURSIVE k AS (
    (
        SELECT campaign_key FROM touch
        WHERE campaign = '' AND campaign_key <> '' AND campaign_key > $1 ORDER BY campaign_key LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT t.campaign_key FROM touch t
        WHERE t.campaign = '' AND t.campaign_key <> '' AND t.campaign_key > k.campaign_key
        ORDER BY t.campaign_key LIMIT 1
    ) FROM k WHERE k.campaign_key IS NOT NULL
)
SELECT k.campaign_key, i.key IS NOT NULL FROM (
    SELECT campaign_key FROM k WHERE campaign_key IS NOT NULL LIMIT $2
) AS k LEFT JOIN campaign_ignored i ON i.key = k.campaign_key ORDER BY 1
"""
"""Steps from key to key in the index: as many probes as keys, however many touches stand under them."""


_EXAMPLE = (
    "page", "source_id", "channel", "utm_source", "utm_medium", "campaign_id", "adgroup_id", "ad_id", "form_id",
)  # fmt: skip


async def unmatched_keys(tx: Tx, *, after: str, limit: int) -> list[tuple[str, bool]]:
    """(key, whether it is ignored) of touches without a campaign, in order."""
    return [(row[0], row[1]) for row in await (await raw(tx)).fetch(NEXT_KEYS, after, limit)]


async def unmatched(tx: Tx, keys: Sequence[str]) -> list[Unmatched]:
    """What stands under these keys, in their order."""
    sources, roots = await _merged(tx)
    rows = await (await raw(tx)).fetch(
        """
        SELECT k.key, s.touches, s.leads, f.occurred_at AS first_seen, e.occurred_at AS last_seen, e.page, e.source_id,
               e.channel, e.utm_source, e.utm_medium, e.campaign_id, e.adgroup_id, e.ad_id, e.form_id
        FROM unnest($1::text[]) WITH ORDINALITY AS k (key, place), LATERAL (
            SELECT count(*) AS touches, count(DISTINCT coalesce(m.root, t.lead_id)) AS leads FROM (
                SELECT lead_id FROM touch
                WHERE campaign = '' AND campaign_key <> '' AND campaign_key = k.key LIMIT $4
            ) AS t LEFT JOIN unnest($2::uuid[], $3::uuid[]) AS m (source, root) ON m.source = t.lead_id
        ) AS s, LATERAL (
            SELECT occurred_at FROM touch
            WHERE campaign = '' AND campaign_key <> '' AND campaign_key = k.key ORDER BY occurred_at LIMIT 1
        ) AS f, LATERAL (
            SELECT * FROM touch
            WHERE campaign = '' AND campaign_key <> '' AND campaign_key = k.key ORDER BY occurred_at DESC LIMIT 1
        ) AS e
        ORDER BY k.place
        """,
        list(keys), sources, roots, COUNTED_TO,
    )  # fmt: skip
    return [
        Unmatched(
            row["key"], row["touches"], row["leads"], row["first_seen"], row["last_seen"],
            {name: row[name] for name in _EXAMPLE if row[name]},
        )
        for row in rows
    ]  # fmt: skip


async def ignore(tx: Tx, key: str, *, by: str, at: datetime) -> None:
    """Leave touches with this key without a campaign."""
    await (await raw(tx)).execute(
        "INSERT INTO campaign_ignored (key, ignored_by, ignored_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        key, by, at,
    )  # fmt: skip


async def heed(tx: Tx, keys: Collection[str]) -> None:
    """Ignore these keys no longer."""
    await (await raw(tx)).execute("DELETE FROM campaign_ignored WHERE key = ANY($1::text[])", list(keys))


# --- earlier touches -------------------------------------------------------------------------------------------------

_STANDING = (
    "SELECT t.id::text, t.lead_id::text, t.occurred_at, coalesce(s.provider, ''), t.source_id, t.utm_source, "
    "t.utm_campaign, t.click_kinds, t.campaign_id, t.adgroup_id, t.ad_id, t.form_id, t.channel, "
    "coalesce(t.rules_version, 0), t.campaign, t.campaign_key FROM touch t LEFT JOIN source s ON s.id = t.source_id "
)


async def one_restatement_at_a_time(tx: Tx) -> bool:
    """Take the right to match earlier touches until the transaction ends; False when another holds it."""
    statement = "SELECT pg_try_advisory_xact_lock(hashtextextended('intake.campaigns.restate', 0))"
    return bool(await (await raw(tx)).fetchval(statement))


async def touches_after(tx: Tx, after: str | None, *, most: int) -> list[Standing]:
    """Touches in the order of their ids."""
    rows = await (await raw(tx)).fetch(
        _STANDING + "WHERE t.id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') ORDER BY t.id LIMIT $2",
        after, most,
    )  # fmt: skip
    return [_standing(row) for row in rows]


async def standing(tx: Tx, touch_ids: Sequence[str]) -> list[Standing]:
    """These touches, by lead and in the order of time."""
    rows = await (await raw(tx)).fetch(
        _STANDING + "WHERE t.id = ANY($1::uuid[]) ORDER BY t.lead_id, t.occurred_at, t.id", list(touch_ids)
    )
    return [_standing(row) for row in rows]


def _standing(row: Sequence[Any]) -> Standing:
    mark = mark_of(
        provider=row[3],
        source_id=row[4],
        utm_source=row[5],
        utm_campaign=row[6],
        click_kinds=row[7].split(),
        campaign_id=row[8],
        adgroup_id=row[9],
        ad_id=row[10],
        form_id=row[11],
    )
    return Standing(row[0], row[1], row[2], mark, row[12], row[13], row[14], row[15])


async def regroup(tx: Tx, touches: Sequence[tuple[str, str, str]]) -> None:
    """(touch, campaign, key in the worklist): where they belong now."""
    await (await raw(tx)).execute(
        "UPDATE touch SET campaign = t.campaign, campaign_key = t.key "
        "FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (id, campaign, key) WHERE touch.id = t.id",
        [id for id, _, _ in touches], [campaign for _, campaign, _ in touches], [key for _, _, key in touches],
    )  # fmt: skip


async def move_on(tx: Tx, after: str, *, read: int, regrouped: int) -> None:
    """Touches up to this one follow the campaigns."""
    await (await raw(tx)).execute(
        "UPDATE campaign_book SET after_touch = $1::uuid, touches_read = touches_read + $2, "
        "touches_regrouped = touches_regrouped + $3",
        after, read, regrouped,
    )  # fmt: skip


async def restated(tx: Tx, *, at: datetime) -> None:
    """Every touch follows the campaigns."""
    await (await raw(tx)).execute("UPDATE campaign_book SET restated_at = $1", at)
