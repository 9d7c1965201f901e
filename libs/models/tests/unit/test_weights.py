"""The models of one journey against the reference values, and the facts that hold for every journey."""

import csv
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton_models.weights import (
    MODELS,
    Milestones,
    Parameters,
    Touch,
    apportion,
    by_effect,
    influenced,
    journey_before,
    milestone_touch,
    shaped,
)

DATA = Path(__file__).parent.parent / "data"
TINY: dict[str, Any] = json.loads((DATA / "tiny_cases.json").read_text())
SYNTH: dict[str, Any] = json.loads((DATA / "synth2k_expected.json").read_text())
CLOSED = datetime(2026, 6, 1, tzinfo=UTC)
WON = Milestones(CLOSED)

# name of the expected model -> ours, half-life in hours
EXPECTED = {
    "first": ("first", 168),
    "last": ("last", 168),
    "last_non_direct": ("last_non_direct", 168),
    "linear": ("linear", 168),
    "position_40_20_40": ("position", 168),
    "time_decay_7d": ("time_decay", 168),
    "time_decay_30d": ("time_decay", 720),
    "u_first_leadcreate_40_40_20": ("u_shaped", 168),
    "w_shaped_30_30_30_10": ("w_shaped", 168),
    "full_path_22_5": ("full_path", 168),
    "shapley_zhao": ("shapley", 168),
}


def path(*channels: str) -> tuple[Touch, ...]:
    start = CLOSED - timedelta(days=30)
    return tuple(Touch(f"{n:04}", start + timedelta(hours=n), c, "") for n, c in enumerate(channels))


def fractions(weights: list[int]) -> list[Fraction]:
    return [Fraction(weight, sum(weights)) for weight in weights]


@pytest.mark.parametrize("case", [c for c in TINY["position_weights"] if c["first"] == c["last"] == 0.4])
def test_position_gives_the_published_weights(case: dict[str, Any]) -> None:
    weights = MODELS["position"](path(*["a"] * case["length"]), WON, Parameters())
    assert [float(f) for f in fractions(weights)] == pytest.approx(case["weights"], abs=1e-9)


@pytest.mark.parametrize("case", [c for c in TINY["position_weights"] if c["two_rule"] == "prop"])
def test_any_shape_of_two_poles_gives_the_published_weights(case: dict[str, Any]) -> None:
    poles = [(round(10 * case["first"]), 0), (round(10 * case["last"]), case["length"] - 1)]
    weights = shaped(case["length"], poles, rest=2)
    assert [float(f) for f in fractions(weights)] == pytest.approx(case["weights"], abs=1e-9)


@pytest.mark.parametrize("case", TINY["time_decay"])
def test_time_decay_gives_the_published_weights(case: dict[str, Any]) -> None:
    touches = [Touch(str(n), CLOSED - timedelta(hours=age), "a", "") for n, age in enumerate(case["ages_h"])]
    weights = MODELS["time_decay"](touches, WON, Parameters(half_life_hours=case["half_life_h"]))
    assert [float(f) for f in fractions(weights)] == pytest.approx(case["weights"], abs=1e-9)


@pytest.mark.parametrize("case", TINY["largest_remainder"])
def test_largest_remainder_gives_the_published_cents(case: dict[str, Any]) -> None:
    shares = [Fraction(weight) for weight in case["weights"]]
    scale = 1
    for share in shares:
        scale = scale * share.denominator
    assert apportion(case["amount"], [int(share * scale) for share in shares]) == case["cents"]


@pytest.mark.parametrize("case", TINY["last_non_direct"])
def test_last_non_direct_credits_the_published_channel(case: dict[str, Any]) -> None:
    journey = path(*case["path"])
    weights = MODELS["last_non_direct"](journey, WON, Parameters())
    assert [t.channel for t, weight in zip(journey, weights, strict=True) if weight] == [case["credited"]]


def test_linear_gives_the_published_conversions() -> None:
    case = TINY["shapley_one_journey"]
    journey = path(*case["path"])
    conversions: dict[str, Fraction] = defaultdict(Fraction)
    for touch, share in zip(journey, fractions(MODELS["linear"](journey, WON, Parameters())), strict=True):
        conversions[touch.channel] += share * case["conversions"]
    assert conversions == {channel: Fraction(x) for channel, x in case["linear"].items()}


