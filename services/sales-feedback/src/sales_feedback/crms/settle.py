"""Bring our deals to where a CRM says they stand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from sales_feedback.app import App
from sales_feedback.crms import store
from sales_feedback.crms.configured import get_crm
from sales_feedback.crms.crm import Crm
from sales_feedback.crms.seen import Reading, read, without_free_text
from sales_feedback.crms.store import CrmDeal
from sales_feedback.deals import deal as machine
from sales_feedback.deals import store as deal_store
from sales_feedback.deals.deal import Deal, DealMoved, DealState
from sales_feedback.deals.record import record
from sales_feedback.handoffs import store as handoff_store
from sales_feedback.handoffs.handoff import Handoff
from sales_feedback.ids import derived_id


async def settle(tx: Tx, app: App, crm: Crm, seen: Sequence[CrmDeal]) -> dict[str, CrmDeal]:
    """Settle deals that this transaction has locked; the outcome by the CRM's id of the deal.

    A deal counts once the CRM named its lead and the lead was handed to sales; until then it is pending. What the CRM
    says but cannot be meant (an amount with too many decimals) makes it quarantined until the CRM says otherwise.
    Settling again what is settled changes nothing.
    """
    # 1. What does the CRM say? Pure.
    readings = {one.crm_deal_id: read(one.seen, crm.mapping) for one in seen}

    # 2. Locks in the order of the house: what the CRM said (held), handoffs, deals.
    before = await deal_store.find_in_crm(tx, crm.id, readings)
    leads = {reading.lead_id for reading in readings.values() if reading.lead_id}
    gone = await forgotten.hold_shared(tx, leads)
    handoffs = await handoff_store.lock_of_leads(tx, leads | {deal.lead_id for deal in before.values()})
    deals = await deal_store.lock_in_crm(tx, crm.id, readings)
    failpoint("sales.settle.locked")

    # 3. Which deals move, and where to?
    owners = {reading.owner for reading in readings.values() if reading.owner}
    reps = await handoff_store.reps_by_external_id(tx, crm.kind, owners)
    outcomes: dict[str, CrmDeal] = {}
    moves: list[DealMoved] = []
    for one in seen:
        reading = readings[one.crm_deal_id]
        deal = deals.get(one.crm_deal_id)
        if deal is not None and deal.handoff_id is None and reading.lead_id in (None, deal.lead_id):
            # Known from an export: its lead is known too, and need not have been handed over.
            reading = replace(reading, lead_id=deal.lead_id)
        state, reason = _standing(reading, handoffs, deal)
        if reading.lead_id in gone:
            one = replace(one, seen=without_free_text(one.seen, crm.mapping))
        outcomes[one.crm_deal_id] = replace(one, lead_id=reading.lead_id, state=state, reason=reason)
        if state == "settled":
            moves += _moves(crm, one.crm_deal_id, reading, deal=deal, handoffs=handoffs, reps=reps)

    # 4. State and events.
    moved_deals = {move.deal.id for move in moves}
    touched = {move.deal.handoff_id for move in moves}
    touched |= {deal.handoff_id for deal in deals.values() if deal.id in moved_deals}
    known = {h.id: h for of_lead in handoffs.values() for h in of_lead if h.id in touched}
    if moves:
        await record(tx, app, moves, known)
    now = app.clock.now()
    await store.save_crm_deals(tx, list(outcomes.values()), at=now)
    settled = [id_ for id_, one in outcomes.items() if one.state == "settled"]
    await store.entries_applied(tx, crm.id, settled)
    failpoint("sales.settle.recorded")
    return outcomes


async def settle_waiting(tx: Tx, app: App, *, limit: int = 200) -> int:
    """Settle deals whose lead has reached sales since the CRM spoke; how many were looked at.

    The handler of LeadQualified does not do this: it holds the handoff, and a delivery that names the lead at the same
    moment would be seen by neither.
    """
    waiting = await store.lock_waiting_deals(tx, limit=limit)
    for crm_id in sorted({one.crm_id for one in waiting}):
        crm = await get_crm(tx, app, crm_id)
        if crm is not None:
            await settle(tx, app, crm, [one for one in waiting if one.crm_id == crm_id])
    return len(waiting)


def _standing(reading: Reading, handoffs: Mapping[str, Sequence[Handoff]], deal: Deal | None) -> tuple[str, str | None]:
    if reading.problem is not None:
        return "quarantined", reading.problem
    if reading.lead_id is None:
        return "pending", "the CRM has not named the lead of the deal yet"
    past = deal is not None and deal.handoff_id is None and deal.lead_id == reading.lead_id
    if reading.lead_id not in handoffs and not past:
        return "pending", "the lead of the deal has not been handed to sales yet"
    return "settled", None


def _moves(
    crm: Crm,
    crm_deal_id: str,
    reading: Reading,
    *,
    deal: Deal | None,
    handoffs: Mapping[str, Sequence[Handoff]],
    reps: Mapping[str, str],
) -> list[DealMoved]:
    target, at, lead_id = reading.target, reading.at, reading.lead_id
    if target is None or at is None or lead_id is None or (deal is None and reading.deleted):
        return []
    target = replace(target, rep_id=reps.get(reading.owner or ""))
    if deal is not None and deal.lead_id == lead_id:
        moved = machine.follow(deal, target, at=at)
        return [moved] if moved.deal != deal else []
    handoff = handoffs[lead_id][-1]
    if deal is None:
        new = Deal(
            id=derived_id("deal", crm.id, crm_deal_id, at=handoff.offered_at),
            lead_id=lead_id,
            sequence=0,
            state=DealState.OPEN,
            opened_at=min(reading.opened_at or at, at),
            handoff_id=handoff.id,
            rep_id=handoff.rep_id,
            crm=crm.kind,
            crm_id=crm.id,
            crm_deal_id=crm_deal_id,
        )
        return [_next_version(machine.follow(new, target, at=at), after=new)]
    # The CRM corrected the lead: nothing of a close counts for the former one any more.
    moves = [machine.reopen(deal, at=at)] if deal.state is not DealState.OPEN else []
    own = replace(moves[-1].deal if moves else deal, lead_id=lead_id, handoff_id=handoff.id)
    return [*moves, _next_version(machine.follow(own, target, at=at), after=own)]


def _next_version(moved: DealMoved, *, after: Deal) -> DealMoved:
    """A deal that is new to its lead gets a version, also when the CRM says nothing else of it."""
    if moved.deal.sequence > after.sequence:
        return moved
    return replace(moved, deal=replace(moved.deal, sequence=after.sequence + 1))
