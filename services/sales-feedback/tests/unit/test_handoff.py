from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sales_feedback.handoffs import handoff as machine
from sales_feedback.handoffs.handoff import (
    POSSIBLE,
    STEPS,
    Action,
    Handoff,
    Means,
    Moved,
    NotPossible,
    Stamp,
    State,
    UnknownReason,
    follow_deals,
    path,
)
from sales_feedback.handoffs.rotation import Turn, take_turns

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
OFFERED = Handoff(
    id="h",
    lead_id="lead",
    cycle=1,
    state=State.OFFERED,
    sequence=1,
    stamp=Stamp("b2b", 1, "ab", 1),
    decision_id="d",
    score=1,
    threshold=1,
    offered_at=AT,
    reasons={"too_small": "fit"},
    rep_id="olga",
)

ACTS = {
    Action.ACCEPT: lambda h: machine.accept(h, rep_id="olga", at=AT),
    Action.REJECT: lambda h: machine.reject(h, "too_small", at=AT),
    Action.RECYCLE: lambda h: machine.recycle(h, "too_small", at=AT, return_at=None),
    Action.CONTACTS: lambda h: machine.contact(h, Means.CALL, reached=True, at=AT),
}


@given(
    st.lists(
        st.one_of(
            st.sampled_from(list(ACTS)),
            st.lists(st.sampled_from([State.OPPORTUNITY, State.WON, State.LOST]), min_size=1, max_size=3),
        ),
        max_size=12,
    )
)
def test_whatever_is_asked_every_step_is_one_of_the_machine_and_sequences_have_no_gap(acts: list) -> None:
    handoff = OFFERED
    for act in acts:
        before = handoff
        if isinstance(act, Action):
            if act not in POSSIBLE[handoff.state]:
                with pytest.raises(NotPossible):
                    ACTS[act](handoff)
                continue
            moved: Moved = ACTS[act](handoff)
        else:
            moved = follow_deals(handoff, act, at=AT)
        handoff = moved.handoff
        state, sequence = before.state, before.sequence
        for change in moved.changes:
            assert change.previous == state
            assert change.handoff.state in STEPS[state]
            assert change.handoff.sequence == sequence + 1
            state, sequence = change.handoff.state, change.handoff.sequence
        assert state == handoff.state
        if moved.feedback is not None:
            assert moved.feedback.handoff.sequence == handoff.sequence == before.sequence + 1


def test_a_deal_won_on_an_offered_handoff_proves_every_step_before() -> None:
    moved = follow_deals(OFFERED, [State.WON], at=AT)
    assert [c.handoff.state for c in moved.changes] == [State.ACCEPTED, State.OPPORTUNITY, State.WON]
    assert moved.handoff.accepted_at == AT


def test_one_won_deal_wins_and_an_open_one_holds_off_the_loss() -> None:
    assert follow_deals(OFFERED, [State.LOST, State.WON, State.OPPORTUNITY], at=AT).handoff.state is State.WON
    assert follow_deals(OFFERED, [State.LOST, State.OPPORTUNITY], at=AT).handoff.state is State.OPPORTUNITY
    assert follow_deals(OFFERED, [State.LOST, State.LOST], at=AT).handoff.state is State.LOST


def test_a_won_deal_that_is_lost_after_all_passes_through_opportunity() -> None:
    assert path(State.WON, State.LOST) == (State.OPPORTUNITY, State.LOST)


def test_a_rejected_handoff_stays_rejected_whatever_its_deals_say() -> None:
    rejected = machine.reject(OFFERED, "too_small", at=AT).handoff
    assert follow_deals(rejected, [State.WON], at=AT) == Moved(rejected)


def test_only_reasons_of_the_agreement_count() -> None:
    with pytest.raises(UnknownReason) as refused:
        machine.reject(OFFERED, "ugly", at=AT)
    assert refused.value.known == ["too_small"]


def test_a_contact_logged_late_but_dated_earlier_becomes_the_first_response() -> None:
    accepted = machine.accept(OFFERED, rep_id="olga", at=AT).handoff
    first = machine.contact(accepted, Means.CALL, reached=True, at=AT + timedelta(hours=3))
    second = machine.contact(first.handoff, Means.EMAIL, reached=False, at=AT + timedelta(hours=1))
    third = machine.contact(second.handoff, Means.EMAIL, reached=False, at=AT + timedelta(hours=2))
    assert [m.feedback.first_response for m in (first, second, third) if m.feedback] == [True, True, False]
    assert third.handoff.first_response_at == AT + timedelta(hours=1)
    assert third.handoff.attempts == 3


@given(reps=st.integers(1, 7), batches=st.lists(st.integers(0, 9), max_size=20), last=st.integers(0, 9))
def test_turns_are_always_fair_however_the_handoffs_are_batched(reps: int, batches: list[int], last: int) -> None:
    circle = [Turn(position, f"rep-{position}") for position in range(1, reps + 1)]
    served: list[str] = []
    for count in batches:
        got, last = take_turns(circle, last=last, count=count)
        served += got
    counts = [served.count(turn.rep_id) for turn in circle]
    assert sum(counts) == sum(batches)
    assert max(counts) - min(counts) <= 1


def test_a_rep_who_left_does_not_stop_the_round() -> None:
    assert take_turns([Turn(1, "a"), Turn(3, "c")], last=2, count=3) == (["c", "a", "c"], 3)
    assert take_turns([], last=2, count=3) == ([], 2)