def test_shapley_gives_the_published_conversions() -> None:
    case = TINY["shapley_one_journey"]
    journey = path(*case["path"])
    shares = [f * case["conversions"] for f in fractions(MODELS["shapley"](journey, WON, Parameters()))]
    ordered = {c: {str(n + 1): shares[n] for n, t in enumerate(journey) if t.channel == c} for c in case["ordered"]}
    assert ordered == case["ordered"]
    assert {c: sum(places.values()) for c, places in ordered.items()} == case["shapley_zhao"]


def test_a_milestone_belongs_to_the_last_touch_at_or_before_it() -> None:
    journey = path("a", "b", "c")
    at = [touch.occurred_at for touch in journey]
    second = timedelta(seconds=1)
    assert milestone_touch(journey, at[1]) == 1
    assert milestone_touch(journey, at[1] - second) == 0
    assert milestone_touch(journey, at[0] - second) is None
    assert milestone_touch(journey, None) is None


def test_milestones_on_one_touch_add_up_and_missing_ones_leave_their_part_to_the_rest() -> None:
    journey = path("a", "b", "c", "d")
    at = [touch.occurred_at for touch in journey]
    w = MODELS["w_shaped"]
    # Lead and opportunity on b: 30 a, 60 b, 5 c, 5 d.
    assert fractions(w(journey, Milestones(CLOSED, at[1], at[1]), Parameters())) == [
        Fraction(n, 20) for n in (6, 12, 1, 1)
    ]
    # No opportunity: 30, 30 and 10 for two, of 70.
    assert fractions(w(journey, Milestones(CLOSED, at[1]), Parameters())) == [Fraction(n, 14) for n in (6, 6, 1, 1)]
    assert (
        fractions(MODELS["full_path"](journey, Milestones(CLOSED, at[1], at[2]), Parameters())) == [Fraction(1, 4)] * 4
    )


def test_touches_of_an_excluded_channel_do_not_count() -> None:
    journey = path("direct", "email", "direct")
    counted = journey_before(journey, CLOSED, lookback_days=None, excluded=("direct",))
    assert [t.channel for t in counted] == ["email"]


def test_every_channel_of_a_journey_influenced_it() -> None:
    assert influenced(path("a", "b", "a")) == {"a", "b"}


def test_a_deal_whose_channels_have_no_effect_has_no_weights() -> None:
    assert by_effect(path("a", "b"), {"a": 0.0, "b": -1e-18}) == [0, 0]
    assert fractions(by_effect(path("a", "b", "a"), {"a": 0.5, "b": 1.0})) == [Fraction(n, 4) for n in (1, 2, 1)]


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def milestones(deal: dict[str, str]) -> Milestones:
    names = ("closed_at", "lead_created_at", "opp_created_at")
    closed, lead, opportunity = (datetime.fromisoformat(deal[n]) if deal[n] else None for n in names)
    assert closed is not None
    return Milestones(closed, lead, opportunity)


@pytest.fixture(scope="module")
def touches_by_lead() -> dict[str, list[Touch]]:
    touches: dict[str, list[Touch]] = defaultdict(list)
    for row in read("synth2k_touches.csv"):
        # The reference orders equal times by the number of the touch; ids are text here, so they are padded.
        touch = Touch(row["touch_id"].zfill(8), datetime.fromisoformat(row["ts"]), row["channel"], "")
        touches[row["lead_id"]].append(touch)
    return touches


@pytest.mark.parametrize("lookback", ["lookback_none", "lookback_90d"])
@pytest.mark.parametrize("name", EXPECTED)
def test_two_thousand_leads_give_the_reference_to_the_cent(
    touches_by_lead: dict[str, list[Touch]], name: str, lookback: str
) -> None:
    model, half_life = EXPECTED[name]
    days = 90 if lookback == "lookback_90d" else None
    parameters = Parameters(lookback_days=days, half_life_hours=half_life)
    cents: dict[str, int] = defaultdict(int)
    conversions: dict[str, float] = defaultdict(float)
    amounts: dict[str, float] = defaultdict(float)
    without_touch = 0
    for deal in read("synth2k_deals.csv"):
        if deal["status"] != "won":
            continue
        amount, closed_at = int(deal["amount_cents"]), datetime.fromisoformat(deal["closed_at"])
        journey = journey_before(touches_by_lead[deal["lead_id"]], closed_at, lookback_days=days)
        if not journey:
            without_touch += amount
            continue
        weights = MODELS[model](journey, milestones(deal), parameters)
        shares = [float(f) for f in fractions(weights)]
        for touch, share, credit in zip(journey, shares, apportion(amount, weights), strict=True):
            cents[touch.channel] += credit
            conversions[touch.channel] += share
            amounts[touch.channel] += share * amount

    expected = SYNTH[lookback]
    assert without_touch == expected["won_without_touch_cents"]
    assert dict(cents) == {c: x["amount_cents_int"] for c, x in expected["models"][name].items()}
    for channel, values in expected["models"][name].items():
        assert conversions[channel] == pytest.approx(values["conversions"], abs=1e-9, rel=1e-9)
        assert amounts[channel] == pytest.approx(values["amount_cents"], abs=1e-9, rel=1e-9)


