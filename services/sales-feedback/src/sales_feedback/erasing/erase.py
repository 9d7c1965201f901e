"""Forget the person behind a lead here: at once, and whatever comes late brings nothing back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from baton.lead.v1.lead_pb2 import LeadErased
from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from sales_feedback.app import App
from sales_feedback.crms import store as crm_store
from sales_feedback.crms.configured import get_crm
from sales_feedback.crms.seen import without_free_text
from sales_feedback.erasing import store

CONTACT_TOPIC = "baton.contact.v1"
EVERY_SECONDS = 30

FORGETS = ("contact", "note", "crm_receipt", "crm_deal", "parked")
"""The tables that an erasure empties."""
KEEPS: Mapping[str, str] = {
    "rep": "people of the firm, not leads",
    "rotation": "a number",
    "handoff": "ids, codes and times",
    "handoff_change": "ids, codes and times",
    "feedback": "codes; its note is gone",
    "imported_feedback": "codes and times",
    "deal": "codes and money",
    "deal_change": "codes and money",
    "merge_edge": "ids",
    "account_edge": "ids",
    "lead_account": "ids",
    "company_account": "the CRM's ids",
    "crm": "sealed secrets and a mapping",
    "crm_entry": "the CRM's ids",
    "erased_lead": "the log itself: ids and counts",
    "outbox": "facts name no person",
    "outbox_ring": "a number",
    "outbox_cursor": "numbers",
    "inbox": "ids",
    "consumer_offset": "numbers",
    "parked_key": "ids",
    "api_key": "operators",
    "idempotency_key": "answers hold neither contact nor note",
}
"""What stays, and why that may. Together with FORGETS: every table, as a test holds."""


async def leads_erased(tx: Tx, app: App, received: Sequence[Received[LeadErased]]) -> None:
    """Write the erasures down, and delete what is kept of the persons."""
    erased = [forgotten.told_by(e) for e in received]
    await forgotten.hold(tx, [one.lead_id for one in erased])
    failpoint("sales.erase.held")
    await forget(tx, app, [one.lead_id for one in await forgotten.note(tx, erased)])


async def forget(tx: Tx, app: App, lead_ids: Sequence[str]) -> None:
    """Delete what is kept of persons whose erasure is written down."""
    if not lead_ids:
        return
    now = app.clock.now()
    # The order of a CRM's delivery: what the CRM said, then handoffs, then the rest.
    said = await store.lock_crm_deals(tx, lead_ids)
    await store.lock_handoffs(tx, lead_ids)
    failpoint("sales.erase.locked")
    named = await store.spellings(tx, lead_ids)
    counts = {
        "contact": await store.empty_contacts(tx, lead_ids, at=now),
        "note": await store.delete_notes(tx, lead_ids),
        "crm_receipt": await store.empty_bodies(tx, lead_ids) + await store.empty_unsettled_bodies(tx, named),
        "crm_deal": Counter(one.lead_id for one in said if one.lead_id),
    }
    for crm_id in sorted({one.crm_id for one in said}):
        crm = await get_crm(tx, app, crm_id)
        if crm is not None:
            theirs = [
                replace(one, seen=without_free_text(one.seen, crm.mapping)) for one in said if one.crm_id == crm_id
            ]
            await crm_store.save_crm_deals(tx, theirs, at=now)
    await forgotten.drop_parked(tx, topic=app.settings.kafka.topic_prefix + CONTACT_TOPIC)
    failpoint("sales.erase.deleted")
    removed = {id_: {table: found[id_] for table, found in counts.items()} for id_ in lead_ids}
    await forgotten.done(tx, removed, at=now)
    failpoint("sales.erase.recorded")


async def finish_restored(app: App) -> int:
    """Carry out erasures that a restore wrote down, and give up contacts that were parked since; how many leads."""
    async with app.db.begin() as tx:
        ids = [one.lead_id for one in await forgotten.to_do(tx)]
        await forgotten.hold(tx, ids)
        await forget(tx, app, ids)
        await forgotten.drop_parked(tx, topic=app.settings.kafka.topic_prefix + CONTACT_TOPIC)
    return len(ids)


async def forget_for_ever(app: App) -> None:
    """Finish, again and again; an outage is waited out."""
    while True:
        done = 0
        try:
            done = await finish_restored(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("forgetting_waits", error=type(error).__name__)
        await asyncio.sleep(0 if done else EVERY_SECONDS)
