"""`baton import`: what is sent, what goes on after a break, what a person reads."""

import hashlib
from typing import Any

import pytest
import yaml

LAYOUT = {"kind": "leads", "crm": "hubspot", "columns": {"id": "ID"}}
BYTES = b"ID,E\n1,a@example.com\n"


def one(state: str, **more: Any) -> dict[str, Any]:
    found = {"id": "i1", "source": "history", "name": "leads.csv", "kind": "leads", "state": state, "reason": ""}
    return {**found, "size": len(BYTES), "received": 0, "position": 0, "rows": 0, "counts": {}, **more}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "leads.csv").write_bytes(BYTES)
    mapping = {"source": "history", "files": [{"file": "leads.csv", **LAYOUT}]}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(mapping))
    return tmp_path


def words(files, *more: str) -> list[str]:
    return ["import", str(files / "leads.csv"), "--mapping", str(files / "m.yaml"), *more]


def test_a_file_is_announced_sent_and_watched_to_its_end(baton, stub, files):
    stub.answers["POST /v1/imports"] = (201, one("receiving"))
    stub.answers["POST /v1/imports/i1/content"] = one("waiting", received=len(BYTES))
    stub.answers["GET /v1/imports/i1"] = one("done", rows=1, counts={"created": 1}, position=len(BYTES))
    said = baton(*words(files))
    assert said.code == 0, said.err
    assert "leads.csv" in said.out
    [opened] = stub.to("POST /v1/imports")
    assert opened.json["digest"] == hashlib.sha256(BYTES).hexdigest()
    assert (opened.json["layout"], opened.json["dry_run"]) == (LAYOUT, False)
    assert [a.body for a in stub.to("POST /v1/imports/i1/content")] == [BYTES]


def test_a_broken_upload_goes_on_where_it_was(baton, stub, files):
    stub.answers["POST /v1/imports"] = one("receiving", received=5)
    stub.answers["POST /v1/imports/i1/content"] = one("done", received=len(BYTES), rows=1, counts={"created": 1})
    assert baton(*words(files)).code == 0
    [sent] = stub.to("POST /v1/imports/i1/content")
    assert (sent.query, sent.body) == ({"offset": ["5"]}, BYTES[5:])


def test_a_dry_run_shows_counts_and_the_first_errors_and_writes_all_of_them(baton, stub, files):
    stub.answers["POST /v1/imports"] = one("done", rows=2, counts={"created": 1, "refused": 1})
    error = {"row": 3, "column": "Created", "code": "date", "meaning": "no date"}
    stub.answers["GET /v1/imports/i1/errors"] = {"items": [error], "next_cursor": None}
    stub.answers["GET /v1/imports/i1/errors.csv"] = {"not": "json on the real server"}
    said = baton(*words(files, "--dry-run", "--errors", str(files / "bad.csv")))
    assert said.code == 0, said.err
    assert "nothing was changed" in said.out
    assert "Created" in said.out
    assert (files / "bad.csv").exists()
    assert stub.to("POST /v1/imports")[0].json["trial"]


def test_json_alone_stands_on_standard_output(baton, stub, files):
    stub.answers["POST /v1/imports"] = one("done", rows=1, counts={"created": 1})
    assert baton(*words(files, "--json")).json["imports"][0]["counts"] == {"created": 1}


def test_a_file_that_cannot_be_used_fails(baton, stub, files):
    stub.answers["POST /v1/imports"] = one("failed", reason="column_missing")
    said = baton(*words(files))
    assert said.code == 1
    assert "column_missing" in said.err


def test_a_file_that_the_mapping_does_not_know_is_said(baton, stub, files):
    (files / "m.yaml").write_text(yaml.safe_dump({"files": [{"file": "a.csv", **LAYOUT}, {"file": "b.csv", **LAYOUT}]}))
    said = baton(*words(files))
    assert said.code == 1
    assert "a.csv, b.csv" in said.err
    assert stub.asked == []


def test_a_proposal_is_shown_and_kept_as_a_file_that_an_import_reads(baton, stub, files):
    proposal = {"name": "leads.csv", "layout": LAYOUT, "unmapped": ["E"], "notes": ["mind the zone"], "faults": []}
    stub.answers["POST /v1/imports/proposals"] = proposal
    target = files / "new.yaml"
    said = baton("import", "propose", str(files / "leads.csv"), "-o", str(target), "--yes")
    assert said.code == 0, said.err
    assert "not imported: E" in said.out
    assert yaml.safe_load(target.read_text()) == {
        "source": "crm-history",
        "files": [{"file": "leads.csv", **LAYOUT}],
    }
    assert stub.asked[0].body == BYTES


def test_a_proposal_is_not_kept_without_a_word(baton, stub, files):
    stub.answers["POST /v1/imports/proposals"] = {
        "name": "leads.csv", "layout": LAYOUT, "unmapped": [], "notes": [], "faults": []
    }  # fmt: skip
    said = baton("import", "propose", str(files / "leads.csv"), "-o", str(files / "new.yaml"))
    assert said.code == 2
    assert not (files / "new.yaml").exists()
