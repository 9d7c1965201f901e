"""The SQL of visitors, their waiting visits and what is to be stitched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.db import Direct, Tx, raw
from lead_intake.store import Lead, Touch
from lead_intake.touches import Origin


@dataclass(frozen=True, slots=True)
class WaitingVisit:
    """A touch that waits for its visitor to be identified."""

    touch_id: str
    receipt_id: str
    ordinal: int
    source_id: str
    provider: str
    occurred_at: datetime
    received_at: datetime
    keys: tuple[str, ...]
    origin: Origin
    mentions: tuple[int, ...] = ()


async def visitors(tx: Tx | Direct, keys: Sequence[str]) -> dict[str, str]:
    """The persons who were identified under these keys."""
    if not keys:
        return {}
    rows = await (await raw(tx)).fetch(
        "SELECT key, person_id::text FROM visitor WHERE key = ANY($1::text[])", list(keys)
    )
    return {row[0]: row[1] for row in rows}


async def link(tx: Tx | Direct, links: Mapping[str, str], *, at: datetime) -> None:
    """Say who the visitors are, and that visits of theirs may wait for it. The caller holds the keys."""
    if not links:
        return
    connection = await raw(tx)
    keys = sorted(links)
    await connection.execute(
        "INSERT INTO visitor (key, person_id, seen_at) "
        "SELECT v.key, v.person_id, $3 FROM unnest($1::text[], $2::uuid[]) AS v (key, person_id) ORDER BY v.key "
        "ON CONFLICT (key) DO UPDATE SET person_id = excluded.person_id, seen_at = excluded.seen_at",
        keys, [links[key] for key in keys], at,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO stitch (key, noted_at) SELECT k, $2 FROM unnest($1::text[]) AS k "
        "WHERE EXISTS (SELECT FROM visit WHERE anonymous_key = k AND anonymous_key <> '') "
        "OR EXISTS (SELECT FROM visit WHERE user_key = k AND user_key <> '') "
        "ON CONFLICT DO NOTHING",
        keys, at,
    )  # fmt: skip


async def insert_visits(tx: Tx | Direct, visits: Sequence[WaitingVisit]) -> None:
    """Keep visits until their visitor is identified."""
    if not visits:
        return
    await (await raw(tx)).execute(
        "INSERT INTO visit (touch_id, receipt_id, ordinal, source_id, provider, occurred_at, received_at, "
        "anonymous_key, user_key, origin, mentions) SELECT touch_id, receipt_id, ordinal, source_id, provider, "
        "occurred_at, received_at, anonymous_key, user_key, origin, mentions::bigint[] FROM unnest($1::uuid[], "
        "$2::uuid[], $3::smallint[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], "
        "$9::text[], $10::text[], $11::text[]) AS v (touch_id, receipt_id, ordinal, source_id, provider, "
        "occurred_at, received_at, anonymous_key, user_key, origin, mentions)",
        [v.touch_id for v in visits],
        [v.receipt_id for v in visits],
        [v.ordinal for v in visits],
        [v.source_id for v in visits],
        [v.provider for v in visits],
        [v.occurred_at for v in visits],
        [v.received_at for v in visits],
        [_key(v.keys, "anonymous:") for v in visits],
        [_key(v.keys, "user:") for v in visits],
        [json.dumps(asdict(v.origin)) for v in visits],
        ["{" + ",".join(map(str, v.mentions)) + "}" for v in visits],
    )


async def next_to_stitch(tx: Tx) -> str | None:
    """The visitor who was identified longest ago and is not stitched yet."""
    key: str | None = await (await raw(tx)).fetchval("SELECT key FROM stitch ORDER BY noted_at, key LIMIT 1")
    return key


async def keys_beside(tx: Tx, key: str, *, most: int) -> set[str]:
    """The keys of the visits that wait under this one."""
    rows = await (await raw(tx)).fetch(f"SELECT anonymous_key, user_key FROM ({_WAITING}) AS v", key, most)  # noqa: S608
    return {one for row in rows for one in row if one}


async def waiting(tx: Tx, key: str, *, most: int) -> list[WaitingVisit]:
    """The oldest visits that wait under this key."""
    rows = await (await raw(tx)).fetch(f"{_WAITING}", key, most)
    return [
        WaitingVisit(
            r["touch_id"], r["receipt_id"], r["ordinal"], r["source_id"], r["provider"], r["occurred_at"],
            r["received_at"], tuple(one for one in (r["anonymous_key"], r["user_key"]) if one),
            _origin(json.loads(r["origin"])),
        )
        for r in rows
    ]  # fmt: skip


_WAITING = """
SELECT touch_id::text, receipt_id::text, ordinal, source_id, provider, occurred_at, received_at,
       anonymous_key, user_key, origin
