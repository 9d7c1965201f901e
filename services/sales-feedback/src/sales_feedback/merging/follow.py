"""Follow merges of leads and their undoing: sales works one handoff of a person at a time."""

from collections.abc import Iterable, Sequence

from baton.lead.v1.lead_pb2 import LeadMerged, LeadUnmerged
from baton_kit import edges
from baton_kit.db import Tx, raw
from baton_kit.edges import Edge
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable
from sales_feedback.app import App
from sales_feedback.handoffs import store
from sales_feedback.handoffs.record import record
from sales_feedback.merging.keep import settled

_GATE = "hashtextextended('sales.merge', 0)"


async def leads_merged(tx: Tx, app: App, events: Sequence[Received[LeadMerged | LeadUnmerged]]) -> None:
    """Keep the edges, in whatever order they come, and let handoffs rest or come back as they say.

    An edge of leads that sales never heard of is kept for when they are handed over.
    """
    # 1. Offers hold this gate together, merges alone: neither misses what the other has not committed yet.
    await (await raw(tx)).execute(f"SELECT pg_advisory_xact_lock({_GATE})")
    failpoint("sales.merge.gate")
    found = [_edge(e.body) for e in events]
    named = {key for edge in found for key in (edge.source, edge.target)}
    before = await edges.families_of(tx, named)
    await edges.learn(tx, found)
    after = await edges.families_of(tx, named)
    # 2. Whoever belonged to them or belongs to them now.
    await settle(tx, app, {*before.everyone(named), *after.everyone(named)})


async def hold_merges(tx: Tx) -> None:
    """Let no merge come in between until the transaction ends; the first statement of whoever makes handoffs."""
    await (await raw(tx)).execute(f"SELECT pg_advisory_xact_lock_shared({_GATE})")


async def settle_merged(tx: Tx, app: App, lead_ids: Iterable[str]) -> None:
    """Be `settle` for those of the leads that belong to others; costs one read where none does."""
    whole = await edges.families_of(tx, lead_ids)
    await settle(tx, app, [lead_id for lead_id in whole.root_of if len(whole.members(lead_id)) > 1])


async def settle(tx: Tx, app: App, lead_ids: Iterable[str]) -> None:
    """Let one open handoff of each of these persons stay, and the others rest. The caller holds the gate."""
    wanted = list(lead_ids)
    if not wanted:
        return
    whole = await edges.families_of(tx, wanted)
    ids = whole.everyone(wanted)
    handoffs = await store.lock_of_leads(tx, ids)
    failpoint("sales.merge.locked")
    now = app.clock.now()
    moves = []
    for root in sorted({whole.root(i) for i in ids}):
        of_person = [one for lead_id in whole.members(root) for one in handoffs.get(lead_id, ())]
        moves += settled(of_person, at=now)
    await record(tx, app, moves)
    failpoint("sales.merge.recorded")


def _edge(body: LeadMerged | LeadUnmerged) -> Edge:
    ids = (body.merge_id, body.from_lead_id, body.into_lead_id)
    if not all(ids) or any("\x00" in i for i in ids) or body.from_lead_id == body.into_lead_id:
        raise Unprocessable("the merge names no two leads")
    return Edge(*ids, version=body.version, active=isinstance(body, LeadMerged))
