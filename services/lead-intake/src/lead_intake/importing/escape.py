"""Cells of a CSV that no spreadsheet takes for a formula. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula or a command; the last four are the full-width forms, which some spreadsheets take as well."""


def cell(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would run it."""
    return f"'{text}" if text.lstrip(" \u00a0\x00").startswith(_DANGEROUS) else text


def line(cells: Iterable[object]) -> str:
    """One line of CSV with its end."""
    made = io.StringIO()
    csv.writer(made, lineterminator="\r\n").writerow([c if isinstance(c, int) else cell(str(c)) for c in cells])
    return made.getvalue()
