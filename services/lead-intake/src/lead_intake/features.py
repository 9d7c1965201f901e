"""What the criteria may see of a person, derived once at intake: booleans, integers and codes."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from baton.lead.v1.lead_pb2 import LeadFeatures
from lead_intake import normalise
from lead_intake.channels import site_of, site_of_host
from lead_intake.delivery import Inquiry, Source
from lead_intake.feature_tables import (
    COUNTRY_NAMES,
    CURRENCY_SIGNS,
    DISPOSABLE,
    EMPLOYEE_BUCKETS,
    FREE_MAIL,
    JOB_FUNCTIONS,
    JOB_LEVELS,
    LANGUAGES,
    ROLE_ADDRESSES,
    TABLES_VERSION,
    TIMELINES,
    TLD_COUNTRY,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBER = re.compile(r"\d[\d.,' \u00a0\u202f]*")
_WORDS = re.compile(r"[\w-]+")
_YES = _words("true yes y 1 on ja si sí да accepted agree granted checked")
_NO = _words("false no n 0 off nein нет denied declined unchecked")


def derive(
    inquiry: Inquiry, source: Source, *, email: str, phone: str, phone_country: str, channel: str
) -> LeadFeatures:
    """The features of one inquiry. What is not known stays empty (or 0, or false)."""
    fields = inquiry.fields
    domain = company_domain(email, fields.get("website", ""))
    title = fields.get("job_title", "")
    budget, currency = budget_of(fields["budget"]) if fields.get("budget") else (0, "")
    return LeadFeatures(
        tables_version=TABLES_VERSION,
        has_email=bool(email),
        has_phone=bool(phone),
        has_name=any(fields.get(name, "").strip() for name in ("full_name", "first_name", "last_name")),
        has_company=bool(fields.get("company_name", "").strip()),
        email_kind=email_kind(email),
        country=country_of(fields.get("country", "")) or phone_country or domain_country(domain),
        language=language_of(fields.get("language", "")),
        company_domain=domain,
        employees=employees_of(fields["employees"]) if fields.get("employees") else 0,
        job_level=job_level(title) if title else "",
        job_function=job_function(title) if title else "",
        industry=normalise.code(fields.get("industry", "")),
        product=normalise.code(fields.get("product", "")),
        channel=channel,
        provider=source.provider,
        source_id=source.id,
        form_id=normalise.identifier(fields.get("form_id", "")),
        consent_marketing=consent(fields.get("consent_marketing", "")) is True,
        timeline=timeline_of(fields["timeline"]) if fields.get("timeline") else "",
        budget=budget,
        budget_currency=currency_of(fields.get("budget_currency", "")) or currency if budget else "",
        answers=dict(inquiry.answers),
    )


def merged(known: LeadFeatures, told: LeadFeatures, *, consent_told: bool | None) -> LeadFeatures:
    """The features after a further inquiry: what it tells counts, what it leaves open stays.

    Consent can also be taken back, so it follows `consent_told`; `direct` never hides a known channel.
    """
    result = LeadFeatures()
    result.CopyFrom(known)
    result.MergeFrom(told)
    result.consent_marketing = known.consent_marketing if consent_told is None else consent_told
    if told.channel == "direct" and known.channel:
        result.channel = known.channel
    return result


def told_on(known: LeadFeatures, told: LeadFeatures, *, consent_told: bool | None, newer: bool) -> LeadFeatures:
    """The features after something was told of a known person that was no contact with marketing.

    Where the lead came from stays what it was; `known` itself is returned when nothing is new. What is older than what
    is known only fills what is empty.
    """
    own = LeadFeatures()
    own.CopyFrom(told)
    for name in ("channel", "provider", "source_id", "form_id"):
        own.ClearField(name)
    if newer:
        result = merged(known, own, consent_told=consent_told)
    else:
        result = merged(own, known, consent_told=known.consent_marketing)
    version, result.tables_version = max(known.tables_version, told.tables_version), known.tables_version
    if result == known:
        return known
    result.tables_version = version
    return result


def email_kind(email: str) -> str:
    """The kind: business | free | role | disposable, "" without an address."""
    if not email:
        return ""
    local, _, domain = email.lower().rpartition("@")
    if domain in DISPOSABLE:
        return "disposable"
    if domain in FREE_MAIL:
        return "free"
    return "role" if local in ROLE_ADDRESSES else "business"


def company_domain(email: str, website: str) -> str:
    """The registered domain of the company: the web site's, else that of a business address."""
    if website:
        domain = site_of(website).domain
        if domain and domain not in FREE_MAIL and domain not in DISPOSABLE:
            return domain
    domain = site_of_host(email.rpartition("@")[2]).domain if email else ""
    return "" if domain in FREE_MAIL or domain in DISPOSABLE else domain


