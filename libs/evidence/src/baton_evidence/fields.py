"""What each column of an export is: a number, a category, or something that no rule may be built upon, and why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import numpy as np

from baton_evidence.table import Column, Table

Ints = np.ndarray[Any, np.dtype[np.int64]]
Kind = Literal["number", "category", "presence"]

NOTHING: Final = np.iinfo(np.int64).min
"""Stands in a number's values where nothing is known."""

_MOST_LEVELS: Final = 5_000
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?(?:[eE][-+]?[0-9]+)?%?\Z")
_GROUPED: Final = re.compile(r"[-+]?[0-9]{1,3}(?:([ ,\u00a0\u202f'.])[0-9]{3})(?:\1[0-9]{3})*(?:[.,][0-9]+)?%?\Z")
_CURRENCY: Final = re.compile(r"^[$€£₽]|[$€£₽]$|\s*(?:руб\.?|usd|eur|rub)$", re.IGNORECASE)
_DATE: Final = re.compile(
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2}))"
    r"(?:[T ,]+[0-9]{1,2}:[0-9]{2}.*)?\Z"
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ()./-]{6,18}[0-9]\Z")
_LINK: Final = re.compile(r"https?://|www\.", re.IGNORECASE)

# Words of a name, cut at spaces, punctuation and changes of case.
_WORD: Final = re.compile(r"[A-ZА-ЯЁ]?[a-zа-яё]+|[A-ZА-ЯЁ]+(?![a-zа-яё])|[0-9]+")
_ID: Final = frozenset([
    "id", "ids", "uuid", "guid", "key", "rownames", "rownum", "number", "номер", "ид", "код",
])  # fmt: skip
_PERSON: Final = frozenset([
    "email", "mail", "phone", "mobile", "tel", "telephone", "surname", "firstname", "lastname", "fullname",
    "почта", "телефон", "мобильный", "фамилия", "имя", "отчество", "фио",
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A column that rules may look at; `key` is what an agreement calls it inside `answers`.

    A number's answer is a whole number: `scale` times the column's value, rounded down.
    """

    column: str
    key: str
    kind: Kind
    scale: int = 1


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column on which no rule is built, and why (a code of `REASONS`, and words)."""

    column: str
    reason: str
    detail: str


REASONS: Final = ("asked", "name", "outcome", "id", "person", "date", "text", "empty", "constant", "duplicate", "leak")


@dataclass(frozen=True, slots=True)
class Fields:
    """The usable fields of a table, with the whole numbers of those that are numbers."""

    fields: tuple[Field, ...]
    left_out: tuple[LeftOut, ...]


def fields_of(
    table: Table, *, outcome: str, id_column: str | None, drop: frozenset[str], keep: frozenset[str]
) -> Fields:
    """Say of every column what it is. `drop` are left out as asked; `keep` are used as what they look like."""
    fields: list[Field] = []
    left_out: list[LeftOut] = []
    seen: dict[bytes, str] = {}
    for name, column in table.columns.items():
        if name == outcome:
            continue
        if name == id_column:
            left_out.append(LeftOut(name, "id", "names the lead"))
            continue
        if name in drop:
            left_out.append(LeftOut(name, "asked", "left out as asked"))
            continue
        if not nameable(name, most=100):
            left_out.append(LeftOut(name, "name", "its name is too long or holds what people cannot see; rename it"))
            continue
        found = _field(column, table.rows, kept=name in keep)
        if isinstance(found, Field):
            same = seen.setdefault(_pattern(found, column), name)
            if same != name and name not in keep:
                found = LeftOut(name, "duplicate", f"says the same as {same}")
        if isinstance(found, Field):
            fields.append(found)
        else:
            left_out.append(found)
    return Fields(tuple(fields), tuple(left_out))


def values_of(field: Field, column: Column) -> Ints:
    """The whole numbers of a number's rows, `NOTHING` where there is none or no number."""
    of_level = np.array([whole(level, field.scale) for level in column.levels] + [NOTHING], dtype=np.int64)
    return of_level[column.codes]  # -1 is the last


def answers_of(fields: Mapping[str, Field], column: Column) -> list[str | None]:
    """What stands under the field's key in `answers`, for each level of the column; None: the key is missing."""
    field = fields[column.name]
    if field.kind != "number":
        return list(column.levels)
    return [None if value == NOTHING else str(value) for value in (whole(x, field.scale) for x in column.levels)]


def nameable(text: str, *, most: int) -> bool:
    """Whether a rule may name it: short, and without what an agreement refuses because people cannot see it."""
    return len(text) <= most and text.isprintable()


def looks_like_a_date(column: Column) -> bool:
    """Whether most of the filled rows hold a date."""
    counts = column.counts
    dated = sum(int(count) for level, count in zip(column.levels, counts, strict=True) if _DATE.match(level))
    return dated > 0.5 * int(counts.sum())


def number_of(text: str) -> Decimal | None:
    """The number that a cell holds: `1 234,5`, `1,234.50`, `$12`, `15%`; None where it holds none."""
    text = _CURRENCY.sub("", text.strip()).strip()
    grouped = _GROUPED.match(text)
    if grouped is not None and not (grouped[1] in ",." and text.count(grouped[1]) == 1 and _NUMBER.match(text)):
        text = text.replace(grouped[1], "")
    elif _NUMBER.match(text) is None:
        return None
    try:
        number = Decimal(text.rstrip("%").replace(",", "."))
    except InvalidOperation:
        return None
    return number if abs(number) < 10**15 else None


def words_of(name: str) -> tuple[str, ...]:
    """The words of a column's name, small: `closedAt`, `closed_at` and `Closed At` have the same."""
    return tuple(word.casefold() for word in _WORD.findall(name))


def whole(level: str, scale: int) -> int:
    number = number_of(level)
    return NOTHING if number is None else int((number * scale).to_integral_value(rounding="ROUND_FLOOR"))


def _pattern(field: Field, column: Column) -> bytes:
    """The same for columns that tell rows apart in the same way, whatever they call the parts."""
    # Levels are numbered as they come. Columns of which nearly every row differs are told apart by their order alone.
    many = field.kind == "number" and 2 * len(column.levels) > len(column.codes)
    return column.codes.tobytes() + (np.argsort(values_of(field, column), kind="stable").tobytes() if many else b"")


def _field(column: Column, rows: int, *, kept: bool) -> Field | LeftOut:
    name, counts = column.name, column.counts
    words = words_of(name)
    filled = int(counts.sum())

    # 1. Nothing to learn from.
    if filled == 0:
        return LeftOut(name, "empty", "is empty")
    if len(column.levels) == 1 and filled == rows:
        return LeftOut(name, "constant", "is the same everywhere")

    # 2. What the values look like, by rows.
    def share(of: Any) -> float:
        return float(sum(int(count) for level, count in zip(column.levels, counts, strict=True) if of(level)) / filled)

    numeric = share(lambda level: number_of(level) is not None)
    different = len(column.levels) / filled
    if share(_EMAIL.match) > 0.5:
        return LeftOut(name, "person", "holds e-mail addresses")
    named_person = any(word in _PERSON for word in words) or words in (("name",), ("full", "name"), ("contact", "name"))
    if different > 0.3 and named_person and len(column.levels) > 20:
        return LeftOut(name, "person", "tells who the person is")
    if numeric < 0.5 and different > 0.5 and share(_PHONE.match) > 0.5:
        return LeftOut(name, "person", "holds phone numbers")
    if numeric < 0.5 and looks_like_a_date(column):
        return LeftOut(name, "date", "is a date: later leads would be judged by their calendar")

    # 3. Numbers.
    if numeric >= 0.95:
        if not kept and _is_id(column, words, different, filled):
            return LeftOut(name, "id", "numbers the rows")
        scale = _scale(column)
        return Field(name, name if scale == 1 else f"{name}_x{scale}", "number", scale)

    # 4. Texts: categories repeat, ids and free text do not.
    if (different > 0.9 and filled > 50) or len(column.levels) > _MOST_LEVELS:
        long = sum(level.count(" ") for level in column.levels) / len(column.levels)
        if not kept and filled == rows:
            reason = ("text", "is free text") if long >= 2 else ("id", "is different in nearly every row")
            return LeftOut(name, *reason)
        return Field(name, name, "presence")
    if share(_LINK.match) > 0.5 and different > 0.3:
        return LeftOut(name, "text", "holds addresses of pages")
    return Field(name, name, "category")


def _is_id(column: Column, words: tuple[str, ...], different: float, filled: int) -> bool:
    if different < 0.95 or filled <= 50:
        return False
    numbers = [number_of(level) for level in column.levels]
    if any(number is not None and number != int(number) for number in numbers):
        return False
    if any(word in _ID for word in words):
        return True
    values = np.array([int(number) for number in numbers if number is not None])
    in_row = np.diff(values)
    return bool(len(in_row) and (np.all(in_row > 0) or np.all(in_row < 0)))


def _scale(column: Column) -> int:
    """1, 10, 100 or 1,000: as many decimals as tell the values apart, none where whole numbers do."""
    numbers = sorted({number for level in column.levels if (number := number_of(level)) is not None})
    if all(number == int(number) for number in numbers):
        return 1
    wanted = min(len(numbers), 200) * 0.9
    for scale in (1, 10, 100):
        if len({int((number * scale).to_integral_value(rounding="ROUND_FLOOR")) for number in numbers}) >= wanted:
            return scale
    return 1000
