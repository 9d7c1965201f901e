"""Keep the facts of the funnel: leads, decisions, handoffs and what sales said. Reports read them as they stand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attribution import store
from attribution.events import account_merge_of, account_of, decision_of, feedback_of, handoff_of, lead_of, qualified_of
from attribution.facts import Fact
from baton.lead.v1.accounts_pb2 import AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.lead_pb2 import LeadCreated
from baton.qualification.v1.qualification_pb2 import LeadQualified, LeadScored
from baton.sales.v1.sales_pb2 import HandoffChanged, SalesFeedback
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint

if TYPE_CHECKING:
    from attribution.app import App


async def leads_created(tx: Tx, app: "App", events: Sequence[Received[LeadCreated]]) -> None:
    """Keep that the leads were created."""
    await _keep(tx, app, [lead_of(e.body) for e in events])


async def leads_moved(tx: Tx, app: "App", events: Sequence[Received[LeadAccountChanged]]) -> None:
    """Keep to which accounts known leads belong."""
    await _keep(tx, app, [account_of(e.body) for e in events])


async def accounts_merged(tx: Tx, app: "App", events: Sequence[Received[AccountMerged | AccountUnmerged]]) -> None:
    """Keep this version of each merge of accounts."""
    await _keep(tx, app, [account_merge_of(e.body) for e in events])


async def leads_scored(tx: Tx, app: "App", events: Sequence[Received[LeadScored]]) -> None:
    """Keep the decisions about the leads."""
    await _keep(tx, app, [decision_of(e.body) for e in events])


async def leads_qualified(tx: Tx, app: "App", events: Sequence[Received[LeadQualified]]) -> None:
    """Keep that the leads were handed to sales."""
    await _keep(tx, app, [qualified_of(e.body) for e in events])


async def handoffs_changed(tx: Tx, app: "App", events: Sequence[Received[HandoffChanged]]) -> None:
    """Keep this version of each handoff."""
    await _keep(tx, app, [handoff_of(e.body) for e in events])


async def feedback_given(tx: Tx, app: "App", events: Sequence[Received[SalesFeedback]]) -> None:
    """Keep what sales said about the leads."""
    await _keep(tx, app, [feedback_of(e.body) for e in events])


async def _keep(tx: Tx, app: "App", facts: Sequence[Fact]) -> None:
    position = await store.next_position(tx, at=app.clock.now())
    failpoint("attribution.after_position")
    await store.insert_facts(tx, facts, known_seq=position)
    failpoint("attribution.after_facts")
