from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton_agreement.document import DocumentRefused
from qualification.amend import refuse_touched_duties

DUTY: dict[str, Any] = {"id": "again", "owner": "sales", "attempts": 5, "en": "Again.", "ru": "Ещё раз.", "fixed": True}


def touched(after: dict[str, Any], section: str = "duties") -> list[str]:
    with pytest.raises(DocumentRefused) as error:
        refuse_touched_duties({section: [DUTY]}, after)
    return [flaw.pointer for flaw in error.value.flaws]


@given(st.sampled_from(["clocks", "duties"]), st.sampled_from(sorted(set(DUTY) - {"id"})))
def test_each_change_of_a_fixed_duty_is_refused_with_its_path(section: str, key: str) -> None:
    assert touched({section: [{**DUTY, key: "other"}]}, section) == [f"/{section}/0/{key}"]
    assert touched({section: [{k: v for k, v in DUTY.items() if k != key}]}, section) == [f"/{section}/0/{key}"]


def test_a_fixed_duty_may_not_be_taken_out_nor_renamed() -> None:
    assert touched({}) == ["/duties"]
    assert touched({"duties": [{**DUTY, "id": "other"}]}) == ["/duties"]


def test_what_is_not_fixed_may_change_and_a_fixed_duty_may_move() -> None:
    free = {**DUTY, "id": "free", "fixed": False}
    refuse_touched_duties({"duties": [DUTY, free]}, {"duties": [{**free, "attempts": 1}, DUTY]})
