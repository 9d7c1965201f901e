import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from baton_evidence.points import MOST_POINTS, calibration, expected, fitted, pooled, whole_points


def example(rows: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(9)
    answers = random.random((6, rows)) < np.array([0.5, 0.3, 0.2, 0.1, 0.6, 0.4])[:, None]
    odds = -1 + np.array([1.5, -0.8, 0.6, 2.0, 0.1, 0.0]) @ answers
    return answers, (random.random(rows) < expected(odds)).astype(np.float64)


def test_the_weights_are_those_of_scikit_learn() -> None:
    answers, won = example()
    found = fitted(pooled(answers, won), ridge=2.0)
    model = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=1_000).fit(answers.T, won)
    assert found.of_rule == pytest.approx(model.coef_[0], abs=1e-4)
    assert found.intercept == pytest.approx(model.intercept_[0], abs=1e-4)


def test_expectations_in_place_of_outcomes_count_in_part() -> None:
    answers, won = example()
    soft = np.where(won > 0, 0.9, 0.1)
    twice = np.hstack([answers, answers])
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1_000)
    model.fit(twice.T, np.repeat([1, 0], len(won)), sample_weight=np.concatenate([soft, 1 - soft]))
    assert fitted(pooled(answers, soft), ridge=1.0).of_rule == pytest.approx(model.coef_[0], abs=1e-4)


def test_points_are_whole_bounded_and_lose_next_to_nothing() -> None:
    answers, won = example()
    rows = pooled(answers, won)
    weights = fitted(rows)
    points, doubling = whole_points(rows, weights)
    assert np.abs(points).max() <= MOST_POINTS
    assert calibration(rows, points).loss <= weights.loss * 1.002
    # The stated number of points doubles the odds, as closely as the weights say.
    assert doubling == pytest.approx(points[3] / (weights.of_rule[3] / math.log(2)), rel=0.1)


def test_no_rules_are_an_intercept() -> None:
    won = np.array([1.0, 0.0, 0.0, 0.0])
    assert expected(np.array(fitted(pooled(np.zeros((0, 4), dtype=bool), won)).intercept)) == pytest.approx(0.25)
