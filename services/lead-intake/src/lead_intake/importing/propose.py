"""Propose a layout from the beginning of an export. Pure; a person confirms what it finds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from lead_intake import mapping as mappings
from lead_intake import normalise
from lead_intake.importing import amounts, dates, records
from lead_intake.importing.layout import CLOSED, DATES, FIELDS, MOST_SKIPPED, Faults, layout_of

SAMPLES = 200
"""Records that are looked at."""
HEAD = 256 * 1024
"""Bytes that are looked at."""

_NOT_LETTERS = re.compile(r"[\W_]+")


def _named(table: Mapping[str, str]) -> Mapping[str, str]:
    return {alias: field for field, aliases in table.items() for alias in aliases.split()}


# Column names without case, spaces and punctuation, as CRMs write them in English, German and Russian.
_DATE = "createdate createdat created creationdate datecreated erstelltam erstellungsdatum датасоздания создан создано"
_LEAD_ID = (
    "contactid leadid personid associatedcontactids associatedcontactid associatedcontact contactrecordid kontaktid "
    "idконтакта idлида контактid лидid"
)
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "leads": _named(
        {
            "id": "id recordid contactid leadid personid externalid ид idконтакта idлида код кодконтакта",
            "occurred_at": f"{_DATE} firstseen becamealeaddate date дата датаобращения",
            "email": "рабочийemail email1 emailрабочий личныйemail emailличный workemail "
            "адресэлектроннойпочты частныйemail",
            "phone": "рабочийтелефон мобильныйтелефон мобильный телефонрабочий phone1 workphone мобтелефон",
            "full_name": "fullname полноеимя контакт наименование полноеимяконтакта контактноелицо",
            "country": "countryregion",
            "company_name": "companyname названиекомпании associatedcompany контрагент",
            "company_id": "associatedcompanyids associatedcompanyid primarycompanyid companyrecordid idкомпании",
            "tax_number": "иннкомпании огрнинн vatregistrationnumber",
            "campaign_id": "campaignid idкампании кампанияid campaign utmid",
            "utm_source": "source leadsource originalsource источник источниктрафика",
            "utm_medium": "medium канал",
            "utm_campaign": "campaignname кампания названиекампании",
            "page_url": "firstpage firstpageseen страницавхода",
            "employees": "numberofemployees числосотрудников количествосотрудников",
            "consent_marketing": "согласиенарассылку marketingconsent",
        }
    ),
    "touches": _named(
        {
            "id": "id recordid activityid touchid eventid idсобытия idкасания",
            "lead_id": _LEAD_ID,
            "occurred_at": f"{_DATE} date time timestamp eventdate activitydate occurredat дата датаивремя датасобытия",
            "kind": "type kind activitytype eventtype тип типсобытия типкасания",
            "campaign_id": "campaignid idкампании campaign",
            "utm_source": "source источник",
            "utm_medium": "medium канал",
            "utm_campaign": "campaignname кампания",
        }
    ),
    "deals": _named(
        {
            "id": "id recordid dealid opportunityid idсделки ид номер код номердокумента",
            "lead_id": _LEAD_ID,
            "email": "contactemail emailконтакта email почтаконтакта рабочийemail контактрабочийemail контактemail "
            "адресэлектроннойпочты почта",
            "phone": "contactphone phone телефонконтакта рабочийтелефон контактрабочийтелефон контакттелефон телефон",
            "state": "dealstage stage status dealstatus outcome этап этапсделки статус статуссделки phase "
            "стадия стадиясделки состояние",
            "amount": "amount dealamount value dealvalue price betrag summe бюджет сумма стоимость бюджетсделки "
            "суммасделки",
            "currency": "currency dealcurrency currencycode währung waehrung валюта кодвалюты",
            "opened_at": f"{_DATE} opendate openedat датаначала дата",
            "closed_at": "closedate closedat closeddate wonat abschlussdatum датазакрытия закрыта закрыт "
            "датазавершения датазакрытиясделки фактическаядатазакрытия",
            "reason": "closedlostreason lostreason lossreason reason причинаотказа причинапотери",
            "product": "product productline produkt продукт товар",
            "company_id": "associatedcompanyids associatedcompanyid primarycompanyid companyid companyrecordid "
            "organizationid idкомпании",
        }
    ),
    "feedback": _named(
        {
            "id": "id recordid taskid feedbackid activityid",
            "lead_id": _LEAD_ID,
            "kind": "result outcome answer leadstatus status kind результат итог решение статуслида статус",
            "occurred_at": f"{_DATE} date answeredat occurredat resultdate дата датарешения датаответа",
            "reason": "reason rejectionreason disqualificationreason причина причинаотказа",
            "reason_family": "reasonfamily reasongroup группапричин",
            "reached": "reached connected дозвон дозвонились",
        }
    ),
    "campaigns": _named(
        {
            "id": "id campaignid recordid idкампании ид",
            "utm_campaign": "campaign campaignname name utmcampaign название кампания названиекампании",
            "utm_source": "source utmsource platform channel источник площадка",
            "utm_medium": "medium utmmedium type канал тип",
        }
    ),
}
_WORDS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("deals", "state"): _named(
        {
            "won": "won closedwon выиграна выиграно успешнореализовано успешно оплачено gewonnen сделкауспешна "
            "сделказаключена оплачена",
            "lost": "lost closedlost проиграна проиграно закрытоинереализовано нереализовано отказ verloren lose "
            "apology сделкапровалена провалена анализпричиныпровала отменена",
        }
    ),
    ("feedback", "kind"): _named(
        {
            "accepted": "accepted qualified принят принято вработе квалифицирован sal",
            "rejected": "rejected disqualified unqualified unsuitable отклонен отклонён отказ нецелевой брак junk",
            "recycled": "recycled nurture nottnow notnow отложен возвращен возвращён впрогрев",
            "contacted": "contacted connected attempted call звонок контакт связались",
        }
    ),
    ("touches", "kind"): _named(
        {
            "form": "form formsubmission formular форма заявка",
            "ad_click": "adclick click клик кликпорекламе",
            "visit": "visit pageview визит посещение",
            "email": "email emailopen emailclick письмо mail",
            "call": "call anruf звонок",
            "event": "event webinar meeting tradeshow мероприятие вебинар выставка",
            "chat": "chat чат",
        }
    ),
}
_FILES: Mapping[str, str] = {
    "campaigns": "campaign kampagne кампани",
    "deals": "deal opportunit сделк",
    "touches": "touch activit event касани событи",
    "feedback": "feedback answer result ответ решени результат",
    "leads": "lead contact person лид контакт",
}


def propose(head: bytes, name: str) -> dict[str, Any]:
    """A layout for this export, columns that nothing was found for, and what a person should look at.

    `faults` say what must still be filled in before it can be used. No cell of the export is repeated, except the
    words of closed lists (stages, kinds).
    """
    encoding = records.detect_encoding(head)
    notes: list[str] = []
    if other := _no_text(head):
        detail = f"This is {other}: save it as CSV, or as Unicode text."
        return {
            "name": name,
            "layout": {},
            "unmapped": [],
            "notes": [detail],
            "faults": [{"pointer": "/format", "detail": detail}],
        }
    head = records.narrowed(head[:HEAD][records.mark_length(head, encoding) :], encoding)
    whole = head[: head.rfind(b"\n") + 1] or head
    jsonl = whole.lstrip()[:1] == b"{"
    delimiter, skip = "", 0
    if jsonl:
        columns = _json_columns(whole, encoding)
    else:
        delimiter = _stated_delimiter(whole) or records.detect_delimiter(
            whole.split(b"\n")[:SAMPLES], encoding=encoding
        )
        columns, skip = _csv_columns(whole, encoding, delimiter)

    kind = _kind_of(list(columns), name)
    layout: dict[str, Any] = {"kind": kind, "crm": _crm_of(columns, name), "format": "jsonl" if jsonl else "csv"}
    layout["encoding"] = encoding
    if not jsonl:
        layout["delimiter"] = delimiter
    if skip:
        layout["skip"] = skip
        notes.append(f"The header is record {skip + 1}; what stands before it is left out.")
    russian = any(re.search("[а-яё]", column, re.IGNORECASE) for column in columns)
    layout |= {"time_zone": "Europe/Moscow" if russian else "UTC", "default_region": "RU" if russian else ""}
    notes.append(f"Times without a zone are read in {layout['time_zone']}; numbers without a country code "
                 f"{'as Russian ones' if russian else 'are not read'}.")  # fmt: skip

    found = _fields(kind, list(columns))
    mapped: dict[str, Any] = {}
    for field, column in found.items():
        mapped[field] = _column(kind, field, column, columns[column], notes)
    if kind == "deals":
        layout["currency"] = _currency(columns, found, russian=russian)
        decimal = _decimal(columns.get(found.get("amount", ""), ()))
        if decimal:
            layout["decimal"] = decimal
    layout["columns"] = mapped
    try:
        layout_of(layout)
        faults = []
    except Faults as error:
        faults = [{"pointer": pointer, "detail": detail} for pointer, detail in error.found]
    unmapped = [column for column in columns if column not in found.values()]
    return {"name": name, "layout": layout, "unmapped": unmapped, "notes": notes, "faults": faults}


def _no_text(head: bytes) -> str:
    """What a file is that only looks like an export, by how such files begin."""
    if head.startswith(b"PK\x03\x04"):
        return "a workbook (.xlsx) or an archive"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return "a workbook (.xls)"
    # Bitrix24 and older systems give an HTML table the ending .xls.
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower()
    return "a page of HTML or XML" if start.startswith((b"<html", b"<meta", b"<table", b"<!doctype", b"<?xml")) else ""


def _stated_delimiter(whole: bytes) -> str:
    """What Excel's own first line (`sep=;`) states."""
    found = re.match(rb""""?sep=([,;\t|])""", whole, re.IGNORECASE)
    return found[1].decode() if found else ""


