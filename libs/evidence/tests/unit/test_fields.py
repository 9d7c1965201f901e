from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton_evidence.fields import NOTHING, fields_of, number_of, values_of
from evidence_exports import table_of

ROWS = 100


def found(values: list[object], name: str = "x") -> tuple[str, str]:
    """What a column is: its kind and key, or `out` and the reason."""
    table = table_of({name: values, "won": [n % 2 for n in range(len(values))]})
    result = fields_of(table, outcome="won", id_column=None, drop=frozenset(), keep=frozenset())
    if result.fields:
        return result.fields[0].kind, result.fields[0].key
    return "out", result.left_out[0].reason


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", "12"), ("-3.5", "-3.5"), ("1 234,5", "1234.5"), ("1,234.50", "1234.50"), ("1.234.567", "1234567"),
        ("$12", "12"), ("15%", "15"), ("1 000 руб.", "1000"), ("1e3", "1000"), ("3,5", "3.5"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, number: str) -> None:
    assert number_of(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "abc", "1-2", "12a", "1,23,4", "NaN", "inf"])
def test_what_is_no_number_is_none(text: str) -> None:
    assert number_of(text) is None


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([n % 7 for n in range(ROWS)], ("number", "x")),
        ([f"{n % 9 / 10:.1f}" for n in range(ROWS)], ("number", "x_x10")),
        (["a", "b"] * (ROWS // 2), ("category", "x")),
        (["same"] * ROWS, ("out", "constant")),
        ([""] * ROWS, ("out", "empty")),
        ([f"user{n}@example.com" for n in range(ROWS)], ("out", "person")),
        ([f"2026-01-{n % 28 + 1:02d}" for n in range(ROWS)], ("out", "date")),
        ([n + 1000 for n in range(ROWS)], ("out", "id")),
        ([f"ab{n}c" for n in range(ROWS)], ("out", "id")),
        ([f"please call me back about offer {n}" for n in range(ROWS)], ("out", "text")),
        ([f"note {n} of a call" if n % 3 else "" for n in range(ROWS)], ("presence", "x")),
    ],
)
def test_a_column_is_what_it_looks_like(values: list[object], what: tuple[str, str]) -> None:
    assert found(values) == what


def test_a_name_in_nearly_every_row_is_a_person() -> None:
    assert found([f"Anna {n % 60}" for n in range(ROWS)], "Имя") == ("out", "person")


@pytest.mark.parametrize("name", ["zero\u200bwidth", "turned\u202earound", "n" * 5_000])
def test_a_name_that_no_agreement_can_hold_is_left_out_with_what_to_do(name: str) -> None:
    assert found(["a", "b"] * 50, name) == ("out", "name")


def test_a_column_that_says_the_same_as_another_is_left_out() -> None:
    table = table_of({"a": ["x", "y"] * 9, "b": ["1", "2"] * 9, "won": [1, 0, 0] * 6})
    result = fields_of(table, outcome="won", id_column=None, drop=frozenset(), keep=frozenset())
    assert [f.column for f in result.fields] == ["a"]
    assert [(one.column, one.reason) for one in result.left_out] == [("b", "duplicate")]


def test_two_numbers_that_differ_in_every_row_are_no_duplicates() -> None:
    a, b = [n * 7 % 101 + 0.5 for n in range(100)], [n * 13 % 101 + 0.5 for n in range(100)]
    table = table_of({"a": a, "b": b, "won": [0, 1] * 50})
    result = fields_of(table, outcome="won", id_column=None, drop=frozenset(), keep=frozenset())
    assert [f.column for f in result.fields] == ["a", "b"]


@given(st.lists(st.decimals(-1000, 1000, places=2), min_size=1, max_size=20))
def test_a_scaled_number_is_rounded_down(values: list[Decimal]) -> None:
    table = table_of({"x": [*values, "", "abc"], "won": [1] * (len(values) + 2)})
    from baton_evidence.fields import Field

    got = values_of(Field("x", "x_x10", "number", 10), table.columns["x"]).tolist()
    assert got == [*[int((value * 10).to_integral_value("ROUND_FLOOR")) for value in values], NOTHING, NOTHING]
