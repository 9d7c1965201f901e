"""Hold a provider's own count, by day and form, against ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lead_intake import normalise


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the provider counted on one day; `form` "" stands for all forms together."""

    day: date
    form: str
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One day and form: `difference` is theirs minus ours; positive means that something did not arrive."""

    day: date
    form: str
    theirs: int
    ours: int

    @property
    def difference(self) -> int:
        """How many are missing here (or, negative, there)."""
        return self.theirs - self.ours


def compare(theirs: Sequence[Theirs], ours: Mapping[tuple[date, str], int]) -> list[Difference]:
    """Every day and form that one of both knows, on the days that the provider told of; sorted.

    A day told for all forms together is compared with all of ours.
    """
    told: dict[tuple[date, str], int] = {}
    for one in theirs:
        key = (one.day, normalise.identifier(one.form))
        told[key] = told.get(key, 0) + one.count
    whole = {day for day, form in told if form == ""}
    counted: dict[tuple[date, str], int] = {}
    days = {day for day, _ in told}
    for (day, form), count in ours.items():
        if day in days:
            key = (day, "" if day in whole else form)
            counted[key] = counted.get(key, 0) + count
    keys = sorted({*told, *counted})
    return [Difference(day, form, told.get((day, form), 0), counted.get((day, form), 0)) for day, form in keys]
