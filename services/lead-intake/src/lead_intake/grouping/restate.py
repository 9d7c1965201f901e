"""Group earlier touches by the rules in force, in chunks; a newer version takes over where it finds them.

A touch remembers by which version it was grouped: whatever stops the job, the next chunk goes on, and what a door
grouped by a version that had just ended is found as well. Only what changes becomes an event.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import Counter

from baton.lead.v1.channels_pb2 import ChannelRulesRestated, TouchRegrouped
from baton_kit.db import Tx
from baton_kit.envelope import Event, event
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.outbox import Lane
from baton_kit.telemetry import log
from lead_intake.channels import ChannelRules
from lead_intake.contact import stamp
from lead_intake.grouping import store
from lead_intake.grouping.change import KEY, channel_of, rules_of
from lead_intake.merging.edge import lock_sequences, raise_sequences

if TYPE_CHECKING:
    from lead_intake.app import App

CHUNK = 500
"""Touches of a transaction; deliveries of their leads wait for it."""
IDLE_S = 2.0
PAUSE_S = 0.02
"""Between two chunks: what comes in goes first."""

REGROUPED = Counter("baton_intake_touches_regrouped_total", "Touches that changed their channel with the rules")


async def restate_chunk(app: App, *, rules: ChannelRules | None = None) -> tuple[int, ChannelRules | None]:
    """Group some touches by the rules in force: how many were read, 0 when none is left; the rules, to be given back.

    Done twice, it is done once.
    """
    regrouped = 0
    async with app.db.begin() as tx:
        if not await store.one_restatement_at_a_time(tx):
            return 0, rules
        table = await store.current(tx)
        if rules is None or rules.version != table.version:
            rules = rules_of(table)
        found = await store.stale(tx, table.version, most=CHUNK)
        if found:
            regrouped = await _regroup(tx, app, rules, found)
        elif table.restated_at is None:
            await _end(tx, app, table)
    REGROUPED.inc(regrouped)
    return len(found), rules


async def _regroup(tx: Tx, app: App, rules: ChannelRules, found: list[tuple[str, str]]) -> int:
    # The leads' locks in the order of all writers; what is read after them stands still.
    sequences = await lock_sequences(tx, sorted({lead_id for _, lead_id in found}))
    failpoint("restate.after_locks")
    touches = await store.groupings(tx, [id for id, _ in found], below=rules.version)
    decided = [(touch, channel_of(touch, rules)) for touch in touches]
    at = app.clock.now()
    told: list[Event] = []
    raised: dict[str, int] = {}
    for touch, channel in decided:
        # Whose person was forgotten is told of like the others: the touch is a fact that stays.
        if channel == touch.channel:
            continue
        raised[touch.lead_id] = raised.get(touch.lead_id, sequences[touch.lead_id]) + 1
        body = TouchRegrouped(
            touch_id=touch.touch_id,
            lead_id=touch.lead_id,
            sequence=raised[touch.lead_id],
            occurred_at=stamp(at),
            channel=channel,
            channel_rules_version=rules.version,
            campaign=touch.campaign,
            cause="channel_rules",
        )
        told.append(event(body, key=touch.lead_id, occurred_at=at))
    await store.regroup(tx, [(touch.touch_id, channel) for touch, channel in decided], version=rules.version)
    await raise_sequences(tx, raised)
    await store.count(tx, rules.version, read=len(decided), regrouped=len(told))
    failpoint("restate.after_regroup")
    await app.outbox.append(tx, told, lane=Lane.BULK)
    failpoint("restate.before_commit")
    return len(told)


async def _end(tx: Tx, app: App, table: store.Table) -> None:
    at = app.clock.now()
    await store.restated(tx, table.version, at=at)
    body = ChannelRulesRestated(
        sequence=table.version, occurred_at=stamp(at), touches_regrouped=table.touches_regrouped
    )
    await app.outbox.append(tx, [event(body, key=KEY, occurred_at=at)])
    failpoint("restate.after_end")


async def restate(app: App) -> None:
    """Group every touch by the rules in force."""
    read, rules = await restate_chunk(app)
    while read:
        read, rules = await restate_chunk(app, rules=rules)
    await restate_chunk(app, rules=rules)


async def restate_for_ever(app: App) -> None:
    """Restate whenever there is something to; an outage of our own database is waited out."""
    rules: ChannelRules | None = None
    while True:
        read = 0
        try:
            read, rules = await restate_chunk(app, rules=rules)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("channels_not_restated", error=type(error).__name__)
        await asyncio.sleep(PAUSE_S if read else IDLE_S)
