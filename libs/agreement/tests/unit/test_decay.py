from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from baton_agreement.decay import FACTORS, course, decayed


def test_the_committed_table_is_the_halving_curve() -> None:
    with localcontext(prec=50):
        exact = [Decimal(2) ** 16 * Decimal(2) ** (Decimal(-i) / 256) for i in range(256)]
        assert [int(x.to_integral_value()) for x in exact] == list(FACTORS)


def test_points_halve_each_half_life() -> None:
    assert [decayed(40, age_hours=hours, half_life_hours=24) for hours in (0, 24, 48, 72)] == [40, 20, 10, 5]


def test_without_a_half_life_points_stay() -> None:
    assert decayed(-7, age_hours=10_000, half_life_hours=None) == -7


@given(st.integers(-1000, 1000), st.integers(1, 8784), st.integers(0, 200_000), st.integers(0, 5_000))
def test_decay_never_grows_with_age(points: int, half_life: int, age: int, more: int) -> None:
    younger = decayed(points, age_hours=age, half_life_hours=half_life)
    older = decayed(points, age_hours=age + more, half_life_hours=half_life)
    assert abs(older) <= abs(younger) <= abs(points)
    assert younger * points >= 0


@given(st.integers(-100, 100).filter(bool), st.none() | st.integers(1, 100), st.integers(1, 300))
def test_the_course_names_the_next_hour_at_which_points_change(points: int, half_life: int | None, window: int) -> None:
    values, changes = course(points, half_life, window)
    padded = [*values, 0]
    for age in range(window):
        later = [a for a in range(age + 1, window + 1) if padded[a] != padded[age]]
        assert changes[age] == (later[0] if later else 0)
