"""Bytes of an export into its records, piece by piece. Pure.

A record ends at a line feed outside quotes. A quote opens a field only at its beginning, as spreadsheets write it, and
what never closes is one wrong record, not the rest of the file. All encodings taken are supersets of ASCII, so that
line feeds, quotes and delimiters are found in the bytes, and a piece may begin at the end of any record.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ENCODINGS = ("utf-8", "windows-1251", "windows-1252", "koi8-r", "iso-8859-1", "iso-8859-15")
DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 64 * 1024
"""Of a record."""
MOST_LINES = 200
"""Of a record in quotes."""
MOST_COLUMNS = 500


@dataclass(frozen=True, slots=True)
class Record:
    """`end` is where the next record begins, counted from the beginning of the piece; `fault` is a reason code."""

    raw: bytes
    end: int
    fault: str = ""


def split(piece: bytes, *, delimiter: str, final: bool, most: int) -> list[Record]:
    """The whole records at the beginning of a piece, at most `most`.

    `delimiter` is "" for JSON lines, where quotes mean nothing. `final` says that nothing comes after the piece. A
    piece of more than `MOST_BYTES` always yields a record.
    """
    found: list[Record] = []
    at, size, mark = 0, len(piece), delimiter.encode()
    while at < size and len(found) < most:
        end = _line_end(piece, at, final=final)
        if end is None:
            if size - at <= MOST_BYTES:
                break
            end = size  # no line feed for longer than any record: the rest of the line follows as a wrong one
        first, lines = end, 1
        open_ = bool(mark) and b'"' in piece[at:end] and _unclosed(piece[at:end], mark)
        while open_ and lines < MOST_LINES and end - at <= MOST_BYTES:
            more = _line_end(piece, end, final=final) if end < size else None
            if more is None:
                if final or size - at > MOST_BYTES:
                    break
                return found
            end, lines = more, lines + 1
            open_ = _unclosed(piece[at:end], mark)
        if open_:
            found.append(Record(b"", first, "unclosed_quote"))
        elif end - at > MOST_BYTES:
            found.append(Record(b"", end, "too_long"))
        else:
            found.append(Record(piece[at:end].rstrip(b"\r\n"), end))
        at = found[-1].end
    return found


def _line_end(piece: bytes, at: int, *, final: bool) -> int | None:
    end = piece.find(b"\n", at)
    if end >= 0:
        return end + 1
    return len(piece) if final else None


def _unclosed(text: bytes, mark: bytes) -> bool:
    at = 0
    while True:
        if text[at : at + 1] == b'"':
            at += 1
            while (quote := text.find(b'"', at)) >= 0:
                at = quote + 1
                if text[at : at + 1] != b'"':
                    break
                at += 1
            else:
                return True
        at = text.find(mark, at)
        if at < 0:
            return False
        at += 1


def cells(raw: bytes, *, encoding: str, delimiter: str) -> list[str] | str:
    """The cells of a record of CSV, or a reason code."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return "encoding"
    if '"' not in text:
        found = text.split(delimiter)
    else:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error:
            return "not_csv"
        if len(rows) != 1:
            return "not_csv"
        found = rows[0]
    return found if len(found) <= MOST_COLUMNS else "too_many_columns"


def json_record(raw: bytes, *, encoding: str) -> dict[str, Any] | str:
    """The object of a record of JSON lines, or a reason code."""
    try:
        found = json.loads(raw.decode(encoding))
    except UnicodeDecodeError:
        return "encoding"
    except (ValueError, RecursionError):
        return "not_json"
    return found if isinstance(found, dict) else "not_an_object"


def detect_encoding(head: bytes) -> str:
    """The encoding of an export by its beginning: a name of ENCODINGS, or `utf-16` (which is not taken).

    What is no UTF-8 is Windows-1251 when its letters beyond ASCII stand together as in Russian words, and
    Windows-1252 when they stand alone among Latin ones.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head[1:100:2].count(0) > 20:
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut at the end
    except UnicodeDecodeError:
        high = [n for n, byte in enumerate(head) if byte >= 0xC0 or byte in (0xA8, 0xB8)]
        beyond = set(high)
        together = sum(n - 1 in beyond or n + 1 in beyond for n in high)
        return "windows-1251" if together * 10 >= len(high) * 6 else "windows-1252"
    return "utf-8"


def detect_delimiter(lines: Sequence[bytes], *, encoding: str) -> str:
    """The delimiter that parts the first records into the same number of cells, most of them; `,` when none does."""
    whole = b"\n".join(lines)

    def fitness(delimiter: str) -> tuple[float, int]:
        counts: Counter[int] = Counter()
        for record in split(whole, delimiter=delimiter, final=True, most=200):
            found = cells(record.raw, encoding=encoding, delimiter=delimiter) if record.raw.strip() else []
            if found:
                counts[len(found) if isinstance(found, list) else 0] += 1
        if not counts:
            return 0, 0
        width, times = max(counts.items(), key=lambda item: (item[1], item[0]))
        return (times / counts.total() if width > 1 else 0, width)

    return max(DELIMITERS, key=fitness) if lines else ","