def _csv_columns(whole: bytes, encoding: str, delimiter: str) -> tuple[dict[str, list[str]], int]:
    """The columns with their samples, and how many records stand before the header."""
    rows: list[list[str]] = []
    for record in records.split(whole, delimiter=delimiter, final=True, most=SAMPLES + 1):
        cells = record.fault or records.cells(record.raw, encoding=encoding, delimiter=delimiter)
        rows.append([] if isinstance(cells, str) else cells)
    skip = _before_header(rows, 1 if _stated_delimiter(whole) else 0)
    if len(rows) <= skip:
        return {}, 0
    header = [normalise.text(name, 300) for name in rows[skip]]
    return {
        name: [row[n].strip() for row in rows[skip + 1 :] if len(row) > n and row[n].strip()]
        for n, name in enumerate(header)
        if name
    }, skip


def _before_header(rows: Sequence[Sequence[str]], at_least: int) -> int:
    """A report's title and period fill few cells of a wide table: the header is the first full row."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width = max(widths, key=lambda w: (widths[w], w), default=0)
    for n, row in enumerate(rows[: MOST_SKIPPED + 1]):
        if n >= at_least and len(row) > 1 and sum(bool(cell.strip()) for cell in row) * 2 >= width:
            return n
    return at_least


def _json_columns(whole: bytes, encoding: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records.split(whole, delimiter="", final=True, most=SAMPLES):
        read = records.json_record(record.raw, encoding=encoding)
        for name, value in _flat(read) if isinstance(read, dict) else ():
            found.setdefault(normalise.text(name, 300), []).append(value)
    return {name: [v.strip() for v in values if v.strip()] for name, values in found.items()}


def _flat(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, item in value.items():
        if isinstance(item, dict) and depth < 3:
            found += _flat(item, f"{prefix}{name}.", depth + 1)
        else:
            found.append((prefix + name, mappings.as_text(item)))
    return found


def _letters(label: str) -> str:
    return _NOT_LETTERS.sub("", label.casefold())


def _fields(kind: str, columns: Sequence[str]) -> dict[str, str]:
    """Field to column; a column's last step counts for JSON (`properties.email`), the first of several wins."""
    found: dict[str, str] = {}
    for own in (True, False):
        for column in columns:
            label = _letters(column) if own else _letters(re.sub(r"\([^)]*\)|,.*$", "", column.rsplit(".", 1)[-1]))
            field = _ALIASES[kind].get(label) or mappings.field_of(label)
            if field in FIELDS[kind] and field not in found and column not in found.values():
                found[field] = column
    if "last_name" in found and "first_name" not in found and _letters(found.get("full_name", "")) in ("имя", "name"):
        found["first_name"] = found.pop("full_name")  # beside a family name it is the given one
    return found


