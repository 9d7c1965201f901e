"""Keep what lead-intake says of accounts: whose each lead is, which CRM ids they have, and which are one company."""

from collections.abc import Sequence

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.edges import Edge
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable
from sales_feedback.accounts import store
from sales_feedback.app import App


async def leads_moved(tx: Tx, app: App, received: Sequence[Received[LeadAccountChanged]]) -> None:
    """Keep the accounts of leads, in whatever order they are told; the highest version of each lead counts."""
    await store.put_lead_accounts(tx, [(e.body.lead_id, e.body.sequence, e.body.account_id) for e in received])
    failpoint("sales.account.moved")


async def accounts_linked(tx: Tx, app: App, received: Sequence[Received[AccountLinked]]) -> None:
    """Keep which account a CRM means by an id."""
    await store.put_companies(
        tx, [(e.body.crm, e.body.crm_company_id, e.body.sequence, e.body.account_id) for e in received]
    )
    failpoint("sales.account.linked")


async def accounts_merged(tx: Tx, app: App, received: Sequence[Received[AccountMerged | AccountUnmerged]]) -> None:
    """Keep the edges, in whatever order they come; whoever reads resolves the canonical account by them."""
    await edges.learn(tx, [_edge(e.body) for e in received], table=store.EDGES)
    failpoint("sales.account.merged")


def _edge(body: AccountMerged | AccountUnmerged) -> Edge:
    ids = (body.merge_id, body.from_account_id, body.into_account_id)
    if not all(ids) or any("\x00" in i for i in ids) or body.from_account_id == body.into_account_id:
        raise Unprocessable("the merge names no two accounts")
    return Edge(*ids, version=body.version, active=isinstance(body, AccountMerged))
