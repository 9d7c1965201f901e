"""Decide which leads are good enough for sales, under the agreement in force."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from baton.lead.v1.lead_pb2 import LeadCreated, TouchRecorded
from baton.sales.v1.sales_pb2 import SalesFeedback
from baton_kit.db import Tx
from baton_kit.envelope import Event, Received
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from baton_kit.outages import Unprocessable, is_outage
from baton_kit.outbox import Lane
from baton_kit.telemetry import log
from qualification import cycle, events, scoring, store
from qualification.app import App
from qualification.cycle import CycleState, Lead, SeenTouch
from qualification.events import moment
from qualification.features import Touch, features_from_event, touch_fields_from_event
from qualification.scoring import hour_of
from qualification.store import NewDecision

Kind = Literal["decision", "reevaluation"]

LONGEST_WINDOW = timedelta(hours=8_784)
"""No agreement looks further back than this (schema.py)."""


async def leads_moved(tx: Tx, app: App, received: Sequence[Received[LeadCreated | TouchRecorded]]) -> None:
    """Take in new leads and touches, and decide anew for every lead among them.

    Each lead gets one decision a batch, however much happened to it. Nothing is emitted for a lead whose outcome and
    score did not change. A touch that came before its lead is kept and counts once the lead is there. What was imported
    from the past is kept and decides nothing: it counts when the person comes by itself.
    """
    # 1. The version that governs must not change between reading it and writing the decisions.
    await store.lock_for_deciding(tx)
    ids = sorted({_lead_id(e.body) for e in received})
    leads = await store.lock_leads(tx, ids)
    answers = await store.feedback_of(tx, [lead_id for lead_id in ids if lead_id not in leads])

    # 2. What the events say of each lead.
    known = set(leads)
    judged = {i for i, lead in leads.items() if lead.judged}
    arrived: list[tuple[str, SeenTouch]] = []
    for e in received:
        body = e.body
        lead = leads.get(body.lead_id) or cycle.after_feedback(
            Lead(body.lead_id, state=CycleState.HISTORY), answers.get(body.lead_id, ())
        )
        if isinstance(body, TouchRecorded):
            arrived.append((lead.id, _seen(body)))
        leads[lead.id] = _told(lead, body)

    # 3. All touches of these leads, the stored and the new, each once.
    at = app.clock.now()
    touches = await store.newest_touches(tx, sorted(known), since=at - LONGEST_WINDOW)
    await store.insert_touches(tx, arrived)
    # An import may also be what a live touch was waiting for: lanes have no order among each other.
    moved = {e.body.lead_id for e in received if not e.body.imported}
    moved |= {i for i, lead in leads.items() if lead.judged and i not in judged}
    await store.write_leads(tx, [lead for i, lead in leads.items() if i not in moved])
    leads = {i: lead for i, lead in leads.items() if i in moved}
    await decide(tx, app, leads, touches=_merged(touches, arrived), at=at, kind="decision")


async def feedback_arrived(tx: Tx, app: App, received: Sequence[Received[SalesFeedback]]) -> None:
    """Keep what sales answered; rejecting or recycling ends the lead's cycle, until the customer comes back."""
    found = [events.feedback_from_event(e.body) for e in received]
    answers = [answer for answer in found if answer is not None]
    if not answers:
        return
    await store.lock_for_deciding(tx)
    leads = await store.lock_leads(tx, sorted({answer.lead_id for answer in answers}))
    await store.insert_feedback(tx, answers)
    at = app.clock.now()
    for lead in list(leads.values()):
        leads[lead.id] = cycle.after_feedback(lead, [a for a in answers if a.lead_id == lead.id])
    # The customer may have come back before sales' answer reached us: topics have no order among each other.
    touches = await store.newest_touches(tx, sorted(leads), since=at - LONGEST_WINDOW)
    returned = {lead.id for lead in leads.values() if cycle.begun_again(lead, touches.get(lead.id, ())) is not lead}
    await store.write_leads(tx, [lead for lead in leads.values() if lead.id not in returned])
    await decide(tx, app, {i: leads[i] for i in returned}, touches=touches, at=at, kind="decision")


