"""Credit the money of closed deals to the touches before them, as touches and deals come in whatever order."""

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from attribution import store
from attribution.contribution import Projection, credits_of, difference, totals_of
from attribution.events import deal_of, merge_of, touch_of
from attribution.facts import DealFact, TouchFact
from baton.lead.v1.lead_pb2 import LeadMerged, LeadUnmerged, TouchRecorded
from baton.sales.v1.sales_pb2 import DealClosed
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint

if TYPE_CHECKING:
    from attribution.app import App


async def leads_touched(tx: Tx, app: "App", events: Sequence[Received[TouchRecorded]]) -> None:
    """Keep the touches, and credit every deal of their leads anew: a touch that comes late still gets its share."""
    await _keep_and_credit(tx, app, [touch_of(e.body) for e in events])


async def deals_closed(tx: Tx, app: "App", events: Sequence[Received[DealClosed]]) -> None:
    """Keep this version of each deal, and credit the one with the highest sequence, whichever came last."""
    await _keep_and_credit(tx, app, [deal_of(e.body) for e in events])


async def leads_merged(tx: Tx, app: "App", events: Sequence[Received[LeadMerged | LeadUnmerged]]) -> None:
    """Keep this version of each merge, and credit anew the deals of both leads and of all that belong to them.

    A deal's journey is all that its person did, under whichever lead; of a merge the highest version counts.
    """
    position = await store.next_position(tx, at=app.clock.now())
    failpoint("attribution.after_position")
    facts = [merge_of(e.body) for e in events]
    new = await store.insert_facts(tx, facts, known_seq=position)
    failpoint("attribution.after_facts")
    if new:
        named = {lead_id for fact in facts for lead_id in (fact.lead_id, fact.into_lead_id)}
        await credit_anew(tx, await store.current_projection(tx), named)
    failpoint("attribution.after_credit")


async def _keep_and_credit(tx: Tx, app: "App", facts: Sequence[TouchFact | DealFact]) -> None:
    # The position comes first. It makes this transaction wait for whoever else is writing: a touch and a close of
    # the same lead travel on different topics, and neither may miss the other.
    position = await store.next_position(tx, at=app.clock.now())
    failpoint("attribution.after_position")
    changed_leads = await store.insert_facts(tx, facts, known_seq=position)
    failpoint("attribution.after_facts")
    if changed_leads:
        await credit_anew(tx, await store.current_projection(tx), changed_leads)
    failpoint("attribution.after_credit")


async def credit_anew(tx: Tx, projection: Projection, lead_ids: Set[str]) -> int:
    """Replace what the deals of these leads contribute to a projection; returns how many deals changed.

    The caller holds the position. One statement a step, however many deals there are.
    """
    # 1. What is known of the deals of these persons now, and what was counted for them before.
    whole = await store.families_at(tx, lead_ids)
    deals = await store.latest_deals(tx, set(whole.everyone(lead_ids)))
    if not deals:
        return 0
    touches = await store.touches_of(tx, {deal.lead_id for deal in deals})
    before = await store.stored_credits(tx, projection, deal_ids=[deal.deal_id for deal in deals])

    # 2. Pure from here.
    after = {deal.deal_id: credits_of(deal, touches.get(deal.lead_id, []), projection) for deal in deals}
    changed = {deal_id for deal_id, credits in after.items() if credits != before.get(deal_id, ())}
    new = [credit for deal_id in sorted(changed) for credit in after[deal_id]]
    old = [credit for deal_id in sorted(changed) for credit in before.get(deal_id, ())]
    if not changed:
        return 0

    # 3. Take the old contribution out, put the new one in.
    await store.replace_credits(tx, projection, deal_ids={c.deal_id for c in old}, credits=new)
    failpoint("attribution.after_credits")
    changes = difference(totals_of(new, projection), totals_of(old, projection))
    await store.add_to_totals(tx, projection, changes)
    return len(changed)
