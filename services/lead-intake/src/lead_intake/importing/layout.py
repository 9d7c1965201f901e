"""How one file of an export is to be read. Pure.

A layout is data, confirmed by a person and kept as a file::

    {"kind": "leads", "crm": "hubspot", "format": "csv", "encoding": "utf-8", "delimiter": ",",
     "skip": 0, "time_zone": "Europe/Berlin", "default_region": "DE", "currency": "EUR", "decimal": ",",
     "columns": {"id": "Record ID", "email": "E-Mail",
                 "occurred_at": {"column": "Create Date", "formats": ["%d.%m.%Y %H:%M", "iso"]},
                 "state": {"column": "Stage", "values": {"Closed won": "won"}, "default": "open"}}}

`skip` says how many records stand before the header: a title, or `sep=;`. A column of JSON lines is a field's literal
name or steps divided by dots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers

from lead_intake import mapping as mappings
from lead_intake import normalise
from lead_intake.importing import amounts, dates
from lead_intake.importing.records import DELIMITERS, ENCODINGS
from lead_intake.touches import TOUCH_KINDS

_MARKETING = frozenset(
    [
        "page_url",
        "referrer",
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "campaign_id",
        "adgroup_id",
        "ad_id",
        "form_id",
    ]
) | set(mappings.CLICK_IDS)

FIELDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "campaigns": frozenset({"id", "utm_source", "utm_medium", "utm_campaign"}),
        "leads": (mappings.FIELDS - {"test"}),
        "touches": frozenset({"id", "lead_id", "email", "phone", "kind", "occurred_at"}) | _MARKETING,
        "deals": frozenset(
            {"id", "lead_id", "email", "phone", "state", "amount", "currency", "opened_at", "closed_at"}
            | {"reason", "product", "company_id"}
        ),
        "feedback": frozenset(
            {"id", "lead_id", "email", "phone", "kind", "occurred_at", "reason", "reason_family", "reached"}
        ),
    }
)
"""What may be mapped, by kind; `id` is the record's own id in the CRM, `lead_id` that of its lead."""
NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "campaigns": (("id",),),
        "leads": (("id", "email", "phone"), ("occurred_at",)),
        "touches": (("lead_id", "email", "phone"), ("occurred_at",)),
        "deals": (("id",), ("lead_id", "email", "phone"), ("state",), ("opened_at", "closed_at")),
        "feedback": (("lead_id", "email", "phone"), ("kind",), ("occurred_at",)),
    }
)
"""Of each group one must be mapped."""
CLOSED: Mapping[tuple[str, str], frozenset[str]] = MappingProxyType(
    {
        ("touches", "kind"): TOUCH_KINDS,
        ("deals", "state"): frozenset({"open", "won", "lost"}),
        ("feedback", "kind"): frozenset({"accepted", "rejected", "recycled", "contacted"}),
        ("feedback", "reason_family"): frozenset({"fit", "intent", "timing", "data", "reach", "capacity", "identity"}),
    }
)
"""Fields whose values are a closed list; `values` translates the export's words."""
DATES = frozenset({"occurred_at", "opened_at", "closed_at"})

MOST_SKIPPED = 20
"""Records before the header."""

_CRM = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Column:
    """Where a field stands and how it is read; `values` has case-folded keys."""

    name: str
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default: str = ""
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout that can be used. `delimiter` is "" for JSON lines."""

    kind: str
    crm: str
    encoding: str
    delimiter: str
    columns: Mapping[str, Column]
    zone: ZoneInfo
    default_region: str = ""
    currency: str = ""
    decimal: str = ""
    skip: int = 0
    """Records before the header."""


class Faults(ValueError):
    """The layout cannot be used: (JSON pointer, what is possible) for each fault."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__("the layout cannot be used")
        self.found = found


