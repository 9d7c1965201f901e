"""Decide which leads are good enough for sales, under the agreement in force."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from baton.lead.v1.lead_pb2 import LeadCreated, LeadMerged, LeadUnmerged, LeadUpdated, TouchRecorded
from baton.sales.v1.sales_pb2 import SalesFeedback
from baton_agreement import scoring
from baton_agreement.features import UNKNOWN, Touch, features_from_event, profile_of, touch_fields_from_event
from baton_agreement.scoring import Outcome, hour_of
from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.edges import Families
from baton_kit.envelope import Event, Received
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from baton_kit.outages import Unprocessable, is_outage
from baton_kit.outbox import Lane
from baton_kit.telemetry import log
from qualification import cycle, events, store
from qualification.app import App
from qualification.cycle import CycleState, Lead, SeenTouch
from qualification.events import moment
from qualification.judges import Governing
from qualification.merging import follow
from qualification.merging import store as merging_store
from qualification.merging.person import Whole
from qualification.store import NewDecision

Kind = Literal["decision", "reevaluation"]
Told = LeadCreated | TouchRecorded | LeadUpdated
Moved = Told | LeadMerged | LeadUnmerged

LONGEST_WINDOW = timedelta(hours=8_784)
"""No agreement looks further back than this (schema.py)."""

PART, TURN = 250, 25
"""Leads that are written together, and leads judged between two looks at what is being written."""


async def leads_moved(tx: Tx, app: App, received: Sequence[Received[Moved]]) -> None:
    """Take in new leads, touches and merges, and decide anew for every lead among them.

    Each lead gets one decision a batch, however much happened to it. Nothing is emitted for a lead whose outcome and
    score did not change. A touch that came before its lead is kept and counts once the lead is there. Leads that were
    merged are decided about together, under the canonical one; each keeps what came under its own id. What was imported
    from the past is kept and decides nothing: it counts when the person comes by itself. What else is told of a lead
    changes its features, and neither touches it nor opens a cycle.
    """
    # 1. Neither the version that governs nor who belongs to whom may change while decisions are made.
    merges = [e.body for e in received if isinstance(e.body, LeadMerged | LeadUnmerged)]
    if merges:
        await store.lock_for_merging(tx)
        parted = await follow.learn(tx, merges)
    else:
        await store.lock_for_deciding(tx)
        parted = set()
    moves = [e.body for e in received if not isinstance(e.body, LeadMerged | LeadUnmerged)]
    ids = sorted({_lead_id(body) for body in moves} | parted)
    # Most leads are new, and a batch of those has nothing to read: a round trip in place of four.
    met = await store.known_among(tx, ids)
    whole = await edges.families_of(tx, met)
    leads = await store.lock_leads(tx, whole.everyone(met))
    answers = await store.feedback_of(tx, [lead_id for lead_id in met if lead_id not in leads])

    # 2. What the events say of each lead.
    known = set(leads)
    judged = {i for i, lead in leads.items() if lead.judged}
    arrived: list[tuple[str, SeenTouch]] = []
    for body in moves:
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
    # What was imported decides nothing, unless a live touch was waiting for it: lanes have no order among each other.
    moved = parted | {body.lead_id for body in moves if not body.imported}
    moved |= {i for i, lead in leads.items() if lead.judged and i not in judged}
    moved = {i for i in leads if not moved.isdisjoint(whole.members(i))}
    await store.write_leads(tx, [lead for i, lead in leads.items() if i not in moved])
    alone = {i: lead for i, lead in leads.items() if i in moved and len(whole.members(i)) == 1}
    await decide(tx, app, alone, touches=_merged(touches, arrived), at=at, kind="decision", known=known)
    if len(alone) < len(moved):
        await store.write_leads(tx, [leads[i] for i in moved - alone.keys()])
        await decide_persons(tx, app, whole, moved - alone.keys(), kind="decision")


async def feedback_arrived(tx: Tx, app: App, received: Sequence[Received[SalesFeedback]]) -> None:
    """Keep what sales answered; rejecting or recycling ends the lead's cycle, until the customer comes back."""
    found = [events.feedback_from_event(e.body) for e in received]
    answers = [answer for answer in found if answer is not None]
    if not answers:
        return
    await store.lock_for_deciding(tx)
    named = sorted({answer.lead_id for answer in answers})
    whole = await edges.families_of(tx, named)
    leads = await store.lock_leads(tx, whole.everyone(named))
    await store.insert_feedback(tx, answers)
    at = app.clock.now()
    several = {i for i in leads if len(whole.members(i)) > 1}
    for lead in list(leads.values()):
        leads[lead.id] = cycle.after_feedback(lead, [a for a in answers if a.lead_id == lead.id])
    # The customer may have come back before sales' answer reached us: topics have no order among each other.
    touches = await store.newest_touches(tx, sorted(leads), since=at - LONGEST_WINDOW)
    returned = {
        lead.id
        for lead in leads.values()
        if lead.id not in several and cycle.begun_again(lead, touches.get(lead.id, ())) is not lead
    }
    await store.write_leads(tx, [lead for lead in leads.values() if lead.id not in returned])
    await decide(tx, app, {i: leads[i] for i in returned}, touches=touches, at=at, kind="decision")
    await decide_persons(tx, app, whole, several, kind="decision")


