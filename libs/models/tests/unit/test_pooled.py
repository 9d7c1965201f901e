"""Many journeys at once: the models of one journey again, by channel, exactly."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton_models import pooled
from baton_models.figures import AmbiguousChannel, Options, every_model, names
from baton_models.journeys import NO_TOUCH, EmptyStep, Journeys, amounts, counting, split
from baton_models.journeys import pooled as pool
from baton_models.reading import read_journeys
from baton_models.weights import MODELS, Milestones, Parameters, Touch

DATA = Path(__file__).parent.parent / "data"
EXPECTED: dict[str, Any] = json.loads((DATA / "synth2k_expected.json").read_text())
READ = read_journeys((DATA / "synth2k_journeys.csv").read_bytes()).journeys
LOOKBACKS = [
    pytest.param(READ, EXPECTED["lookback_none"], id="lookback_none"),
    pytest.param(counting(READ, lookback_hours=90 * 24), EXPECTED["lookback_90d"], id="lookback_90d"),
]
CLOSED = datetime(2026, 6, 1, tzinfo=UTC)

paths = st.lists(st.sampled_from(["direct", "email", "organic", "paid"]), max_size=6)
FEW = settings(max_examples=15, deadline=None)
counts = st.integers(0, 5) | st.integers(0, 2**70)
rows = st.lists(
    st.tuples(paths, counts, counts, st.integers(-(2**70), 2**70)).map(lambda row: row if row[1] else (*row[:3], 0)),
    max_size=8,
)
ALL = ("conversions", "value")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("first", "first"),
        ("last", "last"),
        ("last_non_direct", "last_non_direct"),
        ("linear", "linear"),
        ("position", "position_40_20_40"),
        ("time_decay", "time_decay_7d"),
        ("shapley", "shapley_zhao"),
    ],
)
@pytest.mark.parametrize(("journeys", "expected"), LOOKBACKS)
def test_the_file_of_journeys_gives_the_reference(ours: str, theirs: str, journeys: Journeys, expected: Any) -> None:
    found = every_model(journeys, Options(), models=[ours])[ours]
    for channel, values in expected["models"][theirs].items():
        assert found["conversions"][channel] == pytest.approx(values["conversions"], rel=1e-9, abs=1e-9)
        assert found["value"][channel] == pytest.approx(values["amount_cents"], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("journeys", "expected"), LOOKBACKS)
def test_the_exact_shapley_value_gives_the_reference(journeys: Journeys, expected: Any) -> None:
    found = pooled.subset_shapley(journeys, journeys.conversions)
    for channel, values in expected["models"]["shapley_subset_rate"].items():
        assert float(found[channel]) / expected["journeys"] == pytest.approx(values["value"], abs=1e-9)


@pytest.mark.parametrize(("journeys", "expected"), LOOKBACKS)
def test_the_ordered_shapley_value_gives_the_reference(journeys: Journeys, expected: Any) -> None:
    found = pooled.ordered_shapley(journeys)
    for channel, values in expected["models"]["shapley_ordered_zhao"].items():
        assert found[channel][: len(values)] == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize(("journeys", "expected"), LOOKBACKS)
def test_the_probabilistic_model_gives_the_reference(journeys: Journeys, expected: Any) -> None:
    found = pooled.probabilistic(journeys)
    for channel, values in expected["models"]["shao_li_C"].items():
        assert found[channel] == pytest.approx(values["C"], abs=1e-9)


@pytest.mark.parametrize(("journeys", "expected"), LOOKBACKS)
def test_the_won_journeys_with_a_channel_are_those_it_influenced(journeys: Journeys, expected: Any) -> None:
    found = pooled.influenced(journeys, journeys.conversions)
    for channel, share in expected["coverage_limit_order_inf"].items():
        assert float(found[channel] / expected["won"]) == pytest.approx(share, abs=1e-9)


@FEW
@given(rows=rows, model=st.sampled_from(sorted(pooled.PICKS)))
def test_many_journeys_are_credited_exactly_as_each_by_itself(
    rows: list[tuple[list[str], int, int, int]], model: str
) -> None:
    journeys = pool(rows)
    assert journeys.value is not None
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for path, _, _, value in rows:
        touches = [Touch(str(n), CLOSED - timedelta(hours=9 - n), c, "") for n, c in enumerate(path)]
        weights = MODELS[model](touches, Milestones(CLOSED), Parameters()) if touches else []
        for touch, weight in zip(touches, weights, strict=True):
            expected[touch.channel] += Fraction(value * weight, sum(weights))
        if not touches:
            expected[NO_TOUCH] += value
    found = pooled.credit(journeys, model, journeys.value)
    assert found == {channel: expected[channel] for channel in {*journeys.channels, NO_TOUCH}}


@FEW
@given(rows=rows)
def test_in_every_model_the_credits_sum_to_the_total(rows: list[tuple[list[str], int, int, int]]) -> None:
    journeys = pool(rows)
    options = Options(orders=(1, 2, 3, 4))
    found = every_model(journeys, options, models=names(journeys, options))
    totals = (sum(row[1] for row in rows), sum(row[3] for row in rows))
    # The exact Shapley value is a difference of rates: its rounding is that of the journeys, not of the conversions.
    sizes = (sum(row[1] + row[2] for row in rows), sum(abs(row[3]) for row in rows))
    for model, figures in found.items():
        for what, total, size in zip(ALL, totals, sizes, strict=True):
            if model.startswith(("markov", "shapley_subset")) and what == "value":
                continue  # money of both signs: shares of a difference near nothing are as large as they like
            assert sum(map(Fraction, figures[what].values())) == pytest.approx(total, rel=1e-9, abs=1e-12 * size), model


def test_whole_numbers_beyond_floats_stay_exact() -> None:
    big = 2**53 + 1
    journeys = pool([(["a"], big, 0, 10**30 + 1), (["a", "b"], 2, 0, 2)])
    found = every_model(journeys, Options(), models=["first", "last", "linear"])
    assert found["first"]["value"] == {"a": 10**30 + 3, "b": 0}
    assert found["last"]["conversions"] == {"a": big, "b": 2}
    assert found["linear"]["conversions"] == {"a": big + 1, "b": 1}


def test_sums_that_only_together_leave_what_floats_hold_stay_exact() -> None:
    each = 2**52 - 1
    journeys = pool([(["a", *["b"] * n], each, 0, each) for n in range(7)])
    assert every_model(journeys, Options(), models=["first"])["first"]["conversions"]["a"] == 7 * each


def test_won_journeys_without_a_touch_have_their_own_line_in_every_model() -> None:
    journeys = pool([([], 3, 9, 7), (["a"], 1, 1, 5)])
    found = every_model(journeys, Options(), models=names(journeys, Options()))
    for model, figures in found.items():
        assert figures == {"conversions": {"a": 1, NO_TOUCH: 3}, "value": {"a": 5, NO_TOUCH: 7}}, model


def test_a_channel_named_like_the_line_of_nobody_is_refused_only_where_it_would_be_mixed_up() -> None:
    with_both = pool([([], 1, 0, 0), ([NO_TOUCH], 1, 0, 0)])
    with pytest.raises(AmbiguousChannel):
        every_model(with_both, Options(), models=["linear"])
    alone = pool([([], 0, 1, 0), ([NO_TOUCH, "a"], 2, 0, 0)])
    assert every_model(alone, Options(), models=["linear"])["linear"]["conversions"] == {NO_TOUCH: 1, "a": 1}


def test_states_named_like_the_chains_own_are_channels_like_others() -> None:
    odd = pool([(["(start)", "(conversion)"], 1, 0, 0), (["(null)"], 0, 1, 0)])
    plain = pool([(["a", "b"], 1, 0, 0), (["c"], 0, 1, 0)])
    options = Options(orders=(1, 2))
    found = every_model(odd, options, models=names(odd, options))
    same = every_model(plain, options, models=names(plain, options))
    names_of = {"(start)": "a", "(conversion)": "b", "(null)": "c"}
    for model, figures in found.items():
        assert {names_of[c]: x for c, x in figures["conversions"].items()} == same[model]["conversions"], model


def test_the_lookback_and_exclusions_leave_touches_out() -> None:
    content = b"path,conv,age_hours\na > b > c,1,30 > 20 > 10\na,1,30\n"
    journeys = counting(read_journeys(content).journeys, lookback_hours=20, excluded=["c"])
    assert every_model(journeys, Options(), models=["linear"])["linear"]["conversions"] == {
        "a": 0, "b": 1, NO_TOUCH: 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match="age"):
        counting(pool([(["a"], 1, 0, 0)]), lookback_hours=1)


def test_without_journeys_there_is_nothing() -> None:
    journeys = pool([])
    found = every_model(journeys, Options(), models=names(journeys, Options()))
    assert all(figures == {"conversions": {}, "value": {}} for figures in found.values())


def test_a_touch_without_a_name_is_found() -> None:
    assert split(["", "  ", "a > b"])[2].tolist() == [0, 0, 0, 2]
    with pytest.raises(EmptyStep) as told:
        split(["a", "", "b > c > > d"])
    assert (told.value.path, told.value.step) == (2, 3)


@FEW
@given(
    numbers=st.lists(st.integers(-(2**90), 2**90), max_size=5),
    bits=st.integers(1, 52),
    decimals=st.integers(0, 3),
)
def test_numbers_in_parts_are_the_numbers(numbers: list[int], bits: int, decimals: int) -> None:
    parts = amounts(numbers, decimals=decimals).limbs(bits)
    together = [sum(int(part[n]) << (place * bits) for place, part in enumerate(parts)) for n in range(len(numbers))]
    assert together == numbers
