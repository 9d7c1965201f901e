"""From a provider's field names to ours: declared paths first, well-known names otherwise.

A mapping is data of the source::

    {"email": "contact.email", "phone": ["tel", "mobile"], "id": "entry_id",
     "answers": {"team_size": {"path": "size", "codes": {"1-10": "small", "11-50": "medium"}}},
     "numbers": {"+34911222333": {"utm_source": "google", "utm_medium": "cpc"}}}

A path is a field's literal name or steps divided by dots (`contacts.0.email`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from lead_intake import calls


def words(text: str) -> frozenset[str]:
    """The words of a text, so that a list of names reads like one."""
    return frozenset(text.split())


FIELDS = words(
    """
    id occurred_at form_id test external_id crm_id anonymous_id
    email phone full_name first_name last_name company_name company_id tax_number job_title
    country language message website employees industry product timeline budget budget_currency
    consent_marketing page_url referrer utm_source utm_medium utm_campaign campaign_id adgroup_id ad_id
    gclid gbraid wbraid dclid fbclid msclkid ttclid li_fat_id twclid yclid ymclid
    dialled_number call_seconds anonymous_id
    honeypot
    """
)

CLICK_IDS = (
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "msclkid",
    "ttclid",
    "li_fat_id",
    "twclid",
    "yclid",
    "ymclid",
)

# Names as forms in English, German, Russian and Spanish carry them, without case, spaces and punctuation.
_ALIASES: Mapping[str, str] = {
    alias: field
    for field, aliases in {
        "email": "email emailaddress mail useremail workemail businessemail youremail correo correoelectronico "
        "почта электроннаяпочта имейл емейл",
        "phone": "phone phonenumber tel telephone mobile mobilephone userphone workphone yourphone telefon "
        "telefonnummer handy telefono movil телефон номертелефона",
        "full_name": "name fullname yourname contactname nombrecompleto имя фио вашеимя",
        "first_name": "firstname givenname vorname nombre",
        "last_name": "lastname surname familyname nachname apellido apellidos фамилия",
        "company_name": "company companyname organization organisation firma unternehmen empresa компания организация",
        "company_id": "companyid companyrecordid associatedcompanyid hsassociatedcompanyid orgid organizationid "
        "organisationid firmenid idкомпании",
        "tax_number": "taxnumber taxid vat vatid vatno vatnumber ustid ustidnr umsatzsteueridentifikationsnummer "
        "steuernummer nif cif nip inn иннкпп инн иннкомпании",
        "job_title": "jobtitle position role title cargo puesto berufsbezeichnung должность",
        "country": "country land pais страна countrycode",
        "language": "language lang locale sprache idioma язык",
        "message": "message comment comments yourmessage nachricht mensaje сообщение комментарий",
        "website": "website companywebsite companyurl webseite sitioweb сайт",
        "employees": "employees companysize numberofemployees teamsize mitarbeiter empleados сотрудники "
        "числосотрудников",
        "industry": "industry branche sector отрасль",
        "product": "product produkt producto продукт",
        "timeline": "timeline timeframe purchasetimeframe zeitrahmen plazo срок",
        "budget": "budget presupuesto бюджет",
        "budget_currency": "budgetcurrency currency",
        "consent_marketing": "consentmarketing marketingconsent consent gdpr optin newsletter einwilligung согласие",
        "page_url": "pageurl landingpage landingpageurl sourceurl page url",
        "referrer": "referrer referer",
        "utm_source": "utmsource",
        "utm_medium": "utmmedium",
        "utm_campaign": "utmcampaign",
        "campaign_id": "campaignid utmid",
        "adgroup_id": "adgroupid adsetid",
        "ad_id": "adid creativeid",
        "form_id": "formid formname",
        "external_id": "externalid",
        "crm_id": "crmid",
        "occurred_at": "occurredat submittedat createdat timestamp",
        "anonymous_id": "anonymousid ajsanonymousid",
        "gclid": "gclid hsgoogleclickid",
        "fbclid": "fbclid hsfacebookclickid",
        "li_fat_id": "lifatid",
    }.items()
    for alias in aliases.split()
} | {kind: kind for kind in CLICK_IDS}
_NOT_LETTERS = re.compile(r"[\W_]+")

MISSING = object()


def field_of(label: str) -> str:
    """Our name of a field that is called `label` on a form, or "" when nothing well known matches."""
    return _field_of(label[:80])


@lru_cache(maxsize=4_096)
def _field_of(label: str) -> str:
    return _ALIASES.get(_NOT_LETTERS.sub("", label.casefold()), "")


def as_text(value: Any) -> str:
    """A scalar as text, whole numbers exact beyond 2**53; composite values joined; "" for nothing."""
    if isinstance(value, str):
        return value
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        try:
            return str(value)
        except ValueError:  # more digits than Python prints: no id of anybody
            return ""
    if isinstance(value, list):
        return ", ".join(as_text(v) for v in value[:20] if not isinstance(v, list | dict))
    if isinstance(value, dict) and "value" in value and not isinstance(value["value"], list | dict):
        return as_text(value["value"])  # HubSpot's {"value": …}
    return ""


def at(data: Any, path: str) -> Any:
    """What stands at `path`, or MISSING."""
    if isinstance(data, dict) and path in data:
        return data[path]
    for step in path.split("."):
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isdecimal() and len(step) < 5 and int(step) < len(data):
            data = data[int(step)]
        else:
            return MISSING
    return data


def fields_by_path(data: Any, mapping: Mapping[str, Any]) -> dict[str, str]:
    """Our fields from the declared paths; where several are given, the first that holds text wins."""
    found: dict[str, str] = {}
    for field, paths in mapping.items():
        if field not in FIELDS:
            continue
        for path in (paths,) if isinstance(paths, str) else paths:
            if value := as_text(at(data, path)):
                found[field] = value
                break
    return found


def fields_by_name(pairs: Iterable[tuple[str, Any]], into: dict[str, str]) -> None:
    """Add fields whose names are well known and which `into` does not hold yet."""
    for label, value in pairs:
        field = field_of(label)
        if field and field not in into and (found := as_text(value)):
            into[field] = found


def answers_of(data: Any, mapping: Mapping[str, Any]) -> dict[str, str]:
    """Question code to answer code for the closed lists of the mapping; anything else is dropped."""
    found: dict[str, str] = {}
    for question, rule in mapping.get("answers", {}).items():
        value = as_text(at(data, rule["path"])).strip()
        answer = rule["codes"].get(value)
        if answer is not None:
            found[question] = answer
    return found


def problems(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(JSON pointer, what is wrong) for each fault of a mapping; empty when it can be used."""
    faults: list[tuple[str, str]] = []
    for field, value in mapping.items():
        if field == "answers":
            faults += _answer_problems(value)
        elif field == "numbers":
            faults += calls.problems(value)
        elif field not in FIELDS:
            faults.append((f"/mapping/{field}", f"no such field; possible are {', '.join(sorted(FIELDS))}"))
        elif not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
            faults.append((f"/mapping/{field}", "a path or a list of paths"))
    return faults


def _answer_problems(answers: Any) -> list[tuple[str, str]]:
    if not isinstance(answers, dict):
        return [("/mapping/answers", "an object: question code to {path, codes}")]
    faults: list[tuple[str, str]] = []
    for question, rule in answers.items():
        place = f"/mapping/answers/{question}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", question):
            faults.append((place, "a question code: lower case letters, digits and _"))
        if not isinstance(rule, dict) or not isinstance(rule.get("path"), str):
            faults.append((place, "needs a path"))
        elif not isinstance(rule.get("codes"), dict) or not all(
            isinstance(v, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", v) for v in rule["codes"].values()
        ):
            faults.append((f"{place}/codes", "an object: answer text to answer code"))
    return faults