async def decide(
    tx: Tx,
    app: App,
    leads: Mapping[str, Lead],
    *,
    touches: Mapping[str, Sequence[SeenTouch]],
    at: datetime,
    kind: Kind,
    lane: Lane = Lane.LIVE,
) -> None:
    """Decide about locked leads and write them; `touches` are all that may count."""
    if not leads:
        return
    # 1. A cycle keeps the version it began with; one that begins now takes the one in force.
    active = await store.newest_activation(tx)
    failpoint("evaluate.after_active")
    current: list[Lead] = []
    for lead in leads.values():
        lead = cycle.begun_again(lead, touches.get(lead.id, ()))
        current.append(lead)
    in_force = active.activation_seq if active else None
    governing = await app.judges.of(tx, {s for lead in current if (s := lead.activation_seq or in_force)})
    failpoint("evaluate.after_judges")

    # 2. Pure from here: no clock, no database.
    after: list[Lead] = []
    changed: list[NewDecision] = []
    handed_over: list[NewDecision] = []
    told: list[Event] = []
    for lead in current:
        sequence = lead.activation_seq or in_force
        if not lead.judged or sequence is None:
            after.append(lead if lead.next_change_at is None else replace(lead, next_change_at=None))
            continue
        law = governing[sequence]
        snapshot = scoring.snapshot_of(
            lead.features or {},
            [seen.touch for seen in touches.get(lead.id, ())],
            agreement=law.judge.agreement,
            at=at,
        )
        decision = scoring.decide(lead.id, snapshot, cycle=lead.cycle, judge=law.judge, stamp=law.stamp, at=at)
        if not cycle.differs(decision, lead):
            after.append(cycle.after_decision(lead, decision, decision_id=None))
            continue
        new = NewDecision(id=new_id(at), sequence=lead.sequence + 1, kind=kind, decision=decision)
        moved = cycle.after_decision(lead, decision, decision_id=new.id)
        changed.append(new)
        told.append(events.lead_scored(new))
        if moved.state is CycleState.QUALIFIED and lead.state is CycleState.OPEN:
            handed_over.append(new)
            told.append(
                events.lead_qualified(
                    new, sequence=moved.sequence, features=snapshot.features, agreement=law.judge.agreement
                )
            )
        after.append(moved)

    # 3. State and events in the same transaction; the relay carries them to Kafka.
    await store.write_leads(tx, after)
    await store.insert_decisions(tx, changed)
    await store.insert_qualified(tx, handed_over)
    await app.outbox.append(tx, told, lane=lane)
    failpoint("evaluate.after_append")


async def decide_due(app: App) -> int:
    """Decide anew about leads whose points have changed with time; returns how many were looked at.

    Finds them by an index on the hour of the next change: no scan of all leads, and two workers never take the same.
    """
    async with app.db.begin() as tx:
        await store.lock_for_deciding(tx)
        at = app.clock.now()
        leads = await store.claim_due_leads(tx, at=at, limit=app.settings.due_chunk)
        failpoint("evaluate.after_claim_due")
        touches = await store.newest_touches(tx, sorted(leads), since=at - LONGEST_WINDOW)
        await decide(tx, app, leads, touches=touches, at=at, kind="reevaluation", lane=Lane.BULK)
        return len(leads)


async def decide_waiting(app: App) -> int:
    """Decide about leads that came before any agreement was active; returns how many were looked at."""
    async with app.db.begin() as tx:
        await store.lock_for_deciding(tx)
        if await store.newest_activation(tx) is None:
            return 0
        at = app.clock.now()
        leads = await store.claim_waiting_leads(tx, limit=app.settings.due_chunk)
        failpoint("evaluate.after_claim_waiting")
        touches = await store.newest_touches(tx, sorted(leads), since=at - LONGEST_WINDOW)
        await decide(tx, app, leads, touches=touches, at=at, kind="decision", lane=Lane.BULK)
        return len(leads)


async def decide_due_for_ever(app: App) -> None:
    """Run `decide_due` as leads come due."""
    await _for_ever(app, decide_due)


async def decide_waiting_for_ever(app: App) -> None:
    """Run `decide_waiting` while there are any."""
    await _for_ever(app, decide_waiting)


async def _for_ever(app: App, step: Callable[[App], Awaitable[int]]) -> None:
    while True:
        try:
            done = await step(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("decisions_wait_for_database", step=step.__name__, error=type(error).__name__)
            done = 0
        if done < app.settings.due_chunk:
            await asyncio.sleep(app.settings.due_poll_seconds)


def _lead_id(body: LeadCreated | TouchRecorded) -> str:
    if not body.lead_id or "\x00" in body.lead_id:
        raise Unprocessable("the event names no lead")
    return body.lead_id


def _told(lead: Lead, body: LeadCreated | TouchRecorded) -> Lead:
    """Return the lead with what an event says of it: the features with the highest sequence count."""
    lead = cycle.told(lead, imported=body.imported)
    newer = body.HasField("features") and body.sequence > lead.features_sequence
    created_at = lead.created_at
    if created_at is None and isinstance(body, LeadCreated):
        created_at = moment(body.occurred_at)
    return replace(
        lead,
        created_at=created_at,
        test=lead.test or body.test,
        features=features_from_event(body.features) if newer else lead.features,
        features_sequence=body.sequence if newer else lead.features_sequence,
    )


def _seen(body: TouchRecorded) -> SeenTouch:
    if not body.touch_id or "\x00" in body.touch_id:
        raise Unprocessable("the touch has no id")
    at = moment(body.occurred_at)
    return SeenTouch(at, Touch(body.touch_id, hour_of(at), touch_fields_from_event(body)))


def _merged(
    stored: Mapping[str, Sequence[SeenTouch]], arrived: Sequence[tuple[str, SeenTouch]]
) -> dict[str, list[SeenTouch]]:
    merged = {lead_id: {(s.at, s.touch.id): s for s in seen} for lead_id, seen in stored.items()}
    for lead_id, seen in arrived:
        merged.setdefault(lead_id, {}).setdefault((seen.at, seen.touch.id), seen)
    return {lead_id: list(seen.values()) for lead_id, seen in merged.items()}
