"""A campaign as the firm keeps it, and what must be right about one. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Final

from lead_intake import normalise
from lead_intake.campaigns.matching import BadKey, Claim, key_of

MOST_KEYS = 200
"""Of a campaign."""
MOST_CAMPAIGNS = 20_000
DEPARTMENTS = frozenset({"", "marketing", "sales"})
RESERVED = frozenset({"unmatched", "sheet", "imported", "matching"})
"""Words of the addresses below /v1/campaigns."""

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PERSON = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})?")
_WORD = re.compile(r"([a-z0-9][a-z0-9_-]{0,31})?")
_CURRENCY = re.compile(r"([A-Z]{3})?")
_MOST_MINOR = 10**15
_MOST_LEADS = 10**9


@dataclass(frozen=True, slots=True)
class Campaign:
    """What marketing planned: who owns it, for what and whom, when, for how much, and which touches are its own.

    The code never changes. The days are the period, both included, in UTC; spend is in minor units of `currency`.
    `owner_person` is the id of a person, not a name. An archived campaign keeps its touches and its keys.
    """

    code: str
    name: str
    owner_department: str = ""
    owner_person: str = ""
    product: str = ""
    segment: str = ""
    starts_on: date | None = None
    ends_on: date | None = None
    planned_spend_minor: int | None = None
    currency: str = ""
    planned_leads: int | None = None
    keys: tuple[str, ...] = ()
    archived: bool = False

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What it wants of the touches."""
        return tuple(Claim(key, self.code, self.starts_on, self.ends_on) for key in self.keys)

    @property
    def document(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            name: value.isoformat() if isinstance(value, date) else list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


FIELDS: Final = tuple(Campaign.__dataclass_fields__)


def problems(one: Campaign) -> list[tuple[str, str]]:
    """(field, what is wrong) for each fault of a record; empty when it can be kept."""
    faults = []
    if not _CODE.fullmatch(one.code) or one.code in RESERVED:
        faults.append(
            ("code", "lower-case letters, digits and -, at most 64, and none of " + ", ".join(sorted(RESERVED)))
        )
    if not 0 < len(one.name) <= 200 or one.name != normalise.text(one.name, 200):
        faults.append(("name", "one line of 1 to 200 characters"))
    if one.owner_department not in DEPARTMENTS:
        faults.append(("owner_department", "marketing, sales or nothing"))
    if not _PERSON.fullmatch(one.owner_person):
        faults.append(("owner_person", "the id of a person: lower-case letters, digits and . _ -, at most 64"))
    faults += [
        (name, "a code of lower-case letters, digits, _ and -, at most 32")
        for name in ("product", "segment")
        if not _WORD.fullmatch(getattr(one, name))
    ]
    if one.starts_on and one.ends_on and one.ends_on < one.starts_on:
        faults.append(("ends_on", "not before starts_on"))
    if not _CURRENCY.fullmatch(one.currency):
        faults.append(("currency", "three letters of ISO 4217"))
    if one.planned_spend_minor is not None and not 0 <= one.planned_spend_minor <= _MOST_MINOR:
        faults.append(("planned_spend_minor", f"minor units, 0 to {_MOST_MINOR}"))
    if (one.planned_spend_minor is not None) != bool(one.currency):
        faults.append(("currency", "given exactly when planned_spend_minor is"))
    if one.planned_leads is not None and not 0 <= one.planned_leads <= _MOST_LEADS:
        faults.append(("planned_leads", f"0 to {_MOST_LEADS}"))
    if len(one.keys) > MOST_KEYS:
        faults.append(("keys", f"at most {MOST_KEYS}"))
    for place, key in enumerate(one.keys):
        try:
            key_of(key)
        except BadKey as bad:
            faults.append((f"keys/{place}", str(bad)))
    return faults


def kept(one: Campaign) -> Campaign:
    """A record free of `problems` as it is kept: each key once, in one form and order."""
    return replace(one, keys=tuple(sorted({key_of(key) for key in one.keys})))


def slug(name: str, taken: Collection[str]) -> str:
    """A code made of a name that is not taken."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:56].strip("-") or "campaign"
    code, n = stem, 1
    while code in taken or code in RESERVED:
        n += 1
        code = f"{stem}-{n}"
    return code
