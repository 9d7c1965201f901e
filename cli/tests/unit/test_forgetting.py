"""Finding and forgetting persons from the terminal: what is sent, and that no address stands where others read it."""

import csv
import io
import json
import sys

import pytest

from baton_cli.erasures import BadExport, read_export
from baton_cli.settings import SERVICES

LEAD = "01a20f8b-8753-753b-bf07-fd3774291e4e"
MAIL = "anna@example.com"


def erased(**more):
    return {
        "lead_id": LEAD,
        "erasure_id": "01a20f8b-0000-753b-bf07-fd3774291e4e",
        "reason": "person_request",
        "asked_at": "2026-11-23T10:00:00Z",
        "key_id": "k",
        "erased_at": "2026-11-24T10:00:00Z",
        "done_at": "2026-11-24T10:00:01Z",
        "removed": {"contact": 1, "note": 0},
    } | more


@pytest.fixture
def typed(monkeypatch):
    def set_to(text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return set_to


def test_a_lead_is_found_by_what_stands_on_standard_input(baton, stub, typed):
    found = {"lead_id": LEAD, "full_name": "Anna", "emails": [MAIL], "phones": [], "company_name": "Acme"}
    stub.answers["POST /v1/leads/search"] = {"items": [found], "more": True}
    typed(f"{MAIL}\n")
    said = baton("lead", "find", "--region", "de")
    assert said.code == 0
    assert LEAD in said.out
    assert "There are more" in said.err
    [asked] = stub.asked
    assert asked.json == {"term": MAIL, "region": "DE", "limit": 20}
    assert MAIL not in asked.path + str(asked.query)


def test_without_a_term_nothing_is_asked(baton, stub, typed):
    typed("\n")
    assert baton("lead", "find").code == 2
    assert baton("person", "erase", "--yes").code == 2
    assert stub.asked == []


def test_a_person_is_forgotten_by_the_leads_id(baton, stub):
    stub.answers[f"POST /v1/leads/{LEAD}/erase"] = {"items": [erased()]}
    assert baton("person", "erase", LEAD, "--dry-run").code == 0
    assert stub.asked == []
    said = baton("person", "erase", LEAD, "--reason", "consent_withdrawn", "--yes")
    assert said.code == 0
    assert f"{LEAD} is forgotten (1 contact)" in said.out
    [asked] = stub.asked
    assert asked.json == {"reason": "consent_withdrawn"}
    assert asked.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("term", "sent"), [(MAIL, {"email": MAIL}), ("030 123456", {"phone": "030 123456", "region": "DE"})]
)
def test_an_address_or_number_goes_in_the_body_only(baton, stub, typed, term, sent):
    stub.answers["POST /v1/leads/erase"] = {"items": [erased()]}
    typed(f"{term}\n")
    said = baton("person", "erase", "--region", "DE", "--yes", "--json")
    assert said.code == 0
    [asked] = stub.asked
    assert asked.json == sent | {"reason": "person_request"}
    assert term not in said.out + said.err


def test_nobody_is_forgotten_without_a_yes(baton, stub, typed):
    typed(f"{MAIL}\n")
    assert baton("person", "erase").code == 2
    assert baton("person", "erase", LEAD).code == 2
    assert stub.asked == []


def test_the_log_names_what_each_service_did_and_is_read_back_by_a_restore(baton, stub, tmp_path):
    stub.answers["GET /v1/erasures"] = {"items": [erased()], "next_cursor": None}
    for suffix in ("jsonl", "csv"):
        assert baton("person", "erasures", "--export", str(tmp_path / f"log.{suffix}")).code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "log.csv").read_text())))
    assert rows[0]["sales-feedback removed"] == "contact=1;note=0"
    assert (tmp_path / "log.jsonl").stat().st_mode & 0o777 == 0o600
    [line] = (tmp_path / "log.jsonl").read_text().splitlines()
    assert set(json.loads(line)["services"]) == set(SERVICES)
    [read] = read_export(tmp_path / "log.jsonl")
    assert (read["lead_id"], read["sequence"]) == (LEAD, 1)
    assert baton("person", "erasures", "--export", str(tmp_path / "log.txt")).code == 2


def test_a_service_that_still_has_to_delete_makes_the_command_fail(baton, stub):
    stub.answers["GET /v1/erasures"] = {"items": [erased(done_at=None)], "next_cursor": None}
    said = baton("person", "erasures")
    assert said.code == 1
    assert "not done everywhere" in said.err


def test_what_is_no_exported_log_is_refused_by_its_line(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text(json.dumps(erased()) + '\n{"lead_id": 1}\n')
    with pytest.raises(BadExport, match="line 2"):
        list(read_export(file))
