from dataclasses import replace
from pathlib import Path
from typing import Any

from agreement_strategies import AT, decided
from baton_agreement.agreement import read_agreement
from baton_agreement.features import profile_of
from baton_agreement.scoring import (
    Decision,
    Judge,
    Outcome,
    Touch,
    decide_again,
    hour_of,
    snapshot_of,
)

EXAMPLE = read_agreement((Path(__file__).parents[2] / "examples/agreement.yaml").read_bytes(), "yaml")


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