def layout_of(told: Mapping[str, Any]) -> Layout:
    """The layout that this document states. Raises Faults with all of them at once."""
    faults: list[tuple[str, str]] = []
    possible = {
        *("kind", "crm", "format", "encoding", "delimiter", "time_zone", "default_region", "currency", "decimal"),
        *("columns", "skip"),
    }
    faults += [(f"/{name}", f"possible are {', '.join(sorted(possible))}") for name in told.keys() - possible]

    def choice(name: str, default: str, among: Any) -> str:
        value = told.get(name, default)
        if not isinstance(value, str) or value not in among:
            faults.append((f"/{name}", f"one of {', '.join(sorted(map(repr, among)))}"))
            return default
        return value

    kind = choice("kind", "", FIELDS)
    csv = choice("format", "csv", ("csv", "jsonl")) == "csv"
    encoding = choice("encoding", "utf-8", ENCODINGS)
    delimiter = choice("delimiter", ",", DELIMITERS) if csv else ""
    decimal = choice("decimal", "", ("", ".", ","))
    region = choice("default_region", "", {"", *phonenumbers.SUPPORTED_REGIONS})
    currency = choice("currency", "", {"", *amounts.DECIMALS})
    crm = told.get("crm", "")
    if not isinstance(crm, str) or not _CRM.fullmatch(crm):
        faults.append(("/crm", "whose ids these are: a short name such as hubspot or amocrm"))
        crm = ""
    zone = zone_of(told.get("time_zone", "UTC"))
    if zone is None:
        faults.append(("/time_zone", "a name of the time zone database, such as Europe/Berlin"))
    skip = told.get("skip", 0)
    if not isinstance(skip, int) or isinstance(skip, bool) or not 0 <= skip <= (MOST_SKIPPED if csv else 0):
        faults.append(("/skip", f"0 to {MOST_SKIPPED} records of CSV"))
        skip = 0
    columns = _columns(kind, told.get("columns"), faults) if kind in FIELDS else {}
    if faults or zone is None:
        raise Faults(faults)
    return Layout(kind, crm, encoding, delimiter, columns, zone, region, currency, decimal, skip)


@lru_cache(maxsize=256)
def zone_of(name: object) -> ZoneInfo | None:
    """The zone of this name, or None."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_+/-]{1,60}", name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _columns(kind: str, told: Any, faults: list[tuple[str, str]]) -> dict[str, Column]:
    if not isinstance(told, dict):
        faults.append(("/columns", "an object: field to column"))
        return {}
    found: dict[str, Column] = {}
    for name, value in told.items():
        place = f"/columns/{name}"
        if name not in FIELDS[kind]:
            faults.append((place, f"no such field; possible are {', '.join(sorted(FIELDS[kind]))}"))
            continue
        column = {"column": value} if isinstance(value, str) else value
        if not isinstance(column, dict) or column.keys() - {"column", "values", "default", "formats"}:
            faults.append((place, "the name of a column, or {column, values, default, formats}"))
            continue
        found[name] = _column(kind, name, column, faults)
    missing = [group for group in NEEDED[kind] if not any(name in found for name in group)]
    faults += [("/columns", f"{kind} need {' or '.join(group)}") for group in missing]
    return found


def _column(kind: str, name: str, told: Mapping[str, Any], faults: list[tuple[str, str]]) -> Column:
    place = f"/columns/{name}"
    column, values, default = told.get("column", ""), told.get("values", {}), told.get("default", "")
    formats = told.get("formats", [])
    if not isinstance(column, str) or len(column) > 300 or "\x00" in column:
        faults.append((f"{place}/column", "the name of a column"))
    if not isinstance(values, dict) or not all(isinstance(v, str) and len(v) <= 200 for v in values.values()):
        faults.append((f"{place}/values", "an object: text of the export to our value"))
        values = {}
    if not isinstance(default, str):
        faults.append((f"{place}/default", "our value"))
        default = ""
    if not column and not default:
        faults.append((place, "a column or a default"))
    closed = CLOSED.get((kind, name))
    if closed is not None:
        for value in [*values.values(), *([default] if default else [])]:
            if value not in closed:
                faults.append((place, f"possible values are {', '.join(sorted(closed))}"))
                break
    if name in DATES:
        if (
            not isinstance(formats, list)
            or not formats
            or not all(isinstance(f, str) and dates.is_form(f) for f in formats)
        ):
            faults.append(
                (f"{place}/formats", "at least one of iso, words, unix, unix_ms, excel or a pattern as %d.%m.%Y")
            )
            formats = []
    elif formats:
        faults.append((f"{place}/formats", "only dates have formats"))
    folded = {str(key).strip().casefold(): value for key, value in values.items()}
    return Column(normalise.text(str(column), 300), folded, default, tuple(formats))
