"""Judge the leads of an export by an agreement, with the code that judges live leads, and hold it against outcomes."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from baton_agreement.agreement import Agreement
from baton_agreement.features import LEAD_FIELDS, FeatureValue, profile_of
from baton_agreement.scoring import Judge, Outcome, Snapshot
from baton_evidence import figures
from baton_evidence.fields import NOTHING, number_of, whole
from baton_evidence.figures import Compared, Decile, Interval, Truths
from baton_evidence.table import Column, Table, Unreadable

Ints = np.ndarray[Any, np.dtype[np.int64]]

MISSED: Final = 20
"""Winners below the threshold that are named."""
_SCALES: Final = (1, 10, 100, 1000)
_YES: Final = frozenset(["1", "true", "yes", "y", "да", "t"])
_CHUNK: Final = 5_000
FEWEST: Final = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """The leads as an agreement sees them; a lead that a gate or a disqualifier stopped has the last `rank` of all."""

    score: Ints
    rank: Ints
    handed_over: Truths
    stopped: Truths
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What an agreement would have done with the closed leads of an export."""

    rows: int
    won: int
    lost: int
    auc: Interval
    average_precision: Interval
    volume: Interval
    precision: Interval
    recall: Interval
    stopped: int
    deciles: tuple[Decile, ...]
    missed: tuple[str, ...]
    missed_count: int
    warnings: tuple[str, ...]
    compared: Compared | None = None


def judged(agreement: Agreement, table: Table, *, begin: Callable[[str], None] = lambda _: None) -> Judged:
    """Judge every row. Columns stand for features of their name, and for answers under the names the rules use.

    A number is read as a whole one where a rule reads it so, times ten, hundred or thousand where the rule's name ends
    in `_x10`, `_x100`, `_x1000`; a cell that holds none counts as not answered. Raises `Unreadable` where the rules use
    none of the columns.
    """
    # 1. Which columns the rules use, and as what.
    uses = _uses(agreement, table)
    if not uses:
        raise Unreadable("no rule uses a column of this file: the names in `answers[...]` are those of the columns")

    # 2. Rows that are alike in these columns are judged once.
    names = list(dict.fromkeys(use.column.name for use in uses))
    codes = np.column_stack([table.columns[name].codes for name in names])
    different, place = np.unique(codes, axis=0, return_inverse=True)
    judge = Judge(agreement)
    verdicts = []
    for n, row in enumerate(different):
        if n % _CHUNK == 0:
            begin(f"judging {n:,} of {len(different):,} different leads")
        features = _features(uses, dict(zip(names, row.tolist(), strict=True)))
        verdicts.append(judge.verdict(Snapshot(profile_of(features), ()), hour=0))
    score = np.array([v.score for v in verdicts], dtype=np.int64)
    stopped = np.array([v.outcome in (Outcome.GATED, Outcome.DISQUALIFIED) for v in verdicts])
    handed_over = np.array([v.outcome is Outcome.QUALIFIED for v in verdicts])
    rank = np.where(stopped, score.min() - 1, score)
    place = place.reshape(-1)
    return Judged(score[place], rank[place], handed_over[place], stopped[place], tuple(names))


