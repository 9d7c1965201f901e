"""Keep that a person was forgotten. Nothing here names one: features, decisions and answers stay."""

from collections.abc import Sequence

from baton.lead.v1.lead_pb2 import LeadErased
from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from qualification.app import App


async def leads_erased(tx: Tx, app: App, received: Sequence[Received[LeadErased]]) -> None:
    """Write the erasures down; every decision stays, and can be evaluated again to the same bytes."""
    noted = await forgotten.note(tx, [forgotten.told_by(e) for e in received])
    failpoint("qualification.erase.noted")
    await forgotten.done(tx, {one.lead_id: {} for one in noted}, at=app.clock.now())
    failpoint("qualification.erase.done")
