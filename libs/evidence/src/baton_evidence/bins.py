"""Cut each field into at most 62 bins, from the rows that rules are learned from and from no others."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from baton_evidence.fields import NOTHING, Field, Ints, nameable, values_of
from baton_evidence.table import Table

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

MOST: Final = 40
"""Bins of a number, and levels of a category that a rule may name."""
FEWEST: Final = 10
"""Rows of a bin or level, at least: what is rarer is pooled."""


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of one field: 0 is what is missing.

    A number has bins 1 to len(edges) + 1: bin b holds `edges[b - 2] <= value < edges[b - 1]`. A category has a bin for
    each of its `levels`, and behind them one for all others, which no rule can name. Presence has the bin 1.
    """

    field: Field
    edges: tuple[int, ...] = ()
    levels: tuple[str, ...] = ()
    missing: bool = True
    others: bool = True
    """Whether any of the rows it was cut by is missing, or of a level without a bin."""

    @property
    def size(self) -> int:
        """How many bins there are, that of the missing included."""
        if self.field.kind == "category":
            return len(self.levels) + 2
        return len(self.edges) + 2


@dataclass(frozen=True, slots=True)
class Binned:
    """The fields of some rows: `codes[j, i]` is the bin of row i in field j."""

    bins: tuple[Bins, ...]
    codes: Bytes


def bins_of(fields: tuple[Field, ...], table: Table) -> tuple[Bins, ...]:
    """Cut every field by the rows of `table`."""
    return tuple(_bins(field, table) for field in fields)


def binned(bins: tuple[Bins, ...], table: Table) -> Binned:
    """Return the rows of `table`, the same one or another, in these bins."""
    codes = np.empty((len(bins), table.rows), dtype=np.uint8)
    for j, one in enumerate(bins):
        column = table.columns[one.field.column]
        if one.field.kind == "number":
            values = values_of(one.field, column)
            codes[j] = np.where(values == NOTHING, 0, 1 + np.searchsorted(one.edges, values, side="right"))
        elif one.field.kind == "category":
            place = {level: n for n, level in enumerate(one.levels, start=1)}
            of_level = np.array([place.get(level, len(place) + 1) for level in column.levels] + [0], dtype=np.uint8)
            codes[j] = of_level[column.codes]
        else:
            codes[j] = column.codes >= 0
    return Binned(bins, codes)


def _bins(field: Field, table: Table) -> Bins:
    column = table.columns[field.column]
    missing = bool((column.codes < 0).any())
    if field.kind == "presence":
        return Bins(field, missing=missing)
    fewest = max(FEWEST, table.rows // 1_000)
    if field.kind == "category":
        counts = column.counts
        often = [n for n in np.argsort(-counts, kind="stable")[:MOST] if counts[n] >= fewest]
        common = [n for n in often if nameable(column.levels[n], most=60)]
        levels = tuple(column.levels[n] for n in common)
        return Bins(field, levels=levels, missing=missing, others=len(common) < int((counts > 0).sum()))
    values = values_of(field, column)
    return Bins(field, edges=_edges(values, fewest), missing=bool((values == NOTHING).any()))


def _edges(values: Ints, fewest: int) -> tuple[int, ...]:
    """Edges by quantiles, moved to the roundest number that lies near."""
    ordered = np.sort(values[values != NOTHING])
    rows = len(ordered)
    if rows == 0:
        return ()
    different = np.unique(ordered)
    edges: list[int] = []
    if len(different) <= MOST:
        candidates = [int(value) for value in different[1:]]
    else:
        candidates = []
        for n in range(1, MOST):
            low, high = ordered[int((n - 0.3) * rows / MOST)], ordered[min(int((n + 0.3) * rows / MOST), rows - 1)]
            if high > ordered[0]:
                candidates.append(_roundest(int(max(low, ordered[0] + 1)), int(high)))
        # A value that stands in many rows has an edge on either side.
        values_, counts = np.unique(ordered, return_counts=True)
        for value in values_[counts > rows / MOST]:
            candidates += [int(value), int(value) + 1]
    taken = 0
    for edge in sorted(set(candidates)):
        below = int(np.searchsorted(ordered, edge))
        if below - taken >= fewest and rows - below >= fewest and len(edges) < 60:
            edges.append(edge)
            taken = below
    return tuple(edges)


def _roundest(low: int, high: int) -> int:
    """The number from `low` to `high` that is a multiple of the largest of 1, 2, 5, 10, 20, 50, …; the middle one."""
    if low <= 0 <= high:
        return 0
    step: int = 10 ** len(str(max(abs(low), abs(high))))
    while True:
        for divisor in (1, 2, 5):
            wide = step // divisor
            first, last = -(-low // wide), high // wide
            if first <= last:
                return (first + last) // 2 * wide
        step //= 10
