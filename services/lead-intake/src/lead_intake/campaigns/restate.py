"""Match earlier touches by the campaigns in force, in chunks; a newer change begins again at the first touch.

Whoever writes a touch shares the campaigns' lock and matches it by the version that stands at its commit. So all that
can be wrong was written before the last change, and one pass over the touches in the order of their ids sets it right.
Its place moves in the transaction of the chunk. Only what changes its campaign becomes an event.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import Counter

from baton.lead.v1.channels_pb2 import TouchRegrouped
from baton_kit.db import Tx
from baton_kit.envelope import Event, event
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.outbox import Lane
from baton_kit.telemetry import log
from lead_intake.campaigns import store
from lead_intake.campaigns.matching import Campaigns
from lead_intake.contact import stamp
from lead_intake.merging.edge import lock_sequences, raise_sequences

if TYPE_CHECKING:
    from lead_intake.app import App

CHUNK = 2_000
"""Touches that are read in a transaction."""
MOST_MOVED = 500
"""Touches that are moved in one; deliveries of their leads wait for it."""
IDLE_S = 2.0
PAUSE_S = 0.02
"""Between two chunks: what comes in goes first."""
CAUSE = "campaign"

REGROUPED = Counter("baton_intake_campaign_touches_total", "Touches that changed their campaign with the campaigns")


async def restate_chunk(app: App) -> int:
    """Match some earlier touches by the campaigns in force: how many were read, 0 when none is left.

    Done twice, it is done once.
    """
    moved = 0
    async with app.db.begin() as tx:
        if not await store.one_restatement_at_a_time(tx):
            return 0
        await store.share(tx)
        failpoint("campaigns.restate.after_share")
        book = await store.book(tx)
        if book.restated_at is not None:
            return 0
        campaigns = await app.sources.campaigns_of(tx, book.version)
        read = await store.touches_after(tx, book.after_touch, most=CHUNK)
        found, wrong = _some(read, campaigns)
        if wrong:
            moved = await _regroup(tx, app, campaigns, wrong)
        if found:
            await store.move_on(tx, found[-1].touch_id, read=len(found), regrouped=moved)
        if len(found) == len(read) < CHUNK:
            await store.restated(tx, at=app.clock.now())
        failpoint("campaigns.restate.before_commit")
    REGROUPED.inc(moved)
    return len(found)


def _some(found: list[store.Standing], campaigns: Campaigns) -> tuple[list[store.Standing], list[store.Standing]]:
    """The first of the touches, and those among them that stand wrong, not more than may be moved at once."""
    wrong: list[store.Standing] = []
    for n, touch in enumerate(found):
        placed = campaigns.place(touch.mark, touch.occurred_at)
        if (placed.campaign, placed.key) != (touch.campaign, touch.key):
            if len(wrong) == MOST_MOVED:
                return found[:n], wrong
            wrong.append(touch)
    return found, wrong


async def _regroup(tx: Tx, app: App, campaigns: Campaigns, wrong: list[store.Standing]) -> int:
    # The leads' locks in the order of all writers; what is read after them stands still.
    sequences = await lock_sequences(tx, sorted({touch.lead_id for touch in wrong}))
    failpoint("campaigns.restate.after_locks")
    at = app.clock.now()
    told: list[Event] = []
    raised: dict[str, int] = {}
    placed_now: list[tuple[str, str, str]] = []
    for touch in await store.standing(tx, [touch.touch_id for touch in wrong]):
        placed = campaigns.place(touch.mark, touch.occurred_at)
        placed_now.append((touch.touch_id, placed.campaign, placed.key))
        if placed.campaign == touch.campaign:
            continue
        # Whose person was forgotten is told of like the others: the touch is a fact that stays.
        raised[touch.lead_id] = raised.get(touch.lead_id, sequences[touch.lead_id]) + 1
        body = TouchRegrouped(
            touch_id=touch.touch_id,
            lead_id=touch.lead_id,
            sequence=raised[touch.lead_id],
            occurred_at=stamp(at),
            channel=touch.channel,
            channel_rules_version=touch.rules_version,
            campaign=placed.campaign,
            cause=CAUSE,
        )
        told.append(event(body, key=touch.lead_id, occurred_at=at))
    await store.regroup(tx, placed_now)
    await raise_sequences(tx, raised)
    failpoint("campaigns.restate.after_regroup")
    await app.outbox.append(tx, told, lane=Lane.BULK)
    return len(told)


async def restate(app: App) -> None:
    """Match every touch by the campaigns in force."""
    while await restate_chunk(app):
        pass


async def restate_for_ever(app: App) -> None:
    """Restate whenever there is something to; an outage of our own database is waited out."""
    while True:
        read = 0
        try:
            read = await restate_chunk(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("campaigns_not_restated", error=type(error).__name__)
        await asyncio.sleep(PAUSE_S if read else IDLE_S)
