"""Every SQL statement about CRMs, their deliveries and what they said of deals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Result, RowMapping, and_, exists, func, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert

from baton_kit.db import Tx
from sales_feedback.arrays import among
from sales_feedback.crms.mapping import Kind
from sales_feedback.crms.seen import Field, Mark
from sales_feedback.tables import crm, crm_deal, crm_entry, crm_receipt, handoff


@dataclass(frozen=True, slots=True)
class StoredCrm:
    """A CRM as the table has it: `secrets` are sealed, `mapping` is the document."""

    id: str
    kind: Kind
    secrets: bytes
    mapping: Mapping[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CrmDeal:
    """What a CRM said of one deal so far. `state`: pending (something is missing), settled, quarantined."""

    crm_id: str
    crm_deal_id: str
    seen: Mapping[Field, Mark]
    lead_id: str | None = None
    state: str = "pending"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry of a receipt, `number` from 0."""

    number: int
    key: str
    crm_deal_id: str | None
    state: str
    reason: str | None = None


async def put_crm(tx: Tx, crm_id: str, kind: Kind, *, secrets: bytes, mapping: Mapping[str, Any], at: datetime) -> bool:
    """Insert or replace; True when it is new."""
    values = {"kind": kind, "secrets": secrets, "mapping": dict(mapping), "updated_at": at}
    statement = insert(crm).values(id=crm_id, created_at=at, **values)
    row: Result[tuple[bool]] = await tx.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_=values).returning(
            literal_column("(xmax = 0)").label("is_new")
        )
    )
    return bool(row.scalar_one())


async def get_crm(tx: Tx, crm_id: str) -> StoredCrm | None:
    row = (await tx.execute(select(crm).where(crm.c.id == crm_id))).mappings().one_or_none()
    return _crm_of(row) if row is not None else None


async def list_crms(tx: Tx, *, after: str | None, limit: int) -> list[StoredCrm]:
    statement = select(crm).order_by(crm.c.id).limit(limit)
    if after is not None:
        statement = statement.where(crm.c.id > after)
    return [_crm_of(row) for row in (await tx.execute(statement)).mappings()]


# Receipts


async def insert_receipt(
    tx: Tx,
    receipt_id: str,
    crm_id: str | None,
    *,
    body: bytes | None,
    size: int,
    state: str,
    reason: str | None,
    at: datetime,
) -> None:
    await tx.execute(
        insert(crm_receipt).values(
            id=receipt_id, crm_id=crm_id, received_at=at, body=body, bytes=size, state=state, reason=reason
        )
    )


async def close_receipt(tx: Tx, receipt_id: str, *, state: str, reason: str | None) -> None:
    await tx.execute(update(crm_receipt).where(crm_receipt.c.id == receipt_id).values(state=state, reason=reason))


async def claim_entries(tx: Tx, receipt_id: str, crm_id: str, keys: Sequence[tuple[int, str, str | None]]) -> set[int]:
    """Write down entries given as (number, key, deal); the numbers of those never met before.

    The keys are claimed in their order, so that two deliveries of the same entries wait for each other and never
    deadlock. A repeat becomes a row of its own, in the state duplicate.
    """
    if not keys:
        return set()
    rows = [
        {
            "receipt_id": receipt_id,
            "number": number,
            "crm_id": crm_id,
            "key": key,
            "crm_deal_id": crm_deal_id,
            "state": "pending",
        }
        for number, key, crm_deal_id in sorted(keys, key=lambda one: (one[1], one[0]))
    ]
    statement = insert(crm_entry).values(rows)
    # Literal: as a parameter it matches the partial index only until PostgreSQL plans without its value.
    first_of_a_key = text("state <> 'duplicate'")
    claimed = set(
        (
            await tx.execute(
                statement.on_conflict_do_nothing(
                    index_elements=["crm_id", "key"], index_where=first_of_a_key
                ).returning(crm_entry.c.number)
            )
        ).scalars()
    )
    repeats = [{**row, "state": "duplicate"} for row in rows if row["number"] not in claimed]
    if repeats:
        await tx.execute(insert(crm_entry), repeats)
    return claimed


