"""Read an export as it comes: the encodings and delimiters of spreadsheets and CRMs; a wrong row stops nothing."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Codes = np.ndarray[Any, np.dtype[np.int32]]

MISSING: Final = frozenset([
    "", "-", "--", "—", "?", "n/a", "na", "nan", "none", "null", "nil", "select", "(blank)", "#n/a", "не указано",
    "не указан", "не указана", "не выбрано", "нет данных", "not set", "not specified", "not provided", "not_known",
])  # fmt: skip
"""What stands for nothing, in any case; `Select` is what an untouched drop-down list writes."""

_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_MOST_CELL: Final = 2**31 - 1
_MOST_COLUMNS: Final = 2_000


class Unreadable(ValueError):
    """The file cannot be used as an export; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its different values: row `i` holds `levels[codes[i]]`, and -1 where nothing stands."""

    name: str
    levels: tuple[str, ...]
    codes: Codes

    @property
    def counts(self) -> Codes:
        """How many rows hold each level."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.levels)).astype(np.int32)

    def taken(self, rows: np.ndarray[Any, Any]) -> "Column":
        """The same column of some rows."""
        return Column(self.name, self.levels, self.codes[rows])


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of an export by name, its number of rows, and the lines that could not be read as rows."""

    columns: Mapping[str, Column]
    rows: int
    wrong_lines: tuple[int, ...] = ()

    def taken(self, rows: np.ndarray[Any, Any]) -> "Table":
        """The same table of some rows."""
        columns = {name: column.taken(rows) for name, column in self.columns.items()}
        return Table(columns, len(next(iter(columns.values())).codes) if columns else 0)


def read_table(content: bytes) -> Table:
    """Read a CSV whose first line names the columns: UTF-8, UTF-16 or Windows-1251; comma, semicolon, tab or pipe.

    A row with another number of cells than the header is left out and its line is named. Raises `Unreadable`.
    """
    text = _decoded(content)
    delimiter = _delimiter(text)
    with _long_cells():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            header, rows, wrong = _rows(reader)
        except csv.Error as error:
            raise Unreadable(f"line {reader.line_num}: this is no CSV: {error}") from error
    if not rows:
        raise Unreadable("the file has no rows below its header")
    cells = zip(*rows, strict=True)
    columns = {name: _column(name, values) for name, values in zip(header, cells, strict=True)}
    return Table(columns, len(rows), tuple(wrong))


def _decoded(content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        # What a spreadsheet of a Russian office writes; every byte but one is a character of it.
        return content.decode("cp1251", errors="replace")


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first lines into most cells, the same number each time where possible."""
    head = [line for line in text[: 1 << 16].splitlines() if line.strip()][:20]
    if not head:
        raise Unreadable("the file is empty; its first line names the columns")

    def worth(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in csv.reader(head, delimiter=delimiter))
        first = len(next(csv.reader(head[:1], delimiter=delimiter)))
        return (widths[first] if first > 1 else 0, first)

    return max(",;\t|", key=worth)


def _rows(reader: Iterator[list[str]]) -> tuple[list[str], list[list[str]], list[int]]:
    header: list[str] = []
    rows, wrong = [], []
    for row in reader:
        if not header:
            if any(map(str.strip, row)):
                header = _named(row)
            continue
        if len(row) == len(header):
            rows.append(row)
        elif any(map(str.strip, row)):
            wrong.append(reader.line_num)  # type: ignore[attr-defined]
    return header, rows, wrong


def _named(row: Sequence[str]) -> list[str]:
    """The header, each name once: an empty name is its place, a repeated one gets a number."""
    if len(row) > _MOST_COLUMNS:
        raise Unreadable(f"the header has {len(row)} columns; the limit is {_MOST_COLUMNS}")
    names: list[str] = []
    for place, cell in enumerate(row, start=1):
        name = " ".join(cell.replace("\x00", "").split()) or f"column {place}"
        taken = name
        again = 2
        while taken in names:
            taken, again = f"{name} ({again})", again + 1
        names.append(taken)
    return names


def _column(name: str, cells: Sequence[str]) -> Column:
    # Levels in the order in which they come; the same text with other spaces round it is the same.
    index: dict[str, int] = {}
    raw = np.fromiter((index.setdefault(cell, len(index)) for cell in cells), dtype=np.int32, count=len(cells))
    levels: dict[str, int] = {}
    places = np.empty(len(index), dtype=np.int32)
    for cell, place in index.items():
        level = cell.replace("\x00", "�").strip()
        places[place] = -1 if level.casefold() in MISSING else levels.setdefault(level, len(levels))
    return Column(name, tuple(levels), places[raw])


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_MOST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
