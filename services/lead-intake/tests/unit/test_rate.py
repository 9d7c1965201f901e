"""How many events a source may send."""

from hypothesis import given
from hypothesis import strategies as st

from lead_intake.tracking.rate import BURST, Rates


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 60)), min_size=1, max_size=60))
def test_no_more_than_the_burst_and_the_rate_ever_pass(a_second: int, calls: list[tuple[float, int]]) -> None:
    rates, now, passed, largest = Rates(a_second), 0.0, 0, max(events for _, events in calls)
    for pause, events in calls:
        now += pause
        passed += events if rates.admits("site", events, now=now) else 0
        assert passed <= a_second * (BURST + now) + largest + 1e-6


def test_what_has_to_be_repeated_is_given_back_and_sources_do_not_share() -> None:
    rates = Rates(1)
    assert rates.admits("site", BURST, now=0.0)
    assert not rates.admits("site", 1, now=0.5)
    assert rates.admits("other", BURST, now=0.5)
    rates.give_back("site", BURST)
    assert rates.admits("site", BURST, now=0.5)
    assert rates.admits("third", 10 * BURST, now=0.0), "a full bucket takes any batch"
    assert not rates.admits("third", 1, now=50.0)
