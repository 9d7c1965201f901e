"""Propose to merge leads that look like one person. Nothing is ever merged by it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from baton_kit.db import Tx
from baton_kit.edges import families_of
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.merging import store
from lead_intake.merging.likeness import ENOUGH, score, words_of

if TYPE_CHECKING:
    from lead_intake.app import App

PAGE = 200
SETTLES = timedelta(minutes=1)
"""Ids grow with time, but commits overtake each other: a lead is looked at when all before it are there."""
ROUND = timedelta(days=1)
"""How often all leads are looked at again, for what was told of them later."""
PAUSE_S = 5.0


async def propose_page(tx: Tx, app: App) -> int:
    """Look at the next leads and propose what is alike; how many were looked at, 0 at the end of a round.

    A proposal that was merged or dismissed does not come again. One process looks at a time.
    """
    now = app.clock.now()
    after = await store.lock_round(tx, restart_before=now - ROUND, at=now)
    if after is None:
        return 0
    page = await store.contacts_after(tx, after, until=new_id(now - SETTLES), limit=PAGE)
    failpoint("propose.after_page")
    words = {lead_id: words_of(contact) for lead_id, contact in page}
    await store.put_likeness(tx, {lead_id: w for lead_id, w in words.items() if w[0]})
    found = await store.alike(tx, [lead_id for lead_id, w in words.items() if w[0]])
    failpoint("propose.after_alike")
    scored = {(min(a, b), max(a, b)): points for a, b, theirs in found if (points := score(words[a], theirs)) >= ENOUGH}
    whole = await families_of(tx, {lead_id for both in scored for lead_id in both})
    await store.insert_alike(
        tx, [(a, b, points) for (a, b), points in sorted(scored.items()) if whole.root(a) != whole.root(b)], at=now
    )
    await store.move_round(tx, page[-1][0] if page else None)
    failpoint("propose.before_commit")
    return len(page)


async def propose_for_ever(app: App) -> None:
    """Run `propose_page` beside everything else; rests at the end of a round."""
    while True:
        looked_at = 0
        try:
            async with app.db.begin() as tx:
                looked_at = await propose_page(tx, app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("proposals_wait_for_database", error=type(error).__name__)
        await asyncio.sleep(0.2 if looked_at == PAGE else PAUSE_S)