touches = st.builds(
    Touch,
    touch_id=st.uuids().map(str),
    # Days only, so that equal times are common.
    occurred_at=st.integers(0, 400).map(lambda days: CLOSED - timedelta(days=days)),
    channel=st.sampled_from(["direct", "email", "paid_search", "organic"]),
    campaign=st.sampled_from(["", "spring", "autumn"]),
)
journeys = st.lists(touches, min_size=1, max_size=12, unique_by=lambda t: t.touch_id).map(
    lambda drawn: journey_before(drawn, CLOSED, lookback_days=None)
)


@given(
    journey=journeys,
    amount=st.integers(-(10**12), 10**12),
    model=st.sampled_from(sorted(MODELS)),
    half_life=st.integers(1, 10_000),
)
def test_the_credits_of_a_deal_always_sum_to_its_amount(
    journey: tuple[Touch, ...], amount: int, model: str, half_life: int
) -> None:
    weights = MODELS[model](journey, WON, Parameters(half_life_hours=half_life))
    credits = apportion(amount, weights)
    assert sum(credits) == amount
    for credit, weight in zip(credits, weights, strict=True):
        assert abs(credit - Fraction(amount * weight, sum(weights))) < 1
        assert weight or not credit


@given(touch=touches, amount=st.integers(0, 10**9))
def test_a_journey_of_one_touch_gives_it_everything_in_every_model(touch: Touch, amount: int) -> None:
    for weigh in MODELS.values():
        assert apportion(amount, weigh((touch,), WON, Parameters())) == [amount]


@given(journey=journeys, amount=st.integers(0, 10**9))
def test_time_decay_becomes_linear_with_an_endless_half_life(journey: tuple[Touch, ...], amount: int) -> None:
    endless = MODELS["time_decay"](journey, WON, Parameters(half_life_hours=10**15))
    assert [float(f) for f in fractions(endless)] == pytest.approx([1 / len(journey)] * len(journey))


@given(journey=journeys)
def test_time_decay_becomes_last_with_a_short_half_life(journey: tuple[Touch, ...]) -> None:
    weights = MODELS["time_decay"](journey, WON, Parameters(half_life_hours=1))
    youngest = [t for t in journey if t.occurred_at == journey[-1].occurred_at]
    share = sum(fractions(weights)[len(journey) - len(youngest) :])
    assert float(share) == pytest.approx(1, abs=1e-5)


@given(drawn=st.lists(touches, max_size=12, unique_by=lambda t: t.touch_id), seed=st.randoms())
def test_the_order_of_arrival_never_changes_the_journey(drawn: list[Touch], seed: Any) -> None:
    shuffled = list(drawn)
    seed.shuffle(shuffled)
    assert journey_before(shuffled, CLOSED, lookback_days=90) == journey_before(drawn, CLOSED, lookback_days=90)


def test_touches_after_the_close_or_before_the_lookback_do_not_count() -> None:
    times = {
        "too-old": CLOSED - timedelta(days=90, seconds=1),
        "oldest": CLOSED - timedelta(days=90),
        "at-the-close": CLOSED,
        "after": CLOSED + timedelta(microseconds=1),
    }
    touched = [Touch(name, at, "email", "") for name, at in times.items()]
    counted = journey_before(touched, CLOSED, lookback_days=90)
    assert [t.touch_id for t in counted] == ["oldest", "at-the-close"]


def test_equal_times_are_ordered_by_touch_id() -> None:
    touched = [Touch(name, CLOSED, "email", "") for name in ("b", "c", "a")]
    assert [t.touch_id for t in journey_before(touched, CLOSED, lookback_days=90)] == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", [{"lookback_days": 0}, {"half_life_hours": 0}])
def test_parameters_without_meaning_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Parameters(**wrong)
