"""`baton agreement suggest` and `backtest` on a file, run as people and programs run them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from baton_agreement.agreement import read_agreement
from baton_cli.agreement import app

RULES = b"""
format: baton.agreement/1
id: mine
title: {en: t, ru: t}
parties: [{department: marketing, name: m}, {department: sales, name: s}]
fit: [{id: referral, points: 10, when: '"source" in answers && answers["source"] == "Referral"', en: e, ru: r}]
threshold: 10
rejection_reasons: [{code: other, family: fit, en: e, ru: r}]
sla: {accept_within: 4h, first_response_within: 24h, attempts: 3}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(3)
    lines = ["source;size;close_reason;converted"]
    for _ in range(400):
        source, size = draw.choice(["Referral", "Google", "Facebook"]), draw.randint(1, 300)
        won = draw.random() < 0.1 + 0.5 * (source == "Referral") + 0.25 * (size > 150)
        lines.append(f"{source};{size};{'' if won else 'too expensive'};{int(won)}")
    (tmp_path / "leads.csv").write_text("\n".join(lines))
    (tmp_path / "mine.yaml").write_bytes(RULES)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def as_json(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_suggestion_is_written_that_could_be_proposed_and_backtested(folder: Path) -> None:
    found = as_json("suggest", "leads.csv", "--outcome", "converted")
    assert found["evidence"] is True
    assert 0.5 < found["auc_interval"][0] < found["auc"] < found["auc_interval"][1] < 1
    assert found["ratio"] == found["auc"] / found["ceiling"]["auc"]
    assert {"Referral" in rule["en"] for rule in found["rules"]} == {True, False}
    assert [(one["column"], one["reason"]) for one in found["left_out"]] == [("close_reason", "leak")]
    text = (folder / "leads.agreement.yaml").read_text()
    assert text == found["agreement"]
    assert len(read_agreement(text.encode(), "yaml").fit) == len(found["rules"])
    tested = as_json("backtest", "leads.agreement.yaml", "leads.csv", "--outcome", "converted")
    assert tested["at_threshold"]["share"]["value"] == found["at_threshold"]["share"]
    assert tested["leads"] == {"rows": 400, "won": found["leads"]["won"], "lost": found["leads"]["lost"], "stopped": 0}


def test_people_are_told_the_rules_and_what_was_left_out_and_why(folder: Path) -> None:
    told = run("suggest", "leads.csv", "--outcome", "converted").output
    assert "close_reason" in told
    assert "source is Referral" in told
    assert "gradient boosting (ceiling)" in told


def test_an_agreement_is_held_against_another_on_the_same_leads(folder: Path) -> None:
    found = as_json("backtest", "mine.yaml", "leads.csv", "--outcome", "converted", "--against", "mine.yaml")
    assert found["against"]["evidence_of_a_difference"] is False
    assert found["columns"] == ["source"]
    assert len(found["deciles"]) == 10
    told = run("backtest", "mine.yaml", "leads.csv", "--outcome", "converted", "--against", "mine.yaml").output
    assert "no evidence of a difference" in told


def test_what_somebody_else_wrote_is_not_written_over_without_a_word(folder: Path) -> None:
    (folder / "leads.agreement.yaml").write_text("mine")
    assert run("suggest", "leads.csv", "--outcome", "converted").exit_code == 2
    assert (folder / "leads.agreement.yaml").read_text() == "mine"
    assert run("suggest", "leads.csv", "--outcome", "converted", "--yes").exit_code == 0
    assert run("suggest", "leads.csv", "--outcome", "converted").exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["suggest", "leads.csv", "--outcome", "konverted"], "'converted'"),
        (["suggest", "leads.csv", "--outcome", "source"], "--won VALUE"),
        (["suggest", "leads.csv", "--outcome", "converted", "--drop", "nothing"], "no column 'nothing'"),
        (["backtest", "leads.csv", "leads.csv", "--outcome", "converted"], "is no agreement"),
    ],
)
def test_bad_input_is_told_with_what_to_do(folder: Path, words: list[str], says: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert says in "".join((str(result.exception), *getattr(result.exception, "advice", [])))