def _kind_of(columns: Sequence[str], name: str) -> str:
    stem = PurePath(name).stem.casefold()
    for kind, hints in _FILES.items():
        if any(hint in stem for hint in hints.split()) and _fields(kind, columns):
            return kind
    labels = {kind: set(_fields(kind, columns)) for kind in FIELDS}
    if {"state"} & labels["deals"] and {"amount", "closed_at"} & labels["deals"]:
        return "deals"
    if {"email", "phone"} & labels["leads"]:
        return "leads"
    if "lead_id" in labels["feedback"] and {"kind", "reason"} <= labels["feedback"]:
        return "feedback"
    if "lead_id" in labels["touches"]:
        return "touches"
    return "campaigns" if {"id", "utm_campaign"} <= labels["campaigns"] else "leads"


def _crm_of(columns: Mapping[str, Any], name: str) -> str:
    labels = {_letters(column) for column in columns}
    for crm in ("hubspot", "amocrm", "pipedrive", "bitrix24", "salesforce", "zoho"):
        if crm in name.casefold():
            return crm
    if "recordid" in labels:
        return "hubspot"
    if labels & {"названиелида", "стадиясделки"}:
        return "bitrix24"
    if labels & {"контрагент", "номенклатура", "контактноелицо"}:
        return "onec"
    return "amocrm" if labels & {"рабочийтелефон", "idсделки", "этапсделки", "рабочийemail"} else "crm"


