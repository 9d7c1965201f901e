"""Addresses and numbers that many persons share: a list that people keep, and a rule that adds to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from baton_kit.db import Direct, Tx, raw
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake import store

if TYPE_CHECKING:
    from lead_intake.app import App

Sighting = tuple[str, str, datetime]
"""(identity key, digest of a name, when): that key was used under that name."""


async def note_names(tx: Tx | Direct, sightings: Sequence[Sighting]) -> None:
    """Keep under which names a key was used; only keys that came with different names are ever noted."""
    if not sightings:
        return
    ordered = sorted({s[:2]: s for s in sightings}.values())
    await (await raw(tx)).execute(
        "INSERT INTO key_name (key, name, seen_at) SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]) "
        "ON CONFLICT (key, name) DO UPDATE SET seen_at = greatest(key_name.seen_at, excluded.seen_at)",
        [s[0] for s in ordered],
        [s[1] for s in ordered],
        [s[2] for s in ordered],
    )


async def share_what_many_use(tx: Tx, app: App) -> int:
    """Put on the list each key that came with too many names within the window; how many are new to it.

    What was matched by it before stays as it is; from now on it identifies nobody by itself.
    """
    now = app.clock.now()
    settings = app.settings
    rows = await (await raw(tx)).fetch(
        "INSERT INTO shared_key (key, shared, added_by, added_at) "
        "SELECT key, true, 'rule:names', $1 FROM key_name WHERE seen_at > $2 GROUP BY key HAVING count(*) > $3 "
        "ORDER BY key ON CONFLICT (key) DO NOTHING RETURNING 1",
        now, now - timedelta(days=settings.shared_key_days), settings.shared_key_names,
    )  # fmt: skip
    if rows:
        await store.raise_source_version(tx)
    await (await raw(tx)).execute(
        "DELETE FROM key_name WHERE seen_at < $1", now - timedelta(days=settings.shared_key_days)
    )
    failpoint("identity.after_shared")
    return len(rows)


async def share_for_ever(app: App) -> None:
    """Run `share_what_many_use` every minute."""
    while True:
        try:
            async with app.db.begin() as tx:
                found = await share_what_many_use(tx, app)
            if found:
                log.info("keys_shared", count=found)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("shared_keys_wait_for_database", error=type(error).__name__)
        await asyncio.sleep(60)


async def shared_keys(tx: Tx) -> frozenset[str]:
    """Every key on the list that counts as shared."""
    rows = await (await raw(tx)).fetch("SELECT key FROM shared_key WHERE shared")
    return frozenset(r[0] for r in rows)


async def page(tx: Tx, *, after: str, limit: int) -> list[tuple[str, str]]:
    """The next keys on the list that count as shared, each with its digest, by which they are ordered."""
    rows = await (await raw(tx)).fetch(
        "SELECT md5(key), key FROM shared_key WHERE shared AND md5(key) > $1 ORDER BY md5(key) LIMIT $2", after, limit
    )
    return [(row[0], row[1]) for row in rows]


async def put(tx: Tx, key: str, *, shared: bool, by: str, at: datetime) -> None:
    """Say of a key that it is shared, or that it is one person's whatever the rule finds."""
    await (await raw(tx)).execute(
        "INSERT INTO shared_key (key, shared, added_by, added_at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (key) DO UPDATE SET shared = excluded.shared, added_by = excluded.added_by, "
        "added_at = excluded.added_at",
        key, shared, by, at,
    )  # fmt: skip
    await store.raise_source_version(tx)
