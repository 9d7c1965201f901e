"""Money as exports write it, into minor units. Pure; nothing is ever rounded."""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST = 10**15
"""Largest amount taken, in minor units."""

# ISO 4217: codes by the number of decimals of their minor unit.
_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP
    CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS
    KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
    PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
}
DECIMALS: Mapping[str, int] = {code: n for n, codes in _DECIMALS.items() for code in codes.split()}
SIGNS: Mapping[str, str] = {
    "€": "EUR", "$": "USD", "£": "GBP", "₽": "RUB", "руб": "RUB", "руб.": "RUB", "р.": "RUB", "₸": "KZT", "₴": "UAH",
    "zł": "PLN", "kč": "CZK", "₺": "TRY", "₹": "INR",
    "rur": "RUB", "рубль": "RUB", "рубли": "RUB", "рублей": "RUB", "российский рубль": "RUB", "643": "RUB",
    "белорусский рубль": "BYN", "933": "BYN", "тенге": "KZT", "398": "KZT", "гривна": "UAH",
    "доллар": "USD", "доллар сша": "USD", "840": "USD", "евро": "EUR", "978": "EUR",
}  # fmt: skip
"""Signs, names and numbers (ISO 4217) that stand for one currency in most exports; where yours means another, the
mapping names the code."""

_PARTS = re.compile(r"(?P<before>[^\d+-]*)(?P<number>[+-]?\d[\d.,' ]*)(?P<after>\D*)")


def currency_of(text: str) -> str:
    """The ISO 4217 code that a cell states by code or sign, or ""."""
    text = text.strip().casefold()
    code = SIGNS.get(text) or text.upper()
    return code if code in DECIMALS else ""


def minor_units(text: str, currency: str, *, decimal: str = "") -> tuple[int, str] | None:
    """(minor units, currency) of an amount such as `1 234,50 ₽`, `€1,234.50` or `18490`; None when it is no exact one.

    The amount's own sign or code counts before `currency`. `decimal` says which of `.` and `,` stands before the
    decimals; without it a lone one before three digits parts thousands.
    """
    # Bitrix24 parts amount and code by a bar.
    found = _PARTS.fullmatch(
        text.replace("|", " ").replace("\u00a0", " ").replace("\u202f", " ").replace("\u2019", "'").strip()
    )
    if found is None:
        return None
    named = [part for part in (found["before"].strip(), found["after"].strip()) if part]
    codes = {currency_of(part) for part in named}
    if len(codes) > 1 or "" in codes:
        return None
    code = next(iter(codes), currency)
    if code not in DECIMALS:
        return None
    number = found["number"].strip().lstrip("+")
    if number.startswith("-"):
        return None
    whole, part = _split(number.replace(" ", "").replace("'", ""), decimal or _decimal_of(number, DECIMALS[code]))
    if whole is None:
        return None
    part = part.rstrip("0")
    if len(part) > DECIMALS[code]:
        return None
    minor = int(whole + part.ljust(DECIMALS[code], "0"))
    return (minor, code) if minor <= MOST else None


def _decimal_of(number: str, decimals: int) -> str:
    dots, commas = number.count("."), number.count(",")
    if dots and commas:
        return max(".,", key=number.rindex)
    sign = "." if dots else "," if commas else ""
    if not sign or dots + commas > 1:
        return "," if sign == "." else "."
    after = len(number) - number.rindex(sign) - 1
    thousands = after == 3 and decimals != 3 and not number.startswith("0")
    return ("," if sign == "." else ".") if thousands else sign


def _split(number: str, decimal: str) -> tuple[str | None, str]:
    whole, _, part = number.partition(decimal)
    groups = whole.split("," if decimal == "." else ".")
    if len(groups) > 1 and (any(len(g) != 3 for g in groups[1:]) or not 1 <= len(groups[0]) <= 3):
        return None, ""
    digits = "".join(groups)
    if not digits.isdigit() or len(digits) > 18 or (part and not part.isdigit()):
        return None, ""
    return digits, part
