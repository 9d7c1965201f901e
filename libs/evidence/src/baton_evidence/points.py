"""Weigh rules by outcomes: a ridge logistic regression, then whole points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]

MOST_POINTS: Final = 30
RIDGE: Final = 1.0
"""Half of it times the sum of the squared weights is added to the loss."""
_HARDLY: Final = 1e-6
"""A ridge for a single weight that must not grow without end where a score parts winners from losers."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Rows with the same answers, counted together: `answers[k]` are those of pattern k, `won[k]` and `lost[k]` its
    outcomes.
    """

    answers: Floats
    won: Floats
    lost: Floats


@dataclass(frozen=True, slots=True)
class Weights:
    """Log odds: `intercept` plus the weight of each rule that holds; `loss` in nats, the ridge's part included."""

    intercept: float
    of_rule: Floats
    loss: float


def pooled(answers: Truths, target: Floats) -> Pooled:
    """Pool rows by their answers. `answers` has a row for each rule; `target` is 0 to 1, the part that was won."""
    rules, rows = answers.shape
    if rules == 0:
        patterns, of_row = np.zeros((1, 0)), np.zeros(rows, dtype=np.int64)
    else:
        packed = np.zeros(rows, dtype=np.int64)
        for answer in answers:
            packed = packed << 1 | answer
        keys, of_row = np.unique(packed, return_inverse=True)
        patterns = (keys[:, None] >> np.arange(rules - 1, -1, -1) & 1).astype(np.float64)
    won = np.bincount(of_row, weights=target, minlength=len(patterns)).astype(np.float64)
    count = np.bincount(of_row, minlength=len(patterns))
    return Pooled(patterns, won, count - won)


def fitted(rows: Pooled, *, ridge: float = RIDGE) -> Weights:
    """Return the weights with the least loss; the intercept is not shrunk."""
    chance = min(max(float(rows.won.sum() / (rows.won.sum() + rows.lost.sum())), 1e-9), 1 - 1e-9)
    intercept, of_rule = math.log(chance / (1 - chance)), np.zeros(rows.answers.shape[1])
    if len(of_rule):
        model = LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-6)
        outcomes = np.repeat([1, 0], len(rows.won))
        model.fit(np.vstack([rows.answers] * 2), outcomes, sample_weight=np.concatenate([rows.won, rows.lost]))
        intercept, of_rule = float(model.intercept_[0]), model.coef_[0]
    odds = intercept + rows.answers @ of_rule
    loss = (rows.won + rows.lost) @ np.logaddexp(0, odds) - rows.won @ odds + ridge * (of_rule @ of_rule) / 2
    return Weights(intercept, of_rule, float(loss))


def expected(odds: Floats) -> Floats:
    """The chance of log odds."""
    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))


def whole_points(rows: Pooled, weights: Weights) -> tuple[Ints, float]:
    """Return whole points of at most ±30 that lose as little as possible, and how many points double the odds.

    Several scales are tried; then each rule's points move by one while that lowers the loss of points with an
    intercept and a scale of their own.
    """
    largest = float(np.abs(weights.of_rule).max(initial=0))
    if largest == 0:
        return np.zeros(len(weights.of_rule), dtype=np.int64), 0.0
    best: tuple[float, Ints] | None = None
    for most in (10, 15, 20, 25, MOST_POINTS):
        points = np.round(weights.of_rule * most / largest).astype(np.int64)
        loss, points = _improved(rows, points)
        # A few more points must be worth their being harder to read.
        if best is None or loss < best[0] * (1 - 1e-4):
            best = (loss, points)
    assert best is not None  # noqa: S101 - there is a first scale
    scale = _along(rows, rows.answers @ best[1].astype(np.float64)).of_rule[0]
    return best[1], math.log(2) / scale if scale > 0 else 0.0


def calibration(rows: Pooled, points: Sequence[int] | Ints) -> Weights:
    """The log odds that go with a score: an intercept, and one weight a point."""
    return _along(rows, rows.answers @ np.asarray(points, dtype=np.float64))


def _along(rows: Pooled, score: Floats) -> Weights:
    values, place = np.unique(score, return_inverse=True)
    won = np.bincount(place, weights=rows.won).astype(np.float64)
    lost = np.bincount(place, weights=rows.lost).astype(np.float64)
    spread = float(values.std()) or 1.0
    found = fitted(Pooled(values[:, None] / spread, won, lost), ridge=_HARDLY)
    return Weights(found.intercept, found.of_rule / spread, found.loss)


def _improved(rows: Pooled, points: Ints) -> tuple[float, Ints]:
    current = points.copy()
    loss = _along(rows, rows.answers @ current.astype(np.float64)).loss
    for _ in range(3):
        before = loss
        for rule in range(len(current)):
            for step in (-1, 1):
                tried = current.copy()
                tried[rule] += step
                if abs(tried[rule]) > MOST_POINTS:
                    continue
                reached = _along(rows, rows.answers @ tried.astype(np.float64)).loss
                if reached < loss - 1e-9:
                    current, loss = tried, reached
        if before - loss < 1e-6 * before:
            break
    return loss, current
