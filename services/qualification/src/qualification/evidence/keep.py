"""Keep how deals ended. Nothing is decided by it."""

from collections.abc import Sequence

from baton.sales.v1.sales_pb2 import DealClosed
from baton_kit.db import Tx
from baton_kit.envelope import Received
from qualification import events
from qualification.app import App
from qualification.evidence import store


async def deals_closed(tx: Tx, app: App, received: Sequence[Received[DealClosed]]) -> None:
    """Keep the highest version of each deal, in whatever order they come."""
    deals = [deal for e in received if (deal := events.deal_from_event(e.body)) is not None]
    await store.put_deals(tx, deals)