async def settle_entries(tx: Tx, receipt_id: str, entries: Sequence[StoredEntry]) -> None:
    """Write the outcome of claimed entries."""
    for state, reason in sorted({(one.state, one.reason) for one in entries}, key=str):
        numbers = [one.number for one in entries if (one.state, one.reason) == (state, reason)]
        await tx.execute(
            update(crm_entry)
            .where(crm_entry.c.receipt_id == receipt_id, crm_entry.c.number.in_(numbers))
            .values(state=state, reason=reason)
        )


async def entries_applied(tx: Tx, crm_id: str, crm_deal_ids: Iterable[str]) -> None:
    """What waited for these deals has had its effect now; receipts of which nothing waits any more are applied."""
    waiting = ("pending", "quarantined")
    settled = await tx.execute(
        update(crm_entry)
        .where(
            crm_entry.c.crm_id == crm_id,
            crm_entry.c.crm_deal_id == among(crm_deal_ids),
            crm_entry.c.state.in_(waiting),
        )
        .values(state="applied", reason=None)
        .returning(crm_entry.c.receipt_id)
    )
    # Locked in order, and judged by a statement of its own: of two deliveries that settle the last two entries of a
    # receipt, the second must see the first.
    receipt_ids = (
        await tx.execute(
            select(crm_receipt.c.id)
            .where(crm_receipt.c.id == among(settled.scalars()), crm_receipt.c.state.in_(waiting))
            .order_by(crm_receipt.c.id)
            .with_for_update()
        )
    ).scalars()
    still = exists(
        select(crm_entry.c.number).where(
            and_(crm_entry.c.receipt_id == crm_receipt.c.id, crm_entry.c.state.in_(waiting))
        )
    )
    await tx.execute(
        update(crm_receipt).where(crm_receipt.c.id == among(receipt_ids), ~still).values(state="applied", reason=None)
    )


async def list_receipts(
    tx: Tx, *, crm_id: str | None, state: str | None, before: str | None, limit: int
) -> list[RowMapping]:
    """Receipts without their bodies, the newest first; those below the id `before`."""
    columns = [column for column in crm_receipt.c if column.name != "body"]
    statement = select(*columns).order_by(crm_receipt.c.id.desc()).limit(limit)
    if crm_id is not None:
        statement = statement.where(crm_receipt.c.crm_id == crm_id)
    if state is not None:
        statement = statement.where(crm_receipt.c.state == state)
    if before is not None:
        statement = statement.where(crm_receipt.c.id < before)
    return list((await tx.execute(statement)).mappings())


async def entries_of(tx: Tx, receipt_ids: Iterable[str]) -> dict[str, list[StoredEntry]]:
    rows = await tx.execute(
        select(crm_entry)
        .where(crm_entry.c.receipt_id == among(receipt_ids))
        .order_by(crm_entry.c.receipt_id, crm_entry.c.number)
    )
    found: dict[str, list[StoredEntry]] = {}
    for row in rows.mappings():
        entry = StoredEntry(row["number"], row["key"], row["crm_deal_id"], row["state"], row["reason"])
        found.setdefault(row["receipt_id"], []).append(entry)
    return found


async def empty_old_bodies(tx: Tx, *, settled_before: datetime, waiting_before: datetime) -> int:
    """Delete raw bodies past their time; what still waits is kept longer."""
    waiting = crm_receipt.c.state.in_(("pending", "quarantined"))
    result = await tx.execute(
        update(crm_receipt)
        .where(
            crm_receipt.c.body.is_not(None),
            ((crm_receipt.c.received_at < settled_before) & ~waiting) | (crm_receipt.c.received_at < waiting_before),
        )
        .values(body=None)
        .returning(crm_receipt.c.id)
    )
    return len(result.scalars().all())


# What CRMs said of deals


