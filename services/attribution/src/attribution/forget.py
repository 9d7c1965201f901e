"""Keep that a person was forgotten. Nothing here names one: touches and money stay."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from baton.lead.v1.lead_pb2 import LeadErased
from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint

if TYPE_CHECKING:
    from attribution.app import App


async def leads_erased(tx: Tx, app: "App", events: Sequence[Received[LeadErased]]) -> None:
    """Write the erasures down; facts, credits and totals stay as they are."""
    noted = await forgotten.note(tx, [forgotten.told_by(e) for e in events])
    failpoint("attribution.erase.noted")
    await forgotten.done(tx, {one.lead_id: {} for one in noted}, at=app.clock.now())
    failpoint("attribution.erase.done")