@lru_cache(maxsize=1_024)
def country_of(told: str) -> str:
    """ISO 3166-1 alpha-2 from a code or a name in English, German, Russian or Spanish; "" when unsure."""
    told = normalise.text(told, 60)
    if len(told) == 2 and told.upper() in phonenumbers.SUPPORTED_REGIONS:
        return told.upper()
    return COUNTRY_NAMES.get(told.casefold(), "")


def domain_country(domain: str) -> str:
    return TLD_COUNTRY.get(domain.rpartition(".")[2], "") if domain else ""


def language_of(told: str) -> str:
    """ISO 639-1 from a code or a locale (`de-AT`)."""
    told = told.strip()[:35].lower().replace("_", "-").split(",")[0].split("-")[0]
    return told if told in LANGUAGES else ""


def employees_of(told: str) -> int:
    """The lower bound of the bucket that holds the first number told (`51-200` → 50, `1,000+` → 1000)."""
    number = _first_number(told)
    return next((bucket for bucket in EMPLOYEE_BUCKETS if number >= bucket), 0)


def budget_of(told: str) -> tuple[int, str]:
    """Lower bound of the budget in whole units, and its currency when a sign or code says it."""
    number = _first_number(told)
    lowered = told.lower()[:60]
    match = _NUMBER.search(lowered)
    if number and match and re.match(r"(k|тыс|tsd|mil\b)", lowered[match.end() :].strip()):
        number *= 1_000
    elif number and match and re.match(r"(m\b|mio|million|млн)", lowered[match.end() :].strip()):
        number *= 1_000_000
    currency = next((code for sign, code in CURRENCY_SIGNS.items() if sign in lowered), "")
    return min(number, 10**12), currency


def currency_of(told: str) -> str:
    told = told.strip().upper()
    return told if len(told) == 3 and told.isascii() and told.isalpha() else ""


@lru_cache(maxsize=4_096)
def job_level(title: str) -> str:
    """One of owner | c_level | vp | director | manager | specialist; the highest that the title names."""
    return _first_listed(title, JOB_LEVELS)


@lru_cache(maxsize=4_096)
def job_function(title: str) -> str:
    return _first_listed(title, JOB_FUNCTIONS)


def timeline_of(told: str) -> str:
    """One of now | quarter | year | later; a code is taken as it is, a sentence by its words."""
    told = normalise.text(told, 80).casefold()
    if told in ("now", "quarter", "year", "later"):
        return told
    # The longest wording counts: "3-6 months" also holds "6 months".
    hits = [(len(word), code) for code, words in TIMELINES for word in words if word in told]
    return max(hits)[1] if hits else ""


def consent(told: str) -> bool | None:
    """True, False, or None when the form did not ask."""
    told = told.strip()[:60].casefold()
    if not told:
        return None
    if told in _NO:
        return False
    # A ticked box often sends its own sentence ("I agree to …"), an empty one sends nothing.
    return told in _YES or not told.startswith(("no ", "i do not", "nein"))


def _first_number(told: str) -> int:
    match = _NUMBER.search(told[:60])
    if match is None:
        return 0
    digits = re.sub(r"[.,]\d{1,2}$", "", match.group().strip())  # cents
    return int(re.sub(r"\D", "", digits)[:12] or "0")


def _first_listed(title: str, table: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    title = normalise.text(title, 120).casefold()
    words = _WORDS.findall(title)
    for code, stems in table:
        for stem in stems:
            if " " in stem or len(stem) > 4:
                found = stem in title if " " in stem else any(word.startswith(stem) for word in words)
            else:
                found = stem in words  # short ones only whole: "it", "hr", "ceo"
            if found:
                return code
    return ""
