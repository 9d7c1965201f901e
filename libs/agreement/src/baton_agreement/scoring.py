"""Judge one lead by one agreement: pure, in integers, the same bytes on any machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import compress
from typing import Any, Final, NamedTuple

from baton_agreement.agreement import Agreement, Bar
from baton_agreement.canonical import digest_of, quick_canonical_text
from baton_agreement.criteria import Conditions
from baton_agreement.decay import course
from baton_agreement.features import FeatureValue, Profile, Touch, lead_variables, profile_of, touch_variables

EVALUATOR_VERSION: Final = 1
"""Raised with every change that could give other bytes for the same input; earlier evaluators stay beside it."""

MAX_TOUCHES: Final = 500
"""A decision looks at the newest touches up to this number, so that a robot cannot make it slow."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MATCHES_KEPT: Final = 20_000
_LONGEST_KEPT: Final = 1_000
"""Characters of a kept answer's key, so that long texts from outside do not fill the memory."""


class Outcome(StrEnum):
    QUALIFIED = "qualified"
    BELOW_THRESHOLD = "below_threshold"
    GATED = "gated"
    DISQUALIFIED = "disqualified"


# Named tuples: what is made for each decision is made in a third of a dataclass's time, and hashes in C.
class Contribution(NamedTuple):
    """Points of one rule, or of one cap (group `cap`; `rule_id` is then the rule or the group that is capped)."""

    rule_id: str
    group: str
    points: int
    occurrences: int


class Stamp(NamedTuple):
    """Which version of the agreement decided."""

    agreement_id: str
    version: int
    digest: str
    activation_seq: int


class Snapshot(NamedTuple):
    """What was judged: the features and the touches in the longest window; no person can be told from it."""

    profile: Profile
    touches: tuple[Touch, ...]

    @property
    def canonical(self) -> bytes:
        touches = [{"id": t.id, "hour": t.hour, "fields": t.fields} for t in self.touches]
        return f'{{"features":{self.profile.text},"touches":{quick_canonical_text(touches)}}}'.encode()


class Verdict(NamedTuple):
    """What the rules say: `contributions` add up exactly to `score`; `next_change_hour` is when any of them changes."""

    outcome: Outcome
    stopped_by: str
    contributions: tuple[Contribution, ...]
    score: int
    next_change_hour: int | None
    line: str = ""
    cell: str = ""


class Decision(NamedTuple):
    """One application of an agreement to one lead at one time; the same input gives the same `canonical` bytes."""

    lead_id: str
    cycle: int
    at: datetime
    stamp: Stamp
    threshold: int
    verdict: Verdict
    snapshot: bytes
    snapshot_digest: str
    canonical: bytes

    @property
    def score(self) -> int:
        return self.verdict.score

    @property
    def outcome(self) -> Outcome:
        return self.verdict.outcome

    @property
    def digest(self) -> str:
        return digest_of(self.canonical)

    @property
    def next_change_at(self) -> datetime | None:
        hour = self.verdict.next_change_hour
        return None if hour is None else _EPOCH + timedelta(hours=hour)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the features alone decide: `stopped` by a gate or a disqualifier, or else the points of fit."""

    stopped: Verdict | None
    fit: tuple[Contribution, ...]
    points: int
    bar: Bar
    """What the lead must reach: that of its line, or the agreement's own."""


