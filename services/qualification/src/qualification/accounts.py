"""Keep which account each lead belongs to, and which accounts are one company. Nothing is decided by it."""

from collections.abc import Sequence
from typing import Final

from baton.lead.v1.accounts_pb2 import AccountMerged, AccountUnmerged, LeadAccountChanged
from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.edges import Edge
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable
from qualification import store
from qualification.app import App
from qualification.merging.store import add_unknown_leads

EDGES: Final = "account_edge"
"""The merges of accounts as they stand."""


async def leads_moved(tx: Tx, app: App, received: Sequence[Received[LeadAccountChanged]]) -> None:
    """Keep the accounts of leads, in whatever order they are told; the highest version of each lead counts."""
    bodies = [e.body for e in received if e.body.lead_id and e.body.account_id]
    ids = sorted({body.lead_id for body in bodies})
    if any("\x00" in text for body in bodies for text in (body.lead_id, body.account_id)):
        raise Unprocessable("the event names no lead or account")
    await store.lock_for_deciding(tx)
    await add_unknown_leads(tx, ids)
    leads = await store.lock_leads(tx, ids)
    for body in bodies:
        leads[body.lead_id] = leads[body.lead_id].with_account(body.account_id, body.sequence)
    await store.write_leads(tx, list(leads.values()))


async def accounts_merged(tx: Tx, app: App, received: Sequence[Received[AccountMerged | AccountUnmerged]]) -> None:
    """Keep the edges, in whatever order they come; whoever reads resolves the canonical account by them."""
    await edges.learn(tx, [_edge(e.body) for e in received], table=EDGES)
    failpoint("qualification.account.merged")


async def canonical(tx: Tx, account_id: str) -> str | None:
    """The account that counts after all merges; None for none."""
    return (await edges.families_of(tx, [account_id], table=EDGES)).root(account_id) if account_id else None


def _edge(body: AccountMerged | AccountUnmerged) -> Edge:
    ids = (body.merge_id, body.from_account_id, body.into_account_id)
    if not all(ids) or any("\x00" in i for i in ids) or body.from_account_id == body.into_account_id:
        raise Unprocessable("the merge names no two accounts")
    return Edge(*ids, version=body.version, active=isinstance(body, AccountMerged))
