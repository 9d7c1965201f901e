"""Suggest an agreement from an export with outcomes: at most twenty rules that a head of department can read.

A gradient-boosted model is fitted first. Its expectations are what the rules are taught to say: they vary less by
chance than single outcomes. How well such rules do is measured on leads that neither has seen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from baton_evidence.bins import Binned, Bins, binned, bins_of
from baton_evidence.fields import NOTHING, Field, LeftOut, fields_of, values_of
from baton_evidence.figures import auc, auc_variance, average_precision, chance_of
from baton_evidence.leaks import suspicion
from baton_evidence.learn import Learned, learn
from baton_evidence.outcome import Outcome, column_named, read_outcome
from baton_evidence.search import holds
from baton_evidence.table import Table, Unreadable

Floats = np.ndarray[Any, np.dtype[np.float64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]

FOLDS: Final = 5
SEED: Final = 20_260_101
LEVEL: Final = 0.01
"""No rules are suggested where chance alone gives such an AUC more often than this."""
FEWEST_OUTCOMES: Final = 20
SMALL_SAMPLE: Final = 200
_STEADY: Final = 5_000
"""Rows from which on the boosted model stops by itself, judged by a tenth of them."""
_MOST_CATEGORIES: Final = 250


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over the folds, each on leads not learned from; `low` and `high` are the 95 % interval of the AUC."""

    auc: float
    low: float
    high: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class Cut:
    """What a threshold does on the export: the part of the leads at or above it, and how they fare."""

    threshold: int
    share: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an export says. `learned` and `cut` are None where there is no evidence of a pattern."""

    outcome: Outcome
    rows: int
    won: int
    lost: int
    bins: tuple[Bins, ...]
    learned: Learned | None
    cut: Cut | None
    met_by: tuple[tuple[int, int], ...]
    """For each rule: how many leads meet it, and how many of them were won."""
    rules: Measured
    ceiling: Measured
    frequency: Measured
    chance: float
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """The rules' AUC as a part of the ceiling's."""
        return self.rules.auc / self.ceiling.auc


def suggest(
    table: Table,
    outcome_column: str,
    *,
    won: Sequence[str] = (),
    id_column: str | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    begin: Callable[[str], None] = lambda _: None,
) -> Suggestion:
    """Suggest rules for what tells won from lost in `table`.

    Open leads do not count. `begin` is told what is being done. Raises `Unreadable`: an unknown column, an outcome that
    cannot be read, or fewer than `FEWEST_OUTCOMES` leads of either outcome.
    """
    # 1. Outcomes; everything below sees only leads that have one.
    begin("reading outcomes")
    outcome_column = column_named(table, outcome_column).name
    id_column = None if id_column is None else column_named(table, id_column).name
    dropped = frozenset(column_named(table, name).name for name in drop)
    kept = frozenset(column_named(table, name).name for name in keep)
    outcome = read_outcome(table, outcome_column, won=won)
    closed = table.taken(outcome.rows)
    y = outcome.won[outcome.rows]
    winners = int(y.sum())
    losers = len(y) - winners
    if min(winners, losers) < FEWEST_OUTCOMES:
        raise Unreadable(
            f"{winners} won and {losers} lost: at least {FEWEST_OUTCOMES} of each are needed to learn anything"
        )

    # 2. What may be looked at.
    begin("looking at the columns")
    found = fields_of(closed, outcome=outcome_column, id_column=id_column, drop=dropped, keep=kept)
    suspects = suspicion(found.fields, found.left_out, closed, y, keep=kept)
    leaking = {one.column for one in suspects.left_out}
    fields = tuple(field for field in found.fields if field.column not in leaking)
    left_out = (*suspects.left_out, *(one for one in found.left_out if one.column not in leaking))
    if not fields:
        raise Unreadable("no column is left that rules could be built upon; --keep COLUMN brings one back")

    # 3. Measured on leads not learned from; then learned from all of them.
    measured = _cross_validated(fields, closed, y, begin=begin)
    begin("learning from all leads")
    bins = bins_of(fields, closed)
    rows = binned(bins, closed)
    learned: Learned | None = None
    cut: Cut | None = None
    met_by: tuple[tuple[int, int], ...] = ()
    if measured.chance < LEVEL:
        learned = learn(rows, _ceiling(fields, closed, y)(closed))
    if learned is not None and not learned.rules:
        learned = None
    if learned is not None:
        score = learned.score(rows)
        cut = _cut(score, y)
        met_by = tuple((int(met.sum()), int(y[met].sum())) for met in (holds(rule, rows) for rule in learned.rules))
    return Suggestion(
        outcome=outcome,
        rows=table.rows,
        won=winners,
        lost=losers,
        bins=bins,
        learned=learned,
        cut=cut,
        met_by=met_by,
        rules=measured.rules,
        ceiling=measured.ceiling,
        frequency=measured.frequency,
        chance=measured.chance,
        left_out=left_out,
        warnings=(*outcome.says, *suspects.warnings, *_warnings(table, winners, losers)),
    )


def _warnings(table: Table, winners: int, losers: int) -> list[str]:
    found = []
    if min(winners, losers) < SMALL_SAMPLE:
        found.append(f"only {min(winners, losers)} leads of one outcome: expect the figures to move with new ones")
    if table.wrong_lines:
        lines = ", ".join(map(str, table.wrong_lines[:5]))
        found.append(f"{len(table.wrong_lines)} lines are no rows and were left out, such as {lines}")
    found.append("leads that nobody worked count as what the export says of them; only a blind sample would tell more")
    return found


@dataclass(frozen=True, slots=True)
class _Validated:
    rules: Measured
    ceiling: Measured
    frequency: Measured
    chance: float


def _cross_validated(fields: tuple[Field, ...], table: Table, y: Truths, *, begin: Callable[[str], None]) -> _Validated:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores: list[tuple[Truths, Floats, Floats, Floats]] = []
    for n, (learning, unseen) in enumerate(folds.split(np.zeros(len(y)), y), start=1):
        begin(f"learning and testing {n} of {FOLDS}")
        seen, new = table.taken(learning), table.taken(unseen)
        ceiling = _ceiling(fields, seen, y[learning])
        bins = bins_of(fields, seen)
        rows, rows_new = binned(bins, seen), binned(bins, new)
        rules = learn(rows, ceiling(seen)).score(rows_new).astype(np.float64)
        scores.append((y[unseen], rules, ceiling(new), _frequencies(rows, y[learning], rows_new)))
    sizes = [(int(truth.sum()), int((~truth).sum())) for truth, *_ in scores]
    return _Validated(
        rules=_measured([(truth, rules) for truth, rules, _, _ in scores]),
        ceiling=_measured([(truth, ceiling) for truth, _, ceiling, _ in scores]),
        frequency=_measured([(truth, frequency) for truth, _, _, frequency in scores]),
        chance=chance_of([auc(rules, truth) for truth, rules, _, _ in scores], sizes),
    )


def _measured(folds: list[tuple[Truths, Floats]]) -> Measured:
    middle = sum(auc(score, truth) for truth, score in folds) / len(folds)
    spread = math.sqrt(sum(auc_variance(score, truth) for truth, score in folds)) / len(folds)
    precision = sum(average_precision(score, truth) for truth, score in folds) / len(folds)
    return Measured(middle, max(middle - 1.96 * spread, 0.0), min(middle + 1.96 * spread, 1.0), precision)


def _ceiling(fields: tuple[Field, ...], table: Table, y: Truths) -> Callable[[Table], Floats]:
    """A gradient-boosted model of the same columns; returns what it expects of leads."""
    categories = [_ranks(field, table) for field in fields]
    steady = len(y) >= _STEADY
    model = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=200,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        categorical_features=[field.kind == "category" for field in fields],
        early_stopping=steady,
        n_iter_no_change=15,
        random_state=SEED,
    )

    def design(rows: Table) -> Floats:
        columns = [_numbers(field, rows, ranks) for field, ranks in zip(fields, categories, strict=True)]
        return np.column_stack(columns)

    model.fit(design(table), y)

    def expectation(rows: Table) -> Floats:
        chances: Floats = model.predict_proba(design(rows))[:, 1]
        return chances

    return expectation


def _ranks(field: Field, table: Table) -> dict[str, int]:
    """The levels of a category by how often they come; those beyond the limit share the last place."""
    if field.kind != "category":
        return {}
    column = table.columns[field.column]
    order = np.argsort(-column.counts, kind="stable")
    return {column.levels[n]: min(place, _MOST_CATEGORIES) for place, n in enumerate(order)}


def _numbers(field: Field, table: Table, ranks: dict[str, int]) -> Floats:
    column = table.columns[field.column]
    if field.kind == "number":
        values = values_of(field, column)
        return np.where(values == NOTHING, np.nan, values.astype(np.float64))
    if field.kind == "presence":
        return (column.codes >= 0).astype(np.float64)
    of_level = np.array([ranks.get(level, _MOST_CATEGORIES) for level in column.levels] + [np.nan], dtype=np.float64)
    return of_level[column.codes]


def _frequencies(rows: Binned, y: Truths, new: Binned) -> Floats:
    """The log odds of a scoring by frequencies, as Odoo's: each value's rate among winners by its rate among losers,
    all values multiplied, with 0.1 added to each count.
    """
    odds = np.zeros(new.codes.shape[1])
    for j, one in enumerate(rows.bins):
        codes = rows.codes[j].astype(np.intp)
        won = np.bincount(codes[y], minlength=one.size) + 0.1
        lost = np.bincount(codes[~y], minlength=one.size) + 0.1
        odds += np.log((won / won.sum()) / (lost / lost.sum()))[new.codes[j]]
    return odds


def _cut(score: Any, y: Truths) -> Cut:
    """The threshold with the best balance of precision and recall (F1); of equal ones the highest."""
    values, place = np.unique(-score, return_inverse=True)
    wins = np.cumsum(np.bincount(place, weights=y))
    rows = np.cumsum(np.bincount(place))
    best = int(np.argmax(2 * wins / (rows + y.sum())))
    return Cut(
        int(-values[best]), float(rows[best] / len(y)), float(wins[best] / rows[best]), float(wins[best] / y.sum())
    )
