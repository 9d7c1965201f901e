"""What holds for every agreement, every lead and every hour."""

import json
from datetime import datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agreement_strategies import AT, agreements, decided, features, moments, touches
from baton_agreement.agreement import Agreement, agreement_from_canonical
from baton_agreement.canonical import canonical_bytes, digest_of
from baton_agreement.features import Features, profile_of
from baton_agreement.scoring import (
    Judge,
    Outcome,
    Stamp,
    Touch,
    decide,
    decide_again,
    hour_of,
    snapshot_of,
)


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
