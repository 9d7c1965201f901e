"""How well a score tells won from lost. Everything is counted by score, so that equal scores are one step."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import ndtr

Floats = np.ndarray[Any, np.dtype[np.float64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]

DRAWS: Final = 1_000
SEED: Final = 20_260_101
_SURE: Final = 1.959963984540054
"""Standard deviations to either side of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Decile:
    """A tenth of the leads, from the highest score down: `won_share` of them was won, `lift` times the mean."""

    won_share: Interval
    lift: float


def auc(score: Any, won: Truths) -> float:
    """The chance that a winner has a higher score than a loser, equal ones counting half; 0.5 without both."""
    return float(auc_of(*_counted(score, won)))


def average_precision(score: Any, won: Truths) -> float:
    """The mean precision at which winners are found, from the highest score down."""
    return float(average_precision_of(*_counted(score, won)))


def auc_of(won: Floats, lost: Floats) -> Any:
    """AUC from counts by score, lowest score first; over the last axis."""
    below = np.cumsum(lost, axis=-1) - lost / 2
    pairs = won.sum(axis=-1) * lost.sum(axis=-1)
    return np.where(pairs > 0, (won * below).sum(axis=-1) / np.maximum(pairs, 1e-300), 0.5)


def average_precision_of(won: Floats, lost: Floats) -> Any:
    """Average precision from counts by score, lowest score first; over the last axis."""
    found = np.cumsum(won[..., ::-1], axis=-1)
    rows = np.cumsum((won + lost)[..., ::-1], axis=-1)
    steps = won[..., ::-1] * found / np.maximum(rows, 1e-300)
    return steps.sum(axis=-1) / np.maximum(won.sum(axis=-1), 1e-300)


def auc_variance(score: Any, won: Truths) -> float:
    """The variance of the AUC (DeLong, DeLong and Clarke-Pearson 1988)."""
    winners, losers = int(won.sum()), int((~won).sum())
    if winners < 2 or losers < 2:
        return 0.25
    of_won, of_lost = _counted(score, won)
    place = np.unique(score, return_inverse=True)[1]
    above = ((np.cumsum(of_lost) - of_lost / 2) / losers)[place[won]]
    below = (1 - (np.cumsum(of_won) - of_won / 2) / winners)[place[~won]]
    return float(above.var(ddof=1) / winners + below.var(ddof=1) / losers)


def chance_of(aucs: list[float], sizes: list[tuple[int, int]]) -> float:
    """One-sided p of the mean AUC of the folds of a cross-validation; `sizes` are winners and losers of each.

    The variance of an AUC without any pattern (Mann and Whitney 1947; equal scores make it smaller, so this errs to the
    side of no evidence), raised for folds that learn from the same leads (Nadeau and Bengio 2003).
    """
    folds = len(aucs)
    variance = sum((w + n + 1) / (12 * w * n) for w, n in sizes) / folds
    spread = math.sqrt(variance * (1 / folds + 1 / (folds - 1)))
    return float(ndtr((0.5 - sum(aucs) / folds) / spread))


def share(part: float, whole: float) -> Interval:
    """A part of a whole with Wilson's interval (Wilson 1927)."""
    if whole <= 0:
        return Interval(0.0, 0.0, 1.0)
    p, z = part / whole, _SURE
    middle = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return Interval(p, min(max(middle - half, 0.0), p), max(min(middle + half, 1.0), p))


def deciles(score: Any, won: Truths) -> list[Decile]:
    """The leads in ten equal parts by score. A score that two parts share gives each its part of the winners."""
    of_won, of_lost = (counts[::-1] for counts in _counted(score, won))
    rows, wins = np.cumsum(of_won + of_lost), np.cumsum(of_won)
    total, base = len(won), float(won.mean())
    at = np.interp(np.arange(11) * total / 10, np.concatenate([[0.0], rows]), np.concatenate([[0.0], wins]))
    found = []
    for part in np.diff(at):
        of_part = share(float(part), total / 10)
        found.append(Decile(of_part, of_part.value / base if base else 0.0))
    return found


@dataclass(frozen=True, slots=True)
class Compared:
    """Differences of a scoring to another on the same leads; `evidence` is whether the AUC's interval leaves out 0."""

    auc: Interval
    average_precision: Interval
    precision_at_equal_volume: Interval

    @property
    def evidence(self) -> bool:
        return self.auc.low > 0 or self.auc.high < 0


def drawn(groups: Any, won: Truths) -> tuple[Any, Floats, Floats]:
    """Draw as many leads again, `DRAWS` times: the different rows of `groups`, and how many won and lost of each
    came in each draw (first the leads as they are). The same seed, the same draws.
    """
    different, place = np.unique(groups, axis=0, return_inverse=True)
    place = place.reshape(-1)
    won_of = np.bincount(place, weights=won, minlength=len(different))
    lost_of = np.bincount(place, weights=~won, minlength=len(different))
    counts = np.concatenate([won_of, lost_of])
    random = np.random.default_rng(SEED)
    draws = random.multinomial(int(counts.sum()), counts / counts.sum(), size=DRAWS)
    both = np.vstack([counts[None, :], draws]).astype(np.float64)
    return different, both[:, : len(different)], both[:, len(different) :]


def interval(figures: Floats) -> Interval:
    """The first figure, with the middle 95 % of the others."""
    low, high = np.percentile(figures[1:], [2.5, 97.5])
    return Interval(float(figures[0]), float(low), float(high))


def compared(mine: Any, others: Any, won: Truths, *, volume: int) -> Compared:
    """Compare two scores of the same leads by a paired bootstrap; precision is that of the best `volume` leads."""
    scores, won_of, lost_of = drawn(np.column_stack([mine, others]), won)
    differences = []
    for figure in (auc_of, average_precision_of):
        one, other = (figure(*by_score(scores[:, k], won_of, lost_of)) for k in (0, 1))
        differences.append(interval(one - other))
    part = volume / len(won)
    one, other = (_precision(*by_score(scores[:, k], won_of, lost_of), part=part) for k in (0, 1))
    return Compared(differences[0], differences[1], interval(one - other))


def _precision(won: Floats, lost: Floats, *, part: float) -> Floats:
    """The part of winners among the best leads of each draw; a score on the edge counts in proportion."""
    rows, wins = (np.cumsum(x[:, ::-1], axis=1) for x in (won + lost, won))
    found = []
    for of_rows, of_wins in zip(rows, wins, strict=True):
        wanted = part * of_rows[-1]
        at = np.interp(wanted, np.concatenate([[0.0], of_rows]), np.concatenate([[0.0], of_wins]))
        found.append(at / wanted if wanted else 0.0)
    return np.array(found)


def by_score(score: Any, won: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Counts by group, summed by score, lowest first."""
    values, place = np.unique(score, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    return np.add.reduceat(won[:, order], starts, axis=1), np.add.reduceat(lost[:, order], starts, axis=1)


def _counted(score: Any, won: Truths) -> tuple[Floats, Floats]:
    """How many of each score won and lost, lowest score first."""
    values, place = np.unique(score, return_inverse=True)
    of_won = np.bincount(place, weights=won, minlength=len(values)).astype(np.float64)
    return of_won, np.bincount(place, minlength=len(values)) - of_won
