import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from baton_agreement.agreement import read_agreement
from baton_evidence.backtest import backtest, judged
from baton_evidence.bins import Bins, binned, bins_of
from baton_evidence.fields import fields_of
from baton_evidence.learn import MOST_RULES, Learned, learn
from baton_evidence.outcome import Outcome, Truths, read_outcome
from baton_evidence.points import MOST_POINTS
from baton_evidence.suggest import Cut, Measured, Suggestion, suggest
from baton_evidence.table import Table, Unreadable
from baton_evidence.written import document_of, yaml_of
from evidence_exports import leads, table_of


@pytest.fixture(scope="module")
def table() -> Table:
    return table_of(leads(1_200))


@pytest.fixture(scope="module")
def suggestion(table: Table) -> Suggestion:
    return suggest(table, "converted", id_column="lead id")


def test_the_rules_find_what_the_leads_were_made_by(suggestion: Suggestion) -> None:
    said = " ".join(rule["en"] for rule in document_of(suggestion)["fit"])
    assert "Referral" in said
    assert "Сотрудников" in said
    assert suggestion.ratio >= 0.985


def test_there_are_at_most_twenty_rules_of_bounded_whole_points(suggestion: Suggestion) -> None:
    rules = document_of(suggestion)["fit"]
    assert 1 <= len(rules) <= MOST_RULES
    assert all(isinstance(rule["points"], int) and 0 < abs(rule["points"]) <= MOST_POINTS for rule in rules)


def test_the_judge_of_live_leads_gives_the_learned_scores(suggestion: Suggestion, table: Table) -> None:
    agreement = read_agreement(yaml_of(suggestion, file="leads.csv").encode(), "yaml")
    found = judged(agreement, table)
    assert suggestion.learned is not None
    assert suggestion.cut is not None
    learned = suggestion.learned.score(binned(suggestion.bins, table))
    assert len(np.unique(found.score - learned)) == 1  # turned rules move every score alike
    assert float(found.handed_over.mean()) == suggestion.cut.share


def test_the_same_export_gives_the_same_agreement(suggestion: Suggestion, table: Table) -> None:
    again = suggest(table, "converted", id_column="lead id")
    assert yaml_of(again, file="x") == yaml_of(suggestion, file="x")


def test_a_shuffled_outcome_is_no_evidence() -> None:
    columns = leads(1_000)
    random.Random(5).shuffle(columns["converted"])
    found = suggest(table_of(columns), "converted")
    assert found.learned is None
    assert found.chance > 0.01
    with pytest.raises(ValueError, match="no evidence"):
        document_of(found)


def test_too_few_outcomes_are_refused() -> None:
    columns = leads(300)
    columns["converted"] = ["Yes"] * 10 + ["No"] * 290
    with pytest.raises(Unreadable, match="10 won"):
        suggest(table_of(columns), "converted")


def test_open_leads_do_not_count(suggestion: Suggestion) -> None:
    columns = leads(1_200)
    more = leads(300, seed=8)
    more["converted"] = ["in progress"] * 300
    both = {name: [*values, *more[name]] for name, values in columns.items()}
    found = suggest(table_of(both), "converted", id_column="lead id")
    assert (found.rows, found.won, found.lost) == (1_500, suggestion.won, suggestion.lost)
    assert yaml_of(found, file="x") == yaml_of(suggestion, file="x")


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_every_condition_means_the_same_as_the_bins_it_was_learned_on(seed: int) -> None:
    """Numbers, fractions, rare and quoted levels, gaps: the judge agrees with the learner on each row."""
    draw = np.random.default_rng(seed)
    rows = 400
    levels = ['a"b', "c\\d", "Да", "x,y", "e", "rare 1", "rare 2"]
    columns: dict[str, list[object]] = {
        "it's": draw.choice(levels, rows, p=[0.3, 0.2, 0.2, 0.1, 0.18, 0.01, 0.01]).tolist(),
        'he said "n"': draw.integers(-30, 30, rows).tolist(),
        "fraction": np.round(draw.normal(0, 1, rows), 2).tolist(),
        "gaps": np.where(draw.random(rows) < 0.3, "", draw.choice(["p", "q"], rows)).tolist(),
        "numbers with gaps": np.where(
            draw.random(rows) < 0.3, "", np.char.mod("%d", draw.integers(0, 9, rows))
        ).tolist(),
    }
    table = table_of({**columns, "won": draw.integers(0, 2, rows).tolist()})
    fields = fields_of(table, outcome="won", id_column=None, drop=frozenset(), keep=frozenset()).fields
    bins = bins_of(fields, table)
    binned_rows = binned(bins, table)
    learned = learn(binned_rows, draw.integers(0, 2, rows).astype(np.float64))
    assume(len(learned.rules) > 0)
    won = read_outcome(table, "won").won
    found = _suggested(learned, bins, won)
    agreement = read_agreement(yaml_of(found, file="x").encode(), "yaml")
    score = learned.score(binned_rows)
    assert len(np.unique(judged(agreement, table).score - score)) == 1


def _suggested(learned: Learned, bins: tuple[Bins, ...], won: Truths) -> Suggestion:
    nothing = Measured(0.5, 0.5, 0.5, 0.5)
    return Suggestion(
        outcome=Outcome(won, np.ones(len(won), dtype=bool), ("1",)),
        rows=len(won),
        won=int(won.sum()),
        lost=int((~won).sum()),
        bins=bins,
        learned=learned,
        cut=Cut(-40, 0.5, 0.5, 0.5),
        met_by=tuple((0, 0) for _ in learned.rules),
        rules=nothing,
        ceiling=nothing,
        frequency=nothing,
        chance=0.0,
        left_out=(),
        warnings=(),
    )


def test_a_lead_that_a_gate_stops_ranks_last_and_is_not_handed_over(table: Table) -> None:
    agreement = read_agreement(
        b"""
format: baton.agreement/1
id: gated
title: {en: t, ru: t}
parties: [{department: marketing, name: m}, {department: sales, name: s}]
gates: [{id: german, when: 'country == "DE"', en: e, ru: r}]
fit: [{id: referral, points: 10, when: '"source" in answers && answers["source"] == "Referral"', en: e, ru: r}]
threshold: 10
rejection_reasons: [{code: other, family: fit, en: e, ru: r}]
sla: {accept_within: 4h, first_response_within: 24h, attempts: 3}
""",
        "yaml",
    )
    found = judged(agreement, table)
    country, source = table.columns["country"], table.columns["source"]
    german = np.array([country.levels[code] == "DE" for code in country.codes])
    referral = np.array([source.levels[code] == "Referral" for code in source.codes])
    assert found.handed_over.tolist() == (german & referral).tolist()
    assert found.stopped.tolist() == (~german).tolist()
    assert found.rank[~german].max() < found.rank[german].min()
    result = backtest(found, read_outcome(table, "converted").won, ids=[str(n) for n in range(table.rows)])
    assert result.stopped == int((~german).sum())
    assert result.volume.value == pytest.approx(float((german & referral).mean()))
    assert result.missed_count == int((read_outcome(table, "converted").won & ~found.handed_over).sum())
    assert len(result.missed) == 20
