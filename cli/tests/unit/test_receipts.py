"""`baton receipts`, `baton source try`: what is asked, what a person reads, how it ends."""

from typing import Any

JOB = {"id": "j1", "state": "running", "total": 2, "done": 0, "settled": 0, "waiting": 0, "failed": 0}


def test_entries_are_asked_for_by_what_was_chosen(baton, stub):
    entry = {"receipt_id": "r1", "ordinal": 0, "source_id": "f", "outcome": "quarantined", "reason": "no_identity"}
    stub.answers["GET /v1/receipts/entries"] = {"items": [entry], "next_cursor": None}
    said = baton("receipts", "entries", "--outcome", "quarantined", "--reason", "no_identity", "--since", "2h")
    assert "no_identity" in said.out
    [asked] = stub.asked
    assert (asked.query["outcome"], asked.query["reason"]) == (["quarantined"], ["no_identity"])
    assert asked.query["since"][0].endswith("+00:00")
    assert baton("receipts", "entries", "--json").json == [entry]
    assert baton("receipts", "entries", "--outcome", "eaten").code == 2


def test_reasons_come_with_what_to_do_in_the_language_asked_for(baton, stub):
    item = {
        "count": 3,
        "source_id": "f",
        "outcome": "quarantined",
        "code": "not_json",
        "meaning": {"en": "The body is no JSON.", "ru": "Тело не является JSON."},
        "remedy": {"en": "Mend the form.", "ru": "Исправьте форму."},
    }
    stub.answers["GET /v1/receipts/reasons"] = {"items": [item]}
    stub.answers["GET /v1/receipts/reasons/catalogue"] = {"items": [item]}
    assert "Mend the form." in baton("receipts", "reasons").out
    assert "Исправьте форму." in baton("receipts", "reasons", "--lang", "ru").out
    assert "quarantined" not in baton("receipts", "reasons", "--catalogue").out


def test_one_receipt_is_replayed_by_its_id(baton, stub):
    settled = {"ordinal": 0, "key": "k", "outcome": "created", "reason": "", "lead_id": "l1"}
    stub.answers["POST /v1/receipts/r1/replay"] = {"state": "settled", "reason": "", "settled": [settled]}
    said = baton("receipts", "replay", "r1", "--release")
    assert (said.code, said.out) == (0, "entry 0: created l1\n")
    assert stub.asked[0].json == {"release": True}
    stub.answers["POST /v1/receipts/r1/replay"] = {"state": "quarantined", "reason": "no_identity", "settled": []}
    assert baton("receipts", "replay", "r1").out == "nothing changed: quarantined no_identity\n"


def test_a_dry_run_of_one_reads_it_and_changes_nothing(baton, stub):
    entry = {"ordinal": 0, "open": True, "candidate": {"outcome": "created_or_matched", "reason": ""}}
    stub.answers["POST /v1/receipts/r1/try"] = {"reason": "", "entries": [entry]}
    assert baton("receipts", "replay", "r1", "--dry-run").out == "entry 0: created_or_matched\n"
    assert [f"{a.method} {a.path}" for a in stub.asked] == ["POST /v1/receipts/r1/try"]


def test_many_are_followed_until_they_are_done(baton, stub):
    states = iter([JOB | {"done": 1, "settled": 1}, JOB | {"state": "done", "done": 2, "settled": 1, "waiting": 1}])
    stub.answers["POST /v1/receipts/replay"] = (202, JOB | {"without_body": 4})
    stub.answers["GET /v1/receipts/replays/j1"] = lambda _: (200, next(states))
    said = baton("receipts", "replay", "--source", "f", "--reason", "no_identity")
    assert said.out == "2 receipts replayed: 1 settled, 1 wait on, 0 failed\n"
    assert "4 more nothing is kept" in said.err
    asked = stub.to("POST /v1/receipts/replay")[0].json
    assert asked == {"source": "f", "reason": "no_identity", "release": False, "dry_run": False}
    assert len(stub.to("GET /v1/receipts/replays/j1")) == 2


