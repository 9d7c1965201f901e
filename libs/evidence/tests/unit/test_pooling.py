import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton_evidence.pooling import FourFold, pooled_odds_ratio

counts = st.integers(0, 60)
tables = st.builds(FourFold, counts, counts, counts, counts)
FAIR = [FourFold(30, 70, 30, 70), FourFold(28, 72, 31, 69), FourFold(33, 67, 29, 71)]


@given(st.lists(tables, max_size=8), st.randoms())
def test_the_order_of_reps_does_not_matter_and_the_interval_holds_the_figure(reps, random) -> None:
    found = pooled_odds_ratio(reps)
    assert (found is None) == (not any(rep.compares for rep in reps))
    if found is not None:
        assert found.odds_ratio.low <= found.odds_ratio.value <= found.odds_ratio.high
        random.shuffle(reps)
        again = pooled_odds_ratio(reps)
        assert again is not None
        assert again.odds_ratio.value == pytest.approx(found.odds_ratio.value)


@given(st.lists(tables, min_size=1, max_size=6))
def test_with_and_without_change_places_as_the_ratio_turns_over(reps) -> None:
    turned = [FourFold(r.declined_without, r.taken_without, r.declined_with, r.taken_with) for r in reps]
    found, other = pooled_odds_ratio(reps), pooled_odds_ratio(turned)
    if found is not None and other is not None:
        assert found.odds_ratio.value * other.odds_ratio.value == pytest.approx(1)


def test_one_rep_is_the_odds_ratio_with_its_own_interval() -> None:
    found = pooled_odds_ratio([FourFold(20, 80, 10, 90)])
    assert found is not None
    assert found.odds_ratio.value == pytest.approx(20.5 * 90.5 / (80.5 * 10.5))
    half = 1.959964 * math.sqrt(1 / 20.5 + 1 / 80.5 + 1 / 10.5 + 1 / 90.5)
    assert found.odds_ratio.high == pytest.approx(found.odds_ratio.value * math.exp(half))


def test_a_rep_who_declines_nearly_everything_moves_nothing() -> None:
    harsh = FourFold(950, 50, 950, 50)
    fair, with_harsh = pooled_odds_ratio(FAIR), pooled_odds_ratio([*FAIR, harsh])
    assert fair is not None
    assert with_harsh is not None
    assert with_harsh.odds_ratio.value == pytest.approx(fair.odds_ratio.value, abs=0.1)
    naive = (91 + 950) * (210 + 50) / ((209 + 50) * (90 + 950))
    assert naive == pytest.approx(1, abs=0.1)


def test_a_rep_who_is_harsh_about_one_kind_of_lead_is_no_evidence_alone() -> None:
    """Nine hundred leads of one rep would outvote three hundred of three others, were they thrown together."""
    found = pooled_odds_ratio([*FAIR, FourFold(400, 50, 45, 405)])
    assert found is not None
    assert found.odds_ratio.low < 1
    together = (91 + 400) * (210 + 405) / ((209 + 50) * (90 + 45))
    assert together > 5


def test_reps_who_agree_are_evidence() -> None:
    found = pooled_odds_ratio([FourFold(30, 70, 10, 90), FourFold(28, 72, 12, 88), FourFold(33, 67, 9, 91)])
    assert found is not None
    assert found.odds_ratio.low > 1
    assert found.reps == 3
