"""Markov: the reference values, and what holds for every set of journeys."""

import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton_models import markov
from baton_models.figures import Options, every_model
from baton_models.journeys import NO_TOUCH, Journeys, counting
from baton_models.journeys import pooled as pool
from baton_models.reading import read_journeys

DATA = Path(__file__).parent.parent / "data"
TINY: dict[str, Any] = json.loads((DATA / "tiny_cases.json").read_text())
SYNTH: dict[str, Any] = json.loads((DATA / "synth2k_expected.json").read_text())
JOURNEYS = read_journeys((DATA / "synth2k_journeys.csv").read_bytes()).journeys
LOOKBACKS = [("lookback_none", JOURNEYS), ("lookback_90d", counting(JOURNEYS, lookback_hours=90 * 24))]
FEW = settings(max_examples=15, deadline=None)
NEAR: dict[str, float] = {"rel": 1e-9, "abs": 1e-9}

orders = st.sampled_from(markov.ORDERS)
paths = st.lists(st.sampled_from("abcd"), min_size=1, max_size=7)
short = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)
rows = st.lists(st.tuples(paths, st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=10)
Rows = list[tuple[list[str], int, int]]


def journeys_of(rows: Rows) -> Journeys:
    return pool([(path, won, lost, 100 * won) for path, won, lost in rows])


def by_walking(rows: Rows, order: int, without: str | None) -> Fraction:
    """The rate of conversion in the same chain, solved in fractions by elimination of states."""
    counted: dict[Any, dict[Any, int]] = {}
    for path, won, lost in rows:
        grams = [tuple(path[n : n + order]) for n in range(max(1, len(path) - order + 1))]
        states: list[Any] = ["start", *grams]
        for source, target in itertools.pairwise(states):
            counted.setdefault(source, {})[target] = counted.setdefault(source, {}).get(target, 0) + won + lost
        for end, times in (("won", won), ("lost", lost)):
            counted.setdefault(grams[-1], {})[end] = counted.setdefault(grams[-1], {}).get(end, 0) + times
    chance = {
        source: {
            "lost" if isinstance(target, tuple) and without in target else target: Fraction(0) for target in targets
        }
        for source, targets in counted.items()
        if sum(targets.values())
    }
    for source in chance:
        everyone = sum(counted[source].values())
        for target, times in counted[source].items():
            there = "lost" if isinstance(target, tuple) and without in target else target
            chance[source][there] += Fraction(times, everyone)
    for state in [s for s in chance if s != "start"]:
        onward = chance.pop(state)
        stays = onward.pop(state, Fraction(0))
        for targets in chance.values():
            into = targets.pop(state, Fraction(0))
            if into:
                for target, part in onward.items():
                    targets[target] = targets.get(target, Fraction(0)) + into * part / (1 - stays)
    return chance["start"].get("won", Fraction(0)) if "start" in chance else Fraction(0)


@pytest.mark.parametrize("case", TINY["markov_cases"], ids=lambda case: case["name"])
def test_the_small_cases_give_their_exact_fractions(case: dict[str, Any]) -> None:
    journeys = pool([(p["path"], p["conversions"], p["nulls"], 0) for p in case["paths"]])
    for name, expected in case["markov"].items():
        chain = markov.chain_of(journeys, int(name.removeprefix("order")))
        effects = markov.effects_of(chain).conversions
        credits = markov.share_out(journeys.conversions, journeys, effects)
        total = sum(effects.values()) or 1
        assert chain.rate == pytest.approx(float(Fraction(expected["p0"])), **NEAR)
        for channel in journeys.channels:
            assert effects[channel] == pytest.approx(float(Fraction(expected["removal_effect"][channel])), **NEAR)
            assert effects[channel] / total == pytest.approx(float(Fraction(expected["share"][channel])), **NEAR)
            assert float(credits[channel]) == pytest.approx(float(Fraction(expected["conversions"][channel])), **NEAR)


@pytest.mark.parametrize(("lookback", "journeys"), LOOKBACKS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_file_of_journeys_gives_the_reference(order: int, lookback: str, journeys: Journeys) -> None:
    expected = SYNTH[lookback]["models"][f"markov_order{order}"]
    chain = markov.chain_of(journeys, order)
    assert chain.states == SYNTH[lookback][f"markov_order{order}_states"]
    assert chain.rate == pytest.approx(SYNTH[lookback][f"markov_order{order}_p0"], **NEAR)
    effects = markov.effects_of(chain)
    models = [f"markov_order{order}", f"markov_order{order}_per_deal"]
    of_all, of_deals = every_model(journeys, Options(orders=(order,)), models=models).values()
    for channel, values in expected.items():
        assert effects.conversions[channel] == pytest.approx(values["removal_effect"], **NEAR)
        assert effects.value[channel] == pytest.approx(values["removal_effect_value"], **NEAR)
        assert of_all["conversions"][channel] == pytest.approx(values["conversions"], **NEAR)
        assert of_all["value"][channel] == pytest.approx(values["amount_cents"], **NEAR)
        assert of_deals["conversions"][channel] == pytest.approx(values["conversions_split_per_deal"], **NEAR)


@FEW
@given(rows=rows, order=orders)
def test_removal_effects_are_those_of_the_chain_solved_in_fractions(rows: Rows, order: int) -> None:
    effects = markov.effects_of(markov.chain_of(journeys_of(rows), order)).conversions
    whole = by_walking(rows, order, None)
    for channel, effect in effects.items():
        expected = 1 - by_walking(rows, order, channel) / whole if whole else Fraction(0)
        assert effect == pytest.approx(float(expected), **NEAR)


@FEW
@given(rows=rows, order=orders)
def test_the_rate_of_the_chain_is_the_rate_of_the_journeys(rows: Rows, order: int) -> None:
    won, walked = sum(row[1] for row in rows), sum(row[1] + row[2] for row in rows)
    rate = by_walking(rows, order, None)
    assert rate == (Fraction(won, walked) if walked else 0)
    assert markov.chain_of(journeys_of(rows), order).rate == pytest.approx(float(rate), **NEAR)


@FEW
@given(rows=rows, times=st.integers(2, 4))
def test_repeats_of_a_channel_do_not_matter_at_order_one(rows: Rows, times: int) -> None:
    longer: Rows = [([c for c in path for _ in range(times)], won, lost) for path, won, lost in rows]
    effects, same = (markov.effects_of(markov.chain_of(journeys_of(r), 1)).conversions for r in (rows, longer))
    assert effects == pytest.approx(same, **NEAR)


@FEW
@given(rows=rows, order=orders)
def test_journeys_of_one_touch_are_credited_as_by_the_simple_models(rows: Rows, order: int) -> None:
    journeys = journeys_of([(path[:1], won, lost) for path, won, lost in rows])
    models = ["first", "last", "linear", f"markov_order{order}", f"markov_order{order}_per_deal"]
    first, *others = every_model(journeys, Options(orders=(order,)), models=models).values()
    for other in others:
        assert other["conversions"] == pytest.approx(first["conversions"], **NEAR)
        assert other["value"] == pytest.approx(first["value"], **NEAR)


@FEW
@given(rows=st.lists(st.tuples(short, st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9))
def test_from_the_longest_journey_on_an_effect_is_the_part_of_won_journeys_with_the_channel(rows: Rows) -> None:
    won = sum(row[1] for row in rows)
    for channel, effect in markov.effects_of(markov.chain_of(journeys_of(rows), 4)).conversions.items():
        with_it = sum(row[1] for row in rows if channel in row[0])
        assert effect == pytest.approx(with_it / won if won else 0.0, **NEAR)


@FEW
@given(rows=rows, order=orders, more=st.integers(2, 2**60))
def test_only_the_proportions_of_the_counts_matter(rows: Rows, order: int, more: int) -> None:
    many: Rows = [(path, won * more, lost * more) for path, won, lost in rows]
    effects, same = (markov.effects_of(markov.chain_of(journeys_of(r), order)).conversions for r in (rows, many))
    assert effects == pytest.approx(same, **NEAR)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_all_ways_to_solve_give_the_same(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = markov.chain_of(JOURNEYS, order)
    monkeypatch.setattr(markov, "DENSE_STATES", 0)
    walked = markov.effects_of(chain)
    monkeypatch.setattr(markov, "_BLOCK", 3 * len(chain.enter))
    in_blocks = markov.effects_of(chain)
    assert in_blocks.conversions == pytest.approx(walked.conversions, rel=1e-12)
    small = pool([(["a", "b", "c"] * 9, 3, 1, 9), (["b", "a"] * 4, 1, 1, 4), (["c"], 0, 2, 0)])
    chain = markov.chain_of(small, order)
    one = markov.effects_of(chain)
    monkeypatch.setattr(markov, "_ROUNDS", 3)
    other = markov.effects_of(chain)
    monkeypatch.setattr(markov, "DENSE_STATES", 10**6)
    dense = markov.effects_of(chain)
    for found in (one, other):
        assert found.conversions == pytest.approx(dense.conversions, rel=1e-12, abs=1e-14)
        assert found.value == pytest.approx(dense.value, rel=1e-12, abs=1e-14)


def test_many_channels_are_solved_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = markov.chain_of(JOURNEYS, 1)
    few = markov.effects_of(chain)
    monkeypatch.setattr(markov, "DENSE_CHANNELS", 0)
    monkeypatch.setattr(markov, "_COLUMNS", 3)
    many = markov.effects_of(chain)
    assert many.conversions == pytest.approx(few.conversions, rel=1e-12)
    assert many.value == pytest.approx(few.value, rel=1e-12)


def test_journeys_that_go_round_for_long_are_solved_to_the_same_precision() -> None:
    rows: Rows = [(["a", "b"] * 2_000, 1, 1), (["c", "a"], 1, 0), (["b", "b"], 0, 1)]
    for order in (1, 2):
        effects = markov.effects_of(markov.chain_of(journeys_of(rows), order)).conversions
        for channel, effect in effects.items():
            expected = 1 - by_walking(rows, order, channel) / by_walking(rows, order, None)
            assert effect == pytest.approx(float(expected), **NEAR)


def test_without_a_conversion_there_are_zeros_and_with_only_lost_value_nobody_gets_it() -> None:
    journeys = pool([(["a", "b"], 0, 4, 0), (["b"], 0, 2, 0)])
    found = every_model(journeys, Options(), models=["markov_order1", "markov_order1_per_deal"])
    for figures in found.values():
        assert figures == {"conversions": {"a": 0, "b": 0}, "value": {"a": 0, "b": 0}}
    # Refunds of the same size as the sales: no part of nothing can be said to be lost.
    refunds = pool([(["a"], 1, 0, 5), (["b"], 1, 0, -5)])
    assert every_model(refunds, Options(), models=["markov_order1"])["markov_order1"]["value"] == {"a": 0, "b": 0}


def test_value_that_no_channel_has_an_effect_on_is_nobodys() -> None:
    journeys = pool([(["a"], 2, 0, 7)])
    credits = markov.share_out(journeys.conversions, journeys, {"a": 0.0})
    assert credits == {"a": 0, NO_TOUCH: 2}


def test_many_channels_at_a_high_order_do_not_overflow_the_states() -> None:
    path = [f"channel {n}" for n in range(70_000)]
    chain = markov.chain_of(pool([(path, 1, 0, 0)]), 4)
    assert chain.states == len(path) - 3 + 1


@pytest.mark.parametrize("order", [0, 5])
def test_an_order_outside_one_to_four_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="order"):
        markov.chain_of(JOURNEYS, order)
