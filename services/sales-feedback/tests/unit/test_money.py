from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sales_feedback.money import DECIMALS, MAX_MINOR, NotMoney, minor_units


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("4800", "EUR", 480000),
        ("4800.5", "EUR", 480050),
        ("4800.50000", "EUR", 480050),
        ("0.1", "EUR", 10),
        ("1E+3", "EUR", 100000),
        ("1500", "JPY", 1500),
        ("1.234", "KWD", 1234),
        ("1.2345", "CLF", 12345),
        ("-0.00", "EUR", 0),
        ("0", "JPY", 0),
        ("9007199254740993", "JPY", None),
        ("9999999999999.99", "EUR", 999999999999999),
    ],
)
def test_an_amount_becomes_exact_minor_units(amount: str, currency: str, minor: int | None) -> None:
    if minor is None:
        with pytest.raises(NotMoney):
            minor_units(amount, currency)
    else:
        assert minor_units(amount, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("100.005", "EUR"),
        ("0.5", "JPY"),
        ("-1", "EUR"),
        ("1,5", "EUR"),
        ("1_000", "EUR"),
        ("١٢", "EUR"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        ("1e999", "EUR"),
        ("1e-999", "EUR"),
        ("", "EUR"),
        ("12 EUR", "EUR"),
        ("9" * 41, "EUR"),
        ("12", "EURO"),
        ("12", "XAU"),
        ("12", ""),
    ],
)
def test_what_is_no_exact_money_is_refused_without_its_value(amount: str, currency: str) -> None:
    with pytest.raises(NotMoney) as refused:
        minor_units(amount, currency)
    assert amount not in str(refused.value) or len(amount) < 3


@given(minor=st.integers(0, MAX_MINOR), currency=st.sampled_from(sorted(DECIMALS)))
def test_what_is_written_from_minor_units_always_reads_back(minor: int, currency: str) -> None:
    text = format(Decimal(minor).scaleb(-DECIMALS[currency]), "f")
    assert minor_units(text, currency) == minor


def test_the_table_has_one_entry_a_code_of_three_letters() -> None:
    assert all(len(code) == 3 and code.isupper() for code in DECIMALS)
    assert {DECIMALS[code] for code in ("EUR", "USD", "RUB", "CHF")} == {2}
    assert {DECIMALS[code] for code in ("JPY", "KRW", "ISK")} == {0}
    assert {DECIMALS[code] for code in ("BHD", "JOD", "TND")} == {3}
