"""What speaks for a rule and against it: pure, from counts of leads that were handed over."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from baton_evidence.pooling import FourFold, Pooled, pooled_odds_ratio
from qualification.evidence.outcomes import Alike

Verdict = Literal["speaks_against", "supports", "no_evidence"]

FEWEST = 30
"""Answered leads, with the rule and without it, below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Leads on one side of a comparison."""

    handed_over: int = 0
    accepted: int = 0
    rejected: int = 0
    won: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class RuleEvidence:
    """Leads with a rule beside those without it; `reasons` are the rejections that point at it."""

    rule: str
    points: int
    met: Arm
    not_met: Arm
    declined_more: Pooled | None
    verdict: Verdict
    reasons: Mapping[str, int]


def evidence_of(
    rules: Mapping[str, int], counts: Sequence[Alike], *, points_at: Mapping[str, Sequence[str]]
) -> list[RuleEvidence]:
    """Compare for each rule (id to points) the leads that met it with those that did not.

    `points_at` are the rules that each reason speaks against. A rule with positive points is spoken against where the
    whole interval says that leads with it are declined more, one with negative points where they are declined less.
    """
    found = []
    for rule, points in rules.items():
        met = [alike for alike in counts if rule in alike.rules]
        rest = [alike for alike in counts if rule not in alike.rules]
        pooled = pooled_odds_ratio(_by_rep(met, rest))
        arms = _arm(met), _arm(rest)
        reasons: Counter[str] = Counter()
        for alike in met:
            if alike.answer == "rejected" and rule in points_at.get(alike.reason, ()):
                reasons[alike.reason] += alike.leads
        found.append(RuleEvidence(rule, points, *arms, pooled, _verdict(points, arms, pooled), dict(reasons)))
    return found


def _by_rep(met: Iterable[Alike], rest: Iterable[Alike]) -> list[FourFold]:
    counted: dict[str, list[int]] = {}
    for start, side in ((0, met), (2, rest)):
        for alike in side:
            if alike.answer:
                cell = start + (0 if alike.answer == "rejected" else 1)
                counted.setdefault(alike.rep_id, [0, 0, 0, 0])[cell] += alike.leads
    return [FourFold(*cells) for _, cells in sorted(counted.items())]


def _arm(side: Sequence[Alike]) -> Arm:
    def count(**wanted: str) -> int:
        return sum(a.leads for a in side if all(getattr(a, name) == value for name, value in wanted.items()))

    return Arm(
        handed_over=count(),
        accepted=count(answer="accepted"),
        rejected=count(answer="rejected"),
        won=count(end="won"),
        lost=count(end="lost"),
    )


def _verdict(points: int, arms: tuple[Arm, Arm], pooled: Pooled | None) -> Verdict:
    if pooled is None or any(arm.accepted + arm.rejected < FEWEST for arm in arms):
        return "no_evidence"
    more, less = pooled.odds_ratio.low > 1, pooled.odds_ratio.high < 1
    if points < 0:
        more, less = less, more
    return "speaks_against" if more else "supports" if less else "no_evidence"
