"""Take a CRM's delivery: receipt, entries, what is seen of each deal, and the deals themselves, in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from sales_feedback.app import App
from sales_feedback.crms import store
from sales_feedback.crms.crm import DIALECTS, Crm
from sales_feedback.crms.seen import Entry, merge
from sales_feedback.crms.settle import settle
from sales_feedback.crms.store import StoredEntry
from sales_feedback.erasing import store as erasing_store
from sales_feedback.times import Unreadable

_WEIGHT = ("quarantined", "pending", "applied", "duplicate", "ignored")
"""A receipt stands as the first of these that one of its entries stands as."""


async def receive(tx: Tx, app: App, crm: Crm, body: bytes) -> str:
    """Take a delivery whose sender is known, and return the state of its receipt.

    An entry that came before changes nothing, whatever else came with it. An entry that cannot be read is quarantined
    with its reason; the others of the delivery count all the same.
    """
    now = app.clock.now()
    receipt_id = new_id(now)
    problem = None
    entries: list[Entry] = []
    try:
        entries = DIALECTS[crm.kind].entries(body, crm.mapping, received_at=now)
    except Unreadable as error:
        problem = str(error)
    await store.insert_receipt(
        tx, receipt_id, crm.id, body=body, size=len(body), state="quarantined", reason=problem, at=now
    )
    failpoint("sales.receive.receipt")
    if problem is not None:
        return "quarantined"

    # 1. Which entries are new? All claims come before all other locks.
    claimed = await store.claim_entries(
        tx,
        receipt_id,
        crm.id,
        [
            (number, entry.key, entry.observation.deal_id if entry.observation else None)
            for number, entry in enumerate(entries)
        ],
    )
    failpoint("sales.receive.claimed")

    # 2. What is seen of each deal, then the deals.
    standing = await _settle_new(tx, app, crm, [entries[number] for number in sorted(claimed)], at=now)

    # 3. What became of each entry.
    outcomes = [
        _outcome(number, entry, standing) if number in claimed else StoredEntry(number, entry.key, None, "duplicate")
        for number, entry in enumerate(entries)
    ]
    await store.settle_entries(tx, receipt_id, [one for one in outcomes if one.state != "duplicate"])
    state = next((s for s in _WEIGHT if any(one.state == s for one in outcomes)), "ignored")
    reason = next((one.reason for one in outcomes if one.state == state), None)
    await store.close_receipt(tx, receipt_id, state=state, reason=reason)
    failpoint("sales.receive.recorded")
    return state


async def refuse(tx: Tx, app: App, crm_id: str | None, *, size: int) -> None:
    """Write down that a delivery was refused: never its body, which a stranger chose."""
    now = app.clock.now()
    await store.insert_receipt(
        tx,
        new_id(now),
        crm_id,
        body=None,
        size=size,
        state="refused",
        reason="the sender is not who it says it is",
        at=now,
    )


async def _settle_new(
    tx: Tx, app: App, crm: Crm, entries: Sequence[Entry], *, at: datetime
) -> dict[str, tuple[str, str | None]]:
    observations = [entry.observation for entry in entries if entry.observation is not None]
    known = await store.lock_deals(tx, crm.id, {one.deal_id for one in observations}, at=at)
    failpoint("sales.receive.locked")
    seen = [
        replace(deal, seen=merge(deal.seen, [one for one in observations if one.deal_id == id_]))
        for id_, deal in known.items()
    ]
    outcomes = await settle(tx, app, crm, seen) if seen else {}
    # What comes late of a forgotten person leaves no body behind.
    gone = await forgotten.forgotten(tx, {one.lead_id for one in outcomes.values() if one.lead_id})
    await erasing_store.empty_bodies(tx, sorted(gone))
    return {id_: (one.state, one.reason) for id_, one in outcomes.items()}


def _outcome(number: int, entry: Entry, standing: dict[str, tuple[str, str | None]]) -> StoredEntry:
    if entry.problem is not None:
        return StoredEntry(number, entry.key, None, "quarantined", entry.problem)
    if entry.observation is None:
        return StoredEntry(number, entry.key, None, "ignored")
    state, reason = standing[entry.observation.deal_id]
    return StoredEntry(number, entry.key, entry.observation.deal_id, "applied" if state == "settled" else state, reason)
