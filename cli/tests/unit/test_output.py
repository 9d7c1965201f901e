"""What people read: money, times, values in one line, and spans of time as they are typed."""

from datetime import UTC, datetime

import pytest
import typer

from baton_cli.moments import moment
from baton_cli.output import described, money, when


@pytest.mark.parametrize(
    ("minor", "currency", "said"),
    [
        (1849000, "EUR", "18,490.00 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-105, "USD", "-1.05 USD"),
        (1500, "JPY", "1,500 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (10**20, "EUR", "1,000,000,000,000,000,000.00 EUR"),
    ],
)
def test_money_has_the_decimals_of_its_currency(minor, currency, said):
    assert money(minor, currency) == said


def test_times_are_to_the_second_and_anything_else_stays():
    assert when("2026-09-01T08:12:04.123456Z") == "2026-09-01 08:12:04Z"
    assert when("2026-09-01T08:12:04+00:00") == "2026-09-01 08:12:04Z"
    assert when("soon") == "soon"
    assert when(None) == ""


def test_values_are_described_without_what_is_empty():
    assert described({"a": 1, "b": None, "c": "", "d": [1, 2], "e": False}) == "a=1 d=1,2 e=False"


def test_spans_and_times_are_understood():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert moment("90s", now=now) == datetime(2026, 11, 24, 11, 58, 30, tzinfo=UTC)
    assert moment("3d", now=now) == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert moment("2026-09-01T10:00:00+02:00") == datetime(2026, 9, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "2026-09-01T10:00:00", "9999999d", "999999d", "٣d"])
def test_what_is_no_time_is_wrong_usage(text):
    with pytest.raises(typer.BadParameter):
        moment(text)
