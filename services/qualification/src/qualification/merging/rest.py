"""Handoffs that rest, because sales works the person under another of its leads."""

from collections.abc import Sequence

from baton.sales.v1 import sales_pb2
from baton.sales.v1.sales_pb2 import HandoffChanged
from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.envelope import Received
from qualification import evaluate
from qualification import store as leads_store
from qualification.app import App
from qualification.merging import store


async def handoffs_changed(tx: Tx, app: App, received: Sequence[Received[HandoffChanged]]) -> None:
    """Keep which handoffs rest, and decide anew about the persons they belong to. Other changes tell nothing here."""
    rests = sales_pb2.HANDOFF_STATE_SUPERSEDED
    rows = [
        (e.body.lead_id, e.body.cycle, e.body.sequence, e.body.state == rests)
        for e in received
        if rests in (e.body.state, e.body.previous_state) and e.body.lead_id
    ]
    if not rows:
        return
    await leads_store.lock_for_deciding(tx)
    await store.put_resting(tx, rows)
    ids = {row[0] for row in rows}
    whole = await edges.families_of(tx, ids)
    await evaluate.decide_persons(tx, app, whole, ids, kind="decision")
