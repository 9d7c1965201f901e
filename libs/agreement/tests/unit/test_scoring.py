import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from baton_agreement.agreement import Agreement, agreement_from_canonical, read_agreement
from baton_agreement.canonical import canonical_bytes, digest_of
from baton_agreement.features import Features, profile_of
from baton_agreement.scoring import (
    Decision,
    Judge,
    Outcome,
    Stamp,
    Touch,
    decide,
    decide_again,
    hour_of,
    snapshot_of,
)

from .strategies import AT, agreements, features, moments, touches

EXAMPLE = read_agreement((Path(__file__).parents[2] / "examples/agreement.yaml").read_bytes(), "yaml")


def decided(
    agreement: Agreement, known: Features, seen: Sequence[Touch], *, at: datetime = AT, judge: Judge | None = None
) -> Decision:
    stamp = Stamp(agreement.id, 3, agreement.digest, 7)
    snapshot = snapshot_of(profile_of(known), seen, agreement=agreement, at=at)
    return decide("lead-1", snapshot, cycle=1, judge=judge or Judge(agreement), stamp=stamp, at=at)


@given(agreements(), features, touches, moments)
def test_the_contributions_sum_exactly_to_the_score(
    agreement: Agreement, known: Features, seen: list[Touch], at: datetime
) -> None:
    decision = decided(agreement, known, seen, at=at)
    assert decision.score == sum(c.points for c in decision.verdict.contributions)
    if decision.outcome in (Outcome.GATED, Outcome.DISQUALIFIED):
        assert decision.score == 0
        assert decision.verdict.stopped_by
    elif not decision.verdict.cell:
        assert (decision.outcome is Outcome.QUALIFIED) == (decision.score >= decision.threshold)


@given(agreements(), features, touches, moments, st.text(st.characters(exclude_categories=["Cs"])))
def test_a_decision_is_written_in_its_canonical_form(
    agreement: Agreement, known: Features, seen: list[Touch], at: datetime, lead_id: str
) -> None:
    stamp = Stamp(agreement.id, 3, agreement.digest, 7)
    snapshot = snapshot_of(profile_of(known), seen, agreement=agreement, at=at)
    decision = decide(lead_id, snapshot, cycle=1, judge=Judge(agreement), stamp=stamp, at=at)
    assert decision.canonical == canonical_bytes(json.loads(decision.canonical))
    assert json.loads(decision.canonical)["lead_id"] == lead_id


@given(agreements(), st.lists(features, min_size=1, max_size=4), touches, moments)
def test_a_judge_decides_alike_whomever_it_has_seen_before(
    agreement: Agreement, leads: list[Features], seen: list[Touch], at: datetime
) -> None:
    stamp = Stamp(agreement.id, 3, agreement.digest, 7)
    experienced = Judge(agreement)
    alike: list[Features] = [{**known, "answers": {"q": answer}} for known in leads for answer in ("yes", "no")]
    for known in [*leads, *alike]:
        snapshot = snapshot_of(profile_of(known), seen, agreement=agreement, at=at)
        made = decide("lead-1", snapshot, cycle=1, judge=experienced, stamp=stamp, at=at)
        fresh = decided(agreement, known, seen, at=at)
        assert made.canonical == fresh.canonical
        assert made.verdict == fresh.verdict


@given(agreements(), features, touches, moments)
def test_the_same_input_gives_the_same_bytes_when_judged_again(
    agreement: Agreement, known: Features, seen: list[Touch], at: datetime
) -> None:
    decision = decided(agreement, known, seen, at=at)
    elsewhere = Judge(agreement_from_canonical(agreement.document))
    again = decide_again(decision.canonical, decision.snapshot, judge=elsewhere)
    assert again.canonical == decision.canonical
    assert again.snapshot == decision.snapshot
    assert again.verdict == decision.verdict


@given(agreements(), features, touches, st.randoms())
def test_the_order_in_which_touches_came_does_not_matter(
    agreement: Agreement, known: Features, seen: list[Touch], random: Random
) -> None:
    shuffled = random.sample(seen, len(seen))
    assert decided(agreement, known, shuffled).canonical == decided(agreement, known, seen).canonical


