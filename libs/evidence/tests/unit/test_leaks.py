import numpy as np
import pytest

from baton_evidence.fields import fields_of
from baton_evidence.leaks import Suspicion, suspicion
from baton_evidence.outcome import Truths
from evidence_exports import table_of

ROWS = 1_000


@pytest.fixture(scope="module")
def won() -> Truths:
    return np.random.default_rng(3).random(ROWS) < 0.3


def judged(name: str, values: list[object], won: Truths, *, keep: frozenset[str] = frozenset()) -> Suspicion:
    table = table_of({name: values, "won": won.astype(int).tolist(), "other": [n % 5 for n in range(ROWS)]})
    found = fields_of(table, outcome="won", id_column=None, drop=frozenset(), keep=keep)
    return suspicion(found.fields, found.left_out, table, won, keep=keep)


def noisy(won: Truths, *, right: float, seed: int = 5) -> Truths:
    random = np.random.default_rng(seed)
    return np.where(random.random(ROWS) < right, won, random.random(ROWS) < 0.3)


def test_what_is_filled_in_for_one_outcome_only_is_left_out(won: Truths) -> None:
    for name, filled in [("reference", won), ("why", ~won), ("why", ~won & (np.arange(ROWS) % 2 == 0))]:
        values = [f"R{n}" if one else "" for n, one in enumerate(filled)]
        assert [one.column for one in judged(name, list(values), won).left_out] == [name]


def test_a_date_of_closing_is_named_for_what_it_is(won: Truths) -> None:
    values = ["2026-03-01" if one else "" for one in won]
    [left] = judged("when", list(values), won).left_out
    assert (left.column, left.reason) == ("when", "leak")


def test_a_value_that_means_won_is_left_out(won: Truths) -> None:
    values = ["Signed up" if one and n % 2 else "Ringing" for n, one in enumerate(won)]
    assert "Signed up" in judged("label", list(values), won).left_out[0].detail


def test_a_name_of_the_end_needs_little_more(won: Truths) -> None:
    values = noisy(won, right=0.5).astype(int).tolist()
    assert judged("converted_flag", values, won).left_out
    assert not judged("newsletter", values, won).left_out


def test_a_name_of_what_changes_needs_much_more(won: Truths) -> None:
    assert judged("Lead Quality", noisy(won, right=0.6).astype(int).tolist(), won).left_out
    assert not judged("Lead Quality", noisy(won, right=0.2).astype(int).tolist(), won).left_out


def test_a_strong_honest_column_is_kept_and_asked_about(won: Truths) -> None:
    found = judged("plan", noisy(won, right=0.85).astype(int).tolist(), won)
    assert not found.left_out
    assert "plan" in found.warnings[0]


def test_whoever_knows_better_keeps_a_column(won: Truths) -> None:
    values = won.astype(int).tolist()
    assert judged("stage", values, won).left_out
    assert not judged("stage", values, won, keep=frozenset(["stage"])).left_out


def test_chance_alone_accuses_nobody() -> None:
    random = np.random.default_rng(11)
    won = random.random(ROWS) < 0.3
    for name in ("status", "closed", "result"):
        values = random.integers(0, 5, ROWS).tolist()
        assert not judged(name, values, won).left_out
