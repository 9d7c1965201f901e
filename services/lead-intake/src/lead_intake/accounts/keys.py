"""The keys by which a company is known again: tax number, company id in a CRM, web domain. Pure.

A key is text that begins with its kind: `tax:DE123456789`, `company:hubspot:55170`, `domain:acme.example`. Strongest
first: a tax number names one legal person, an id one record of a CRM, a domain whoever shares it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Set

from lead_intake import normalise
from lead_intake.channels import site_of, site_of_host
from lead_intake.feature_tables import DISPOSABLE, FREE_MAIL, SHARED_SITES

TAX, COMPANY, DOMAIN = "tax:", "company:", "domain:"
LONGEST_TAX = 20

_LABELS = re.compile(
    r"^(?:ИНН|INN|USTIDNR|USTID|VATIDNO|VATNUMBER|VATID|VATNO|VAT|TAXID|TAXNO|STEUERNUMMER|UID|NIF|CIF|NIP|TVA|IVA|TIN)"
)
_SWISS = re.compile(r"^CHE(\d{9})(?:MWST|TVA|IVA|VAT)?$")
_BRANCH = re.compile(r"КПП|KPP|/")
_NOT_OF_IT = re.compile(r"[^0-9A-ZА-ЯЁ]")
_PREFIXED = re.compile(r"^([A-Z]{2})([0-9A-Z]{5,18})$")
_BARE = re.compile(r"^[0-9A-Z]{5,18}$")
_COUNTRIES = frozenset(
    {"AT", "BE", "BG", "BY", "CH", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "GB", "GR", "HR", "HU", "IE"}
    | {"IT", "KZ", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "RS", "RU", "SE", "SI", "SK", "UA", "XI"}
)
"""Countries whose code stands before their tax numbers; Greece writes EL, Northern Ireland XI (directive 2006/112)."""
_RUNS = ("0123456789012", "9876543210987")


def account_keys(fields: Mapping[str, str], *, email: str, country: str, crm: str, shared: Set[str]) -> tuple[str, ...]:
    """The keys of the company that an inquiry tells of, strongest first; empty where it names none.

    `crm` says whose ids its company ids are, `shared` are the keys that many share, `country` is the inquiry's.
    """
    keys = []
    if fields.get("tax_number") and (number := tax_number(fields["tax_number"], country)):
        keys.append(TAX + number)
    if fields.get("company_id") and (record := company_id(fields["company_id"])):
        keys.append(f"{COMPANY}{crm}:{record}")
    if domain := domain_of(email, fields.get("website", ""), shared=shared):
        keys.append(DOMAIN + domain)
    return tuple(keys)


def lock_of(key: str) -> int:
    """The advisory lock of a key: 64 bits of BLAKE2, signed as PostgreSQL wants it."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, person=b"baton.account")
    return int.from_bytes(digest.digest(), "big", signed=True)


def domain_of(email: str, website: str, *, shared: Set[str]) -> str:
    """The registered domain of the company's site, else of the business address; "" where many share it."""
    for domain in (site_of(website).domain if website else "", site_of_host(email.rpartition("@")[2]).domain):
        if (
            domain
            and domain not in FREE_MAIL
            and domain not in DISPOSABLE
            and domain not in SHARED_SITES
            and DOMAIN + domain not in shared
        ):
            return domain
    return ""


def company_id(told: str) -> str:
    """The id of a company's record; of several the first is the main one."""
    return normalise.text(re.split("[;,]", told, maxsplit=1)[0], 200)


def tax_number(told: str, country: str) -> str:
    """A tax number as country code and number (`DE123456789`, `RU7707083893`), or "" where it identifies nobody.

    Spaces, dots, labels and the Russian branch code (KPP) do not count. A number without a country's code before it is
    read as one of `country`, or as a Russian one where its check digits say so; one of no country identifies nobody.
    """
    text = _BRANCH.split(normalise.text(told, 80).upper(), maxsplit=1)[0]
    compact = _NOT_OF_IT.sub("", text)
    while label := _LABELS.match(compact):
        compact = compact[label.end() :]
    if swiss := _SWISS.match(compact):
        return f"CH{swiss[1]}" if _telling(swiss[1]) else ""
    prefixed = _PREFIXED.match(compact)
    if prefixed and prefixed[1] in _COUNTRIES:
        country, number = {"EL": "GR"}.get(prefixed[1], prefixed[1]), prefixed[2]
    elif _BARE.match(compact):
        number = compact
        if country in ("", "RU") and _is_inn(number):
            country = "RU"
    else:
        return ""
    if not re.fullmatch("[A-Z]{2}", country) or not _telling(number) or (country == "RU" and not _is_inn(number)):
        return ""
    return f"{country}{number}"


def _telling(number: str) -> bool:
    """Whether it can be somebody's: forms are filled with 0000000000 and 123456789 as well."""
    digits = re.sub(r"\D", "", number)
    return len(digits) >= 5 and len(set(digits)) > 1 and not any(digits in run for run in _RUNS)


def _is_inn(number: str) -> bool:
    """Whether the check digits of a Russian INN (10 digits a firm's, 12 a person's) are right.

    Source: order of the Federal Tax Service of 2012-06-29, MMV-7-6/435.
    """
    if not number.isascii() or not number.isdigit():
        return False
    digits = [int(c) for c in number]

    def check(weights: tuple[int, ...]) -> int:
        return sum(w * d for w, d in zip(weights, digits, strict=False)) % 11 % 10

    if len(digits) == 10:
        return check((2, 4, 10, 3, 5, 9, 4, 6, 8)) == digits[9]
    return (
        len(digits) == 12
        and check((7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == digits[10]
        and check((3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == digits[11]
    )
