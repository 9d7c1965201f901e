import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from baton_evidence import figures


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows = draw(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60))
    score, won = np.array([s for s, _ in rows]), np.array([w for _, w in rows])
    won[0], won[1] = True, False
    return score, won


@given(scored())
def test_auc_and_average_precision_are_those_of_scikit_learn(given: tuple[np.ndarray, np.ndarray]) -> None:
    score, won = given
    assert figures.auc(score, won) == pytest.approx(roc_auc_score(won, score), abs=1e-12)
    assert figures.average_precision(score, won) == pytest.approx(average_precision_score(won, score), abs=1e-12)


@given(scored())
def test_the_tenths_hold_all_winners(given: tuple[np.ndarray, np.ndarray]) -> None:
    score, won = given
    tenths = figures.deciles(score, won)
    assert sum(d.won_share.value for d in tenths) * len(won) / 10 == pytest.approx(won.sum())
    assert all(d.won_share.low <= d.won_share.value <= d.won_share.high for d in tenths)


def test_the_variance_is_that_of_drawing_anew() -> None:
    random = np.random.default_rng(2)
    score = random.integers(0, 30, 4_000)
    won = random.random(4_000) < 0.1 + score / 60
    _, *drawn = figures.drawn(score[:, None], won)
    by_draw = figures.auc_of(*figures.by_score(np.unique(score), *drawn))[1:]
    assert figures.auc_variance(score, won) == pytest.approx(by_draw.var(), rel=0.15)


def test_a_score_compared_with_itself_is_no_evidence_and_with_noise_it_is() -> None:
    random = np.random.default_rng(4)
    score = random.integers(0, 20, 2_000)
    won = random.random(2_000) < score / 25
    same = figures.compared(score, score, won, volume=200)
    assert (same.auc.value, same.evidence) == (0, False)
    other = figures.compared(score, random.permutation(score), won, volume=200)
    assert other.evidence
    assert other.precision_at_equal_volume.low > 0


def test_chance_is_even_where_scores_tell_nothing() -> None:
    assert figures.chance_of([0.5, 0.5], [(100, 100), (100, 100)]) == pytest.approx(0.5)
    assert figures.chance_of([0.7] * 5, [(50, 200)] * 5) < 1e-6


@pytest.mark.parametrize(("part", "whole"), [(0, 10), (10, 10), (3, 10), (0, 0)])
def test_a_share_lies_in_its_interval(part: int, whole: int) -> None:
    found = figures.share(part, whole)
    assert 0 <= found.low <= found.value <= found.high <= 1
