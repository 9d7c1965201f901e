"""`baton agreement verify`, `plan` and `evidence`, and `baton decisions verify`, against a stub of the service."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from baton_agreement.agreement import read_agreement
from baton_agreement.canonical import canonical_bytes, digest_of
from baton_agreement.signatures import Statement, new_key, sign

AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[3] / "libs/agreement/examples/agreement.yaml"


def rows_of(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries as the service keeps them, each with the hash of the one before."""
    prev, rows = "", []
    for seq, one in enumerate(facts, start=1):
        entry = canonical_bytes({**one, "at": "2026-11-02T09:00:00Z", "prev": prev, "seq": seq})
        rows.append({"seq": seq, "entry": entry.decode(), "prev_hash": prev, "hash": digest_of(entry)})
        prev = rows[-1]["hash"]
    return rows


@pytest.fixture
def facts() -> list[dict[str, Any]]:
    agreement = read_agreement(EXAMPLE.read_bytes(), "yaml")
    about = {"agreement_id": agreement.id, "version": 1, "digest": agreement.digest, "round": 1}
    people, signed = [], []
    for person, department in (("anna", "marketing"), ("boris", "sales")):
        public, private = new_key()
        who = {"person_id": person, "department": department}
        people.append({"kind": "person_added", **who, "public_key": public})
        statement = Statement(**about, **who, signed_at=AT)
        signed.append(
            {"kind": "signed", **about, **who, "signed_at": "2026-11-02T09:00:00Z", "jws": sign(statement, private)}
        )
    proposed = {"kind": "proposed", **about, "document": agreement.document.decode()}
    activated = {name: value for name, value in about.items() if name != "agreement_id"}
    return [*people, proposed, *signed, {"kind": "activated", **activated, "activation_seq": 1, "superseded": None}]


def test_a_history_is_proved_by_the_command_itself(baton, stub, facts) -> None:
    rows = rows_of(facts)
    stub.answers["GET /v1/agreements/history"] = {"items": rows, "next_cursor": None}
    said = baton("agreement", "verify", "--json")
    assert said.code == 0
    assert said.json == {"intact": True, "entries": 6, "flaw": None, "head": rows[-1]["hash"]}
    told = baton("agreement", "verify").out
    assert "signed by boris for sales" in told
    assert f"{json.loads(rows[2]['entry'])['agreement_id']} version 1 in force" in told
    assert rows[-1]["hash"] in told


@pytest.mark.parametrize(
    ("entry", "change", "says"),
    [
        (4, {"person_id": "boris"}, "entry 4"),
        (3, {"digest": "0" * 64}, "entry 3"),
        (5, {"kind": "note"}, "without the signatures of both departments"),
    ],
)
def test_a_forged_entry_is_found_although_every_hash_fits(baton, stub, facts, entry, change, says) -> None:
    facts[entry - 1] |= change
    stub.answers["GET /v1/agreements/history"] = {"items": rows_of(facts), "next_cursor": None}
    said = baton("agreement", "verify", "--json")
    assert said.code == 1
    assert says in said.json["flaw"]


def test_what_was_cut_off_or_written_anew_is_found_by_a_hash_that_was_kept(baton, stub, facts) -> None:
    rows = rows_of(facts)
    stub.answers["GET /v1/agreements/history"] = {"items": rows[:4], "next_cursor": None}
    assert baton("agreement", "verify", "--head", rows[3]["hash"]).code == 0
    said = baton("agreement", "verify", "--head", rows[5]["hash"][:16])
    assert said.code == 1
    assert "is not in the chain" in said.err


def test_kept_entries_are_proved_without_the_service(baton, stub, facts, tmp_path) -> None:
    kept = tmp_path / "history.jsonl"
    stub.answers["GET /v1/agreements/history"] = {"items": rows_of(facts), "next_cursor": None}
    assert baton("agreement", "verify", "--save", str(kept)).code == 0
    stub.asked.clear()
    assert baton("agreement", "verify", "--file", str(kept)).code == 0
    assert stub.asked == []
    kept.write_text(kept.read_text().replace("anna", "anne"))
    assert baton("agreement", "verify", "--file", str(kept)).code == 1
    kept.write_text("no entry")
    assert "writes them" in baton("agreement", "verify", "--file", str(kept)).err


def test_decisions_are_verified_over_a_range_and_what_differs_is_named(baton, stub) -> None:
    request = "POST /v1/decisions/verifications"
    stub.answers[request] = {"checked": 12, "differing": [], "next_cursor": None}
    said = baton("decisions", "verify", "--since", "2026-11-01", "--lead", "l1", "--json")
    assert said.json == {"checked": 12, "identical": 12, "differing": []}
    assert stub.to(request)[0].json == {"since": "2026-11-01T00:00:00Z", "lead_id": "l1"}
    differing = [{"decision_id": "d1", "lead_id": "l1", "reason": "other_bytes"}]
    stub.answers[request] = {"checked": 12, "differing": differing, "next_cursor": None}
    said = baton("decisions", "verify")
    assert said.code == 1
    assert "gives other bytes now" in said.out
    assert json.loads(baton("decisions", "verify", "--json").out)["identical"] == 11


def test_a_plan_is_told_as_the_leads_it_needs(baton, stub) -> None:
    stub.answers["GET /v1/agreements/active"] = {"digest": "a" * 64}
    row = {"month": "2027-01", "product": "crm", "segment": None, "rep": None}
    need = {**row, "deals": 8, "expected": 19, "low": 11, "high": None}
    stub.answers[f"GET /v1/agreements/{'a' * 64}/plan"] = [need]
    assert baton("agreement", "plan", "--qualified", "100", "--won", "10", "--json").json == [need]
    [asked, *_] = stub.to(f"GET /v1/agreements/{'a' * 64}/plan")
    assert asked.query == {"qualified": ["100"], "won": ["10"]}
    assert "2027-01" in baton("agreement", "plan", "--qualified", "100", "--won", "10").out


def test_evidence_is_told_rule_by_rule(baton, stub) -> None:
    rate = {"value": 0.4, "low": 0.3, "high": 0.5}
    arm = {
        "handed_over": 60,
        "accepted": 24,
        "rejected": 36,
        "accept_rate": rate,
        "won": 0,
        "lost": 0,
        "win_rate": None,
    }
    rule = {
        "rule": "mid-market",
        "points": 15,
        "verdict": "speaks_against",
        "met": arm,
        "not_met": arm,
        "rejection_odds": {"ratio": 9.5, "low": 3.1, "high": 29.0, "reps": 3},
        "reasons": [{"reason": "wrong_size", "leads": 36}],
    }
    found = {
        "agreement_id": "a",
        "version": 2,
        "digest": "d",
        "as_of": "2026-11-02T09:00:00Z",
        "all": arm,
        "rules": [rule],
    }
    stub.answers["GET /v1/evidence"] = found
    assert baton("agreement", "evidence", "--json").json == found
    told = baton("agreement", "evidence").out
    assert "9.50 (3.10 to 29.00)" in told
    assert "speaks against it" in told
    assert "wrong_size 36" in told
