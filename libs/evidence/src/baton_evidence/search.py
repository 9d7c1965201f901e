"""Find the rule that explains best what the rules so far do not: over all bins, levels and pairs of conditions."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from baton_evidence.bins import Binned, Bins

Floats = np.ndarray[Any, np.dtype[np.float64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]

NAMED: Final = 12
"""Levels that one condition may name."""
PAIRED: Final = 12
"""Fields that are looked at two by two: the best alone."""
REFINED: Final = 3
"""Pairs whose conditions are sought once more, each given the other."""
LEADING: Final = 60
"""Fields that are looked at at all, where there are more: those that tell most before there is any rule."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a condition holds: in the bins of field `field` for which `bins` is true."""

    field: int
    bins: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A rule (both parts hold) and what it would gain in log-likelihood, to the second order."""

    parts: tuple[Part, ...]
    gain: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rule must reach: rows on either side, and by how much two conditions, or two bounds, beat one."""

    rows: int
    interval: float = 1.1
    pair: float = 1.25


def holds(parts: tuple[Part, ...], rows: Binned) -> Truths:
    """Return for each row whether all parts hold."""
    answers = np.ones(rows.codes.shape[1], dtype=np.bool_)
    for part in parts:
        answers &= np.array(part.bins)[rows.codes[part.field]]
    return answers


def leading_fields(rows: Binned, gradient: Floats, hessian: Floats, *, bounds: Bounds) -> tuple[int, ...]:
    """Return the fields that are worth looking at for rules."""
    if len(rows.bins) <= LEADING:
        return tuple(range(len(rows.bins)))
    whole = _Sums(gradient, hessian)
    gains = []
    for j, bins in enumerate(rows.bins):
        g, h, n = whole.by(rows.codes[j].astype(np.intp), bins.size)
        found = _single(j, bins, g, h, n, order=_order(bins, g, h), whole=whole, bounds=bounds)
        gains.append((0.0 if found is None else -found.gain, j))
    return tuple(sorted(j for _, j in sorted(gains)[:LEADING]))


def best_rule(
    rows: Binned, gradient: Floats, hessian: Floats, *, fields: tuple[int, ...], bounds: Bounds
) -> Found | None:
    """Return the rule about these `fields` with the most gain.

    `gradient` is outcome minus expectation, `hessian` the variance of the expectation, a row each; their sums over the
    rows S of a rule give the gain G² / 2H(1 - H/ΣH), the intercept moving along.
    """
    whole = _Sums(gradient, hessian)
    best: Found | None = None
    alone: list[tuple[float, int]] = []
    orders: dict[int, np.ndarray[Any, Any]] = {}
    for j in fields:
        bins = rows.bins[j]
        g, h, n = whole.by(rows.codes[j].astype(np.intp), bins.size)
        orders[j] = _order(bins, g, h)
        found = _single(j, bins, g, h, n, order=orders[j], whole=whole, bounds=bounds)
        if found is not None:
            alone.append((found.gain, j))
            if best is None or found.gain > best.gain:
                best = found
    if best is None:
        return None
    # Two by two, the best pair; then each of its conditions anew, given the other.
    pairs: list[Found] = []
    leading = [j for _, j in sorted(alone, reverse=True)[:PAIRED]]
    for place, a in enumerate(leading):
        for b in leading[place + 1 :]:
            pair = _pair(a, b, rows, orders, whole=whole, bounds=bounds)
            if pair is not None:
                pairs.append(pair)
    for pair in sorted(pairs, key=lambda one: -one.gain)[:REFINED]:
        refined = _refined(pair, rows, whole=whole, bounds=bounds)
        if refined.gain > best.gain * (bounds.pair if len(best.parts) == 1 else 1):
            best = refined
    return best


def _refined(pair: Found, rows: Binned, *, whole: "_Sums", bounds: Bounds) -> Found:
    while True:
        before = pair.gain
        for fixed, free in (pair.parts, pair.parts[::-1]):
            inside = np.array(fixed.bins)[rows.codes[fixed.field]]
            bins = rows.bins[free.field]
            g, h, n = whole.by(rows.codes[free.field].astype(np.intp), bins.size, inside=inside)
            found = _single(free.field, bins, g, h, n, order=_order(bins, g, h), whole=whole, bounds=bounds)
            if found is not None and found.gain > pair.gain:
                pair = Found((fixed, found.parts[0]), found.gain)
        if pair.gain <= before * 1.001:
            return pair


class _Sums:
    """Sums of gradient and hessian, over all rows and by bin."""

    def __init__(self, gradient: Floats, hessian: Floats) -> None:
        self.gradient, self.hessian = gradient, hessian
        self.g, self.h, self.n = float(gradient.sum()), float(hessian.sum()), len(gradient)

    def by(
        self, codes: np.ndarray[Any, Any], size: int, *, inside: Truths | None = None
    ) -> tuple[Floats, Floats, Floats]:
        gradient, hessian = self.gradient, self.hessian
        if inside is not None:
            codes, gradient, hessian = codes[inside], gradient[inside], hessian[inside]
        return (
            np.bincount(codes, weights=gradient, minlength=size).astype(np.float64),
            np.bincount(codes, weights=hessian, minlength=size).astype(np.float64),
            np.bincount(codes, minlength=size).astype(np.float64),
        )

    def gain(self, g: Any, h: Any, n: Any, *, rows: int) -> Any:
        """The gain of each set of rows with these sums; nothing where it or its complement has too few rows."""
        centred = g - self.g * h / self.h
        spread = h * (1 - h / self.h)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(spread > 1e-9, centred * centred / (2 * (spread + 0.5)), 0.0)
        return np.where((n >= rows) & (self.n - n >= rows), gain, 0.0)


