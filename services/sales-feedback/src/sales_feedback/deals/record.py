"""Write down what happened to deals, move their handoffs along, and tell both."""

from collections.abc import Mapping, Sequence

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.outbox import Lane
from sales_feedback import events
from sales_feedback.accounts.store import accounts_of_deals
from sales_feedback.app import App
from sales_feedback.deals import store
from sales_feedback.deals.deal import DealMoved, DealState
from sales_feedback.handoffs.handoff import Handoff, Stamp, State, follow_deals
from sales_feedback.handoffs.record import record as record_handoffs

_STANDS_FOR = {DealState.OPEN: State.OPPORTUNITY, DealState.WON: State.WON, DealState.LOST: State.LOST}


async def record(
    tx: Tx, app: App, moves: Sequence[DealMoved], handoffs: Mapping[str, Handoff], *, lane: Lane = Lane.LIVE
) -> None:
    """Save new versions of deals whose handoffs (`handoffs`, by id) this transaction has locked.

    Each close, correction and reopening becomes one DealClosed; each handoff goes to where its deals stand now.
    """
    await store.save_deals(tx, moves, at=app.clock.now())
    failpoint("sales.deal.saved")

    # The handoffs first: who reads HandoffChanged(opportunity) has not yet seen the deal won.
    states = await store.states_of_handoffs(tx, handoffs)
    latest = {move.deal.handoff_id: move.occurred_at for move in moves}
    await record_handoffs(
        tx,
        app,
        [
            follow_deals(
                handoff,
                [_STANDS_FOR[state] for state in states.get(id_, [])],
                at=latest.get(id_, app.clock.now()),
            )
            for id_, handoff in sorted(handoffs.items())
        ],
    )
    accounts = await accounts_of_deals(tx, [move.deal for move in moves if move.outcome is not None])
    told = [
        events.deal_closed(move, stamp=_stamp(move, handoffs), account_id=accounts.get(move.deal.id)) for move in moves
    ]
    await app.outbox.append(tx, [event for event in told if event is not None], lane=lane)
    failpoint("sales.deal.recorded")


def _stamp(move: DealMoved, handoffs: Mapping[str, Handoff]) -> Stamp | None:
    handoff = handoffs.get(move.deal.handoff_id or "")
    return handoff.stamp if handoff is not None else None