async def decide_persons(
    tx: Tx, app: App, whole: Families, ids: Set[str], *, kind: Kind, lane: Lane = Lane.LIVE
) -> None:
    """Decide about each person among the ids that is several leads, under its canonical one; the others are not judged.

    The decision sees the features and touches of all of them, each touch once. Nobody is handed over while another of
    the person's leads is with sales.
    """
    roots = follow.persons_of(whole, set(ids))
    if not roots:
        return
    members = whole.everyone(roots)
    leads = await store.lock_leads(tx, members)
    at = app.clock.now()
    touches = await store.newest_touches(tx, members, since=at - LONGEST_WINDOW)
    rests = await merging_store.resting(tx, members)
    found = {
        root: follow.seen(root, {i: leads[i] for i in whole.members(root) if i in leads}, touches, rests=rests)
        for root in roots
        if root in leads
    }
    await store.write_leads(
        tx, [leads[i]._replace(next_change_at=None) for i in leads.keys() - found.keys() if leads[i].next_change_at]
    )
    await decide(
        tx,
        app,
        {root: lead for root, (lead, _, _) in found.items()},
        touches={root: everything for root, (_, everything, _) in found.items()},
        at=at,
        kind=kind,
        lane=lane,
        persons={root: person for root, (_, _, person) in found.items()},
    )


async def decide(
    tx: Tx,
    app: App,
    leads: Mapping[str, Lead],
    *,
    touches: Mapping[str, Sequence[SeenTouch]],
    at: datetime,
    kind: Kind,
    lane: Lane = Lane.LIVE,
    known: Set[str] | None = None,
    persons: Mapping[str, Whole] | None = None,
) -> None:
    """Decide about locked leads and write them; `touches` are all that may count.

    `known` are the leads that are stored already; without it all are. `persons` are what else is known of those leads
    that stand for several.
    """
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

    # 2. Part by part: PostgreSQL writes one while the next is judged, all in the caller's transaction.
    writing: asyncio.Task[None] | None = None
    try:
        for start in range(0, len(current), PART):
            part = Part([], [], [], [])
            for n, lead in enumerate(current[start : start + PART]):
                law = governing.get(lead.activation_seq or in_force or 0)
                person = persons.get(lead.id) if persons else None
                _judge(part, lead, law=law, touches=touches.get(lead.id, ()), at=at, kind=kind, person=person)
                if writing is not None and n % TURN == 0:
                    await asyncio.sleep(0)  # so that the next statement of the other part is sent
            if writing is not None:
                await writing
            writing = asyncio.create_task(_write(tx, app, part, known=known, lane=lane))
        if writing is not None:
            await writing
    finally:
        if writing is not None:
            # Whatever went wrong: nothing may be under way on the connection when the transaction ends.
            await asyncio.gather(writing, return_exceptions=True)
    failpoint("evaluate.after_append")


