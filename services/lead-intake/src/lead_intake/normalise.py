"""Text, e-mail addresses, phone numbers and codes in one form. Pure; nothing here raises on hostile text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

MAX_TEXT = 500
MAX_MESSAGE = 5_000
MAX_CLICK_ID = 512

# Controls, NUL, zero-width and bidirectional marks, surrogates: none of them belongs to a name, all of them
# hurt somewhere downstream (`text` refuses NUL, UTF-8 refuses surrogates, bidirectional marks lie on screens).
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\uffff\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")
_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_%+'-]+(?:\.[A-Za-z0-9_%+'-]+)*@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})"
)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ID = re.compile(r"[^A-Za-z0-9._:~/-]+")
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PERSONAL = re.compile(r"@|%40|\+?\d[\d ().-]{7,}\d")


def text(value: str, limit: int = MAX_TEXT) -> str:
    """`value` on one line without control, zero-width and bidirectional characters, at most `limit` long."""
    value = value[: limit * 4]
    if value.isascii() and value.isprintable():
        # Nearly always. The only white space left is the space.
        return (" ".join(value.split()) if "  " in value else value.strip())[:limit].rstrip()
    value = _UNWANTED.sub("", value.replace("\t", " ").replace("\n", " ").replace("\r", " "))
    return _SPACE.sub(" ", value).strip()[:limit].rstrip()


def paragraphs(value: str, limit: int = MAX_MESSAGE) -> str:
    """Like `text`, but line breaks stay."""
    value = value[: limit * 4].replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", value).strip()[:limit].rstrip()


def email(value: str) -> str:
    """The address with a lower-case domain, or "" when it is none. Never asks the network."""
    value = value.strip()
    if value[:7].lower() == "mailto:":
        value = value[7:]
    if len(value) > 254:
        return ""
    plain = _PLAIN_EMAIL.fullmatch(value)
    if plain is not None:
        local, _, domain = value.partition("@")
        return f"{local}@{domain.lower()}" if len(local) <= 64 else ""
    value = text(value)
    if "@" not in value:
        return ""
    try:
        checked = validate_email(value, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, ValueError):  # odd Unicode makes the IDNA step raise plain ValueErrors
        return ""
    if "." not in checked.ascii_domain:
        return ""
    return f"{checked.local_part}@{checked.ascii_domain.lower()}"


def phone(value: str, region: str) -> tuple[str, str]:
    """(number in E.164, its ISO country where that is sure), or ("", "") when it is none.

    A number without a country code is read in `region`.
    """
    value = value.strip()
    if not 5 <= len(value) <= 64:
        return "", ""
    if value.startswith("00"):
        value = "+" + value[2:]
    if _E164.fullmatch(value) and (country := _plain_country(value)):
        return value, country
    try:
        number = phonenumbers.parse(value, region or None)
    except phonenumbers.NumberParseException:
        return "", ""
    if not phonenumbers.is_possible_number(number):
        return "", ""
    country = phonenumbers.region_code_for_number(number) or ""
    # 001 stands for numbers of no country (satellites, international freephone).
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), "" if country == "001" else country


def _plain_country(value: str) -> str:
    """The country of an E.164 number where nothing about it is in doubt, else "": a tenth of the library's work.

    In doubt is a number whose code several countries share, that begins with a zero or with what may be a national
    prefix, or whose length is not one of its country's.
    """
    plan = _plan(value[1:2]) or _plan(value[1:3]) or _plan(value[1:4])
    if plan is None:
        return ""
    national = value[1 + plan.code_length :]
    if national[0] == "0" or len(national) not in plan.lengths or (plan.prefix and plan.prefix.match(national)):
        return ""
    return plan.country


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the library knows of a calling code; `country` is "" where several share it."""

    country: str
    code_length: int
    lengths: frozenset[int] = frozenset()
    prefix: re.Pattern[str] | None = None


@lru_cache(maxsize=1_200)
def _plan(code: str) -> _Plan | None:
    countries = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if countries is None:
        return None
    known = phonenumbers.PhoneMetadata.metadata_for_region(countries[0]) if len(countries) == 1 else None
    if known is None or known.general_desc is None:  # shared, or of no country
        return _Plan("", len(code))
    prefix = known.national_prefix_for_parsing
    lengths = frozenset(known.general_desc.possible_length or ())
    return _Plan(countries[0], len(code), lengths, re.compile(prefix) if prefix else None)


def campaign_text(value: str, limit: int = 100) -> str:
    """A UTM value as it may stand in a fact: short, one line, empty when it looks like a person's data."""
    cleaned = text(value, limit)
    return "" if _PERSONAL.search(cleaned) and not cleaned.isdigit() else cleaned


def identifier(value: str, limit: int = 64) -> str:
    """A provider's id of a form, campaign or ad: a short run of plain characters, else ""."""
    value = value.strip()
    return "" if len(value) > limit or not value or _ID.search(value) else value


def code(value: str) -> str:
    """`value` when it already is a code (lower case, digits, `_`, `-`; at most 32 characters), else ""."""
    value = value.strip().lower()
    return value if _CODE.fullmatch(value) and not _PERSONAL.search(value) else ""


def click_id(value: str) -> str:
    """A click id: case kept, no space or control character, at most 512 characters, else ""."""
    value = value.strip()
    if not value or len(value) > MAX_CLICK_ID or not value.isascii() or not value.isprintable() or " " in value:
        return ""
    return value


def timestamp(value: object) -> datetime | None:
    """An aware UTC time from RFC 3339 text or from Unix seconds or milliseconds, else None."""
    try:
        if isinstance(value, str):
            value = value.strip()
            if not value.isdigit():
                parsed = datetime.fromisoformat(value)
                return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            value = int(value[:20])
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        seconds = value / 1000 if abs(value) > 100_000_000_000 else value
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