def _order(bins: Bins, g: Floats, h: Floats) -> np.ndarray[Any, Any]:
    """The bins in the order in which a condition may cut them, without that of the missing: numbers as they are,
    levels from the worst to the best.
    """
    if bins.field.kind == "category":
        return 1 + np.argsort(g[1:] / (h[1:] + 1.0), kind="stable")
    return np.arange(1, bins.size)


def _single(
    j: int, bins: Bins, g: Floats, h: Floats, n: Floats, *, order: np.ndarray[Any, Any], whole: _Sums, bounds: Bounds
) -> Found | None:
    candidates: list[tuple[float, tuple[bool, ...]]] = []

    def offer(gain: float, inside: np.ndarray[Any, Any]) -> None:
        chosen = plainest(bins, inside)
        if gain > 0 and chosen is not None:
            candidates.append((gain, chosen))

    # 1. What is missing.
    offer(float(whole.gain(g[0], h[0], n[0], rows=bounds.rows)), np.array([0]))

    # 2. Levels: every prefix of the order, the missing on either side.
    if bins.field.kind == "category":
        with_missing = np.concatenate([[0], order])
        for chosen in (order, with_missing):
            sums = [np.cumsum(x[chosen]) for x in (g, h, n)]
            gains = whole.gain(*sums, rows=bounds.rows)
            for k in np.argsort(-gains)[:6]:
                offer(float(gains[k]), chosen[: k + 1])
    # 3. Numbers: every interval; one with two bounds only where it is clearly better.
    elif bins.size > 2:
        sums = [np.concatenate([[0.0], np.cumsum(x[1:])]) for x in (g, h, n)]
        gains = whole.gain(*(x[None, :] - x[:, None] for x in sums), rows=bounds.rows)
        last = bins.size - 1
        gains[np.tril_indices(last + 1)] = 0
        gains[1:, :last] /= bounds.interval
        low, high = divmod(int(np.argmax(gains)), last + 1)
        offer(float(gains[low, high]), np.arange(low + 1, high + 1))
    if not candidates:
        return None
    gain, chosen_bins = max(candidates)
    return Found((Part(j, chosen_bins),), gain)


def _pair(
    a: int, b: int, rows: Binned, orders: dict[int, np.ndarray[Any, Any]], *, whole: _Sums, bounds: Bounds
) -> Found | None:
    bins_a, bins_b = rows.bins[a], rows.bins[b]
    codes = rows.codes[a].astype(np.intp) * bins_b.size + rows.codes[b]
    grids = [x.reshape(bins_a.size, bins_b.size) for x in whole.by(codes, bins_a.size * bins_b.size)]
    # The missing stand first: a condition from below takes them in, one from above leaves them out.
    rank_a, rank_b = np.concatenate([[0], orders[a]]), np.concatenate([[0], orders[b]])
    best: tuple[float, np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None
    for turned_a in (rank_a, rank_a[::-1]):
        for turned_b in (rank_b, rank_b[::-1]):
            sums = [np.cumsum(np.cumsum(x[np.ix_(turned_a, turned_b)], axis=0), axis=1) for x in grids]
            gains = whole.gain(*sums, rows=bounds.rows)
            gains[-1, :] = gains[:, -1] = 0  # one condition alone
            k, m = divmod(int(np.argmax(gains)), gains.shape[1])
            if best is None or gains[k, m] > best[0]:
                best = (float(gains[k, m]), turned_a[: k + 1], turned_b[: m + 1])
    if best is None or best[0] <= 0:
        return None
    parts = []
    for j, bins, inside in ((a, bins_a, best[1]), (b, bins_b, best[2])):
        chosen = plainest(bins, inside)
        if chosen is None:
            return None
        parts.append(Part(j, chosen))
    return Found(tuple(parts), best[0])


def plainest(bins: Bins, inside: np.ndarray[Any, Any]) -> tuple[bool, ...] | None:
    """The bins of a condition in the plainest words; None where it would have to name more than `NAMED` levels.

    Where nothing is missing, or every level has a bin, either way of treating what is not there is as good: the one
    that needs fewer words is taken.
    """
    chosen = np.zeros(bins.size, dtype=np.bool_)
    chosen[inside] = True
    if bins.field.kind != "category":
        if not bins.missing and 0 < chosen[1:].sum() < bins.size - 1:
            chosen[0] = False
        return tuple(chosen.tolist())
    named = int(chosen[1:-1].sum())
    if not bins.others:
        chosen[-1] = 2 * named > len(bins.levels)
    if not bins.missing:
        chosen[0] = chosen[-1]
    if chosen[-1]:
        named = len(bins.levels) - named
    return tuple(chosen.tolist()) if named <= NAMED and (named or chosen[0] != chosen[-1]) else None
