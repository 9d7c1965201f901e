"""Product lines, segments and the matrix: which bar a lead must reach, and what the decision keeps of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from agreement_strategies import AT, WORDS, agreements, features, touches
from baton_agreement.agreement import Agreement, agreement_from_canonical, read_agreement
from baton_agreement.document import DocumentRefused
from baton_agreement.features import Features, Touch, profile_of
from baton_agreement.scoring import Decision, Judge, Outcome, Stamp, decide, decide_again, snapshot_of

SIGNED = (Path(__file__).parent / "signed.json").read_bytes()


def document(**more: Any) -> dict[str, Any]:
    return {
        "format": "baton.agreement/1",
        "id": "lines",
        "title": WORDS,
        "parties": [{"department": d, "name": d} for d in ("marketing", "sales")],
        "fit": [{"id": "large", "points": 30, "when": "employees >= 250", **WORDS}],
        "engagement": [{"id": "form", "touch": "form", "points": 20, "window_hours": 100, **WORDS}],
        "rejection_reasons": [{"code": "no", "family": "fit", **WORDS}],
        "sla": {"accept_within": "4h", "first_response_within": "1d", "attempts": 3},
        **more,
    }


def agreement(**more: Any) -> Agreement:
    return read_agreement(json.dumps(document(**more)).encode(), "json")


def flaws(**more: Any) -> dict[str, str]:
    with pytest.raises(DocumentRefused) as error:
        agreement(**more)
    return {flaw.pointer: flaw.detail for flaw in error.value.flaws}


def decided(judged: Agreement, known: Features, seen: list[Touch] | None = None) -> Decision:
    stamp = Stamp(judged.id, 1, judged.digest, 1)
    snapshot = snapshot_of(profile_of(known), seen or [], agreement=judged, at=AT)
    return decide("lead", snapshot, cycle=1, judge=Judge(judged), stamp=stamp, at=AT)


MATRIX = {"fit": [30, 20, 10], "engagement": [20, 10, 5], "hand_over": ["A1", "B1"]}
HIGH = {"id": "high", "when": 'country == "DE"', "threshold": 31, **WORDS}


def sent_form() -> Touch:
    return Touch(id="t", hour=int(AT.timestamp()) // 3600, fields={"kind": "form"})


def test_the_matrix_hands_over_by_cell_and_not_by_sum() -> None:
    judged = agreement(matrix=MATRIX)
    both, fit_only = decided(judged, {"employees": 250}, [sent_form()]), decided(judged, {"employees": 250})
    assert (both.verdict.cell, both.outcome) == ("A1", Outcome.QUALIFIED)
    assert (fit_only.verdict.cell, fit_only.outcome) == ("A4", Outcome.BELOW_THRESHOLD)
    assert json.loads(both.canonical)["cell"] == "A1"


def test_the_first_line_whose_condition_holds_sets_the_threshold() -> None:
    judged = agreement(threshold=30, lines=[HIGH, {**HIGH, "id": "later", "threshold": 1}])
    inside, outside = (decided(judged, {"employees": 250, "country": c}) for c in ("DE", "FR"))
    assert (inside.verdict.line, inside.threshold, inside.outcome) == ("high", 31, Outcome.BELOW_THRESHOLD)
    assert (outside.verdict.line, outside.threshold, outside.outcome) == ("", 30, Outcome.QUALIFIED)
    assert json.loads(inside.canonical)["line"] == "high"
    assert "line" not in json.loads(outside.canonical)


@pytest.mark.parametrize("section", ["gates", "disqualifiers", "fit", "engagement"])
def test_a_rule_of_a_line_concerns_only_the_leads_of_that_line(section: str) -> None:
    rule: dict[str, Any] = {"id": "only", "lines": ["high"], **WORDS}
    rule |= {"gates": {"when": "false"}, "disqualifiers": {"when": "true"}, "fit": {"when": "true", "points": 7}}.get(
        section, {"touch": "any", "points": 7, "window_hours": 9}
    )
    rules = [*document().get(section, []), rule]
    judged = agreement(threshold=30, lines=[HIGH], **{section: rules})
    inside, outside = (decided(judged, {"country": c}, [sent_form()]) for c in ("DE", "FR"))

    def names(decision: Decision) -> set[str]:
        return {c.rule_id for c in decision.verdict.contributions} | {decision.verdict.stopped_by}

    assert "only" in names(inside)
    assert "only" not in names(outside)


@given(agreements(), features, touches)
def test_the_cell_is_that_of_the_contributions_and_decides(
    judged: Agreement, known: Features, seen: list[Touch]
) -> None:
    decision = decided(judged, known, seen)
    if decision.outcome in (Outcome.GATED, Outcome.DISQUALIFIED):
        return
    bars = {"": judged.matrix} | {bar.line: bar.matrix for bar in judged.lines}
    matrix = bars[decision.verdict.line]
    assert decision.score == sum(c.points for c in decision.verdict.contributions)
    if matrix is None:
        assert (decision.outcome is Outcome.QUALIFIED) == (decision.score >= decision.threshold)
        return
    of_fit = {rule.id for rule in judged.fit} | {"fit"}
    fit = sum(c.points for c in decision.verdict.contributions if c.rule_id in of_fit)
    assert decision.verdict.cell == matrix.cell(fit, decision.score - fit)
    assert (decision.outcome is Outcome.QUALIFIED) == (decision.verdict.cell in matrix.hand_over)


@given(agreements(), features, touches)
def test_judged_again_gives_the_same_bytes(judged: Agreement, known: Features, seen: list[Touch]) -> None:
    decision = decided(judged, known, seen)
    again = decide_again(decision.canonical, decision.snapshot, judge=Judge(agreement_from_canonical(judged.document)))
    assert again.canonical == decision.canonical


def test_what_was_signed_before_there_were_lines_keeps_its_bytes_and_its_decisions() -> None:
    judged = agreement_from_canonical(SIGNED)
    assert judged.digest == "e81f01c03508b681633924b3092fcf9a624ccaa1806c1fc1de859af5ac6ac2bc"
    decision = decided(judged, {"has_email": True, "email_kind": "business", "employees": 250}, [sent_form()])
    assert decision.digest == "dec68ded0c2a19fa675dba5e077dc9d4b60343f3e8a2571bd8363d12da8a0ca8"


def test_a_bar_is_a_threshold_or_a_matrix() -> None:
    words = "needs either a threshold or a matrix, and not both"
    assert flaws() == {"": words}
    assert flaws(threshold=3, matrix=MATRIX) == {"": words}
    assert flaws(threshold=3, lines=[{"id": "a", "when": "true", **WORDS}]) == {"/lines/0": words}


def test_floors_fall() -> None:
    assert set(flaws(matrix={**MATRIX, "fit": [10, 20, 30]})) == {"/matrix/fit"}


def test_a_stage_without_an_owner_and_one_with_two_are_refused_with_line_and_path() -> None:
    text = json.dumps(document(threshold=3))[:-1].encode()
    text += b""",
 "stages": [
  {"id": "a", "en": "A", "ru": "A"},
  {"id": "b", "en": "B", "ru": "B", "owner": ["marketing", "sales"]}],
 "duties": [{"id": "c", "en": "C", "ru": "C", "owner": null}]}"""
    with pytest.raises(DocumentRefused) as error:
        read_agreement(text, "yaml")
    found = {flaw.pointer: (flaw.line, flaw.detail.split(";")[0]) for flaw in error.value.flaws}
    assert found == {
        "/stages/0": (3, "has no owner"),
        "/stages/1/owner": (4, "has more than one owner"),
        "/duties/0/owner": (5, "has no owner"),
    }


def test_a_stage_that_stands_twice_is_refused_as_it_could_have_two_owners() -> None:
    stages = [{"id": "a", "owner": owner, **WORDS} for owner in ("marketing", "sales")]
    assert set(flaws(threshold=3, stages=stages)) == {"/stages/1/id"}


def test_conditions_that_others_run_are_checked_when_saved() -> None:
    found = flaws(
        threshold=3,
        routing=[{"id": "r", "to": "team", "when": "nobody", **WORDS}],
        decision_rules=[{"id": "d", "about": "lead", "when": "employees", "notify": ["head"], **WORDS}],
    )
    assert set(found) == {"/routing/0/when", "/decision_rules/0/when"}
