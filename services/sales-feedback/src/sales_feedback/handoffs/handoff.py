"""The handoff as a state machine: what is possible from where. Pure: no clock, no database.

    offered -> accepted -> working -> opportunity -> won | lost
       |          |           |
       +----------+-----------+--> rejected | recycled

A rep answers by accept, reject, recycle and logged contacts; a deal moves the handoff on by itself.

While its lead is merged with one that sales works already, an open handoff is superseded: it rests, and comes back to
where it was when the merge is undone, or when a deal shows that it is worked all the same.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    OFFERED = "offered"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RECYCLED = "recycled"
    WORKING = "working"
    OPPORTUNITY = "opportunity"
    WON = "won"
    LOST = "lost"
    SUPERSEDED = "superseded"


class Action(StrEnum):
    """What a caller may ask for; the names are the ends of the routes."""

    ACCEPT = "accept"
    REJECT = "reject"
    RECYCLE = "recycle"
    CONTACTS = "contacts"
    DEALS = "deals"


class Means(StrEnum):
    CALL = "call"
    EMAIL = "email"
    MEETING = "meeting"
    MESSAGE = "message"


class Answer(StrEnum):
    """The kinds of feedback."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RECYCLED = "recycled"
    CONTACTED = "contacted"


STEPS: Mapping[State, tuple[State, ...]] = {
    State.OFFERED: (State.ACCEPTED, State.REJECTED, State.RECYCLED, State.SUPERSEDED),
    State.ACCEPTED: (State.WORKING, State.OPPORTUNITY, State.REJECTED, State.RECYCLED, State.SUPERSEDED),
    State.WORKING: (State.OPPORTUNITY, State.REJECTED, State.RECYCLED, State.SUPERSEDED),
    State.OPPORTUNITY: (State.WON, State.LOST),
    State.WON: (State.OPPORTUNITY,),
    State.LOST: (State.OPPORTUNITY,),
    State.REJECTED: (),
    State.RECYCLED: (),
    State.SUPERSEDED: (State.OFFERED, State.ACCEPTED, State.WORKING),
}
"""Every single step there is; each step becomes one HandoffChanged."""

POSSIBLE: Mapping[State, tuple[Action, ...]] = {
    State.OFFERED: (Action.ACCEPT, Action.REJECT, Action.RECYCLE, Action.DEALS),
    State.ACCEPTED: (Action.CONTACTS, Action.REJECT, Action.RECYCLE, Action.DEALS),
    State.WORKING: (Action.CONTACTS, Action.REJECT, Action.RECYCLE, Action.DEALS),
    State.OPPORTUNITY: (Action.CONTACTS, Action.DEALS),
    State.WON: (Action.CONTACTS, Action.DEALS),
    State.LOST: (Action.CONTACTS, Action.DEALS),
    State.REJECTED: (),
    State.RECYCLED: (),
    State.SUPERSEDED: (Action.DEALS,),
}
"""What a caller may ask for in each state."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The version of the agreement under which the lead qualified."""

    agreement_id: str
    version: int
    digest: str
    activation_seq: int


@dataclass(frozen=True, slots=True)
class Handoff:
    """One qualified lead in the hands of sales; unique per lead and cycle. Times are aware UTC.

    `sequence` is its version: raised by one with every change and every feedback. `reasons` are the agreement's
    rejection reasons, code to family.
    """

    id: str
    lead_id: str
    cycle: int
    state: State
    sequence: int
    stamp: Stamp
    decision_id: str
    score: int
    threshold: int
    offered_at: datetime
    reasons: Mapping[str, str]
    rep_id: str | None = None
    accept_due_at: datetime | None = None
    first_response_due_at: datetime | None = None
    attempts_agreed: int = 0
    accepted_at: datetime | None = None
    first_response_at: datetime | None = None
    attempts: int = 0
    ended_at: datetime | None = None
    reason: str | None = None
    reason_family: str | None = None
    return_at: datetime | None = None
    superseded_by: str | None = None
    superseded_from: State | None = None

    @property
    def possible(self) -> tuple[Action, ...]:
        return POSSIBLE[self.state]


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a handoff, as history keeps it and as HandoffChanged tells it."""

    handoff: Handoff
    previous: State | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Feedback:
    """What sales told about the handoff, after which the handoff stands as `handoff`."""

    handoff: Handoff
    kind: Answer
    rep_id: str | None
    occurred_at: datetime
    reason: str | None = None
    reason_family: str | None = None
    first_response: bool = False
    means: Means | None = None
    reached: bool = False
    return_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """The outcome of one action: the handoff as it stands now, and what there is to tell."""

    handoff: Handoff
    changes: tuple[Change, ...] = ()
    feedback: Feedback | None = None


class NotPossible(Exception):
    """The handoff is in a state that does not allow the action; `possible` names what it does allow."""

    def __init__(self, handoff: Handoff, action: Action) -> None:
        super().__init__(f"{action} is not possible while the handoff is {handoff.state}")
        self.handoff = handoff
        self.action = action
        self.possible = handoff.possible


class UnknownReason(Exception):
    """The reason is none of those the lead's agreement names; `known` are the codes it does name."""

    def __init__(self, known: Collection[str]) -> None:
        super().__init__("the agreement names no such reason")
        self.known = sorted(known)


def assign(handoff: Handoff, rep_id: str, *, at: datetime) -> Moved:
    """Give an offered handoff that waits for a rep to one."""
    assigned = replace(handoff, rep_id=rep_id, sequence=handoff.sequence + 1)
    return Moved(assigned, (Change(assigned, handoff.state, at),))


