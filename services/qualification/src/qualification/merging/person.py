"""Several leads of one person: what the criteria see of them together, and where each stands alone. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton_agreement.features import UNKNOWN, Features, FeatureValue, Profile
from qualification.cycle import CycleState, Feedback, Lead, SeenTouch, after_feedback, begun_again


@dataclass(frozen=True, slots=True)
class Whole:
    """What a decision about a canonical lead sees beside the lead itself.

    `held` says that another lead of the person is with sales, or was given back and the customer did not come again:
    the canonical lead is judged, but not handed over.
    """

    profile: Profile
    held: bool


@dataclass(frozen=True, slots=True)
class Past:
    """What was decided about a lead: the cycles in which it was handed over, and the last decision in each cycle."""

    handed_over: frozenset[int] = frozenset()
    last: Mapping[int, "LastDecision"] | None = None


@dataclass(frozen=True, slots=True)
class LastDecision:
    """The last decision of a cycle, as the lead's row keeps it."""

    id: str
    activation_seq: int
    outcome: str
    score: int
    stopped_by: str


def joined(leads: Iterable[Lead], *, canonical: str) -> Features:
    """The features of the whole: the canonical lead's count, the others fill what it leaves open, oldest id first.

    The same rule as intake's preview. Consent stays with whoever gave it: only the canonical lead's own counts.
    """
    whole: dict[str, Any] = {}
    answers: dict[str, str] = {}
    for lead in sorted(leads, key=lambda x: (x.id == canonical, _descending(x.id))):
        told: Mapping[str, FeatureValue] = (lead.profile or UNKNOWN).features
        whole |= {k: v for k, v in told.items() if k not in ("answers", "consent_marketing")}
        more = told.get("answers")
        answers |= more if isinstance(more, dict) else {}
        if lead.id == canonical and "consent_marketing" in told:
            whole["consent_marketing"] = told["consent_marketing"]
    if answers:
        whole["answers"] = answers
    return whole


def _descending(id: str) -> tuple[int, ...]:
    return tuple(-ord(c) for c in id)


def seen_by_all(touches: Iterable[Sequence[SeenTouch]]) -> list[SeenTouch]:
    """All touches of a person, each counted once by its id, however many leads it is told under."""
    return list({seen.touch.id: seen for each in touches for seen in each}.values())


def held(canonical: Lead, others: Iterable[Lead], touches: Sequence[SeenTouch], *, resting: frozenset[str]) -> bool:
    """Whether another lead of the person keeps the canonical one from being handed over."""
    return any(
        _with_sales(other, resting) or (other.state.ended and begun_again(other, touches) is other)
        for other in others
        if other.id != canonical.id
    )


def moved_on(canonical: Lead, others: Sequence[Lead], touches: Sequence[SeenTouch], *, resting: frozenset[str]) -> Lead:
    """The canonical lead in a new cycle, where its own handoff rests and the one that stood in for it has ended.

    The customer came back after that end, so that there is something to hand over again. A canonical lead of the past
    is judged as soon as the person came by itself under another one.
    """
    if canonical.state is CycleState.HISTORY and any(other.state is not CycleState.HISTORY for other in others):
        canonical = canonical._replace(state=CycleState.OPEN)
    if canonical.state is not CycleState.QUALIFIED or canonical.id not in resting:
        return canonical
    ended = [other for other in others if other.id != canonical.id and other.state.ended]
    if not ended or held(canonical, others, touches, resting=resting):
        return canonical
    last = max(ended, key=lambda other: other.ended_at or other.created_at)  # type: ignore[arg-type,return-value]
    begun = begun_again(last._replace(id=canonical.id, cycle=canonical.cycle, sequence=canonical.sequence), touches)
    return canonical._replace(
        cycle=begun.cycle,
        state=begun.state,
        ended_at=None,
        return_at=None,
        activation_seq=None,
        outcome=None,
        score=None,
        stopped_by=None,
        decision_id=None,
    )


def _with_sales(lead: Lead, resting: frozenset[str]) -> bool:
    return lead.state is CycleState.QUALIFIED and lead.id not in resting


def alone(lead: Lead, answers: Sequence[Feedback], touches: Sequence[SeenTouch], past: Past) -> Lead:
    """The lead as its own facts make it, whatever it was part of before.

    What was decided about it in the meantime stays true: a cycle in which it was handed over has been. `touches` are
    the lead's own; its sequence, features and times are its own already.
    """
    cycle = max((1, *past.handed_over))
    unhanded = CycleState.HISTORY if lead.state is CycleState.HISTORY else CycleState.OPEN
    state = CycleState.QUALIFIED if cycle in past.handed_over else unhanded
    fresh = lead._replace(cycle=cycle, state=state, ended_at=None, return_at=None, next_change_at=None)
    fresh = begun_again(after_feedback(fresh, answers), touches)
    last = (past.last or {}).get(fresh.cycle)
    return fresh._replace(
        activation_seq=last.activation_seq if last else None,
        outcome=last.outcome if last else None,
        score=last.score if last else None,
        stopped_by=last.stopped_by if last else None,
        decision_id=last.id if last else None,
    )
