"""Learn at most twenty rules with whole points from what is expected of leads."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from baton_evidence.bins import Binned
from baton_evidence.points import Floats, Ints, Truths, Weights, expected, fitted, pooled, whole_points
from baton_evidence.search import Bounds, Part, best_rule, holds, leading_fields

MOST_RULES: Final = 20
LEAST_GAIN: Final = 1.0
"""Nats of log-likelihood that a rule must be worth."""
_PAIR: Final = 1.25
_PAIR_OF_FEW: Final = 1_200
"""A rule of two conditions must be so many times as good as the best of one: the first, plus the second by leads."""
_PASSES: Final = 2


@dataclass(frozen=True, slots=True)
class Learned:
    """Rules as conditions on bins, their points, and how many points double the odds."""

    rules: tuple[tuple[Part, ...], ...]
    points: Ints
    doubling: float

    def score(self, rows: Binned) -> Ints:
        """Return the score of each row."""
        score = np.zeros(rows.codes.shape[1], dtype=np.int64)
        for parts, points in zip(self.rules, self.points, strict=True):
            score[holds(parts, rows)] += points
        return score


@dataclass(frozen=True, slots=True)
class _Found:
    rules: tuple[tuple[Part, ...], ...]
    answers: Truths
    weights: Weights


def learn(rows: Binned, target: Floats) -> Learned:
    """Return rules that say what `target` (0 to 1 for each row) expects."""
    found = _grown(rows, target)
    points, doubling = whole_points(pooled(found.answers, target), found.weights)
    kept = np.flatnonzero(points)
    return Learned(tuple(found.rules[n] for n in kept), points[kept], doubling)


def _grown(rows: Binned, target: Floats) -> _Found:
    # Two conditions must explain more than one does: clearly so, and the more the fewer leads there are.
    bounds = Bounds(rows=max(10, len(target) // 500), pair=_PAIR + _PAIR_OF_FEW / len(target))
    answers = np.zeros((0, len(target)), dtype=np.bool_)
    found = _Found((), answers, _fit(answers, target))
    spread = np.full(len(target), target.mean() * (1 - target.mean()))
    fields = leading_fields(rows, target - target.mean(), spread, bounds=bounds)

    # 1. One rule after the other, all weights anew each time.
    while (
        len(found.rules) < MOST_RULES
        and (more := _with_best(found, rows, target, fields=fields, bounds=bounds)) is not None
    ):
        found = more

    # 2. Each rule once more: is there a better one, now that the others are there?
    for _ in range(_PASSES):
        before = found.weights.loss
        for _ in range(len(found.rules)):
            rest = _Found(found.rules[1:], found.answers[1:], _fit(found.answers[1:], target))
            worth = rest.weights.loss - found.weights.loss
            if worth < LEAST_GAIN:
                found = rest
                continue
            other = _with_best(rest, rows, target, fields=fields, bounds=bounds)
            if other is not None and other.weights.loss < found.weights.loss:
                found = other
            else:  # to the end, where the new ones stand too
                kept = np.roll(found.answers, -1, axis=0)
                found = _Found((*found.rules[1:], found.rules[0]), kept, _turned(found.weights))
        if before - found.weights.loss < LEAST_GAIN:
            break
    return found


def _with_best(
    found: _Found, rows: Binned, target: Floats, *, fields: tuple[int, ...], bounds: Bounds
) -> _Found | None:
    chance = expected(found.weights.intercept + found.weights.of_rule @ found.answers.astype(np.float64))
    best = best_rule(rows, target - chance, chance * (1 - chance), fields=fields, bounds=bounds)
    if best is None or best.gain < LEAST_GAIN:
        return None
    answers = np.vstack([found.answers, holds(best.parts, rows)])
    return _Found((*found.rules, best.parts), answers, _fit(answers, target))


def _fit(answers: Truths, target: Floats) -> Weights:
    return fitted(pooled(answers, target))


def _turned(weights: Weights) -> Weights:
    return Weights(weights.intercept, np.roll(weights.of_rule, -1), weights.loss)