FROM visit WHERE (anonymous_key = $1 AND anonymous_key <> '') OR (user_key = $1 AND user_key <> '')
ORDER BY occurred_at, visit.touch_id LIMIT $2
"""


async def lock_lead(tx: Tx, person_id: str) -> Lead | None:
    """Lock the lead of a person; None when it was forgotten."""
    row = await (await raw(tx)).fetchrow(
        "SELECT l.id::text, l.person_id::text, l.source_id, l.receipt_id::text, l.created_at, l.sequence, l.told_at, "
        "l.features, c.data, c.sequence, coalesce(l.account_id::text, '') "
        "FROM lead l JOIN contact c ON c.lead_id = l.id "
        "WHERE l.person_id = $1::uuid AND NOT EXISTS (SELECT FROM erased_lead e WHERE e.lead_id = l.id::text) "
        "FOR UPDATE",
        person_id,
    )
    if row is None:
        return None
    return Lead(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6],
        LeadFeatures.FromString(row[7]), ContactChanged.FromString(row[8]), row[9], row[10],
    )  # fmt: skip


async def insert_touches(tx: Tx, touches: Sequence[Touch]) -> None:
    """Touches of a known lead."""
    await (await raw(tx)).execute(
        "INSERT INTO touch (id, lead_id, receipt_id, occurred_at, sequence, source_id, kind, channel, utm_source, "
        "utm_medium, utm_campaign, campaign_id, form_id, page, referrer_domain, adgroup_id, ad_id, referrer_host, "
        "click_kinds, within_visit, action, rules_version, campaign, campaign_key) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], "
        "$4::timestamptz[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], "
        "$12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], "
        "$20::boolean[], $21::text[], $22::bigint[], $23::text[], $24::text[])",
        [t.id for t in touches],
        [t.lead_id for t in touches],
        [t.receipt_id for t in touches],
        [t.occurred_at for t in touches],
        [t.sequence for t in touches],
        [t.source_id for t in touches],
        [t.origin.kind for t in touches],
        [t.origin.channel for t in touches],
        [t.origin.utm_source for t in touches],
        [t.origin.utm_medium for t in touches],
        [t.origin.utm_campaign for t in touches],
        [t.origin.campaign_id for t in touches],
        [t.origin.form_id for t in touches],
        [t.origin.page for t in touches],
        [t.origin.referrer_domain for t in touches],
        [t.origin.adgroup_id for t in touches],
        [t.origin.ad_id for t in touches],
        [t.origin.referrer_host for t in touches],
        [" ".join(t.origin.click_kinds) for t in touches],
        [t.origin.within_visit for t in touches],
        [t.origin.action for t in touches],
        [t.origin.rules_version for t in touches],
        [t.placed.campaign for t in touches],
        [t.placed.key for t in touches],
    )


async def end_visits(tx: Tx, visits: Sequence[WaitingVisit], *, lead_id: str) -> None:
    """The visits wait no longer, and their entries in the ledger name the lead."""
    connection = await raw(tx)
    await connection.execute("DELETE FROM visit WHERE touch_id = ANY($1::uuid[])", [v.touch_id for v in visits])
    await connection.execute(
        "UPDATE receipt_entry e SET lead_id = $3::uuid FROM unnest($1::uuid[], $2::smallint[]) AS v (receipt, ordinal) "
        "WHERE e.receipt_id = v.receipt AND e.ordinal = v.ordinal AND e.lead_id IS NULL",
        [v.receipt_id for v in visits], [v.ordinal for v in visits], lead_id,
    )  # fmt: skip


async def stitched(tx: Tx, key: str) -> None:
    """Nothing waits under this key any more."""
    await (await raw(tx)).execute("DELETE FROM stitch WHERE key = $1", key)


async def forget(tx: Tx, *, before: datetime, most: int) -> int:
    """Delete visits that waited too long, and the bodies that they came in; how many visits there were.

    A body is found through its visits when somebody is forgotten: where nothing in it is open, it goes with them.
    """
    connection = await raw(tx)
    rows = await connection.fetch(
        "DELETE FROM visit WHERE touch_id = ANY(ARRAY(SELECT touch_id FROM visit WHERE received_at < $1 LIMIT $2)) "
        "RETURNING receipt_id",
        before, most,
    )  # fmt: skip
    await connection.execute(
        "UPDATE receipt r SET body = NULL WHERE r.id = ANY($1::uuid[]) AND r.body IS NOT NULL AND r.state = 'settled'",
        sorted({row[0] for row in rows}),
    )
    return len(rows)


def _key(keys: Sequence[str], prefix: str) -> str:
    return next((key for key in keys if key.startswith(prefix)), "")


def _origin(told: Mapping[str, Any]) -> Origin:
    return Origin(**{**told, "click_ids": tuple((kind, value) for kind, value in told["click_ids"])})
