"""Money as integers: minor units of an ISO 4217 currency, and nothing else."""

import re
from collections.abc import Mapping
from decimal import Decimal

MAX_MINOR = 10**15
"""Largest amount taken, in minor units: far above any deal, far below what a bigint holds."""

# ISO 4217: active codes (and BGN, withdrawn in 2026, for corrections of older deals) by number of decimals.
# Metals and test codes have no minor unit and are no money of a deal.
_TWO = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR
ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV
MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD
SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_BY_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: _TWO,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

DECIMALS: Mapping[str, int] = {code: decimals for decimals, codes in _BY_DECIMALS.items() for code in codes.split()}
"""Currency code to the number of decimals of its minor unit."""

_AMOUNT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


class NotMoney(ValueError):
    """The text is no exact amount of the currency; the message names the rule, never the value."""


def minor_units(amount: str, currency: str) -> int:
    """The amount in minor units of the currency, exactly: nothing is ever rounded.

    `amount` is a decimal number in whole units ("4800", "4800.5", "1E+3"); raises NotMoney for an unknown currency,
    a negative or too large amount, or one with more decimals than the currency has.
    """
    if currency not in DECIMALS:
        raise NotMoney("the currency is not an ISO 4217 code")
    text = amount.strip()
    if not _AMOUNT.fullmatch(text):
        raise NotMoney("the amount is not a decimal number")
    sign, digits, exponent = Decimal(text).as_tuple()
    number = int("".join(map(str, digits)))
    if not isinstance(exponent, int):
        raise NotMoney("the amount is not a decimal number")
    if number == 0:
        return 0
    if sign:
        raise NotMoney("the amount is negative")
    # Exact integers only: Decimal arithmetic would round at its context's precision.
    shift = exponent + DECIMALS[currency]
    if shift >= 0:
        if len(digits) + shift > len(str(MAX_MINOR)):
            raise NotMoney("the amount is too large")
        minor: int = number * 10**shift
    else:
        minor, rest = divmod(number, 10**-shift)
        if rest:
            raise NotMoney(f"the amount has more decimals than {currency} has")
    if minor > MAX_MINOR:
        raise NotMoney("the amount is too large")
    return minor
