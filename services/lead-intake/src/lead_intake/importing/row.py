"""One record of an export into an entry of the ledger. Pure.

A row is refused with a code and the column that is to blame, never with what stands there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.history_pb2 import DealImported, FeedbackImported, ImportedDealState, ImportedFeedbackKind
from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.ids import new_id
from lead_intake import mapping as mappings
from lead_intake import normalise
from lead_intake.accounts.keys import company_id
from lead_intake.channels import DEFAULT_RULES, ChannelRules
from lead_intake.contact import stamp
from lead_intake.delivery import Inquiry, Outcome, Source
from lead_intake.entry import Entry, Person, entry_of, stored_key
from lead_intake.identity.keys import keys_of, rules_of
from lead_intake.importing import amounts, dates
from lead_intake.importing.layout import CLOSED, DATES, Layout
from lead_intake.touches import NOWHERE

CODES: Mapping[str, str] = {
    "encoding": "not in the encoding of the mapping",
    "not_csv": "no record of CSV",
    "not_json": "no JSON",
    "not_an_object": "JSON, but no object",
    "unclosed_quote": "a quotation mark opens and never closes",
    "too_long": "longer than 64 KiB",
    "too_many_columns": "more than 500 columns",
    "column_count": "more or fewer cells than the header",
    "no_id": "the record has no id",
    "no_identity": "no e-mail address, phone number or id that could be read",
    "no_lead": "the record names no lead",
    "unknown_lead": "the lead that is named was not imported (yet)",
    "waits_for_lead": "waits for the lead that is named, and is taken when a file brings it",
    "forgotten": "the person was forgotten while the export was under way",
    "no_date": "no date",
    "date": "no date of the mapping's forms between 1990 and 2199",
    "value": "a word that the mapping does not translate",
    "amount": "no exact amount of money",
    "currency": "no ISO 4217 currency",
    "not_storable": "the database refuses it",
}
"""Every reason for which a row is refused."""

_STATES = {name: ImportedDealState.Value(f"IMPORTED_DEAL_STATE_{name.upper()}") for name in ("open", "won", "lost")}
_KINDS = {
    name: ImportedFeedbackKind.Value(f"IMPORTED_FEEDBACK_KIND_{name.upper()}")
    for name in ("accepted", "rejected", "recycled", "contacted")
}


class Refused(Exception):
    """The row cannot be taken: a code of CODES and our name of the field."""

    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(code)
        self.code, self.field = code, field


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a file of campaigns says of one, for the rows that name it."""

    id: str
    utm_source: str
    utm_medium: str
    utm_campaign: str


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it goes into the ledger; `column` is the export's name of the column to blame, or of the lead's."""

    number: int
    entry: Entry
    column: str = ""
    campaign: Campaign | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows of one file are read with. `campaigns` are looked up by the export's id."""

    source_id: str
    layout: Layout
    campaigns: Mapping[str, Campaign]
    received_at: datetime
    receipt_id: str
    shared_keys: frozenset[str] = frozenset()
    """Addresses and numbers that many share: they identify nobody by themselves."""
    rules: ChannelRules = DEFAULT_RULES


def row_of(number: int, get: Callable[[str], str], reading: Reading) -> Row:
    """The row that these cells make; `get` gives the text of a column. Never raises on odd text."""
    layout = reading.layout
    try:
        told = {name: _told(name, get, layout) for name in layout.columns}
        told = {name: value for name, value in told.items() if value}
        return _READERS[layout.kind](number, told, reading)
    except Refused as refused:
        return refused_row(number, refused.code, reading, field=refused.field)


def refused_row(number: int, code: str, reading: Reading, *, field: str = "") -> Row:
    """A row that is not taken."""
    entry = Entry(f"row:{number}", reading.received_at, outcome=Outcome.REFUSED, reason=code)
    return Row(number, entry, _column(reading.layout, field))


def value_at(record: Mapping[str, Any]) -> Callable[[str], str]:
    """The cells of a record of JSON lines, by path."""
    return lambda name: mappings.as_text(mappings.at(record, name))


def _told(name: str, get: Callable[[str], str], layout: Layout) -> str:
    column = layout.columns[name]
    text = get(column.name).strip() if column.name else ""
    if not text or (name in DATES and dates.is_blank(text)):
        return column.default
    if column.values:
        translated = column.values.get(text.casefold())
        if translated is not None:
            return translated
        if column.default:
            return column.default
    closed = CLOSED.get((layout.kind, name))
    if closed is not None and text.casefold() not in closed:
        raise Refused("value", name)
    return text.casefold() if closed is not None else text


