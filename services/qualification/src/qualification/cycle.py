"""The cycles of a lead: open until it is handed over, ended by what sales answers, begun again by the customer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from baton_agreement.features import Profile, Touch
from baton_agreement.scoring import Decision, Outcome


class CycleState(StrEnum):
    OPEN = "open"
    QUALIFIED = "qualified"
    REJECTED = "rejected"
    RECYCLED = "recycled"
    HISTORY = "history"
    """Known from an export of the past only: kept for backtests, not judged, until the person comes by itself."""

    @property
    def ended(self) -> bool:
        """Whether the lead waits for a new cycle and is not judged meanwhile."""
        return self is CycleState.REJECTED or self is CycleState.RECYCLED


@dataclass(frozen=True, slots=True)
class SeenTouch:
    """A touch with its exact time."""

    at: datetime
    touch: Touch


# A named tuple: a lead with eighteen fields is made three times for each decision, in a fifth of a dataclass's time.
class Lead(NamedTuple):
    """Where a lead stands; `created_at` is None while only touches came, `activation_seq` while none governs."""

    id: str
    sequence: int = 0
    created_at: datetime | None = None
    test: bool = False
    profile: Profile | None = None
    features_sequence: int = -1
    cycle: int = 1
    state: CycleState = CycleState.OPEN
    ended_at: datetime | None = None
    return_at: datetime | None = None
    activation_seq: int | None = None
    outcome: str | None = None
    score: int | None = None
    stopped_by: str | None = None
    decision_id: str | None = None
    next_change_at: datetime | None = None
    account_id: str = ""
    account_sequence: int = 0
    """The version of the lead that named its account: the highest counts."""

    def with_account(self, account_id: str, sequence: int) -> "Lead":
        """Return the lead with the account that this version of it names, unless a higher one named one."""
        if not account_id or sequence <= self.account_sequence:
            return self
        return self._replace(account_id=account_id, account_sequence=sequence)

    @property
    def judged(self) -> bool:
        """Whether decisions are made about the lead now. Test leads are never judged, so never handed over."""
        waits = self.state.ended or self.state is CycleState.HISTORY
        return self.created_at is not None and not self.test and not waits


@dataclass(frozen=True, slots=True)
class Feedback:
    """What sales answered; `kind` is accepted, rejected, recycled or contacted."""

    id: str
    lead_id: str
    cycle: int
    sequence: int
    kind: str
    reason: str
    reason_family: str
    occurred_at: datetime
    return_at: datetime | None
    activation_seq: int
    rep_id: str = ""


def after_feedback(lead: Lead, answers: Iterable[Feedback]) -> Lead:
    """Return the lead after what sales answered, in whatever order the answers came.

    An answer proves that its cycle was handed over. So it also moves on a lead whose own state is behind, as after a
    database was put back to an earlier time.
    """
    for answer in sorted(answers, key=lambda a: (a.cycle, a.sequence, a.id)):
        if answer.cycle < lead.cycle:
            continue
        if answer.cycle > lead.cycle:
            lead = lead._replace(cycle=answer.cycle, state=CycleState.QUALIFIED, activation_seq=None)
        if lead.state.ended:
            continue
        if answer.kind in ("rejected", "recycled"):
            lead = lead._replace(
                state=CycleState(answer.kind),
                ended_at=answer.occurred_at,
                return_at=answer.return_at if answer.kind == "recycled" else None,
                next_change_at=None,
            )
        else:
            lead = lead._replace(state=CycleState.QUALIFIED, next_change_at=None)
    return lead


def told(lead: Lead, *, imported: bool) -> Lead:
    """Return the lead after an event: the first one that was not imported opens the cycle of a lead of the past."""
    return lead if imported or lead.state is not CycleState.HISTORY else lead._replace(state=CycleState.OPEN)


def begun_again(lead: Lead, touches: Sequence[SeenTouch]) -> Lead:
    """Return the lead in a new cycle if the customer came back, else as it is.

    A recycled lead comes back with any touch after the agreed time. A rejected one only with a new inquiry (a form).
    """
    if not lead.state.ended or lead.ended_at is None:
        return lead
    since = max(lead.ended_at, lead.return_at or lead.ended_at)
    any_touch = lead.state is CycleState.RECYCLED
    if not any(seen.at > since and (any_touch or seen.touch.kind == "form") for seen in touches):
        return lead
    return lead._replace(
        cycle=lead.cycle + 1,
        state=CycleState.OPEN,
        ended_at=None,
        return_at=None,
        activation_seq=None,
        outcome=None,
        score=None,
        stopped_by=None,
        decision_id=None,
    )


def differs(decision: Decision, lead: Lead) -> bool:
    """Say whether the decision tells anything new of the lead: outcome, score, or what stopped it."""
    return (decision.outcome.value, decision.score, decision.verdict.stopped_by) != (
        lead.outcome,
        lead.score,
        lead.stopped_by,
    )


def after_decision(lead: Lead, decision: Decision, *, decision_id: str | None, held: bool = False) -> Lead:
    """Return the lead after a decision; `decision_id` is None where it told nothing new.

    A lead that is `held` is not handed over: its person is with sales, or resting, under another lead.

    The sequence grows by one for each event that tells of it: the decision, and the handover.
    Only an open cycle waits for points to fade: whoever was handed over is with sales.
    """
    hands_over = lead.state is CycleState.OPEN and decision.outcome is Outcome.QUALIFIED and not held
    state = CycleState.QUALIFIED if hands_over else lead.state
    waits = state is CycleState.OPEN
    return lead._replace(
        sequence=lead.sequence + (0 if decision_id is None else 2 if hands_over else 1),
        activation_seq=decision.stamp.activation_seq,
        state=state,
        outcome=decision.outcome.value,
        score=decision.score,
        stopped_by=decision.verdict.stopped_by,
        decision_id=decision_id or lead.decision_id,
        next_change_at=decision.next_change_at if waits else None,
    )
