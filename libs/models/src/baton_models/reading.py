"""Read journeys from a CSV in the layout of the R package ChannelAttribution: path, conversions, value, nulls.

One path a row, its touches joined by ` > `; the order of columns, the case of their names, the delimiter (comma,
semicolon, tab, pipe), quotes and a byte order mark do not matter. Numbers are taken exactly, whatever their size.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any, Final

import numpy as np

from baton_models.journeys import Amounts, EmptyStep, Floats, Journeys, amounts, split

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("path", "paths", "journey", "channelpath", "conversionpath", "touchpoints"),
    "conversions": ("conversions", "conversion", "conv", "convs", "totalconversions", "totalconversion", "won"),
    "value": (
        "value", "values", "conversionvalue", "convvalue", "totalconversionvalue", "totalvalue", "revenue",
        "totalrevenue", "amount", "amountcents", "amountminor",
    ),
    "nulls": ("nulls", "null", "totalnull", "totalnulls", "nonconversions", "lost"),
    "ages": ("agehours", "ageshours", "ages"),
}  # fmt: skip
"""Column -> the headers it is known by (letters and digits only, small), the first that is there counts."""

_MISSING: Final = ("", "NA")
_BIGGEST: Final = 100
"""A number has at most this many digits before and behind the point."""
_LIMIT: Final = 10**_BIGGEST
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_HEAD: Final = 1 << 20
_MOST_CELL: Final = 2**31 - 1


class Unreadable(ValueError):
    """The file cannot be read as journeys: why, and where (lines and columns count from 1; None: nowhere)."""

    def __init__(self, reason: str, line: int | None = None, column: tuple[int, str] | None = None) -> None:
        place = [f"line {line}"] if line is not None else []
        if column is not None:
            place.append(f"column {column[0]} ({column[1]})")
        super().__init__(": ".join(filter(None, (", ".join(place), reason))))
        self.line, self.column, self.reason = line, column, reason


@dataclass(frozen=True, slots=True)
class Read:
    """What a file holds: its journeys, pooled by path, the number of its rows, and which header was taken for what."""

    journeys: Journeys
    rows: int
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Layout:
    delimiter: str
    header: tuple[str, ...]
    place: Mapping[str, int]

    def column(self, name: str) -> tuple[int, str]:
        place = self.place[name]
        return place + 1, self.header[place].strip() or name


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark. Raises `Unreadable` with the line where it is neither."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable("this is no UTF-8; save the file as CSV UTF-8", line) from error


def read_journeys(content: bytes, *, separator: str = ">", columns: Mapping[str, str] | None = None) -> Read:
    """Read the journeys of a CSV file.

    `columns` names headers that are not in `NAMES`. Without a column of nulls no journey was lost, unless the
    conversions are called `won`: then a row is one journey, lost where it is 0. Empty cells and NA are 0.
    Raises `Unreadable`.
    """
    text = decoded(content)
    layout = _layout_of(text, columns or {})
    with _long_cells():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter, strict=True)
        try:
            return _pooled(reader, layout, separator)
        except csv.Error as error:
            raise Unreadable(f"this is no CSV: {error}", reader.line_num) from error


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_MOST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _layout_of(text: str, named: Mapping[str, str]) -> _Layout:
    head = next((line for line in text[:_HEAD].splitlines() if line.strip()), "")
    if not head:
        raise Unreadable("the file is empty; its first line names the columns: path,conversions,value,nulls")
    found = []
    for delimiter in ",;\t|":
        header = tuple(next(csv.reader([head], delimiter=delimiter), []))
        found.append((len(header), delimiter, header))
    _, delimiter, header = max(found, key=lambda one: one[0])
    plain = [_plain(name) for name in header]
    place = {}
    for column, names in NAMES.items():
        wanted = (_plain(named[column]),) if column in named else names
        places = next(([n for n, name in enumerate(plain) if name == one] for one in wanted if one in plain), [])
        if len(places) > 1:
            raise Unreadable(f"two columns are called {header[places[0]].strip()}", 1)
        if places:
            place[column] = places[0]
        elif column in named or column in ("path", "conversions"):
            what = f"called {named[column]}" if column in named else f"of {column} (such as {', '.join(names[:3])})"
            raise Unreadable(f"there is no column {what}; there are {', '.join(map(repr, header))}", 1)
    return _Layout(delimiter, header, place)


def _number(cell: str, *, comma: bool) -> int | Decimal:
    """A cell as an exact number. Raises `ValueError` with the reason."""
    text = cell.strip()
    if text in _MISSING:
        return 0
    try:
        number = Decimal(text.replace(",", ".") if comma else text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{text[:40]!r} is no number")
    if number and (number.adjusted() >= _BIGGEST or _exponent(number) < -_BIGGEST):
        raise ValueError(f"{text[:40]!r} has more than {_BIGGEST} digits before or behind the point")
    return int(number) if number == number.to_integral_value() else number


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _pooled(reader: Any, layout: _Layout, separator: str) -> Read:
    place = layout.place
    at_path, at_won = place["path"], place["conversions"]
    at_value, at_null, at_ages = (place.get(name, -1) for name in ("value", "nulls", "ages"))
    width, comma = len(layout.header), layout.delimiter == ";"
    one_a_row = at_null < 0 and _plain(layout.header[at_won]) == "won"
    pool: dict[object, int] = {}
    lines: list[int] = []
    paths: list[str] = []
    ages: list[str] = []
    won: list[int | Decimal] = []
    null: list[int | Decimal] = []
    value: list[int | Decimal] = []
    rows = 0

    # Sums of decimals are exact with as many digits as they can have.
    with localcontext(Context(prec=3 * _BIGGEST)):
        begun = False
        for row in reader:
            if not begun:
                begun = bool(row) and any(map(str.strip, row))  # the header
                continue
            if len(row) < width:
                if not any(map(str.strip, row)):
                    continue
                raise Unreadable(f"{len(row)} cells where the header has {width}", reader.line_num)
            if len(row) > width and any(map(str.strip, row[width:])):
                raise Unreadable(f"{len(row)} cells where the header has {width}", reader.line_num)
            try:  # whole numbers, as nearly always
                wins = int(row[at_won])
                losses = int(row[at_null]) if at_null >= 0 else 0
                worth: int | Decimal = int(row[at_value]) if at_value >= 0 else 0
                if wins < 0 or losses < 0 or (worth and not wins):
                    raise ValueError
            except ValueError:
                wins, losses, worth = _careful(row, layout, reader.line_num, comma=comma)  # type: ignore[assignment]
            if one_a_row:
                if wins not in (0, 1):
                    raise Unreadable("won is 0 or 1", reader.line_num, layout.column("conversions"))
                losses = 1 - wins
            rows += 1
            path = row[at_path]
            key = path if at_ages < 0 else (path, row[at_ages])
            n = pool.get(key)
            if n is None:
                pool[key] = len(paths)
                paths.append(path)
                lines.append(reader.line_num)
                won.append(wins)
                null.append(losses)
                value.append(worth)
                if at_ages >= 0:
                    ages.append(row[at_ages])
            else:
                won[n] += wins
                null[n] += losses
                value[n] += worth

        for sums in (won, null, value):
            wrong = next((n for n, one in enumerate(sums) if not -_LIMIT < one < _LIMIT), None)
            if wrong is not None:
                raise Unreadable(f"the numbers of this path reach {_BIGGEST} digits", lines[wrong])
        try:
            channels, steps, starts = split(paths, separator=separator)
        except EmptyStep as error:
            raise Unreadable(f"touch {error.step} has no name", lines[error.path], layout.column("path")) from error
        journeys = Journeys(
            channels=channels,
            steps=steps,
            starts=starts,
            conversions=_amounts(won),
            nulls=_amounts(null),
            value=_amounts(value) if at_value >= 0 else None,
            ages=_ages(ages, np.diff(starts).tolist(), lines, layout, separator) if at_ages >= 0 else None,
        )
    return Read(journeys, rows, {name: layout.header[n].strip() for name, n in place.items()})


def _careful(row: Sequence[str], layout: _Layout, line: int, *, comma: bool) -> tuple[int | Decimal, ...]:
    """The three numbers of a row that are not all plain whole ones, or the place of what is wrong."""
    numbers: list[int | Decimal] = []
    for name in ("conversions", "nulls", "value"):
        number: int | Decimal = 0
        if name in layout.place:
            try:
                number = _number(row[layout.place[name]], comma=comma)
            except ValueError as error:
                raise Unreadable(str(error), line, layout.column(name)) from None
            if number < 0 and name != "value":
                raise Unreadable("a count is not negative", line, layout.column(name))
        numbers.append(number)
    if numbers[2] and not numbers[0]:
        raise Unreadable("a value without a conversion", line, layout.column("value"))
    return tuple(numbers)


def _amounts(sums: Sequence[int | Decimal]) -> Amounts:
    exponents = [_exponent(one) for one in sums if isinstance(one, Decimal)]
    decimals = max(0, -min(exponents, default=0))
    if not exponents:
        return amounts([int(one) for one in sums])
    return amounts([int(Decimal(one).scaleb(decimals)) for one in sums], decimals=decimals)


def _ages(
    cells: Sequence[str], lengths: Sequence[int], lines: Sequence[int], layout: _Layout, separator: str
) -> Floats:
    """The age of every touch, one a touch in the path's order. Raises `Unreadable`."""
    hours: list[float] = []
    for cell, length, line in zip(cells, lengths, lines, strict=True):
        parts = cell.split(separator) if cell.strip() else []
        if len(parts) != length:
            raise Unreadable(f"{len(parts)} ages for {length} touches", line, layout.column("ages"))
        for part in parts:
            try:
                age = float(part)
            except ValueError:
                raise Unreadable(f"{part.strip()[:40]!r} is no number", line, layout.column("ages")) from None
            if not 0 <= age < float("inf"):
                raise Unreadable("an age is hours before the close, 0 or more", line, layout.column("ages"))
            hours.append(age)
    return np.array(hours, dtype=np.float64)