async def lock_deals(tx: Tx, crm_id: str, crm_deal_ids: Iterable[str], *, at: datetime) -> dict[str, CrmDeal]:
    """Lock what the CRM said of the deals, in the order of their ids; unknown deals begin empty."""
    wanted = sorted(set(crm_deal_ids))
    if not wanted:
        return {}
    # A statement of its own: only the next one sees the rows that another delivery has just committed.
    await tx.execute(
        insert(crm_deal)
        .values(
            [{"crm_id": crm_id, "crm_deal_id": id_, "seen": {}, "state": "pending", "updated_at": at} for id_ in wanted]
        )
        .on_conflict_do_nothing()
    )
    rows = await tx.execute(
        select(crm_deal)
        .where(crm_deal.c.crm_id == crm_id, crm_deal.c.crm_deal_id == among(wanted))
        .order_by(crm_deal.c.crm_deal_id)
        .with_for_update()
    )
    return {row["crm_deal_id"]: _crm_deal_of(row) for row in rows.mappings()}


async def deals_of_leads(tx: Tx, lead_ids: Iterable[str], *, lock: bool = False) -> list[CrmDeal]:
    """What CRMs said of the leads' deals, in the order of the deals' ids."""
    statement = (
        select(crm_deal)
        .where(crm_deal.c.lead_id == among(set(lead_ids)))
        .order_by(crm_deal.c.crm_id, crm_deal.c.crm_deal_id)
    )
    if lock:
        statement = statement.with_for_update()
    return [_crm_deal_of(row) for row in (await tx.execute(statement)).mappings()]


async def lock_waiting_deals(tx: Tx, *, limit: int) -> list[CrmDeal]:
    """Lock deals that wait for a lead which has its handoff by now."""
    rows = await tx.execute(
        select(crm_deal)
        .where(
            crm_deal.c.state == "pending",
            crm_deal.c.lead_id.is_not(None),
            exists(select(handoff.c.id).where(handoff.c.lead_id == crm_deal.c.lead_id)),
        )
        .order_by(crm_deal.c.crm_id, crm_deal.c.crm_deal_id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=crm_deal)
    )
    return [_crm_deal_of(row) for row in rows.mappings()]


async def save_crm_deals(tx: Tx, deals: Sequence[CrmDeal], *, at: datetime) -> None:
    """Write what is seen of deals that this transaction has locked."""
    if not deals:
        return
    statement = insert(crm_deal).values(
        [
            {
                "crm_id": one.crm_id,
                "crm_deal_id": one.crm_deal_id,
                "seen": {name.value: [m.at.isoformat(), m.tie, m.value] for name, m in one.seen.items()},
                "lead_id": one.lead_id,
                "state": one.state,
                "reason": one.reason,
                "updated_at": at,
            }
            for one in sorted(deals, key=lambda one: (one.crm_id, one.crm_deal_id))
        ]
    )
    new = statement.excluded
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["crm_id", "crm_deal_id"],
            set_={
                "seen": new.seen,
                "lead_id": new.lead_id,
                "state": new.state,
                "reason": new.reason,
                "updated_at": new.updated_at,
            },
        )
    )


async def reconsider(tx: Tx, crm_id: str) -> None:
    """Let every deal of the CRM be settled again: its mapping reads otherwise now."""
    await tx.execute(
        update(crm_deal).where(crm_deal.c.crm_id == crm_id).values(state="pending", reason="the mapping has changed")
    )


async def counts_by_state(tx: Tx) -> list[tuple[str | None, str, int]]:
    """Receipts as (crm, state, count)."""
    rows = await tx.execute(
        select(crm_receipt.c.crm_id, crm_receipt.c.state, func.count())
        .group_by(crm_receipt.c.crm_id, crm_receipt.c.state)
        .order_by(crm_receipt.c.crm_id, crm_receipt.c.state)
    )
    return [(crm_id, state, count) for crm_id, state, count in rows]


def _crm_of(row: RowMapping) -> StoredCrm:
    return StoredCrm(row["id"], Kind(row["kind"]), row["secrets"], row["mapping"], row["updated_at"])


def _crm_deal_of(row: RowMapping) -> CrmDeal:
    seen = {Field(name): Mark(datetime.fromisoformat(at), tie, value) for name, (at, tie, value) in row["seen"].items()}
    return CrmDeal(row["crm_id"], row["crm_deal_id"], seen, row["lead_id"], row["state"], row["reason"])
