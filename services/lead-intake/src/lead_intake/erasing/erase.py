"""Forget the person behind a lead, at once and for good, in one transaction.

What names the person is deleted; the lead, its touches, its receipts and every figure stay. A repeat of an old delivery
finds its receipt and changes nothing; a new inquiry is a new person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.edges import families_of
from baton_kit.failpoint import failpoint
from baton_kit.forgotten import Forgotten
from baton_kit.ids import new_id
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake import events
from lead_intake import store as intake_store
from lead_intake.erasing import store
from lead_intake.erasing.store import Person
from lead_intake.importing.wait import note_forgotten
from lead_intake.merging.edge import lock_merges
from lead_intake.merging.store import LEADS
from lead_intake.receive import lock_of, visitor_lock

if TYPE_CHECKING:
    from lead_intake.app import App

CONTACT_TOPIC = "baton.contact.v1"

FORGETS: Mapping[str, tuple[Callable[[Tx, Person], Awaitable[int]], ...]] = {
    "receipt": (store.cut_bodies, store.cut_bodies_of_visits, store.cut_bodies_that_name),
    "receipt_request": (store.delete_requests,),
    "proposed_merge": (store.delete_proposed_merges,),
    "lead_search": (store.delete_search,),
    "likeness": (store.delete_likeness,),
    "key_name": (store.delete_key_names,),
    "shared_key": (store.delete_listed_keys,),
    "contact": (store.delete_contact,),
    "identity_key": (store.delete_identity_keys,),
    "visit": (store.delete_visits,),
    "stitch": (store.delete_stitches,),
    "visitor": (store.delete_visitors,),
    "account_proposal": (store.delete_account_proposals,),
    "account_key": (store.delete_account_keys,),
    "account": (store.empty_account,),
}
"""What an erasure deletes or empties, table by table, in this order: bodies and requests of visits are found by their
visits. A new table that names persons gets its function here.
"""

KEEPS: Mapping[str, str] = {
    "source": "doors, not persons",
    "source_secret": "sealed",
    "source_version": "a number",
    "source_credential": "sealed",
    "fetch_job": "the provider's ids",
    "fetch_state": "numbers and times",
    "erase_request": "the provider's ids: what is to be forgotten is not brought in again",
    "provider_lead": "the provider's ids",
    "reconcile_state": "numbers and times",
    "ledger_hour": "sums",
    "ledger_change": "source and hour",
    "ledger_break": "source, hour and numbers",
    "ledger_mark": "a position",
    "replay": "a filter and a position",
    "import_file": "layout and counts of an export",
    "import_part": "an export's bytes go when it is worked through, and who was forgotten meanwhile is left out",
    "import_waiting": "digests and facts that name nobody; rows about the person end as refused (`note_forgotten`)",
    "import_forgotten": "digests under our own key, until the exports that were under way are through",
    "import_error": "row numbers and codes",
    "import_trial": "hashes of 64 bits",
    "import_campaign": "campaigns",
    "merge_edge": "ids",
    "merge_decision": "ids and codes",
    "account_edge": "ids",
    "account_decision": "ids and codes",
    "likeness_round": "a number",
    "receipt_entry": "the provider's id of the delivery: by it a repeat is known, so that nobody comes back",
    "lead": "features of closed lists; decisions are evaluated again from them",
    "touch": "channel and campaign",
    "channel_rules": "operators' rules",
    "campaign": "what marketing planned; its owner is an operator",
    "campaign_key": "UTM values and platforms' ids",
    "campaign_change": "campaigns as they were",
    "campaign_ignored": "UTM values and platforms' ids",
    "campaign_book": "numbers and times",
    "erased_lead": "the log itself: ids and counts",
    "outbox": "events leave with the ring",
    "outbox_ring": "a number",
    "outbox_cursor": "numbers",
    "inbox": "ids",
    "consumer_offset": "numbers",
    "parked": "contacts that could not be applied are given up with the tombstone (`drop_parked`)",
    "parked_key": "ids",
    "api_key": "operators",
    "idempotency_key": "answers name no person",
}
"""What it leaves, and why that may stay. Together with FORGETS: every table, as a test holds."""


class Reason(StrEnum):
    """Why a person is forgotten (GDPR art. 17 (1); 152-FZ art. 21)."""

    PERSON_REQUEST = "person_request"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    PURPOSE_ENDED = "purpose_ended"
    UNLAWFUL = "unlawful"
    PROVIDER_REQUEST = "provider_request"
    LEGAL_DUTY = "legal_duty"


@dataclass(frozen=True, slots=True)
class Order:
    """One request to forget: the leads of one person share it."""

    erasure_id: str
    reason: str
    asked_at: datetime | None
    key_id: str
    at: datetime


class Moved(Exception):
    """The person got another key or entry in between: nothing was done, try again."""


def order(*, reason: Reason, key_id: str, asked_at: datetime | None, now: datetime) -> Order:
    """A new request."""
    return Order(new_id(now), reason.value, asked_at or now, key_id, now)


async def erase(tx: Tx, app: App, lead_ids: Sequence[str], order: Order) -> list[str]:
    """Forget the person behind the leads and all that were merged with them; the ids of all of these leads.

    A lead that is forgotten already stays so, under its first request. Raises Moved.
    """
    # 0. Nobody merges meanwhile: all that is one person goes together.
    await lock_merges(tx, LEADS)
    everyone = (await families_of(tx, lead_ids)).everyone(lead_ids)

    # 1. The same locks as a delivery takes, in the same order: it comes wholly before, or finds nobody.
    before = await store.persons(tx, everyone)
    locks = {lock_of(key) for p in before.values() for key in p.identities}
    locks |= {lock_of(f"{source}\n{key}") for p in before.values() for source, key in p.entries}
    locks |= {lock_of(visitor_lock(key)) for p in before.values() for key in p.visitors}
    await intake_store.lock_keys(tx, sorted(locks))
    await forgotten.hold(tx, everyone)
    persons = await store.persons(tx, everyone, lock=True)
    if {id: (p.identities, p.entries, p.visitors) for id, p in persons.items()} != {
        id: (p.identities, p.entries, p.visitors) for id, p in before.items()
    }:
        raise Moved
    failpoint("intake.erase.locked")

    # 2. In force from the commit on, whatever comes late.
    noted = await forgotten.note(
        tx,
        [
            Forgotten(
                lead_id,
                order.erasure_id,
                persons[lead_id].sequence + 1 if lead_id in persons else 1,
                order.reason,
                order.asked_at,
                order.key_id,
                order.at,
            )
            for lead_id in everyone
        ],
    )
    failpoint("intake.erase.noted")

    # 3. Table by table.
    removed: dict[str, dict[str, int]] = {}
    for one in noted:
        person = persons.get(one.lead_id)
        removed[one.lead_id] = {} if person is None else await _delete(tx, app, person)
    await forgotten.drop_parked(tx, topic=app.settings.kafka.topic_prefix + CONTACT_TOPIC)
    failpoint("intake.erase.deleted")

    # 4. Everybody else hears of it: the log, and the end of the contact.
    await app.outbox.append(
        tx,
        [
            event
            for one in noted
            for event in (events.lead_erased(one), events.contact_erased(one.lead_id, at=one.erased_at))
        ],
    )
    await forgotten.done(tx, removed, at=app.clock.now())
    failpoint("intake.erase.before_commit")
    return everyone


async def finish_restored(app: App) -> int:
    """Carry out erasures that a restore wrote down; how many leads. Reads hide their persons until then."""
    async with app.db.begin() as tx:
        waiting = await forgotten.to_do(tx)
    for one in waiting:
        again = Order(one.erasure_id, one.reason, one.asked_at, one.key_id, one.erased_at)
        async with app.db.begin() as tx:
            await erase(tx, app, [one.lead_id], again)
    return len(waiting)


async def follow_orders(app: App) -> int:
    """Forget whom a provider ordered to forget (LinkedIn's DELETED, HubSpot's privacyDeletion); how many orders.

    An order about somebody who never came in is done: a lookup that is still under way hears of it and is refused.
    """
    async with app.db.begin() as tx:
        orders = await store.open_orders(tx)
    for source_id, key, requested_at in orders:
        now = app.clock.now()
        async with app.db.begin() as tx:
            leads = await store.leads_of_entry(tx, source_id, key)
            failpoint("intake.order.read")
            if leads:
                ordered = order(reason=Reason.PROVIDER_REQUEST, key_id="", asked_at=requested_at, now=now)
                await erase(tx, app, leads, ordered)
            await store.close_order(tx, source_id, key, at=now)
            failpoint("intake.order.before_commit")
    return len(orders)


async def sweep(app: App) -> int:
    """Write the tombstones of older erasures once more; how many.

    Kafka compacts no segment that is still written to, and begins a new one only when something is appended: on a
    partition where nobody else says anything, the second tombstone closes the segment that holds the contact.
    """
    now = app.clock.now()
    async with app.db.begin() as tx:
        due = await forgotten.to_sweep(tx, done_before=now - timedelta(hours=app.settings.erasure_sweep_hours))
        failpoint("intake.sweep.held")
        await app.outbox.append(tx, [events.contact_erased(one.lead_id, at=one.erased_at) for one in due])
        await forgotten.drop_parked(tx, topic=app.settings.kafka.topic_prefix + CONTACT_TOPIC)
        await forgotten.swept(tx, [one.lead_id for one in due], at=now)
        failpoint("intake.sweep.before_commit")
    return len(due)


async def forget_for_ever(app: App) -> None:
    """Finish and sweep, again and again; an outage is waited out."""
    while True:
        done = 0
        try:
            done = await finish_restored(app) + await follow_orders(app) + await sweep(app)
        except Moved:
            pass
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("forgetting_waits", error=type(error).__name__)
        await asyncio.sleep(0 if done else app.settings.erasure_poll_seconds)


async def _delete(tx: Tx, app: App, person: Person) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table, functions in FORGETS.items():
        counts[table] = sum([await function(tx, person) for function in functions])
    counts["receipt_request"] += await store.delete_unproven(tx, person, key=app.settings.seal_key_bytes)
    counts["import_waiting"] = await note_forgotten(
        tx, app, person.identities, lead_id=person.lead_id, at=app.clock.now()
    )
    await store.raise_sequence(tx, person)
    return counts