def _lead(number: int, told: dict[str, str], reading: Reading) -> Row:
    layout = reading.layout
    at = _date(told, "occurred_at", layout)
    record = told.pop("id", "")
    digest = _digest({**told, "occurred_at": at.isoformat()})
    del told["occurred_at"]
    told = _with_campaign(told, reading)
    record_key = crm_key(layout, record)
    inquiry = Inquiry(key="", fields=told, occurred_at=at)
    entry = entry_of(
        inquiry,
        _source(reading, "form"),
        key=stored_key(f"lead:{record}:{digest}"),
        received_at=reading.received_at,
        also=(record_key,) if record_key else (),
    )
    if entry.person is None:
        raise Refused("no_identity", next((f for f in ("email", "phone", "id") if f in layout.columns), ""))
    return Row(number, replace(entry, person=replace(entry.person, record_key=record_key)))


def _touch(number: int, told: dict[str, str], reading: Reading) -> Row:
    layout = reading.layout
    at = _date(told, "occurred_at", layout)
    record, kind = told.pop("id", ""), told.pop("kind", "visit")
    lead = crm_key(layout, told.pop("lead_id", ""))
    key = f"touch:{record}" if record else f"touch::{_digest({**told, 'lead': lead, 'kind': kind})}"
    del told["occurred_at"]
    entry = entry_of(
        Inquiry(key="", fields=_with_campaign(told, reading), occurred_at=at),
        _source(reading, kind),
        key=stored_key(key),
        received_at=reading.received_at,
        also=(lead,) if lead else (),
    )
    if entry.person is None:
        raise Refused("no_lead", _lead_field(layout))
    return Row(
        number, replace(entry, person=replace(entry.person, only_known=True)), _column(layout, _lead_field(layout))
    )


def _deal(number: int, told: dict[str, str], reading: Reading) -> Row:
    layout = reading.layout
    record = told.get("id", "")
    if not record:
        raise Refused("no_id", "id")
    state = told.get("state", "")
    if not state:
        raise Refused("value", "state")
    opened = _date(told, "opened_at", layout) if told.get("opened_at") else None
    closed = _date(told, "closed_at", layout) if told.get("closed_at") and state != "open" else None
    if state != "open" and closed is None and "closed_at" in layout.columns:
        raise Refused("no_date", "closed_at")
    at = min(closed or opened or _missing(layout, "opened_at", "closed_at"), reading.received_at)
    currency = told.get("currency", layout.currency)
    if currency and not (currency := amounts.currency_of(currency)):
        raise Refused("currency", "currency")
    fact = DealImported(
        sequence=_sequence(reading.received_at),
        occurred_at=stamp(at),
        source_id=reading.source_id,
        crm=layout.crm,
        crm_deal_id=normalise.text(record, 200),
        state=_STATES[state],
        currency=currency,
        opened_at=stamp(min(opened or at, at)),
        reason=_code(told.get("reason", ""), state == "lost"),
        product=normalise.code(told.get("product", "")),
        receipt_id=reading.receipt_id,
        crm_company_id=company_id(told.get("company_id", "")),
    )
    if state != "open":
        fact.closed_at.CopyFrom(stamp(at))
    if told.get("amount"):
        money = amounts.minor_units(told["amount"], currency, decimal=layout.decimal)
        if money is None:
            raise Refused("amount" if currency else "currency", "amount")
        fact.amount_minor, fact.currency = money
    elif state == "won":
        raise Refused("amount", "amount")
    return _fact_row(number, told, fact, reading, key=f"deal:{record}:{_digest(told)}", at=at)


def _feedback(number: int, told: dict[str, str], reading: Reading) -> Row:
    layout = reading.layout
    at = min(_date(told, "occurred_at", layout), reading.received_at)
    kind = told.get("kind", "")
    if not kind:
        raise Refused("value", "kind")
    record = told.get("id", "") or _digest(told)
    fact = FeedbackImported(
        sequence=_sequence(reading.received_at),
        occurred_at=stamp(at),
        source_id=reading.source_id,
        record_id=normalise.text(record, 200),
        kind=_KINDS[kind],
        reason=_code(told.get("reason", ""), kind in ("rejected", "recycled")),
        reason_family=told.get("reason_family", ""),
        reached=told.get("reached", "").casefold() in ("true", "yes", "1", "да", "ja", "si", "sí"),
        receipt_id=reading.receipt_id,
    )
    return _fact_row(number, told, fact, reading, key=f"feedback:{record}", at=at)


