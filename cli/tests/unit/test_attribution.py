"""`baton attribution try`: what a program gets and what a person reads, without any service."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

CONTENT = "path,conversions,value,nulls\nC1 > C2 > C3,1,900,0\nC1,0,0,1\nC2 > C3,0,0,1\n"
NAMES = ["first", "last", "last_non_direct", "linear", "position", "shapley", "shapley_subset_rate"]


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "journeys.csv"
    found.write_text(CONTENT)
    return found


def test_a_program_gets_every_model_by_channel(baton, file):
    said = baton("attribution", "try", str(file), "--json")
    assert said.code == 0
    assert list(said.json) == [*NAMES, "markov_order1", "markov_order1_per_deal"]
    assert said.json["first"] == {"conversions": {"C1": 1, "C2": 0, "C3": 0}, "value": {"C1": 900, "C2": 0, "C3": 0}}
    assert said.json["linear"]["conversions"] == dict.fromkeys(["C1", "C2", "C3"], 1 / 3)
    assert said.json["markov_order1"]["conversions"] == pytest.approx({"C1": 0.2, "C2": 0.4, "C3": 0.4}, abs=1e-12)
    assert said.json["markov_order1"]["value"] == pytest.approx({"C1": 180, "C2": 360, "C3": 360}, abs=1e-9)


@pytest.mark.parametrize(
    ("words", "orders"),
    [(["--order", "3"], [3]), (["--order", "1-4"], [1, 2, 3, 4]), (["--order", "4,1", "--order", "2"], [1, 2, 4])],
)
def test_the_orders_are_chosen(baton, file, words, orders):
    found = baton("attribution", "try", str(file), "--json", *words).json
    assert [name for name in found if name.startswith("markov")] == [
        f"markov_order{order}{suffix}" for order in orders for suffix in ("", "_per_deal")
    ]


def test_standard_input_is_read(baton, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(CONTENT.encode()), isatty=lambda: False))
    assert baton("attribution", "try", "-", "--json").json["last"]["conversions"] == {"C1": 0, "C2": 0, "C3": 1}


def test_a_person_reads_a_table_with_totals_or_bars(baton, file):
    said = baton("attribution", "try", str(file), "--model", "linear", "--model", "markov_order1")
    lines = [line.split() for line in said.out.splitlines()]
    assert ["conversions", "linear", "markov_order1"] in lines
    assert ["C1", "0.3333", "0.2"] in lines
    assert ["all", "900", "900"] in lines
    assert "3 rows, 3 different paths, 3 channels" in said.err
    drawn = baton("attribution", "try", str(file), "--model", "markov_order1", "--chart").out
    assert "C2       " + "█" * 40 in drawn
    assert "C1       " + "█" * 20 + " " in drawn


def test_without_a_value_there_is_none(baton, tmp_path):
    file = tmp_path / "journeys.csv"
    file.write_text("PATH;CONV\nDirect > mail;2\nmail > Direct;1\n")
    said = baton("attribution", "try", str(file), "--json")
    assert said.json["last_non_direct"] == {"conversions": {"Direct": 0, "mail": 3}, "value": {}}
    assert "no journey without a conversion" in said.err
    found = baton("attribution", "try", str(file), "--json", "--direct", "mail").json
    assert found["last_non_direct"]["conversions"] == {"Direct": 3, "mail": 0}


def test_ages_bring_time_decay_and_a_lookback(baton, tmp_path):
    file = tmp_path / "journeys.csv"
    file.write_text("path,won,amount,age_hours\na > b,1,300,168 > 0\n")
    assert baton("attribution", "try", str(file), "--json").json["time_decay"]["value"] == pytest.approx(
        {"a": 100, "b": 200}
    )
    found = baton("attribution", "try", str(file), "--json", "--lookback-days", "6.9").json
    assert found["linear"]["value"] == {"a": 0, "b": 300}
    found = baton("attribution", "try", str(file), "--json", "--exclude", "a", "--exclude", "b").json
    assert found["markov_order1"]["value"] == {"(none)": 300}


def test_what_is_wrong_is_said_with_file_line_and_column(baton, file):
    file.write_text("path,conversions\na,1\nb,many\n")
    said = baton("attribution", "try", str(file), "--json")
    assert (said.code, said.out) == (1, "")
    assert f"{file}: line 3, column 2 (conversions): 'many' is no number" in said.err
    assert baton("attribution", "try", str(file) + ".not").code == 1
    file.write_text("path,conversions\n,1\n(none),1\n")
    assert "give the channel another name" in baton("attribution", "try", str(file)).err.lower()


@pytest.mark.parametrize(
    "words",
    [["--order", "5"], ["--order", "x"], ["--model", "time_decay"], ["--lookback-days", "3"], ["--exclude", "no"]],
)
def test_wrong_usage_is_told(baton, file, words):
    said = baton("attribution", "try", str(file), *words)
    assert (said.code, said.out) == (2, "")
    assert words[0] in said.err


def test_the_help_has_an_example(baton):
    assert "baton attribution try journeys.csv --order 1-4 --json" in baton("attribution", "try", "--help").out


def test_the_printed_json_is_full_precision(baton, file):
    found = json.loads(baton("attribution", "try", str(file), "--json", "--model", "linear").out)
    assert found["linear"]["conversions"]["C1"] == 1 / 3