class Judge:
    """An agreement made ready to judge many leads; compiled once for each digest."""

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement
        self._bar = Bar(line="", when=None, threshold=agreement.threshold, matrix=agreement.matrix)
        self._bars = {"": self._bar, **{bar.line: bar for bar in agreement.lines}}
        criteria = [criterion.when for criterion in (*agreement.gates, *agreement.disqualifiers)]
        lines = [bar.when for bar in agreement.lines if bar.when is not None]
        self._conditions = Conditions([*lines, *criteria, *(rule.when for rule in agreement.fit)])
        self._split = any(rule.lines for rule in agreement.engagement)
        self._fit = [Contribution(rule.id, "fit", rule.points, 1) for rule in agreement.fit]
        self._touch_conditions = Conditions([rule.when for rule in agreement.engagement if rule.when is not None])
        self._courses = [course(rule.points, rule.half_life_hours, rule.window_hours) for rule in agreement.engagement]
        self._matches: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}
        self._named = sorted(self._conditions.named - {"answers"})
        self._answers_named = "answers" in self._conditions.named
        self._standings: dict[tuple[object, ...], Standing] = {}

    def verdict(self, snapshot: Snapshot, *, hour: int) -> Verdict:
        """Return what the agreement says of `snapshot` in that hour (whole hours since 1970)."""
        # 1. What the lead is: gates, disqualifiers, fit.
        standing = self._standing(snapshot.profile.features)
        if standing.stopped is not None:
            return standing.stopped
        contributions, score, next_change = standing.fit, standing.points, None
        bar = standing.bar

        # 2. What it did, faded by age, each rule capped and then the group.
        if snapshot.touches:
            engagement, next_change = self._engagement(snapshot.touches, hour, line=bar.line)
            self._cap_group("engagement", engagement)
            contributions += tuple(engagement)
            score += sum(c.points for c in engagement)

        # 3. The bar of its line.
        cell = "" if bar.matrix is None else bar.matrix.cell(standing.points, score - standing.points)
        passes = score >= bar.threshold if bar.matrix is None else cell in bar.matrix.hand_over
        outcome = Outcome.QUALIFIED if passes else Outcome.BELOW_THRESHOLD
        return Verdict(outcome, "", contributions, score, next_change, bar.line, cell)

    def threshold_of(self, line: str) -> int:
        """Return the threshold that a lead of `line` must reach; 0 where a matrix decides."""
        return self._bars[line].threshold

    def _standing(self, features: Mapping[str, FeatureValue]) -> Standing:
        """Return what the features say: those that the conditions name decide, so for the same ones it is kept."""
        key: tuple[object, ...] = tuple(map(features.get, self._named))
        if self._answers_named:
            answers = features.get("answers")
            key += tuple(sorted(answers.items())) if isinstance(answers, dict) else ()
        standing = self._standings.get(key)
        if standing is None:
            standing = self._judged(features)
            if len(self._standings) >= _MATCHES_KEPT:
                self._standings.clear()
            if len(repr(key)) <= _LONGEST_KEPT:
                self._standings[key] = standing
        return standing

    def _judged(self, features: Mapping[str, FeatureValue]) -> Standing:
        agreement = self.agreement
        answers = self._conditions.answers(lead_variables(features))

        # 1. Its line: the first whose condition holds.
        count = len(agreement.lines)
        bar = next(compress(agreement.lines, answers[:count]), self._bar)
        answers = answers[count:]

        # 2. Gates, then disqualifiers, in the order of the document: the first one that stops names itself.
        gates, disqualifiers = len(agreement.gates), len(agreement.disqualifiers)
        for gate, admits in zip(agreement.gates, answers[:gates], strict=True):
            if not admits and _concerns(gate.lines, bar.line):
                return Standing(Verdict(Outcome.GATED, gate.id, (), 0, None, bar.line), (), 0, bar)
        met = answers[gates : gates + disqualifiers]
        for disqualifier, stops in zip(agreement.disqualifiers, met, strict=True):
            if stops and _concerns(disqualifier.lines, bar.line):
                return Standing(Verdict(Outcome.DISQUALIFIED, disqualifier.id, (), 0, None, bar.line), (), 0, bar)

        # 3. Fit, capped.
        given = [
            holds and _concerns(rule.lines, bar.line)
            for rule, holds in zip(agreement.fit, answers[gates + disqualifiers :], strict=True)
        ]
        fit = list(compress(self._fit, given))
        self._cap_group("fit", fit)
        return Standing(None, tuple(fit), sum(c.points for c in fit), bar)

    def _engagement(self, touches: Sequence[Touch], hour: int, *, line: str) -> tuple[list[Contribution], int | None]:
        rules = self.agreement.engagement
        points, occurrences = [0] * len(rules), [0] * len(rules)
        next_change: int | None = None
        for touch in touches:
            age = hour - touch.hour
            if age < 0:  # dated in the future by a source's clock: counts as of now
                age = 0
            for index in self._rules_met(touch):
                if self._split and not _concerns(rules[index].lines, line):
                    continue
                values, changes = self._courses[index]
                if age >= len(values):
                    continue
                value = values[age]
                if value:
                    points[index] += value
                    occurrences[index] += 1
                if changes[age]:
                    at = touch.hour + changes[age]
                    if next_change is None or at < next_change:
                        next_change = at
        contributions = []
        for rule, total, count in zip(rules, points, occurrences, strict=True):
            if total == 0:
                continue
            contributions.append(Contribution(rule.id, "engagement", total, count))
            if rule.cap is not None and abs(total) > rule.cap:
                over = total - rule.cap if total > 0 else total + rule.cap
                contributions.append(Contribution(rule.id, "cap", -over, 1))
        return contributions, next_change

    def _rules_met(self, touch: Touch) -> tuple[int, ...]:
        """Return the rules that count this touch: the same fields meet the same rules, so the answer is kept."""
        key = tuple(sorted(touch.fields.items()))
        met = self._matches.get(key)
        if met is None:
            answers = iter(self._touch_conditions.answers(touch_variables(touch.fields)))
            holds = [True if rule.when is None else next(answers) for rule in self.agreement.engagement]
            met = tuple(
                index
                for index, rule in enumerate(self.agreement.engagement)
                if holds[index] and rule.touch in (None, touch.kind)
            )
            if len(self._matches) >= _MATCHES_KEPT:
                self._matches.clear()
            self._matches[key] = met
        return met

    def _cap_group(self, group: str, contributions: list[Contribution]) -> None:
        cap = self.agreement.caps.get(group)
        total = sum(c.points for c in contributions)
        if cap is not None and total > cap:
            contributions.append(Contribution(group, "cap", cap - total, 1))


