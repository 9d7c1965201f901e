"""The models against the reference values, and the facts that hold for every journey."""

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

from attribution.models import MODELS, Parameters, Touch, apportion, journey_before

DATA = Path(__file__).parent.parent / "data"
TINY: dict[str, Any] = json.loads((DATA / "tiny_cases.json").read_text())
SYNTH: dict[str, Any] = json.loads((DATA / "synth2k_expected.json").read_text())
CLOSED = datetime(2026, 6, 1, tzinfo=UTC)

# name of the expected model -> ours, half-life in hours
EXPECTED = {
    "first": ("first", 168),
    "last": ("last", 168),
    "last_non_direct": ("last_non_direct", 168),
    "linear": ("linear", 168),
    "position_40_20_40": ("position", 168),
    "time_decay_7d": ("time_decay", 168),
    "time_decay_30d": ("time_decay", 720),
}


def path(*channels: str) -> tuple[Touch, ...]:
    start = CLOSED - timedelta(days=30)
    return tuple(Touch(f"{n:04}", start + timedelta(hours=n), c, "") for n, c in enumerate(channels))


def fractions(weights: list[int]) -> list[Fraction]:
    return [Fraction(weight, sum(weights)) for weight in weights]


@pytest.mark.parametrize("case", [c for c in TINY["position_weights"] if c["first"] == c["last"] == 0.4])
def test_position_gives_the_published_weights(case: dict[str, Any]) -> None:
    weights = MODELS["position"](path(*["a"] * case["length"]), CLOSED, Parameters())
    assert [float(f) for f in fractions(weights)] == pytest.approx(case["weights"], abs=1e-9)


@pytest.mark.parametrize("case", TINY["time_decay"])
def test_time_decay_gives_the_published_weights(case: dict[str, Any]) -> None:
    touches = [Touch(str(n), CLOSED - timedelta(hours=age), "a", "") for n, age in enumerate(case["ages_h"])]
    weights = MODELS["time_decay"](touches, CLOSED, Parameters(half_life_hours=case["half_life_h"]))
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
    weights = MODELS["last_non_direct"](journey, CLOSED, Parameters())
    assert [t.channel for t, weight in zip(journey, weights, strict=True) if weight] == [case["credited"]]


def test_linear_gives_the_published_conversions() -> None:
    case = TINY["shapley_one_journey"]
    journey = path(*case["path"])
    conversions: dict[str, Fraction] = defaultdict(Fraction)
    for touch, share in zip(journey, fractions(MODELS["linear"](journey, CLOSED, Parameters())), strict=True):
        conversions[touch.channel] += share * case["conversions"]
    assert conversions == {channel: Fraction(x) for channel, x in case["linear"].items()}


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


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
        weights = MODELS[model](journey, closed_at, parameters)
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
    weights = MODELS[model](journey, CLOSED, Parameters(half_life_hours=half_life))
    credits = apportion(amount, weights)
    assert sum(credits) == amount
    for credit, weight in zip(credits, weights, strict=True):
        assert abs(credit - Fraction(amount * weight, sum(weights))) < 1
        assert weight or not credit


@given(touch=touches, amount=st.integers(0, 10**9))
def test_a_journey_of_one_touch_gives_it_everything_in_every_model(touch: Touch, amount: int) -> None:
    for weigh in MODELS.values():
        assert apportion(amount, weigh((touch,), CLOSED, Parameters())) == [amount]


@given(journey=journeys, amount=st.integers(0, 10**9))
def test_time_decay_becomes_linear_with_an_endless_half_life(journey: tuple[Touch, ...], amount: int) -> None:
    endless = MODELS["time_decay"](journey, CLOSED, Parameters(half_life_hours=10**15))
    assert [float(f) for f in fractions(endless)] == pytest.approx([1 / len(journey)] * len(journey))


@given(journey=journeys)
def test_time_decay_becomes_last_with_a_short_half_life(journey: tuple[Touch, ...]) -> None:
    weights = MODELS["time_decay"](journey, CLOSED, Parameters(half_life_hours=1))
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
