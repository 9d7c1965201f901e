import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton_agreement.document import DocumentRefused
from qualification.plan import Measured, leads_needed, plan_from_csv


def test_deals_over_conversion_over_weeks_with_the_interval_of_the_conversion() -> None:
    # 10 of 100: the Jeffreys interval is 0.0526 to 0.1701; February 2026 has four weeks.
    [need] = leads_needed([{"month": "2026-02", "deals": 8}], Measured(qualified=100, won=10))
    assert (need.low, need.expected, need.high) == (12, 20, 39)


def test_without_a_win_there_is_no_upper_limit_and_no_expectation() -> None:
    [need] = leads_needed([{"month": "2026-02", "deals": 8}], Measured(qualified=20, won=0))
    assert (need.expected, need.high) == (None, None)
    assert need.low > 2


def test_more_won_than_qualified_is_refused() -> None:
    with pytest.raises(ValueError, match="more was won"):
        leads_needed([], Measured(qualified=1, won=2))


@given(st.integers(1, 5000), st.data(), st.integers(0, 10_000))
def test_the_expectation_always_lies_in_the_interval(qualified: int, data: st.DataObject, deals: int) -> None:
    won = data.draw(st.integers(1, qualified))
    [need] = leads_needed([{"month": "2026-03", "deals": deals}], Measured(qualified=qualified, won=won))
    assert need.expected is not None
    assert need.high is not None
    assert need.low <= need.expected <= need.high


def test_a_plan_comes_from_csv() -> None:
    raw = "\ufeffmonth,product,rep,deals\r\n2026-03,CRM,,4\r\n2026-04,,r7,5\r\n".encode()
    assert plan_from_csv(raw) == [
        {"month": "2026-03", "product": "CRM", "deals": 4},
        {"month": "2026-04", "rep": "r7", "deals": 5},
    ]


@pytest.mark.parametrize(
    ("raw", "line"),
    [(b"month,deals\n2026-03,4.5\n", 2), (b"month,deals\n2026-03\n", 2), (b"month,leads\n", 1), (b"month\n", 1)],
)
def test_what_is_wrong_in_a_plan_is_named_by_line(raw: bytes, line: int) -> None:
    with pytest.raises(DocumentRefused) as error:
        plan_from_csv(raw)
    assert error.value.flaws[0].line == line
