"""Every SQL statement that forgets, each returns how many rows it emptied or deleted, by lead."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit.db import Tx
from sales_feedback.arrays import among
from sales_feedback.crms.store import CrmDeal, deals_of_leads
from sales_feedback.tables import contact, crm_entry, crm_receipt, deal, handoff, note

SHORTEST = 5
"""Shorter texts would be found in bodies that speak of somebody else."""


async def lock_handoffs(tx: Tx, lead_ids: Sequence[str]) -> None:
    """Wait for whoever is answering about the leads: a note is written under this lock."""
    await tx.execute(
        select(handoff.c.id)
        .where(handoff.c.lead_id == among(lead_ids))
        .order_by(handoff.c.lead_id, handoff.c.cycle)
        .with_for_update()
    )


async def empty_contacts(tx: Tx, lead_ids: Sequence[str], *, at: datetime) -> Counter[str]:
    """Empty the contacts for good: the row stays, so that nothing that comes late fills it again."""
    had = await tx.execute(
        select(contact.c.lead_id).where(contact.c.lead_id == among(lead_ids), contact.c.body.is_not(None))
    )
    found = Counter(had.scalars())
    rows = [
        {"lead_id": lead_id, "sequence": 0, "body": None, "erased_at": at, "updated_at": at}
        for lead_id in sorted(set(lead_ids))
    ]
    statement = insert(contact).values(rows)
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["lead_id"],
            set_={
                "body": None,
                "erased_at": func.coalesce(contact.c.erased_at, statement.excluded.erased_at),
                "updated_at": statement.excluded.updated_at,
            },
        )
    )
    return found


async def delete_notes(tx: Tx, lead_ids: Sequence[str]) -> Counter[str]:
    """Delete what sales wrote about the leads; the answers that it belonged to stay."""
    gone = await tx.execute(delete(note).where(note.c.lead_id == among(lead_ids)).returning(note.c.lead_id))
    return Counter(gone.scalars())


async def empty_bodies(tx: Tx, lead_ids: Sequence[str]) -> Counter[str]:
    """Delete the raw bodies that spoke of the leads' deals, also of deals that were another lead's before."""
    found: Counter[str] = Counter()
    if not lead_ids:
        return found
    deals = [(str(one.lead_id), one.crm_id, one.crm_deal_id) for one in await deals_of_leads(tx, lead_ids)]
    rows = await tx.execute(
        select(deal.c.lead_id, deal.c.crm_id, deal.c.crm_deal_id).where(
            deal.c.lead_id == among(lead_ids), deal.c.crm_deal_id.is_not(None)
        )
    )
    deals += [(row.lead_id, row.crm_id, row.crm_deal_id) for row in rows]
    for lead_id, crm_id, crm_deal_id in sorted(set(deals)):
        receipts = select(crm_entry.c.receipt_id).where(
            and_(crm_entry.c.crm_id == crm_id, crm_entry.c.crm_deal_id == crm_deal_id)
        )
        emptied = await tx.execute(
            update(crm_receipt)
            .where(crm_receipt.c.id.in_(receipts), crm_receipt.c.body.is_not(None))
            .values(body=None)
            .returning(crm_receipt.c.id)
        )
        found[lead_id] += len(emptied.scalars().all())
    return found


async def spellings(tx: Tx, lead_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
    """How the persons may stand in a raw body, in lower case: by lead id, address, number and whole name."""
    rows = await tx.execute(
        select(contact.c.lead_id, contact.c.body).where(
            contact.c.lead_id == among(lead_ids), contact.c.body.is_not(None)
        )
    )
    known = {row.lead_id: ContactChanged.FromString(row.body) for row in rows}
    found = {}
    for lead_id in lead_ids:
        told = known.get(lead_id, ContactChanged())
        texts = [lead_id, *told.emails, *(phone.removeprefix("+") for phone in told.phones), told.full_name]
        long_enough = {text.lower() for text in texts if len(text) >= SHORTEST}
        # As it is, and as JSON may escape it.
        found[lead_id] = tuple(
            form for text in sorted(long_enough) for form in {text.encode(), json.dumps(text)[1:-1].lower().encode()}
        )
    return found


async def empty_unsettled_bodies(tx: Tx, named: Mapping[str, tuple[bytes, ...]]) -> Counter[str]:
    """Delete the raw bodies of deliveries that could not be read, or still wait, and that speak of the persons."""
    found: Counter[str] = Counter()
    rows = await tx.execute(
        select(crm_receipt.c.id, crm_receipt.c.body).where(
            crm_receipt.c.state.in_(("quarantined", "pending")), crm_receipt.c.body.is_not(None)
        )
    )
    emptied = []
    for row in rows:
        body = row.body.lower()
        of = [lead_id for lead_id, forms in named.items() if any(form in body for form in forms)]
        found.update(of)
        emptied += [row.id] if of else []
    if emptied:
        await tx.execute(update(crm_receipt).where(crm_receipt.c.id == among(emptied)).values(body=None))
    return found


async def lock_crm_deals(tx: Tx, lead_ids: Sequence[str]) -> list[CrmDeal]:
    """Lock what CRMs said of the leads' deals."""
    return await deals_of_leads(tx, lead_ids, lock=True)
