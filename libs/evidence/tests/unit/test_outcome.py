import pytest

from baton_evidence.outcome import Outcome, read_outcome
from baton_evidence.table import Unreadable
from evidence_exports import table_of


def read(values: list[object], **options: list[str]) -> Outcome:
    return read_outcome(table_of({"end": values, "x": range(len(values))}), "end", won=options.get("won", []))


@pytest.mark.parametrize(
    "values",
    [["1", "0"], ["Yes", "No"], ["Won", "Lost"], ["true", "FALSE"], ["Closed Won", "Closed Lost"], ["да", "нет"]],
)
def test_words_that_everybody_uses_speak_for_themselves(values: list[object]) -> None:
    outcome = read([*values, values[1]])
    assert outcome.won.tolist() == [True, False, False]
    assert outcome.says == ()


def test_what_is_neither_won_nor_lost_is_open() -> None:
    outcome = read(["Won", "Lost", "Negotiation", ""])
    assert outcome.known.tolist() == [True, True, False, False]
    assert "Negotiation" in outcome.says[0]


def test_of_two_silent_values_the_rarer_is_taken_for_won_and_said() -> None:
    outcome = read(["MM", "CH", "CH"])
    assert outcome.won_values == ("MM",)
    assert "MM" in outcome.says[0]


def test_told_values_are_won_and_all_others_lost() -> None:
    outcome = read(["A", "B", "C", "open"], won=["a", "b"])
    assert outcome.won.tolist() == [True, True, False, False]
    assert outcome.known.tolist() == [True, True, True, False]


def test_a_date_of_winning_means_won_where_it_is_filled_in() -> None:
    assert read(["2026-01-02", "", "2026-02-03", ""]).won.tolist() == [True, False, True, False]


@pytest.mark.parametrize("values", [["a", "b", "c"], ["2026-01-02", "2026-01-03", "2026-01-04"]])
def test_an_outcome_that_says_nothing_is_refused_with_what_to_do(values: list[object]) -> None:
    with pytest.raises(Unreadable):
        read(values)


def test_an_unknown_column_names_those_that_come_near() -> None:
    with pytest.raises(Unreadable, match="'end'"):
        read_outcome(table_of({"end": [1], "x": [1]}), "ende")
