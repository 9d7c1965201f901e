"""Deals over REST: open, move, win, lose, open again."""

from collections.abc import Callable, Set
from datetime import datetime

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from sales_feedback.app import App
from sales_feedback.crms import store as crm_store
from sales_feedback.deals import deal as machine
from sales_feedback.deals import store
from sales_feedback.deals.deal import Deal, DealMoved, DealState
from sales_feedback.deals.record import record
from sales_feedback.handoffs import store as handoff_store
from sales_feedback.handoffs.answer import Stale, Unknown
from sales_feedback.handoffs.handoff import Action, Handoff, NotPossible


class NoCurrency(Exception):
    """An amount without a currency is no money."""


class KnownDeal(Exception):
    """The CRM's deal is one of ours already: `deal_id`."""

    def __init__(self, deal_id: str) -> None:
        super().__init__("the CRM's deal is known already")
        self.deal_id = deal_id


async def open_deal(
    tx: Tx,
    app: App,
    lead_id: str,
    *,
    amount_minor: int | None,
    currency: str | None,
    product: str | None,
    rep_id: str | None,
    opened_at: datetime | None,
    crm: str | None,
    crm_deal_id: str | None,
    crm_company_id: str | None,
) -> Deal:
    """Open a deal on the lead's latest handoff, which becomes an opportunity.

    `crm` may be the id of a configured CRM: its webhooks about `crm_deal_id` then speak of this deal.
    """
    handoffs = (await handoff_store.lock_of_leads(tx, [lead_id])).get(lead_id)
    failpoint("sales.deal.locked")
    if not handoffs:
        raise Unknown("lead among those handed to sales")
    handoff = handoffs[-1]
    if Action.DEALS not in handoff.possible:
        raise NotPossible(handoff, Action.DEALS)
    if rep_id is not None and await handoff_store.get_rep(tx, rep_id) is None:
        raise Unknown("rep")
    configured = await crm_store.get_crm(tx, crm) if crm is not None else None
    if configured is not None and crm_deal_id is not None:
        known = await store.find_in_crm(tx, configured.id, [crm_deal_id])
        if known:
            raise KnownDeal(known[crm_deal_id].id)
    now = app.clock.now()
    deal = Deal(
        id=new_id(now),
        lead_id=lead_id,
        sequence=1,
        state=DealState.OPEN,
        opened_at=min(opened_at or now, now),
        handoff_id=handoff.id,
        amount_minor=amount_minor,
        currency=currency,
        product=product,
        rep_id=rep_id or handoff.rep_id,
        crm=configured.kind if configured is not None else crm or "rest",
        crm_id=configured.id if configured is not None else None,
        crm_deal_id=crm_deal_id,
        crm_company_id=crm_company_id,
    )
    await record(tx, app, [DealMoved(deal, now)], {handoff.id: handoff})
    return deal


async def move_stage(
    tx: Tx, app: App, deal_id: str, *, stage: str, amount_minor: int | None, versions: Set[int] | None
) -> Deal:
    """Move an open deal to another stage."""

    def move(deal: Deal, at: datetime) -> DealMoved:
        if amount_minor is not None and deal.currency is None:
            raise NoCurrency
        return machine.stage(deal, stage, amount_minor=amount_minor, at=at)

    return await _change(tx, app, deal_id, move, versions=versions)


async def win(
    tx: Tx,
    app: App,
    deal_id: str,
    *,
    amount_minor: int,
    currency: str,
    closed_at: datetime | None,
    versions: Set[int] | None,
) -> Deal:
    """Close a deal as won, or correct one that is."""

    def move(deal: Deal, at: datetime) -> DealMoved:
        closed = min(closed_at or deal.closed_at or at, at)
        return machine.won(deal, amount_minor=amount_minor, currency=currency, closed_at=closed, at=at)

    return await _change(tx, app, deal_id, move, versions=versions)


async def lose(
    tx: Tx, app: App, deal_id: str, *, reason: str, closed_at: datetime | None, versions: Set[int] | None
) -> Deal:
    """Close a deal as lost, or correct one that is."""

    def move(deal: Deal, at: datetime) -> DealMoved:
        return machine.lost(deal, reason, closed_at=min(closed_at or deal.closed_at or at, at), at=at)

    return await _change(tx, app, deal_id, move, versions=versions)


async def reopen(tx: Tx, app: App, deal_id: str, *, versions: Set[int] | None) -> Deal:
    """Open a closed deal again."""

    def move(deal: Deal, at: datetime) -> DealMoved:
        return machine.reopen(deal, at=at)

    return await _change(tx, app, deal_id, move, versions=versions)


async def _change(
    tx: Tx,
    app: App,
    deal_id: str,
    move: Callable[[Deal, datetime], DealMoved],
    *,
    versions: Set[int] | None,
) -> Deal:
    # The handoff is locked before the deal, as everywhere; which one it is never changes for a deal of REST.
    before = await store.get_deal(tx, deal_id)
    if before is None:
        raise Unknown("deal")
    handoffs = await _lock_handoffs(tx, before)
    deal = await store.get_deal(tx, deal_id, lock=True)
    failpoint("sales.deal.locked")
    if deal is None:
        raise Unknown("deal")
    if versions is not None and deal.sequence not in versions:
        raise Stale(deal.sequence)
    moved = move(deal, app.clock.now())
    if moved.deal != deal:
        await record(tx, app, [moved], handoffs)
    return moved.deal


async def _lock_handoffs(tx: Tx, deal: Deal) -> dict[str, Handoff]:
    found = (await handoff_store.lock_of_leads(tx, [deal.lead_id])).get(deal.lead_id, [])
    return {handoff.id: handoff for handoff in found if handoff.id == deal.handoff_id}