def _campaign(number: int, told: dict[str, str], reading: Reading) -> Row:
    record = normalise.identifier(told.get("id", ""))
    if not record:
        raise Refused("no_id", "id")
    words = [normalise.campaign_text(told.get(name, "")) for name in ("utm_source", "utm_medium", "utm_campaign")]
    key = stored_key(f"campaign:{record}:{_digest(told)}")
    entry = Entry(key, reading.received_at, outcome=Outcome.MATCHED)
    return Row(number, entry, campaign=Campaign(record, *words))


_READERS: Mapping[str, Callable[[int, dict[str, str], Reading], Row]] = {
    "campaigns": _campaign,
    "leads": _lead,
    "touches": _touch,
    "deals": _deal,
    "feedback": _feedback,
}


def crm_key(layout: Layout, record: str) -> str:
    """The identity key of a lead by its id in the CRM, which is named: two CRMs count from one."""
    # Of several contacts the first is the main one.
    record = normalise.text(re.split("[;,]", record, maxsplit=1)[0], 200)
    return f"crm_id:{layout.crm}:{record}" if record else ""


def _fact_row(number: int, told: Mapping[str, str], fact: Any, reading: Reading, *, key: str, at: datetime) -> Row:
    layout = reading.layout
    email = normalise.email(told["email"]).lower() if told.get("email") else ""
    phone = normalise.phone(told["phone"], layout.default_region)[0] if told.get("phone") else ""
    lead = crm_key(layout, told.get("lead_id", ""))
    named = keys_of(
        rules_of("email, phone"),
        source_id=reading.source_id,
        fields={},
        email=email,
        phone=phone,
        company_domain="",
        shared=reading.shared_keys,
    )
    keys = (lead, *named) if lead else named
    if not keys:
        raise Refused("no_lead", _lead_field(layout))
    person = Person(
        identities=keys,
        features=LeadFeatures(),
        consent_told=None,
        origin=NOWHERE,
        contact=ContactChanged(),
        person_id="",
        lead_id="",
        touch_id="",
        created_event="",
        touch_event=new_id(),
        contact_event="",
        only_known=True,
        fact=fact,
    )
    return Row(number, Entry(stored_key(key), at, person=person), _column(layout, _lead_field(layout)))


def _source(reading: Reading, kind: str) -> Source:
    return Source(
        reading.source_id,
        "import",
        default_region=reading.layout.default_region,
        # Whoever stands in the CRM was somebody's lead: what looks like spam at a form is none here.
        settings={"touch_kind": kind, "spam": "accept", "crm": reading.layout.crm},
        shared_keys=reading.shared_keys,
        rules=reading.rules,
    )


def _with_campaign(told: dict[str, str], reading: Reading) -> dict[str, str]:
    campaign = reading.campaigns.get(normalise.identifier(told.get("campaign_id", "")))
    if campaign is None:
        return told
    known = {name: getattr(campaign, name) for name in ("utm_source", "utm_medium", "utm_campaign")}
    return {**{name: value for name, value in known.items() if value}, **told}


def _date(told: Mapping[str, str], name: str, layout: Layout) -> datetime:
    if not told.get(name):
        raise Refused("no_date", name)
    found = dates.read(told[name], layout.columns[name].formats, layout.zone)
    if found is None:
        raise Refused("date", name)
    return found


def _missing(layout: Layout, *names: str) -> datetime:
    raise Refused("no_date", next(name for name in names if name in layout.columns))


def _lead_field(layout: Layout) -> str:
    return next((f for f in ("lead_id", "email", "phone") if f in layout.columns), "")


def _column(layout: Layout, field: str) -> str:
    return layout.columns[field].name or field if field in layout.columns else ""


def _code(text: str, needed: bool) -> str:  # noqa: FBT001 - read where it is called
    return normalise.code(text) or ("other" if text or needed else "")


def _sequence(at: datetime) -> int:
    told = stamp(at)
    return int(told.seconds * 1_000_000 + told.nanos // 1_000)


def _digest(told: Mapping[str, str]) -> str:
    said = "\x1f".join(f"{name}\x1e{told[name]}" for name in sorted(told))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:24]
