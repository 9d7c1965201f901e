"""The accounts of a batch of intake, inside its transaction: read and held before the decision, written after it.

The keys of people are locked before (receive.py); here only keys that nobody knows are, in one order and after every
other lock of the batch, so that two workers make one account and deliveries of a known company wait for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from baton_kit.db import Direct, Tx
from baton_kit.edges import families_of
from baton_kit.failpoint import failpoint
from lead_intake import events
from lead_intake import store as leads_store
from lead_intake.accounts import store
from lead_intake.accounts.keys import COMPANY, lock_of
from lead_intake.accounts.resolve import Accounts
from lead_intake.entry import Person

if TYPE_CHECKING:
    from lead_intake.receive import Writes


async def accounts_of(tx: Tx | Direct, persons: Iterable[Person]) -> Accounts:
    """What is known of the accounts that these inquiries name; what nobody knows is held until the transaction ends."""
    accounts = Accounts()
    keys = sorted({key for p in persons for key in p.account_keys})
    if not keys:
        return accounts
    await store.known(tx, keys, accounts)
    unknown = [key for key in keys if key not in accounts.of]
    if unknown:
        await leads_store.lock_keys(tx, sorted({lock_of(key) for key in unknown}))
        failpoint("intake.accounts.held")
        # Only a new statement sees what the transaction that held them has made.
        await store.known(tx, unknown, accounts)
    return accounts


async def keep(tx: Tx | Direct, writes: Writes) -> None:
    """Write accounts, keys and proposals, and note the events that tell of them."""
    accounts = writes.accounts
    await store.put(tx, accounts)
    if accounts.proposals:  # rare, and only then worth asking whether they were merged before
        named = {id for p in accounts.proposals for id in (p.low, p.high)}
        whole = await families_of(tx, named, table=store.EDGES)
        await store.insert_proposals(tx, [p for p in accounts.proposals if whole.root(p.low) != whole.root(p.high)])
        failpoint("intake.accounts.proposed")
    for k in accounts.keys:
        if k.key.startswith(COMPANY):
            crm, _, company_id = k.key.removeprefix(COMPANY).partition(":")
            linked = events.account_linked(k.account_id, crm=crm, company_id=company_id, at=k.told_at, id=k.event_id)
            writes.events.append(linked)
