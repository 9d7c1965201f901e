"""Campaigns from a spreadsheet: CSV whose columns are the fields of a record. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from lead_intake.campaigns.campaign import FIELDS

LARGEST = 2_000_000
"""Bytes."""
MOST_ROWS = 5_000
_NUMBER = re.compile(r"[0-9]{1,18}")
_YES: Final = {"": False, "false": False, "no": False, "0": False, "true": True, "yes": True, "1": True}


@dataclass(slots=True)
class Sheet:
    """The rows by code with the columns that the sheet has, and what is wrong by (row of the spreadsheet, column)."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    number_of: dict[str, int] = field(default_factory=dict)
    faults: list[tuple[int, str, str]] = field(default_factory=list)


def read(data: bytes) -> Sheet:
    """Read a sheet in UTF-8 divided by commas, semicolons or tabs; keys within a cell are divided by semicolons.

    `code` is needed. A column that is missing leaves what is known; an empty cell empties it.
    """
    sheet = Sheet()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        sheet.faults.append((1, "", "the sheet is not UTF-8"))
        return sheet
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _head(names, sheet)
        if sheet.faults:
            return sheet
        for cells in reader:
            if len(sheet.rows) >= MOST_ROWS:
                sheet.faults.append((reader.line_num, "", f"more than {MOST_ROWS} rows"))
                break
            if any(cell.strip() for cell in cells):
                _row(cells, names, reader.line_num, sheet)
    except csv.Error:
        sheet.faults.append((reader.line_num, "", "the row cannot be read as CSV"))
    return sheet


def _head(names: list[str], sheet: Sheet) -> None:
    if "code" not in names:
        sheet.faults.append((1, "code", "the first row names the columns, and one of them is code"))
    sheet.faults += [(1, "", f"column {n + 1} is none of {', '.join(FIELDS)}") for n in _strangers(names)]
    if len(set(names)) != len(names):
        sheet.faults.append((1, "", "a column stands twice"))


def _strangers(names: list[str]) -> list[int]:
    return [n for n, name in enumerate(names) if name not in FIELDS]


def _row(cells: list[str], names: list[str], number: int, sheet: Sheet) -> None:
    if len(cells) != len(names):
        sheet.faults.append((number, "", f"{len(names)} cells are needed"))
        return
    found: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            found[name] = _READ.get(name, str)(cell.strip())
        except ValueError as wrong:
            sheet.faults.append((number, name, str(wrong)))
            return
    code = found["code"]
    if code in sheet.rows:
        sheet.faults.append((number, "code", f"stands in row {sheet.number_of[code]} already"))
        return
    sheet.rows[code], sheet.number_of[code] = found, number


def _day(cell: str) -> date | None:
    try:
        return date.fromisoformat(cell) if cell else None
    except ValueError:
        raise ValueError("a day such as 2026-09-01") from None


def _number(cell: str) -> int | None:
    if cell and not _NUMBER.fullmatch(cell):
        raise ValueError("a whole number")
    return int(cell) if cell else None


def _yes(cell: str) -> bool:
    if cell.lower() not in _YES:
        raise ValueError("yes or no")
    return _YES[cell.lower()]


def _keys(cell: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in cell.split(";") if key.strip())


_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "starts_on": _day,
    "ends_on": _day,
    "planned_spend_minor": _number,
    "planned_leads": _number,
    "archived": _yes,
    "keys": _keys,
}
