"""Bytes of an export into its records, piece by piece. Pure.

A record ends at a line feed outside quotes. A quote opens a field only at its beginning, as spreadsheets write it, and
what never closes is one wrong record, not the rest of the file. Nearly all encodings taken are supersets of ASCII, so
that line feeds, quotes and delimiters are found in the bytes, and a piece may begin at the end of any record. UTF-16 is
rewritten as UTF-8 for that, a piece at a time; positions count the bytes of the file all the same.
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

ENCODINGS = (
    *("utf-8", "windows-1251", "windows-1252", "koi8-r", "iso-8859-1", "iso-8859-15"),
    *("utf-16-le", "utf-16-be"),
)
DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 64 * 1024
"""Of a record."""
MOST_LINES = 200
"""Of a record in quotes."""
MOST_COLUMNS = 500

_MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


@dataclass(frozen=True, slots=True)
class Record:
    """`end` is where the next record begins, counted from the beginning of the piece; `fault` is a reason code.

    `raw` is in the encoding of the file, or in UTF-8 where that is UTF-16.
    """

    raw: bytes
    end: int
    fault: str = ""


def mark_length(head: bytes, encoding: str) -> int:
    """How long the byte order mark at the beginning of a file is; 0 without one."""
    mark = _MARKS.get(encoding, b"")
    return len(mark) if mark and head.startswith(mark) else 0


def narrowed(piece: bytes, encoding: str) -> bytes:
    """UTF-16 as UTF-8; anything else as it is. What is no UTF-16 stays what no UTF-8 can be, so that it shows."""
    if not encoding.startswith("utf-16"):
        return piece
    return piece[: len(piece) // 2 * 2].decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")


def split(piece: bytes, *, delimiter: str, final: bool, most: int, encoding: str = "utf-8") -> list[Record]:
    """The whole records at the beginning of a piece, at most `most`.

    `delimiter` is "" for JSON lines, where quotes mean nothing. `final` says that nothing comes after the piece. A
    piece of more than `MOST_BYTES` (twice as many of UTF-16) always yields a record.
    """
    if encoding.startswith("utf-16"):
        return _split_wide(piece, delimiter=delimiter, final=final, most=most, encoding=encoding)
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


def _split_wide(piece: bytes, *, delimiter: str, final: bool, most: int, encoding: str) -> list[Record]:
    whole = len(piece) // 2 * 2
    high = 1 if encoding == "utf-16-le" else 0
    if not final and whole and 0xD8 <= piece[whole - 2 + high] <= 0xDB:
        whole -= 2  # the other half of the character comes with the next piece
    narrow = narrowed(piece[:whole], encoding)
    found: list[Record] = []
    at = end = 0
    for record in split(narrow, delimiter=delimiter, final=final, most=most):
        text = narrow[at : record.end].decode("utf-8", "surrogatepass")
        at, end = record.end, end + len(text.encode(encoding, "surrogatepass"))
        found.append(Record(record.raw, end, record.fault))
    if final and whole < len(piece) and end == whole and len(found) < most:
        found.append(Record(b"", len(piece), "encoding"))  # half a character at the very end
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
        text = raw.decode(_of_records(encoding))
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
        found = json.loads(raw.decode(_of_records(encoding)))
    except UnicodeDecodeError:
        return "encoding"
    except (ValueError, RecursionError):
        return "not_json"
    return found if isinstance(found, dict) else "not_an_object"


def _of_records(encoding: str) -> str:
    return "utf-8" if encoding.startswith("utf-16") else encoding


def detect_encoding(head: bytes) -> str:
    """The encoding of an export by its beginning: a name of ENCODINGS.

    Without a mark, UTF-16 shows by the zeros of its line feeds, delimiters and digits: no other text has any. What is
    no UTF-8 is Windows-1251 when its letters beyond ASCII stand together as in Russian words, and Windows-1252 when
    they stand alone among Latin ones.
    """
    for encoding, mark in _MARKS.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[0:4_000:2].count(0), head[1:4_000:2].count(0)
    if max(even, odd) * 10 > min(len(head), 4_000) // 2:
        return "utf-16-be" if even > odd else "utf-16-le"
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