def accept(handoff: Handoff, *, rep_id: str, at: datetime) -> Moved:
    """The rep promises to work the lead in time."""
    _require(handoff, Action.ACCEPT)
    accepted = _step(replace(handoff, rep_id=rep_id), State.ACCEPTED, at=at)
    return Moved(accepted, (Change(accepted, handoff.state, at),), Feedback(accepted, Answer.ACCEPTED, rep_id, at))


def reject(handoff: Handoff, reason: str, *, at: datetime) -> Moved:
    """Sales declines the lead, for one of the agreement's reasons."""
    _require(handoff, Action.REJECT)
    return _end(handoff, State.REJECTED, Answer.REJECTED, reason=reason, at=at, return_at=None)


def recycle(handoff: Handoff, reason: str, *, at: datetime, return_at: datetime | None) -> Moved:
    """Not now: the lead goes back to nurture, for one of the agreement's reasons."""
    _require(handoff, Action.RECYCLE)
    return _end(handoff, State.RECYCLED, Answer.RECYCLED, reason=reason, at=at, return_at=return_at)


def contact(handoff: Handoff, means: Means, *, reached: bool, at: datetime) -> Moved:
    """Sales contacted the customer. The earliest contact after the handoff is the first response.

    A contact that is logged late but dated before the first response known so far becomes the first response.
    """
    _require(handoff, Action.CONTACTS)
    first = handoff.first_response_at is None or at < handoff.first_response_at
    after = replace(
        handoff,
        sequence=handoff.sequence + 1,
        state=State.WORKING if handoff.state is State.ACCEPTED else handoff.state,
        attempts=handoff.attempts + 1,
        first_response_at=at if first else handoff.first_response_at,
    )
    changes = () if after.state is handoff.state else (Change(after, handoff.state, at),)
    feedback = Feedback(after, Answer.CONTACTED, handoff.rep_id, at, first_response=first, means=means, reached=reached)
    return Moved(after, changes, feedback)


def rest(handoff: Handoff, *, by: str, at: datetime) -> Moved:
    """Let an open handoff rest for another of the same person."""
    after = replace(
        handoff,
        state=State.SUPERSEDED,
        sequence=handoff.sequence + 1,
        superseded_by=by,
        superseded_from=handoff.state,
        ended_at=at,
    )
    return Moved(after, (Change(after, handoff.state, at),))


def come_back(handoff: Handoff, *, at: datetime) -> Moved:
    """Bring a handoff that rested back to where it was: nothing could be done to it meanwhile."""
    after = replace(
        handoff,
        state=handoff.superseded_from or State.OFFERED,
        sequence=handoff.sequence + 1,
        superseded_by=None,
        superseded_from=None,
        ended_at=None,
    )
    return Moved(after, (Change(after, handoff.state, at),))


def follow_deals(handoff: Handoff, deals: Collection[State], *, at: datetime) -> Moved:
    """Move the handoff to where its deals stand: any won deal wins it, else any open one keeps it an opportunity.

    `deals` holds OPPORTUNITY, WON or LOST for each deal. Every step on the way is a change of its own: a deal won on
    an offered handoff proves that it was accepted. What was rejected or recycled stays so.
    """
    target = next((s for s in (State.WON, State.OPPORTUNITY, State.LOST) if s in deals), None)
    if target is None and handoff.state in {State.WON, State.LOST}:
        target = State.OPPORTUNITY
    if target is None or Action.DEALS not in handoff.possible:
        return Moved(handoff)
    changes: list[Change] = []
    if handoff.state is State.SUPERSEDED:
        back = come_back(handoff, at=at)
        handoff, changes = back.handoff, [*back.changes]
    for state in path(handoff.state, target):
        previous, handoff = handoff.state, _step(handoff, state, at=at)
        changes.append(Change(handoff, previous, at))
    return Moved(handoff, tuple(changes))


def path(start: State, target: State) -> tuple[State, ...]:
    """The shortest way from one state to another, without the start; empty when there is none."""
    ways: dict[State, tuple[State, ...]] = {start: ()}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for there in STEPS[here]:
            if there not in ways:
                ways[there] = (*ways[here], there)
                queue.append(there)
    return ways.get(target, ())


def _end(
    handoff: Handoff,
    state: State,
    kind: Answer,
    *,
    reason: str,
    at: datetime,
    return_at: datetime | None,
) -> Moved:
    family = handoff.reasons.get(reason)
    if family is None:
        raise UnknownReason(handoff.reasons.keys())
    ended = replace(
        _step(handoff, state, at=at),
        reason=reason,
        reason_family=family,
        return_at=return_at,
        ended_at=at,
    )
    feedback = Feedback(ended, kind, handoff.rep_id, at, reason=reason, reason_family=family, return_at=return_at)
    return Moved(ended, (Change(ended, handoff.state, at),), feedback)


def _step(handoff: Handoff, state: State, *, at: datetime) -> Handoff:
    accepted_at = at if state is State.ACCEPTED else handoff.accepted_at
    ended_at = at if state in {State.WON, State.LOST} else None
    return replace(handoff, state=state, sequence=handoff.sequence + 1, accepted_at=accepted_at, ended_at=ended_at)


def _require(handoff: Handoff, action: Action) -> None:
    if action not in handoff.possible:
        raise NotPossible(handoff, action)
