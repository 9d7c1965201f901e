"""Text, e-mail addresses, phone numbers and codes in one form. Pure; nothing here raises on hostile text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

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
_ID = re.compile(r"[^A-Za-z0-9._:~/-]+")
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PERSONAL = re.compile(r"@|%40|\+?\d[\d ().-]{7,}\d")


def text(value: str, limit: int = MAX_TEXT) -> str:
    """`value` on one line without control, zero-width and bidirectional characters, at most `limit` long."""
    value = value[: limit * 4]
    if not value.isprintable() or not value.isascii():
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
    try:
        number = phonenumbers.parse(value, region or None)
    except phonenumbers.NumberParseException:
        return "", ""
    if not phonenumbers.is_possible_number(number):
        return "", ""
    country = phonenumbers.region_code_for_number(number) or ""
    # 001 stands for numbers of no country (satellites, international freephone).
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), "" if country == "001" else country


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