def backtest(
    leads: Judged,
    won: Truths,
    *,
    ids: list[str] | None = None,
    against: Judged | None = None,
    warnings: tuple[str, ...] = (),
) -> Backtest:
    """Hold the judged leads against their outcomes; `against` is how another agreement judged the same leads.

    Raises `Unreadable` with fewer than `FEWEST` leads of either outcome.
    """
    winners, losers = int(won.sum()), int((~won).sum())
    if min(winners, losers) < FEWEST:
        raise Unreadable(f"{winners} won and {losers} lost: at least {FEWEST} of each are needed to say anything")
    # 1. Figures with intervals: the leads drawn again a thousand times.
    groups, won_of, lost_of = figures.drawn(np.column_stack([leads.rank, leads.handed_over]), won)
    by_rank = figures.by_score(groups[:, 0], won_of, lost_of)
    over = groups[:, 1] == 1
    wins_over, rows_over = won_of[:, over].sum(axis=1), (won_of + lost_of)[:, over].sum(axis=1)
    missed = np.flatnonzero(won & ~leads.handed_over)
    best_first = missed[np.argsort(-leads.rank[missed], kind="stable")]
    # 2. What to be careful about.
    told = list(warnings)
    if min(winners, losers) < 200:
        told.append(f"only {min(winners, losers)} leads of one outcome: the intervals are wide")
    if not leads.handed_over.any():
        told.append("no lead reaches the threshold")
    told.append(
        "leads that nobody worked have the outcome that the export gives them: below the threshold that flatters"
    )
    return Backtest(
        rows=len(won),
        won=winners,
        lost=losers,
        auc=figures.interval(figures.auc_of(*by_rank)),
        average_precision=figures.interval(figures.average_precision_of(*by_rank)),
        volume=figures.share(int(leads.handed_over.sum()), len(won)),
        precision=figures.interval(wins_over / np.maximum(rows_over, 1)),
        recall=figures.interval(wins_over / np.maximum(won_of.sum(axis=1), 1)),
        stopped=int(leads.stopped.sum()),
        deciles=tuple(figures.deciles(leads.rank, won)),
        missed=tuple(ids[n] for n in best_first[:MISSED]) if ids is not None else (),
        missed_count=len(missed),
        warnings=tuple(told),
        compared=None
        if against is None
        else figures.compared(leads.rank, against.rank, won, volume=max(int(leads.handed_over.sum()), 1)),
    )


@dataclass(frozen=True, slots=True)
class _Use:
    """A column as a feature (`key` None: `feature` itself) or as an answer; its value for each level, None: missing."""

    column: Column
    feature: str
    key: str | None
    values: tuple[FeatureValue | None, ...]


def _uses(agreement: Agreement, table: Table) -> list[_Use]:
    text = "\n".join(_conditions(agreement))
    uses = []
    for column in table.columns.values():
        kind = LEAD_FIELDS.get(column.name.casefold(), "")
        if kind in ("bool", "int", "string") and re.search(
            rf"(?<![\w.\"'])\b{column.name.casefold()}\b(?![\"'])", text
        ):
            values = tuple(_typed(level, kind) for level in column.levels)
            uses.append(_Use(column, column.name.casefold(), None, values))
        for scale in _SCALES:
            key = column.name if scale == 1 else f"{column.name}_x{scale}"
            quoted = {json.dumps(key, ensure_ascii=False), json.dumps(key), "'" + key.replace("'", "\\'") + "'"}
            if not any(one in text for one in quoted):
                continue
            as_number = any(f"int(answers[{one}])" in text for one in quoted)
            answers = tuple(_answer(level, scale, as_number=as_number) for level in column.levels)
            uses.append(_Use(column, "answers", key, answers))
    return uses


def _conditions(agreement: Agreement) -> Iterator[str]:
    for criterion in (*agreement.gates, *agreement.disqualifiers):
        yield criterion.when.expanded
    for rule in agreement.fit:
        yield rule.when.expanded
    for bar in agreement.lines:
        if bar.when is not None:
            yield bar.when.expanded


def _answer(level: str, scale: int, *, as_number: bool) -> str | None:
    if not as_number:
        return level
    value = whole(level, scale)
    return None if value == NOTHING else str(value)


def _typed(level: str, kind: str) -> FeatureValue | None:
    if kind == "bool":
        return level.casefold() in _YES
    if kind == "string":
        return level
    number = number_of(level)
    return None if number is None else int(number)


def _features(uses: list[_Use], codes: dict[str, int]) -> dict[str, FeatureValue]:
    features: dict[str, FeatureValue] = {}
    answers: dict[str, str] = {}
    for use in uses:
        code = codes[use.column.name]
        value = use.values[code] if code >= 0 else None
        if value is None:
            continue
        if use.key is None:
            features[use.feature] = value
        else:
            answers[use.key] = str(value)
    if answers:
        features["answers"] = answers
    return features
