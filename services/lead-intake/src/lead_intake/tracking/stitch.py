"""Give the visits of a visitor to the person who was identified under the same key: each once, with its own time.

Whoever identifies a visitor notes the key (`receive`); this job does the rest in transactions of their own, so that
the door never waits for a long history. A visit that comes later finds the person by itself. Both hold the visitor's
key, so that no visit falls between.
"""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import Counter

from baton.lead.v1.contact_pb2 import ClickId, ContactChanged
from baton_kit.db import Tx
from baton_kit.envelope import Event, event
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake import contact, events
from lead_intake import store as leads_store
from lead_intake.campaigns import store as campaigns_store
from lead_intake.channels import ChannelRules
from lead_intake.contact import stamp
from lead_intake.receive import lock_of, visitor_lock
from lead_intake.touches import Origin
from lead_intake.tracking import store

if TYPE_CHECKING:
    from lead_intake.app import App

MOST = 200
"""Visits of a transaction."""
IDLE_S = 0.5
TIDY_S = 60.0

STITCHED = Counter("baton_intake_visits_stitched_total", "Visits that found their person after they came")
FORGOTTEN = Counter("baton_intake_visits_forgotten_total", "Visits whose visitor was never identified")


async def stitch_next(app: App) -> bool:
    """Stitch some visits of the visitor who waits longest; False when nobody does. Done twice, it is done once."""
    async with app.db.begin() as tx:
        key = await store.next_to_stitch(tx)
        if key is None:
            return False
        done = await _stitch(tx, app, key)
    STITCHED.inc(done)
    return True


async def _stitch(tx: Tx, app: App, key: str) -> int:
    # 1. All keys of the visits in one order, like the door; only then what stands under them.
    keys = {key} | await store.keys_beside(tx, key, most=MOST)
    await leads_store.lock_for_touches(tx, sorted(lock_of(visitor_lock(k)) for k in keys))
    failpoint("stitch.after_locks")
    known = await store.visitors(tx, sorted(keys))
    waiting = await store.waiting(tx, key, most=MOST)
    visits = [v for v in waiting if keys.issuperset(v.keys)]  # one that came meanwhile is for the next round
    lead = await store.lock_lead(tx, known[key]) if key in known else None
    if lead is None or not waiting:
        await store.stitched(tx, key)
        return 0
    failpoint("stitch.after_reads")

    # 2. The channel is that of the rules in force now: what comes after is grouped by the same.
    rules = app.sources.rules
    campaigns = await app.sources.campaigns_of(tx, await campaigns_store.version(tx))
    told: list[Event] = []
    touches: list[leads_store.Touch] = []
    clicks = ContactChanged()
    for v in visits:
        lead.sequence += 1
        origin = grouped(v.origin, rules)
        placed = campaigns.place(origin.mark(provider=v.provider, source_id=v.source_id), v.occurred_at)
        touch = leads_store.Touch(
            v.touch_id, lead.id, v.receipt_id, v.occurred_at, lead.sequence, v.source_id, origin, placed
        )
        touches.append(touch)
        body = events.touch_of(
            origin, touch_id=v.touch_id, lead_id=lead.id, sequence=lead.sequence, source_id=v.source_id,
            provider=v.provider, at=v.occurred_at, features=lead.features, campaign=placed.campaign,
            account_id=lead.account_id,
        )  # fmt: skip
        told.append(event(body, key=lead.id, occurred_at=v.occurred_at))
        for kind, value in origin.click_ids:
            clicks.click_ids.append(ClickId(kind=kind, value=value, occurred_at=stamp(v.occurred_at)))
    whole = contact.merged(lead.contact, clicks, newer=False)
    if whole != lead.contact:
        lead.contact_sequence += 1
        lead.contact = contact.stamped(
            whole, lead_id=lead.id, person_id=lead.person_id, sequence=lead.contact_sequence, at=lead.told_at
        )
        told.append(event(lead.contact, key=lead.id, occurred_at=app.clock.now()))

    # 3. The touches in the place of the visits; other keys of these visits are the same visitor's.
    if visits:
        await store.insert_touches(tx, touches)
        await store.end_visits(tx, visits, lead_id=lead.id)
        failpoint("stitch.after_insert")
        await leads_store.update_leads(tx, [lead])
        others = {k: lead.person_id for v in visits for k in v.keys if k not in known}
        await store.link(tx, others, at=app.clock.now())
        await app.outbox.append(tx, told)
    if len(waiting) < MOST and len(visits) == len(waiting):
        await store.stitched(tx, key)
    failpoint("stitch.before_commit")
    return len(visits)


def grouped(origin: Origin, rules: ChannelRules) -> Origin:
    """The origin under these channel rules."""
    if origin.rules_version == rules.version:
        return origin
    channel = rules.channel_of(
        origin.utm_source,
        origin.utm_medium,
        campaign=origin.utm_campaign,
        clicks=origin.click_kinds,
        referrer=origin.referrer,
    )
    return dataclasses.replace(origin, channel=channel, rules_version=rules.version)


async def stitch_for_ever(app: App) -> None:
    """Stitch what is noted; an outage of our own database is waited out."""
    while True:
        more = False
        try:
            await app.sources.refresh()
            more = await stitch_next(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("visits_not_stitched", error=type(error).__name__)
        if not more:
            await asyncio.sleep(IDLE_S)


async def forget_old(app: App) -> int:
    """Delete the visits of visitors whom nobody identified within `anonymous_days`; how many there were."""
    before = app.clock.now() - timedelta(days=app.settings.anonymous_days)
    total = 0
    while True:
        async with app.db.begin() as tx:
            done = await store.forget(tx, before=before, most=1_000)
        FORGOTTEN.inc(done)
        total += done
        if done < 1_000:
            return total


async def forget_for_ever(app: App) -> None:
    """Delete once a minute what was kept long enough."""
    while True:
        try:
            await forget_old(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("visits_not_forgotten", error=type(error).__name__)
        await asyncio.sleep(TIDY_S)