def _concerns(lines: frozenset[str], line: str) -> bool:
    return not lines or line in lines


def snapshot_of(profile: Profile, touches: Sequence[Touch], *, agreement: Agreement, at: datetime) -> Snapshot:
    """Return what a decision at `at` looks at: touches in the longest window, oldest first, however they came."""
    if not touches:
        return Snapshot(profile, ())
    oldest = hour_of(at) - agreement.longest_window_hours
    relevant = sorted((t for t in touches if t.hour > oldest), key=lambda t: (t.hour, t.id))
    return Snapshot(profile, tuple(relevant[-MAX_TOUCHES:]))


def decide(lead_id: str, snapshot: Snapshot, *, cycle: int, judge: Judge, stamp: Stamp, at: datetime) -> Decision:
    """Return the decision on `snapshot` at `at`; no clock, no database, no randomness."""
    seen = snapshot.canonical
    return _decision(lead_id, seen, snapshot, cycle=cycle, judge=judge, stamp=stamp, at=at)


def decide_again(canonical: bytes, seen: bytes, *, judge: Judge) -> Decision:
    """Return the decision that the stored snapshot gives today, to be compared with the stored bytes.

    Raises ValueError where the decision was made by an evaluator that is not here.
    """
    stored: dict[str, Any] = json.loads(canonical)
    if stored["evaluator_version"] != EVALUATOR_VERSION:
        raise ValueError(f"evaluator {stored['evaluator_version']} is not part of this version")
    taken = json.loads(seen)
    snapshot = Snapshot(
        profile=profile_of(taken["features"]),
        touches=tuple(Touch(id=t["id"], hour=t["hour"], fields=t["fields"]) for t in taken["touches"]),
    )
    stamp = Stamp(
        agreement_id=judge.agreement.id,
        version=stored["agreement"]["version"],
        digest=judge.agreement.digest,
        activation_seq=stored["agreement"]["activation_seq"],
    )
    at = datetime.fromisoformat(stored["at"])
    return _decision(
        stored["lead_id"],
        snapshot.canonical,
        snapshot,
        cycle=stored["cycle"],
        judge=judge,
        stamp=stamp,
        at=at,
    )


def hour_of(at: datetime) -> int:
    """Return whole hours since 1970-01-01T00:00Z; touches and decisions of one hour have the age 0."""
    since = at - _EPOCH
    return since.days * 24 + since.seconds // 3_600


def _decision(
    lead_id: str, seen: bytes, snapshot: Snapshot, *, cycle: int, judge: Judge, stamp: Stamp, at: datetime
) -> Decision:
    verdict = judge.verdict(snapshot, hour=hour_of(at))
    snapshot_digest = digest_of(seen)
    threshold = judge.threshold_of(verdict.line)
    # Left out where there is none: decisions under an agreement without lines and matrix keep their bytes.
    cell = f'"cell":"{verdict.cell}",' if verdict.cell else ""
    line = f'"line":"{verdict.line}",' if verdict.line else ""
    # Written part by part, in canonical order: most of a decision is text that other decisions have too.
    canonical = (
        f'{{{_stamp_text(stamp, at)},{cell}"contributions":[{_contributions_text(verdict.contributions)}],'
        f'"cycle":{cycle},"evaluator_version":{EVALUATOR_VERSION},"lead_id":{quick_canonical_text(lead_id)},{line}'
        f'"outcome":"{verdict.outcome.value}","score":{verdict.score},"snapshot":"{snapshot_digest}",'
        f'"stopped_by":{quick_canonical_text(verdict.stopped_by)},"threshold":{threshold}}}'
    ).encode()
    return Decision(
        lead_id=lead_id,
        cycle=cycle,
        at=at,
        stamp=stamp,
        threshold=threshold,
        verdict=verdict,
        snapshot=seen,
        snapshot_digest=snapshot_digest,
        canonical=canonical,
    )


@lru_cache(maxsize=16)
def _stamp_text(stamp: Stamp, at: datetime) -> str:
    under = {
        "activation_seq": stamp.activation_seq,
        "digest": stamp.digest,
        "id": stamp.agreement_id,
        "version": stamp.version,
    }
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f'"agreement":{quick_canonical_text(under)},"at":"{moment}"'


@lru_cache(maxsize=4096)
def _contributions_text(found: tuple[Contribution, ...]) -> str:
    parts = [{"group": c.group, "occurrences": c.occurrences, "points": c.points, "rule": c.rule_id} for c in found]
    return quick_canonical_text(parts)[1:-1]
