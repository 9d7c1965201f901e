"""Which of a person's open handoffs stays with sales. Pure."""

from collections.abc import Sequence
from datetime import datetime

from sales_feedback.handoffs import handoff as machine
from sales_feedback.handoffs.handoff import Handoff, Moved, State

OPEN = frozenset({State.OFFERED, State.ACCEPTED, State.WORKING})


def settled(handoffs: Sequence[Handoff], *, at: datetime) -> list[Moved]:
    """The moves after which at most one lead of the person has open handoffs, and none rests for another person's.

    The older one stays; one with an open deal stays whatever its age, since a deal does not rest. Cycles of one lead do
    not compete. A handoff that rests comes back where the one that took its place belongs to somebody else now.
    `handoffs` are all of the person's.
    """
    ids = {one.id for one in handoffs}
    back = {
        one.id: machine.come_back(one, at=at)
        for one in handoffs
        if one.state is State.SUPERSEDED and one.superseded_by not in ids
    }
    now = [back[one.id].handoff if one.id in back else one for one in handoffs]
    deals = [one for one in now if one.state is State.OPPORTUNITY]
    standing = sorted(deals or [one for one in now if one.state in OPEN], key=lambda one: (one.offered_at, one.id))
    moves: list[Moved] = []
    for one in now:
        before = back[one.id].changes if one.id in back else ()
        if standing and one.state in OPEN and one.lead_id != standing[0].lead_id:
            resting = machine.rest(one, by=standing[0].id, at=at)
            moves.append(Moved(resting.handoff, (*before, *resting.changes)))
        elif before:
            moves.append(back[one.id])
    return moves
