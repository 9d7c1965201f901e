"""The plan of deals, turned into the qualified leads that are needed each week."""

import calendar
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from scipy.special import betaincinv  # scipy.stats would take 50 MB for it

from baton_agreement.document import DocumentRefused, Flaw, pointer_of

COLUMNS: Final = ("month", "product", "segment", "rep", "deals")
COVERAGE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Measured:
    """Of `qualified` leads whose outcome is known, `won` became won deals. Open leads are no outcome."""

    qualified: int
    won: int


@dataclass(frozen=True, slots=True)
class Need:
    """Qualified leads a week for one row of the plan; `high` is None where the data set no upper limit."""

    month: str
    product: str | None
    segment: str | None
    rep: str | None
    deals: int
    expected: int | None
    low: int
    high: int | None


def leads_needed(plan: Sequence[dict[str, Any]], measured: Measured) -> tuple[Need, ...]:
    """Return for each row of the plan the qualified leads a week that it takes, with a 95 % interval.

    leads a week = deals / conversion / (days of the month / 7), rounded up; a half lead is a lead. The interval is that
    of the conversion, the equal-tailed Jeffreys interval Beta(won + 1/2, lost + 1/2) (Brown, Cai and DasGupta 2001,
    Statistical Science 16, 2), with the lower limit 0 where nothing was won and the upper 1 where nothing was lost.
    Raises ValueError where more was won than qualified.
    """
    if not 0 <= measured.won <= measured.qualified:
        raise ValueError("more was won than was qualified")
    won, lost = measured.won, measured.qualified - measured.won
    tail = (1 - COVERAGE) / 2
    least = float(betaincinv(won + 0.5, lost + 0.5, tail)) if won else 0.0
    most = float(betaincinv(won + 0.5, lost + 0.5, 1 - tail)) if lost else 1.0
    rate = won / measured.qualified if measured.qualified else 0.0
    needs = []
    for row in plan:
        year, month = (int(part) for part in row["month"].split("-"))
        days = calendar.monthrange(year, month)[1]
        needs.append(
            Need(
                month=row["month"],
                product=row.get("product"),
                segment=row.get("segment"),
                rep=row.get("rep"),
                deals=row["deals"],
                expected=_a_week(row["deals"], rate, days),
                low=_a_week(row["deals"], most, days) or 0,
                high=_a_week(row["deals"], least, days),
            )
        )
    return tuple(needs)


def plan_from_csv(raw: bytes) -> list[dict[str, Any]]:
    """Return the plan section of a CSV with the columns month and deals, and product, segment and rep where wanted.

    Raises DocumentRefused with the line of everything that is wrong. Whether the rows fit the form is said when the
    agreement is read.
    """
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        names = list(reader.fieldnames or [])
        if unknown := [name for name in names if name not in COLUMNS]:
            detail = f"the column '{unknown[0][:50]}' is not known; a plan has {', '.join(COLUMNS)}"
            raise DocumentRefused([Flaw(pointer="", detail=detail, line=1)])
        if missing := [name for name in ("month", "deals") if name not in names]:
            raise DocumentRefused([Flaw(pointer="", detail=f"the column '{missing[0]}' is missing", line=1)])
        rows: list[dict[str, Any]] = []
        flaws: list[Flaw] = []
        for row in reader:
            if None in row or None in row.values():
                flaws.append(Flaw(pointer="", detail="has not as many cells as the first line", line=reader.line_num))
                continue
            deals = row["deals"].strip()
            if not (deals.isascii() and deals.isdigit() and len(deals) <= 7):
                pointer = pointer_of("plan", len(rows), "deals")
                flaws.append(Flaw(pointer=pointer, detail="must be a whole number", line=reader.line_num))
                continue
            labels = {name: row[name].strip() for name in COLUMNS[:-1] if row.get(name, "").strip()}
            rows.append({**labels, "deals": int(deals)})
    except UnicodeDecodeError as error:
        raise DocumentRefused([Flaw(pointer="", detail=f"is not UTF-8 (byte {error.start})")]) from None
    except csv.Error as error:
        raise DocumentRefused([Flaw(pointer="", detail=f"is not CSV: {error}")]) from None
    if flaws:
        raise DocumentRefused(flaws)
    return rows


def _a_week(deals: int, rate: float, days: int) -> int | None:
    if deals == 0:
        return 0
    if rate <= 0:
        return None
    return math.ceil(deals / rate * 7 / days - 1e-9)