def _column(kind: str, field: str, column: str, samples: Sequence[str], notes: list[str]) -> Any:
    if field in DATES:
        forms, doubtful = dates.detect(samples)
        if doubtful:
            notes.append(f"{column}: day and month could be the other way round; it is read as {forms[0]}.")
        if not forms and samples:
            notes.append(f"{column}: no form of date was found.")
        return {"column": column, "formats": forms or ["iso"]}
    if (kind, field) in CLOSED:
        words = _WORDS.get((kind, field), {})
        values = {
            text: words.get(_letters(text))
            or next((w for a, w in words.items() if len(a) > 5 and a in _letters(text)), "")
            for text in dict.fromkeys(s[:60] for s in samples)
        }
        known = {text: value for text, value in values.items() if value}
        unknown = sorted(text for text, value in values.items() if not value)[:20]
        made: dict[str, Any] = {"column": column, "values": known}
        default = {"state": "open", "kind": "visit" if kind == "touches" else ""}.get(field, "")
        if default:
            made["default"] = default
        if unknown:
            then = f"are read as {default}" if default else "are refused"
            notes.append(f"{column}: {', '.join(unknown)} {then}; name them in `values` if they mean something else.")
        return made
    return column


def _currency(columns: Mapping[str, Sequence[str]], found: Mapping[str, str], *, russian: bool) -> str:
    column = found.get("amount", "")
    for text in (column, *columns.get(column, ())[:20]):
        for part in re.findall(r"[^\d\s.,'()+-]+", text):
            if code := amounts.currency_of(part):
                return code
    return "RUB" if russian else ""


def _decimal(samples: Sequence[str]) -> str:
    """The sign before the decimals, where a sample proves it."""
    for text in samples:
        if match := re.search(r"([.,])\d{1,2}\D*$", text):
            return match[1]
        if match := re.search(r"([.,])\d{3}[.,]", text):
            return "," if match[1] == "." else "."
    return ""
