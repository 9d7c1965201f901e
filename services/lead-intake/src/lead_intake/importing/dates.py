"""Dates as exports write them. Pure.

A form is a `strptime` pattern of digits, or one of `iso`, `words` (14 March 2025, 14 марта 2025 10:20, Mar 14, 2025),
`unix`, `unix_ms` and `excel` (days since 1899-12-30).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
_TIMES = ("", *(f" {clock}" for clock in _CLOCKS), *(f", {clock}" for clock in _CLOCKS))
_DAYS = (
    *("%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y"),
    *("%Y/%m/%d", "%Y-%m-%d", "%d-%m-%Y", "%Y.%m.%d"),
)
PATTERNS: tuple[str, ...] = tuple(day + time for day in _DAYS for time in _TIMES)
"""What is proposed; any other pattern of the same directives can be written into a mapping by hand."""
FORMS: tuple[str, ...] = ("iso", "unix_ms", "unix", *PATTERNS, "words", "excel")

_PATTERN = re.compile(r"(?:%[dmYyHMSIpf]|[ .,/:TZ-])+")
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?)?")
_WORDS = re.compile(
    r"(?:[^\W\d_]{2,12}\.?, )?"  # the day of the week
    r"(?:(?P<day>\d{1,2})\.?[ -](?P<month>[^\W\d_]{3,9})\.?,?[ -](?P<year>\d{4})|"
    r"(?P<month2>[^\W\d_]{3,9})\.? (?P<day2>\d{1,2}),? (?P<year2>\d{4}))"
    r"(?: ?г\.?)?(?:,? (?:at |в )?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?: (?P<half>[AaPp][Mm]))?)?"
    r"(?: (?P<zone>GMT|UTC|[+-]\d{4}))?"
)
_MONTHS: Mapping[str, int] = {
    stem: number
    for number, stems in enumerate(
        (
            "jan янв",
            "feb фев",
            "mar мар mär",
            "apr апр",
            "may мая май mai",
            "jun июн",
            "jul июл",
            "aug авг",
            "sep сен",
            "oct окт okt",
            "nov ноя",
            "dec дек dez",
        ),
        start=1,
    )
    for stem in stems.split()
}
# 1C writes the first day of the year 1 where there is no date, MySQL zeros, spreadsheets their day 0.
_NO_DATE = re.compile(
    r"(?:0?1[./-]0?1[./-]0001|0001-01-01|0000-00-00|00?[./]0?1[./]1900|0?1/00?/1900|30[./]12[./]1899|12/30/1899|1899-12-30)"
    r"(?:[T ,].*)?|[ .:/_–—-]*"
)
_EXCEL = datetime(1899, 12, 30)  # noqa: DTZ001 - a serial number has no zone; the layout's is applied


def is_form(text: str) -> bool:
    """Whether a mapping may name this form: without a year there is no date."""
    if text in ("iso", "words", "unix", "unix_ms", "excel"):
        return True
    return bool(_PATTERN.fullmatch(text)) and ("%Y" in text or "%y" in text) and "%d" in text and "%m" in text


def is_blank(text: str) -> bool:
    """Whether the cell is what a program writes where it has no date."""
    return bool(_NO_DATE.fullmatch(_plain(text)))


def _plain(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").replace("\u202f", " ").split())


def read(text: str, forms: Sequence[str], zone: ZoneInfo) -> datetime | None:
    """The time in UTC by the first form that fits, or None. What names no zone is read in `zone`.

    Years outside 1990 to 2199 are mistakes of somebody, and None.
    """
    text = _plain(text)
    for form in forms:
        found = _read(text, form)
        if found is not None:
            try:
                at = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
            except (OverflowError, ValueError):
                continue
            return at if EARLIEST <= at < LATEST else None
    return None


def detect(samples: Iterable[str]) -> tuple[list[str], bool]:
    """The fewest forms that read the samples, and whether day and month could be the other way round.

    A few samples (one in ten, and always one of several) may be no dates at all: a wrong row. With more, there is none.
    """
    left = {_plain(s) for s in samples if not is_blank(s)}
    most_wrong = 0 if len(left) < 3 else max(1, len(left) // 10)
    chosen: list[str] = []
    doubtful = False
    while left:
        fitting = {form: {s for s in left if _plausible(s, form)} for form in FORMS}
        best = max(FORMS, key=lambda form: (len(fitting[form]), -FORMS.index(form)))
        if not fitting[best]:
            return (chosen, doubtful) if len(left) <= most_wrong else ([], False)
        other = best.replace("%m/%d", "%d/%m") if "%m/%d" in best else ""
        doubtful = doubtful or bool(other and fitting.get(other) == fitting[best])
        chosen.append(best)
        left -= fitting[best]
    return chosen, doubtful


def _plausible(text: str, form: str) -> bool:
    found = _read(text, form)
    return found is not None and 1990 <= found.year < 2100


def _read(text: str, form: str) -> datetime | None:
    try:
        if form == "iso":
            if not _ISO.fullmatch(text):
                return None
            return datetime.fromisoformat(text.replace(" UTC", "+00:00").replace(" +", "+").replace(",", "."))
        if form == "words":
            return _words(text)
        if form in ("unix", "unix_ms"):
            # Ten digits are seconds until 2286, thirteen are milliseconds.
            if not (text.isascii() and text.isdigit() and len(text) == (10 if form == "unix" else 13)):
                return None
            return datetime.fromtimestamp(int(text) / (1 if form == "unix" else 1_000), UTC)
        if form == "excel":
            if not re.fullmatch(r"\d{5}(?:[.,]\d{1,10})?", text):
                return None
            return _EXCEL + timedelta(seconds=round(float(text.replace(",", ".")) * 86_400))
        return datetime.strptime(text, form)  # noqa: DTZ007 - the layout's zone is applied by the caller
    except (ValueError, OverflowError, OSError):
        return None


def _words(text: str) -> datetime | None:
    match = _WORDS.fullmatch(text)
    if match is None:
        return None
    month = _MONTHS.get((match["month"] or match["month2"])[:3].casefold())
    if month is None:
        return None
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"].lower() == "pm" else 0)
    day, year = int(match["day"] or match["day2"]), int(match["year"] or match["year2"])
    at = datetime(year, month, day, hour, int(match["minute"] or 0), int(match["second"] or 0))  # noqa: DTZ001
    zone = match["zone"]
    if zone is None:
        return at
    return at.replace(tzinfo=UTC if zone in ("GMT", "UTC") else datetime.strptime(zone, "%z").tzinfo)