@given(agreements(), features, touches)
def test_nothing_changes_before_the_hour_it_says(agreement: Agreement, known: Features, seen: list[Touch]) -> None:
    judge = Judge(agreement)
    decision = decided(agreement, known, seen, judge=judge)
    next_change = decision.verdict.next_change_hour
    until = hour_of(AT) + 30 if next_change is None else next_change
    for hour in range(hour_of(AT), min(until, hour_of(AT) + 60)):
        later = AT + timedelta(hours=hour - hour_of(AT))
        again = decided(agreement, known, seen, at=later, judge=judge)
        assert again.verdict.contributions == decision.verdict.contributions
    if next_change is not None:
        assert next_change > hour_of(AT)


@given(agreements(), features, touches)
def test_what_was_judged_has_canonical_bytes(agreement: Agreement, known: Features, seen: list[Touch]) -> None:
    decision = decided(agreement, known, seen)
    for data in (decision.canonical, decision.snapshot):
        assert canonical_bytes(json.loads(data)) == data
    assert decision.snapshot_digest == digest_of(decision.snapshot)


def touch(kind: str, *, age: int = 0, id: str = "t", **fields: str) -> Touch:
    return Touch(id=id, hour=hour_of(AT) - age, fields={"kind": kind, **fields})


REACHABLE: dict[str, Any] = {"has_email": True, "email_kind": "business", "country": "DE"}


def points(decision: Decision) -> dict[tuple[str, str], int]:
    return {(c.group, c.rule_id): c.points for c in decision.verdict.contributions}


def test_a_gate_that_is_not_met_stops_the_lead_and_names_itself() -> None:
    decision = decided(EXAMPLE, {}, [touch("form")])
    assert (decision.outcome, decision.verdict.stopped_by, decision.score) == (
        Outcome.GATED,
        "reachable-gate",
        0,
    )


def test_a_disqualifier_names_itself() -> None:
    decision = decided(EXAMPLE, {**REACHABLE, "answers": {"intent": "job"}}, [])
    assert (decision.outcome, decision.verdict.stopped_by) == (Outcome.DISQUALIFIED, "job-seeker")


def test_a_rule_cap_is_a_negative_contribution_of_its_own() -> None:
    seen = [touch("event", id=f"t{i}") for i in range(3)]
    assert points(decided(EXAMPLE, REACHABLE, seen))[("engagement", "met-us")] == 45
    assert points(decided(EXAMPLE, REACHABLE, seen))[("cap", "met-us")] == -15


def test_a_group_cap_comes_after_the_caps_of_its_rules() -> None:
    seen = [touch("event", id=f"t{i}") for i in range(3)] + [
        touch("form", id=f"f{i}", form_id="demo") for i in range(3)
    ]
    decision = decided(EXAMPLE, REACHABLE, seen)
    assert points(decision)[("cap", "engagement")] == -(30 + 30 + 20 - 50)
    assert decision.score == 15 + 50


def test_engagement_fades_by_half_each_half_life_and_ends_with_the_window() -> None:
    by_age = {
        age: points(decided(EXAMPLE, REACHABLE, [touch("visit", age=age)])).get(("engagement", "came-back"), 0)
        for age in (0, 72, 335, 336)
    }
    assert by_age == {0: 2, 72: 1, 335: 0, 336: 0}


def test_a_touch_dated_in_the_future_counts_as_of_now() -> None:
    assert (
        decided(EXAMPLE, REACHABLE, [touch("form", age=-5)]).score == decided(EXAMPLE, REACHABLE, [touch("form")]).score
    )


def test_a_robot_with_thousands_of_touches_is_judged_by_the_newest() -> None:
    seen = [touch("visit", age=i // 20, id=f"t{i:05}") for i in range(5_000)]
    snapshot = snapshot_of(profile_of(REACHABLE), seen, agreement=EXAMPLE, at=AT)
    assert len(snapshot.touches) == 500
    assert min(t.hour for t in snapshot.touches) == hour_of(AT) - 24


def test_another_agreement_gives_another_decision_but_the_stored_one_stays_provable() -> None:
    decision = decided(EXAMPLE, REACHABLE, [touch("form")])
    stricter = replace(EXAMPLE, threshold=1_000, digest="0" * 64)
    assert decided(stricter, REACHABLE, [touch("form")]).canonical != decision.canonical
    assert decide_again(decision.canonical, decision.snapshot, judge=Judge(EXAMPLE)).canonical == decision.canonical
    assert decide_again(decision.canonical, decision.snapshot, judge=Judge(stricter)).canonical != decision.canonical
