"""Which leads were won, which lost, and which are still open: read from one column of an export."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from baton_evidence.fields import looks_like_a_date
from baton_evidence.table import Column, Table, Unreadable

Truths = np.ndarray[Any, np.dtype[np.bool_]]

_WON: Final = frozenset([
    "1", "1.0", "yes", "y", "true", "t", "won", "win", "closed won", "converted", "accepted", "success", "positive",
    "customer", "bought", "purchased", "subscribed", "да", "выиграна", "выигран", "выиграно", "успешно", "успех",
    "успешно реализовано", "успешная", "куплено", "клиент", "оплачено", "сделка", "продажа",
])  # fmt: skip
_LOST: Final = frozenset([
    "0", "0.0", "no", "n", "false", "f", "lost", "loss", "closed lost", "not converted", "unconverted", "rejected",
    "failure", "negative", "disqualified", "-1", "нет", "проиграна", "проигран", "проиграно", "отказ", "неуспешно",
    "закрыто и не реализовано", "не реализовано", "не куплено", "не клиент", "потеряна", "потерян",
])  # fmt: skip
_OPEN: Final = frozenset([
    "open", "new", "in progress", "pending", "working", "negotiation", "qualified", "contacted", "nurture", "recycled",
    "открыта", "в работе", "новый", "новая", "ожидание", "переговоры",
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of each row: `won` counts only where `known`. `says` tells how it was read."""

    won: Truths
    known: Truths
    won_values: tuple[str, ...]
    says: tuple[str, ...] = ()

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The rows whose outcome is known."""
        return np.flatnonzero(self.known)


def read_outcome(table: Table, name: str, *, won: Sequence[str] = ()) -> Outcome:
    """Read the outcome from the column `name`; `won` are the values that mean won, where they do not say so.

    Raises `Unreadable`: no such column, no such value, or nothing that tells won from lost.
    """
    column = column_named(table, name)
    if won:
        return _as_told(column, won)
    plain = [level.casefold() for level in column.levels]
    of_level = {level: _meaning(level) for level in plain}
    winners = [column.levels[n] for n, level in enumerate(plain) if of_level[level] == "won"]
    losers = [level for level in plain if of_level[level] == "lost"]

    # 1. Both are there in words everybody uses; whatever else stands there is not decided yet.
    if winners and losers:
        others = [column.levels[n] for n, level in enumerate(plain) if of_level[level] not in ("won", "lost")]
        known = np.array([of_level[level] in ("won", "lost") for level in plain] + [False])[column.codes]
        says = [f"{_listed(others)} counted as open"] if others else []
        return _outcome(column, winners, known, says)

    # 2. One value, or dates: filled means won.
    if column.levels and (len(column.levels) == 1 or looks_like_a_date(column)):
        if not bool((column.codes < 0).any()):
            raise Unreadable(f"{name} is filled in every row: nothing tells won from lost")
        everything = np.ones(table.rows, dtype=np.bool_)
        return Outcome(column.codes >= 0, everything, ("filled in",), (f"won where {name} is filled in",))

    # 3. Two values of which one speaks: the other is its opposite. Of two silent ones the rarer is taken for won.
    if len(column.levels) == 2:
        if not winners:
            counts = column.counts
            silent = [n for n, level in enumerate(plain) if of_level[level] != "lost"]
            winners = [column.levels[min(silent, key=lambda n: int(counts[n]))]]
        told = f"{winners[0]!r} was taken for won; say --won VALUE if it is another"
        return _outcome(column, winners, column.codes >= 0, [told] if not _speaks(winners[0]) else [])

    if winners:
        known = np.array([of_level[level] != "open" for level in plain] + [False])[column.codes]
        return _outcome(column, winners, known, [f"lost is everything but {_listed(winners)}"])
    raise Unreadable(f"{name} holds {_listed(column.levels)}; say which of them mean won: --won VALUE")


def column_named(table: Table, name: str) -> Column:
    """Return the column, whatever the case of its name. Raises `Unreadable` with the names that come near."""
    if name in table.columns:
        return table.columns[name]
    same = [found for found in table.columns if found.casefold() == name.strip().casefold()]
    if len(same) == 1:
        return table.columns[same[0]]
    near = difflib.get_close_matches(name, list(table.columns), n=3, cutoff=0.5) or list(table.columns)[:20]
    raise Unreadable(f"there is no column {name!r}; there are {', '.join(map(repr, near))}")


def _as_told(column: Column, won: Sequence[str]) -> Outcome:
    wanted = {value.strip().casefold() for value in won}
    winners = [level for level in column.levels if level.casefold() in wanted]
    missing = wanted - {level.casefold() for level in winners}
    if missing:
        raise Unreadable(f"{column.name} never holds {sorted(missing)[0]!r}; it holds {_listed(column.levels)}")
    known = np.array([_meaning(level.casefold()) != "open" or level in winners for level in column.levels] + [False])
    return _outcome(column, winners, known[column.codes], [])


def _outcome(column: Column, winners: Sequence[str], known: Truths, says: Sequence[str]) -> Outcome:
    of_level = np.array([level in set(winners) for level in column.levels] + [False])
    return Outcome(of_level[column.codes] & known, known, tuple(winners), tuple(says))


def _meaning(level: str) -> str:
    if level in _WON:
        return "won"
    if level in _LOST:
        return "lost"
    return "open" if level in _OPEN else ""


def _speaks(level: str) -> bool:
    return level.casefold() in _WON


def _listed(levels: Sequence[str]) -> str:
    shown = ", ".join(repr(level[:40]) for level in levels[:8])
    return shown if len(levels) <= 8 else f"{shown} and {len(levels) - 8} more"
