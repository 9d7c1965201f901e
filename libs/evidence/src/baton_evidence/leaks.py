"""Find columns that look filled in after the outcome was known: a rule on them would be right in the export only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from baton_evidence.bins import Binned, binned, bins_of
from baton_evidence.fields import Field, LeftOut, words_of
from baton_evidence.figures import auc
from baton_evidence.table import Column, Table

Floats = np.ndarray[Any, np.dtype[np.float64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]

NEARLY_ALONE: Final = 0.97
SUSPICIOUS: Final = 0.85
NAMED_LATE: Final = 0.60
NAMED_PERHAPS: Final = 0.70

# What is known only when a lead is closed. A name of these words needs little more to be left out.
_LATE: Final = frozenset([
    "closed", "close", "closing", "won", "lost", "loss", "invoice", "invoiced", "converted", "conversion", "churned",
    "rejected", "rejection", "disqualified", "cancelled", "canceled", "cancellation", "signed", "refund", "paid",
    "закрыт", "закрыта", "закрыто", "закрытия", "закрытие", "выигран", "выиграна", "проигран", "проиграна",
    "отказ", "отказа", "оплачен", "оплачено", "оплаты", "счет", "счёт", "договор", "договора", "подписан",
])  # fmt: skip
# What changes while a lead is worked, and may have been known before: left out only where it tells much.
_PERHAPS: Final = frozenset([
    "status", "stage", "tag", "tags", "quality", "duration", "last", "notable", "score", "result", "outcome", "grade",
    "rating", "profile", "index", "next", "feedback", "comment", "comments", "note", "notes", "resolution", "reason",
    "disposition", "deal", "opportunity", "modified", "updated", "следующий", "следующее",
    "статус", "этап", "стадия", "тег", "теги", "качество", "длительность", "результат", "итог", "комментарий",
    "оценка", "последний", "последнее", "последняя", "причина", "сделка", "сделки",
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What was found: columns to leave out, and columns to look at."""

    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
    strength: dict[str, float]


def suspicion(
    fields: Sequence[Field], unusable: Sequence[LeftOut], table: Table, won: Truths, *, keep: frozenset[str]
) -> Suspicion:
    """Judge every column by its name, by where it is filled and by how much it tells alone. `keep` are never left out.

    Columns that no rule can be built upon are judged too, so that a date of closing is named for what it is.
    """
    left_out: list[LeftOut] = []
    warnings: list[str] = []
    rows = binned(bins_of(tuple(fields), table), table)
    strength = {field.column: alone(rows, j, won) for j, field in enumerate(fields)}
    for field in fields:
        column = table.columns[field.column]
        why = _why(column, strength[field.column], won)
        if why is not None and field.column not in keep:
            left_out.append(LeftOut(field.column, "leak", why))
        elif strength[field.column] >= SUSPICIOUS:
            warnings.append(
                f"{field.column} tells the outcome nearly alone (AUC {strength[field.column]:.2f}): is it known when"
                f" the lead comes in? If not, say --drop {field.column!r}"
            )
    for one in unusable:
        if one.reason in ("date", "id", "text"):
            why = _by_presence(table.columns[one.column], won)
            if why is not None:
                left_out.append(LeftOut(one.column, "leak", why))
    return Suspicion(tuple(left_out), tuple(warnings), strength)


def alone(rows: Binned, j: int, won: Truths) -> float:
    """How well field `j` alone tells won from lost: AUC of the rates of its bins, each half judged by the other."""
    codes, size = rows.codes[j].astype(np.intp), rows.bins[j].size
    score = np.empty(len(won))
    half = np.arange(len(won)) % 2 == 0
    base = float(won.mean())
    for mine in (half, ~half):
        other = ~mine
        count = np.bincount(codes[other], minlength=size)
        rate = (np.bincount(codes[other], weights=won[other], minlength=size) + 5 * base) / (count + 5)
        score[mine] = rate[codes[mine]]
    return (auc(score[half], won[half]) + auc(score[~half], won[~half])) / 2


def _why(column: Column, strength: float, won: Truths) -> str | None:
    words = set(words_of(column.name))
    by_presence = _by_presence(column, won)
    if by_presence is not None:
        return by_presence
    if strength >= NEARLY_ALONE:
        return f"tells the outcome nearly alone (AUC {strength:.2f})"
    level = _level_that_decides(column, won)
    if level is not None:
        return level
    if words & _LATE and strength >= NAMED_LATE:
        return f"its name speaks of the end of a lead, and it tells much (AUC {strength:.2f})"
    if words & _PERHAPS and strength >= NAMED_PERHAPS:
        return f"its name speaks of what changes while a lead is worked, and it tells much (AUC {strength:.2f})"
    return None


def _by_presence(column: Column, won: Truths) -> str | None:
    """Filled in for one outcome only, or nearly: `lost reason`, `contract number`."""
    filled = column.codes >= 0
    count = int(filled.sum())
    if count < 20 or count > 0.995 * len(won):
        return None
    base, rate, rest = float(won.mean()), float(won[filled].mean()), float(won[~filled].mean())
    told = abs(float(filled[won].mean()) - float(filled[~won].mean())) / 2 + 0.5
    if told >= 0.9:
        return f"is filled in for {rate:.0%} winners, and left empty for {rest:.0%}"
    # As pure by chance is less likely than one in a million.
    if rate <= 0.005 and (1 - base) ** count < 1e-6:
        return "is filled in for lost leads only"
    if rate >= 0.995 and base**count < 1e-6 and base < 0.9:
        return "is filled in for won leads only"
    return None


def _level_that_decides(column: Column, won: Truths) -> str | None:
    """A value that means won: a tenth of all winners have it and hardly anybody else."""
    if len(column.levels) > 200:
        return None
    taken = column.codes >= 0
    count = np.bincount(column.codes[taken], minlength=len(column.levels))
    wins = np.bincount(column.codes[taken], weights=won[taken], minlength=len(column.levels))
    total, rows = float(won.sum()), len(won)
    for n in np.argsort(-wins)[:20]:
        inside, outside = wins[n] / max(count[n], 1), (total - wins[n]) / max(rows - count[n], 1)
        odds = (inside + 1e-3) / (1 - inside + 1e-3) / ((outside + 1e-3) / (1 - outside + 1e-3))
        if wins[n] >= max(0.1 * total, 30) and inside >= 0.97 and odds >= 60:
            return f"{column.levels[n]!r} means won in {inside:.1%} of its leads"
    return None
