"""Look among the leads that came by other ways than a file for those that rows of exports wait for."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.importing import store
from lead_intake.importing.wait import digest_of

if TYPE_CHECKING:
    from lead_intake.app import App

MOST = 2_000
"""Leads that are looked at in a transaction."""
_UNDER_WAY = timedelta(minutes=1)
"""A lead has its id before its transaction ends: what is younger is looked at again."""


async def look_for_leads(tx: Tx, app: App, *, after: str | None) -> str | None:
    """Say of waiting rows which of the next leads is theirs; return where to go on, None where nothing waits.

    Leads are looked at in the order of their ids, which is that of time, from the oldest waiting row on (`after` is
    None) or from where the last look ended. A key that a lead was given later is not seen.
    """
    oldest = await store.oldest_waiting(tx)
    if oldest is None:
        return None
    begin = after or _first_id(oldest - _UNDER_WAY)
    leads = await store.leads_after(tx, begin, most=MOST)
    secret = app.settings.seal_key_bytes
    await store.find_waiting(tx, {digest_of(key, secret=secret): lead for lead, keys in leads for key in keys})
    failpoint("import.looked")
    if len(leads) == MOST:
        return leads[-1][0]
    return max(begin, _first_id(app.clock.now() - _UNDER_WAY))


async def look_for_ever(app: App) -> None:
    """Look again and again; after a start from the oldest row that waits."""
    after: str | None = None
    while True:
        try:
            async with app.db.begin() as tx:
                after = await look_for_leads(tx, app, after=after)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("looking_for_leads_waits_for_database", error=type(error).__name__)
        await asyncio.sleep(app.settings.import_poll_seconds)


def _first_id(at: datetime) -> str:
    """The smallest UUIDv7 of a time (RFC 9562: 48 bits of milliseconds, then the version)."""
    time = f"{max(int(at.timestamp() * 1_000), 0):012x}"
    return f"{time[:8]}-{time[8:]}-7000-8000-000000000000"
