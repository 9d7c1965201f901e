"""Every SQL statement about deals."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert

from baton_kit.db import Tx
from sales_feedback.arrays import among
from sales_feedback.deals.deal import Deal, DealMoved, DealState
from sales_feedback.tables import deal, deal_change


async def get_deal(tx: Tx, deal_id: str, *, lock: bool = False) -> Deal | None:
    statement = select(deal).where(deal.c.id == deal_id)
    if lock:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return _deal_of(row) if row is not None else None


async def lock_in_crm(tx: Tx, crm_id: str, crm_deal_ids: Iterable[str]) -> dict[str, Deal]:
    """Lock the deals of a CRM, in the order of their ids; those not made yet are missing."""
    rows = await tx.execute(
        select(deal)
        .where(deal.c.crm_id == crm_id, deal.c.crm_deal_id == among(crm_deal_ids))
        .order_by(deal.c.id)
        .with_for_update()
    )
    return {row["crm_deal_id"]: _deal_of(row) for row in rows.mappings()}


async def find_in_crm(tx: Tx, crm_id: str, crm_deal_ids: Iterable[str]) -> dict[str, Deal]:
    rows = await tx.execute(select(deal).where(deal.c.crm_id == crm_id, deal.c.crm_deal_id == among(crm_deal_ids)))
    return {row["crm_deal_id"]: _deal_of(row) for row in rows.mappings()}


async def states_of_handoffs(tx: Tx, handoff_ids: Iterable[str]) -> dict[str, list[DealState]]:
    """The states of all deals of each handoff; read it under the handoff's lock."""
    rows = await tx.execute(select(deal.c.handoff_id, deal.c.state).where(deal.c.handoff_id == among(handoff_ids)))
    found: dict[str, list[DealState]] = {}
    for handoff_id, state in rows:
        found.setdefault(handoff_id, []).append(DealState(state))
    return found


async def deals_of_lead(tx: Tx, lead_id: str) -> list[Deal]:
    rows = await tx.execute(select(deal).where(deal.c.lead_id == lead_id).order_by(deal.c.opened_at, deal.c.id))
    return [_deal_of(row) for row in rows.mappings()]


async def save_deals(tx: Tx, moves: Sequence[DealMoved], *, at: datetime) -> None:
    """Insert or update the deals and append their new versions to the history."""
    if not moves:
        return
    latest = {move.deal.id: move.deal for move in moves}
    statement = insert(deal).values([_row_of(one) for _, one in sorted(latest.items())])
    columns = [name for name in _row_of(moves[0].deal) if name != "id"]
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["id"], set_={name: statement.excluded[name] for name in columns}
        )
    )
    await tx.execute(
        insert(deal_change),
        [
            {
                "deal_id": move.deal.id,
                "sequence": move.deal.sequence,
                "lead_id": move.deal.lead_id,
                "state": move.deal.state,
                "outcome": move.outcome,
                "stage": move.deal.stage,
                "amount_minor": move.deal.amount_minor,
                "currency": move.deal.currency,
                "reason": move.deal.reason,
                "closed_at": move.deal.closed_at,
                "occurred_at": move.occurred_at,
                "recorded_at": at,
            }
            for move in moves
        ],
    )


async def history_of_leads(tx: Tx, lead_ids: Sequence[str]) -> list[RowMapping]:
    rows = await tx.execute(
        select(deal_change)
        .where(deal_change.c.lead_id == among(lead_ids))
        .order_by(deal_change.c.deal_id, deal_change.c.sequence)
    )
    return list(rows.mappings())


async def list_deals(tx: Tx, *, state: str | None, lead_id: str | None, before: str | None, limit: int) -> list[Deal]:
    """Deals, the newest first; those below the id `before`."""
    statement = select(deal).order_by(deal.c.id.desc()).limit(limit)
    if state is not None:
        statement = statement.where(deal.c.state == state)
    if lead_id is not None:
        statement = statement.where(deal.c.lead_id == lead_id)
    if before is not None:
        statement = statement.where(deal.c.id < before)
    return [_deal_of(row) for row in (await tx.execute(statement)).mappings()]


def _row_of(one: Deal) -> dict[str, Any]:
    return {
        "id": one.id,
        "lead_id": one.lead_id,
        "handoff_id": one.handoff_id,
        "sequence": one.sequence,
        "state": one.state,
        "stage": one.stage,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "product": one.product,
        "rep_id": one.rep_id,
        "reason": one.reason,
        "crm": one.crm,
        "crm_id": one.crm_id,
        "crm_deal_id": one.crm_deal_id,
        "crm_company_id": one.crm_company_id,
        "opened_at": one.opened_at,
        "closed_at": one.closed_at,
    }


def _deal_of(row: RowMapping) -> Deal:
    return Deal(**{**{name: row[name] for name in row if name != "state"}, "state": DealState(row["state"])})