@dataclass(frozen=True, slots=True)
class Part:
    """What is written and told of some leads of a batch."""

    after: list[Lead]
    changed: list[NewDecision]
    handed_over: list[NewDecision]
    told: list[Event]


def _judge(
    part: Part,
    lead: Lead,
    *,
    law: Governing | None,
    touches: Sequence[SeenTouch],
    at: datetime,
    kind: Kind,
    person: Whole | None,
) -> None:
    """Decide about one lead: no clock, no database."""
    if not lead.judged or law is None:
        part.after.append(lead if lead.next_change_at is None else lead._replace(next_change_at=None))
        return
    agreement = law.judge.agreement
    profile = (person.profile if person else lead.profile) or UNKNOWN
    snapshot = scoring.snapshot_of(profile, [seen.touch for seen in touches], agreement=agreement, at=at)
    decision = scoring.decide(lead.id, snapshot, cycle=lead.cycle, judge=law.judge, stamp=law.stamp, at=at)
    held = person is not None and person.held
    # Held back so far, a lead is handed over when that ends, though its points stayed the same.
    released = lead.state is CycleState.OPEN and decision.outcome is Outcome.QUALIFIED and not held
    if not cycle.differs(decision, lead) and not released:
        part.after.append(cycle.after_decision(lead, decision, decision_id=None, held=held))
        return
    new = NewDecision(id=new_id(at), sequence=lead.sequence + 1, kind=kind, decision=decision)
    moved = cycle.after_decision(lead, decision, decision_id=new.id, held=held)
    part.after.append(moved)
    part.changed.append(new)
    part.told.append(events.lead_scored(new))
    if moved.state is CycleState.QUALIFIED and lead.state is CycleState.OPEN:
        part.handed_over.append(new)
        part.told.append(events.lead_qualified(new, lead=moved, features=profile.features, agreement=agreement))


async def _write(tx: Tx, app: App, part: Part, *, known: Set[str] | None, lane: Lane) -> None:
    """Write state and events in the same transaction; the relay carries them to Kafka."""
    after = part.after
    await store.insert_leads(tx, [] if known is None else [lead for lead in after if lead.id not in known])
    await store.write_leads(tx, after if known is None else [lead for lead in after if lead.id in known])
    await store.insert_decisions(tx, part.changed)
    await store.insert_qualified(tx, part.handed_over)
    await app.outbox.append(tx, part.told, lane=lane)


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
    return len(leads) + await _persons_due(app, kind="reevaluation")


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
    return len(leads) + await _persons_due(app, kind="decision")


async def _persons_due(app: App, *, kind: Kind) -> int:
    async with app.db.begin() as tx:
        await store.lock_for_deciding(tx)
        found = await merging_store.due_canonical(
            tx, at=app.clock.now(), waiting=kind == "decision", limit=app.settings.due_chunk
        )
        whole = await edges.families_of(tx, found)
        await decide_persons(tx, app, whole, set(found), kind=kind, lane=Lane.BULK)
        return len(found)


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


def _lead_id(body: Told) -> str:
    if not body.lead_id or "\x00" in body.lead_id:
        raise Unprocessable("the event names no lead")
    return body.lead_id


def _told(lead: Lead, body: Told) -> Lead:
    """Return the lead with what an event says of it: the features with the highest sequence count."""
    # A lead of the past is judged when the person comes, not when somebody tells of it.
    lead = cycle.told(lead, imported=body.imported or isinstance(body, LeadUpdated))
    newer = body.HasField("features") and body.sequence > lead.features_sequence
    created_at = lead.created_at
    if created_at is None and isinstance(body, LeadCreated):
        created_at = moment(body.occurred_at)
    return lead.with_account(body.account_id, body.sequence)._replace(
        created_at=created_at,
        test=lead.test or (not isinstance(body, LeadUpdated) and body.test),
        profile=profile_of(features_from_event(body.features)) if newer else lead.profile,
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