def test_all_that_waits_needs_to_be_said(baton, stub):
    stub.answers["POST /v1/receipts/replay"] = {
        "state": "dry_run", "total": 7, "would_make": {"leads": 5, "not_json": 2}, "without_body": 0,
    }  # fmt: skip
    for words in ((), ("r1", "--all"), ("--all", "--source", "f")):
        assert baton("receipts", "replay", *words).code == 2
    said = baton("receipts", "replay", "--all", "--dry-run")
    assert "7 receipts would be replayed; nothing was changed" in said.out
    assert "not_json" in said.out
    assert stub.asked[-1].json == {"release": False, "dry_run": True}


def test_a_providers_count_is_read_from_a_file_of_either_separator(baton, stub, tmp_path):
    same = {"day": "2026-09-01", "form": "F-1", "theirs": 3, "ours": 3, "difference": 0}
    stub.answers["POST /v1/receipts/reconcile"] = {"items": [same], "apart": {}}
    file = tmp_path / "counts.csv"
    for text in ("day,form,count\n2026-09-01,F-1,3\n", "\ufeffDay;Count;Form\n2026-09-01;3;F-1\n"):
        file.write_text(text, "utf-8")
        said = baton("receipts", "reconcile", "--source", "f", "--counts", str(file), "--time-zone", "Europe/Berlin")
        assert said.code == 0, said.err
        order = stub.asked[-1].json
        assert order["counts"] == [{"day": "2026-09-01", "form": "F-1", "count": 3}]
        assert order["time_zone"] == "Europe/Berlin"


def test_a_difference_to_the_providers_count_fails_and_tells_what_stands_apart(baton, stub, tmp_path):
    off = {"day": "2026-09-01", "form": "", "theirs": 3, "ours": 1, "difference": 2}
    answer: dict[str, Any] = {"items": [off], "apart": {"2026-09-01": {"quarantined": 2}}}
    stub.answers["POST /v1/receipts/reconcile"] = answer
    file = tmp_path / "counts.csv"
    file.write_text("day,count\n2026-09-01,3\n")
    said = baton("receipts", "reconcile", "--source", "f", "--counts", str(file))
    assert said.code == 1
    assert "quarantined=2" in said.err
    for text in ("date,n\n1,2\n", "day,count\nyesterday,3\n", "day,count\n"):
        file.write_text(text)
        assert baton("receipts", "reconcile", "--source", "f", "--counts", str(file)).code == 1
    assert len(stub.asked) == 1


def test_a_broken_law_is_shown_with_its_place_and_fails(baton, stub):
    row = {"source_id": "f", "entries": 3, "created": 3, "balanced": True}
    broken = {"source_id": "f", "hour": "2026-09-01T08:00:00Z", "law": "missing", "expected": 4, "found": 3}
    stub.answers["GET /v1/receipts/balance"] = {"items": [row], "total": row, "breaks": [broken]}
    said = baton("receipts", "balance")
    assert said.code == 1
    assert "f, hour of 2026-09-01 08:00:00Z: missing, expected 4, found 3" in said.out


def test_a_mapping_is_tried_on_a_stored_receipt(baton, stub, tmp_path):
    (tmp_path / "mapping.yaml").write_text("email: contact.mailbox\n")
    stub.answers["POST /v1/receipts/r1/try"] = {
        "reason": "",
        "entries": [
            {
                "ordinal": 0,
                "open": True,
                "stands": {"outcome": "quarantined", "reason": "no_identity"},
                "candidate": {"outcome": "created_or_matched", "reason": ""},
                "differences": [{"field": "identities", "saved": [], "candidate": ["email:a@firm.es"]}],
            }
        ],
    }
    said = baton("source", "try", "--receipt", "r1", "--mapping", str(tmp_path / "mapping.yaml"))
    assert "entry 0: stands as quarantined no_identity, would be created_or_matched" in said.out
    assert "email:a@firm.es" in said.out
    assert stub.asked[0].json == {"release": False, "mapping": {"email": "contact.mailbox"}}
