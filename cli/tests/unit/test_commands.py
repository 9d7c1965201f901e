"""Each noun against the shapes of the services: what is sent, what a person reads, what a program gets."""

import base64
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from baton_cli.__main__ import app

LEAD = "01a20f8b-8753-753b-bf07-fd3774291e4e"
DOCUMENT = b'{"threshold":45}'
DIGEST = hashlib.sha256(DOCUMENT).hexdigest()
DECISION = {
    "outcome": "qualified",
    "score": 16,
    "threshold": 10,
    "agreement": {"version": 1, "digest": DIGEST},
    "contributions": [
        {"rule": "business-mail", "group": "fit", "points": 10, "occurrences": 1},
        {"rule": "sent-form", "group": "engagement", "points": 6, "occurrences": 2},
    ],
}


def test_a_new_source_comes_with_its_address_and_a_line_to_try(baton, stub):
    stub.answers["POST /v1/sources"] = (
        201,
        {"id": "my-form", "provider": "generic", "secrets": [], "webhook_url": "/v1/webhooks/my-form/t0ken"},
    )
    said = baton("source", "add", "my-form", "--provider", "generic", "--name", "My form")
    assert said.code == 0
    assert "\n  http://127.0.0.1:8100/v1/webhooks/my-form/t0ken\n" in said.out
    assert "\n  curl -d 'name=" in said.out
    assert said.out.rstrip().endswith(" http://127.0.0.1:8100/v1/webhooks/my-form/t0ken")
    assert stub.asked[0].json == {"id": "my-form", "provider": "generic", "name": "My form"}


def test_a_signed_source_takes_its_secret_from_a_file_and_shows_it_nowhere(baton, stub, tmp_path):
    (tmp_path / "secret").write_text("whsec_abc\n")
    stub.answers["POST /v1/sources"] = (
        201,
        {"id": "t", "provider": "typeform", "secrets": [{"id": "1"}], "webhook_url": "/v1/webhooks/t"},
    )
    words = ["source", "add", "t", "--provider", "typeform", "--secret-file", str(tmp_path / "secret")]
    assert "whsec_abc" not in baton(*words, "--dry-run", "--json").out
    assert stub.asked == []
    said = baton(*words)
    assert "whsec_abc" not in said.out + said.err
    assert "curl" not in said.out
    assert stub.asked[0].json["secrets"] == ["whsec_abc"]


def test_a_preset_is_listed_with_its_steps_and_named_when_a_source_is_added(baton, stub):
    preset = {"id": "exhibition", "name": "A form", "verified": "our own", "steps": ["Open it.", "Fill it in."]}
    stub.answers["GET /v1/source-presets"] = {"items": [preset], "next_cursor": None}
    said = baton("source", "presets")
    assert "1. Open it." in said.out
    assert "2. Fill it in." in said.out
    assert json.loads(baton("source", "presets", "--json").out) == [preset]
    source = {"id": "fair", "provider": "generic", "secrets": [], "webhook_url": "/v1/webhooks/fair/t"}
    stub.answers["POST /v1/sources"] = (201, source | {"form_url": "/v1/forms/fair/t"})
    added = baton("source", "add", "fair", "--preset", "exhibition")
    assert stub.asked[-1].json == {"id": "fair", "provider": "generic", "name": "fair", "preset": "exhibition"}
    assert "\n  http://127.0.0.1:8100/v1/forms/fair/t\n" in added.out


def test_a_delivery_is_tried_byte_for_byte(baton, stub, tmp_path):
    body = b"name=J\xfcrgen&email=j%40x.example"
    (tmp_path / "body").write_bytes(body)
    entry = {"key": "", "outcome": "created_or_matched", "reason": "", "identities": ["email:j@x.example"]}
    stub.answers["POST /v1/sources/f/test"] = {"reason": "", "entries": [entry]}
    said = baton("source", "test", "f", str(tmp_path / "body"), "--content-type", "text/plain")
    assert "entry 1: created_or_matched" in said.out
    assert "email:j@x.example" in said.out
    sent = stub.asked[0].json
    assert base64.b64decode(sent["body"]) == body
    assert sent["base64"] is True
    stub.answers["POST /v1/sources/f/test"] = {"reason": "charset", "entries": []}
    assert "quarantined: charset" in baton("source", "test", "f", str(tmp_path / "body")).out


def test_a_receipt_names_the_lead(baton, stub):
    entry = {"ordinal": 0, "key": "k", "outcome": "created", "reason": "", "lead_id": LEAD, "first_receipt_id": None}
    stub.answers["GET /v1/receipts/r1"] = {"id": "r1", "source_id": "f", "state": "settled", "items": [entry]}
    assert LEAD in baton("receipts", "show", "r1").out
    assert baton("receipts", "show", "r1", "--json").json["items"] == [entry]


def test_the_balance_is_added_up_here_and_a_difference_fails(baton, stub):
    row = {"source_id": "f", "entries": 3, "created": 2, "duplicate": 1, "balanced": True}
    stub.answers["GET /v1/receipts/balance"] = {"balanced": True, "items": [row]}
    assert "agrees" in baton("receipts", "balance").out
    # The service's own word is not what counts.
    stub.answers["GET /v1/receipts/balance"] = {"balanced": True, "items": [{**row, "entries": 4}]}
    said = baton("receipts", "balance", "--json")
    assert said.code == 1
    assert said.json["items"][0]["entries"] == 4
    assert "not accounted for" in said.err


def test_a_lead_is_told_in_the_order_of_time_over_all_services(baton, stub):
    items = [
        {"at": "2026-11-24T10:00:00.5Z", "service": "b", "kind": "decision", "title": "second", "detail": DECISION},
        {
            "at": "2026-11-24T10:00:01Z",
            "service": "c",
            "kind": "handoff",
            "title": "third",
            "detail": {"rep_id": "olga"},
        },
        {"at": "2026-11-24T10:00:00Z", "service": "a", "kind": "touch", "title": "first", "detail": {}},
    ]
    calls = iter([items[:1], items[1:2], items[2:], []])
    stub.answers[f"GET /v1/leads/{LEAD}/timeline"] = lambda _: {"items": next(calls)}
    said = baton("lead", "show", LEAD)
    assert said.code == 0, said.err
    assert said.out.index("first") < said.out.index("second") < said.out.index("third")
    assert "business-mail" in said.out
    assert "+16 in all; the threshold is 10: qualified" in said.out


def test_a_lead_judged_by_the_matrix_is_told_its_cell(baton, stub):
    judged = {**DECISION, "threshold": 0, "cell": "B1"}
    item = {"at": "2026-11-24T10:00:00Z", "service": "b", "kind": "decision", "title": "scored", "detail": judged}
    calls = iter([[item], [], [], []])
    stub.answers[f"GET /v1/leads/{LEAD}/timeline"] = lambda _: {"items": next(calls)}
    said = baton("lead", "show", LEAD)
    assert "+16 in all; the cell is B1: qualified" in said.out


def test_points_that_do_not_make_the_score_are_told(baton, stub):
    item = {"at": "2026-11-24T10:00:00Z", "kind": "decision", "title": "x", "detail": {**DECISION, "score": 17}}
    stub.answers[f"GET /v1/leads/{LEAD}/timeline"] = {"items": [item]}
    said = baton("lead", "show", LEAD)
    assert said.code == 1
    assert "the points sum to 16, the score says 17" in said.err


def test_a_lead_of_which_a_part_is_missing_fails_and_says_whose(baton, stub, home):
    settings = json.loads((home / "cli.json").read_text())
    settings["attribution"]["url"] = "http://127.0.0.1:9"
    (home / "cli.json").write_text(json.dumps(settings))
    item = {"at": "2026-11-24T10:00:00Z", "service": "a", "kind": "touch", "title": "first", "detail": {}}
    stub.answers[f"GET /v1/leads/{LEAD}/timeline"] = {"items": [item]}
    said = baton("lead", "show", LEAD)
    assert said.code == 1
    assert "first" in said.out
    assert "attribution did not answer" in said.err
    said = baton("lead", "show", LEAD, "--json")
    assert (said.code, said.json["away"]) == (1, ["attribution"])


def test_an_unknown_lead_fails(baton):
    said = baton("lead", "show", "nobody/../x")
    assert (said.code, said.out) == (1, "")
    assert "no service knows the lead" in said.err


def test_nothing_is_signed_whose_bytes_are_not_what_the_digest_says(baton, stub):
    stub.answers[f"GET /v1/agreements/{DIGEST}/canonical"] = b'{"threshold":1}'
    said = baton("agreement", "sign", DIGEST, "--as", "anna", "--yes")
    assert said.code == 1
    assert "Nothing was signed" in said.err
    assert not stub.to(f"POST /v1/agreements/{DIGEST}/signatures")


def test_a_signature_is_given_with_the_persons_own_key(baton, stub):
    shown = {"agreement_id": "b2b", "version": 2, "state": "proposed", "digest": DIGEST}
    stub.answers["GET /v1/agreements"] = {"items": [shown]}
    stub.answers[f"GET /v1/agreements/{DIGEST}"] = shown
    stub.answers[f"GET /v1/agreements/{DIGEST}/canonical"] = DOCUMENT
    stub.answers[f"POST /v1/agreements/{DIGEST}/signatures"] = (201, {"state": "active", "activation_seq": 4})
    assert baton("agreement", "sign", DIGEST[:12], "--as", "anna", "--dry-run").code == 0
    assert not stub.to(f"POST /v1/agreements/{DIGEST}/signatures")
    said = baton("agreement", "sign", DIGEST[:12], "--as", "anna", "--yes")
    assert said.code == 0
    assert "in force (activation 4)" in said.out
    [signed] = stub.to(f"POST /v1/agreements/{DIGEST}/signatures")
    assert signed.headers["authorization"] == "Bearer bk_anna"
    assert signed.json == {"digest": DIGEST}


def test_an_agreement_is_shown_in_one_language_with_its_ids(baton, stub):
    rule = {"id": "manager", "points": 8, "when": "x == 1", "en": "Leads a team.", "ru": "Руководит."}
    stub.answers["GET /v1/agreements/active"] = {
        "agreement_id": "b2b",
        "version": 1,
        "state": "active",
        "digest": DIGEST,
        "signatures": [{"person_id": "anna", "department": "marketing", "signed_at": "2026-11-24T10:00:00Z"}],
        "document": {"threshold": 45, "title": {"en": "Title", "ru": "Имя"}, "fit": [rule], "gates": []},
    }
    english, russian = baton("agreement", "show").out, baton("agreement", "show", "--language", "ru").out
    assert "Leads a team." in english
    assert "Руководит." not in english
    assert "manager" in english
    assert "Руководит." in russian
    assert "title: Имя" in russian


def test_no_agreement_says_how_to_get_one(baton):
    said = baton("agreement", "show")
    assert said.code == 1
    assert "baton agreement propose FILE" in said.err


def test_attribution_shows_models_side_by_side_with_the_same_sum(baton, stub):
    rows = [
        {"model": "first", "currency": "EUR", "key": "email", "credit_minor": 1849000, "share": "1.0"},
        {"model": "linear", "currency": "EUR", "key": "email", "credit_minor": 924500, "share": "0.5"},
        {"model": "linear", "currency": "EUR", "key": "direct", "credit_minor": 924500, "share": "0.5"},
    ]
    answer = {
        "models": ["first", "linear"],
        "by": "channel",
        "rows": rows,
        "totals": [{"currency": "EUR", "total_minor": 1849000, "deals": 1}],
        "parameters": {"lookback_days": 90},
    }
    stub.answers["GET /v1/reports/attribution"] = answer
    words = ("report", "attribution", "--model", "first", "--model", "linear", "--from", "2026-09-01")
    said = baton(*words)
    assert "18,490.00 EUR (100%)" in said.out
    assert said.out.count("18,490.00 EUR") == 3
    assert baton(*words, "--json").json == answer
    assert stub.asked[0].query == {"model": ["first", "linear"], "by": ["channel"], "from": ["2026-09-01"]}


def test_the_funnel_names_owners_and_rates(baton, stub):
    stages = [
        {"stage": "lead", "owner": "marketing", "leads": 60},
        {"stage": "qualified", "owner": "marketing", "leads": 30},
        {"stage": "accepted", "owner": "sales", "leads": 0},
        {"stage": "won", "owner": "sales", "leads": 0},
    ]
    stub.answers["GET /v1/reports/funnel"] = {"as_of": "2026-11-24T10:00:00Z", "stages": stages}
    said = baton("report", "funnel")
    assert said.code == 0
    assert "50%" in said.out
    assert "as of 2026-11-24 10:00:00Z" in said.err


def test_rejections_are_told_by_reason(baton, stub):
    rows = [
        {"family": "intent", "reason": "no_need", "count": 1},
        {"family": "fit", "reason": "wrong_size", "count": 3},
    ]
    stub.answers["GET /v1/reports/rejections"] = {"total": 4, "by_family": {}, "by_reason": rows}
    out = baton("report", "rejections").out
    assert out.index("wrong_size") < out.index("no_need")


def parked(id: int, key: str, consumer: str = "qualification.decide") -> dict[str, object]:
    return {"id": id, "consumer": consumer, "key": key, "type": "LeadCreated", "reason": "handler", "detail": "x"}


def test_parked_events_of_a_key_are_applied_again(baton, stub):
    stub.answers["GET /v1/ops/parked"] = {"items": [parked(1, "a"), parked(2, "a"), parked(3, "b")]}
    stub.answers["POST /v1/ops/parked/replay"] = {"applied": 2}
    words = ("parked", "replay", "a", "--service", "qualification")
    assert "2 events would be applied" in baton(*words, "--dry-run").out
    assert not stub.to("POST /v1/ops/parked/replay")
    assert baton(*words, "--json").json == [
        {"service": "qualification", "consumer": "qualification.decide", "applied": 2}
    ]
    assert stub.to("POST /v1/ops/parked/replay")[0].json == {"consumer": "qualification.decide", "key": "a"}
    assert baton("parked", "replay", "nothing").code == 1


def test_a_parked_event_is_given_up_only_when_it_is_there(baton, stub):
    stub.answers["GET /v1/ops/parked"] = {"items": [parked(1, "a")]}
    stub.answers["POST /v1/ops/parked/1/skip"] = parked(1, "a")
    assert baton("parked", "skip", "2", "--service", "qualification", "--yes").code == 1
    assert "would give up" in baton("parked", "skip", "1", "--service", "qualification", "--dry-run").out
    assert not stub.to("POST /v1/ops/parked/1/skip")
    assert baton("parked", "skip", "1", "--service", "qualification", "--yes", "--json").json["skipped"]["id"] == 1


def test_a_relay_is_rewound_only_after_it_was_counted(baton, stub):
    stub.answers["POST /v1/ops/relay/rewind"] = {"events": 207}
    words = ("relay", "rewind", "--service", "lead-intake", "--since", "2026-11-24T08:00:00Z")
    assert "would publish 207 events" in baton(*words, "--dry-run").out
    assert baton(*words, "--yes", "--json").json["events"] == 207
    assert [one.query["dry_run"][0] for one in stub.asked] == ["true", "true", "false"]
    assert stub.asked[0].json == {"since": "2026-11-24T08:00:00Z", "lane": "live"}


def test_the_relay_status_names_who_publishes(baton, stub):
    stub.answers["GET /v1/ops/relay"] = [
        {"lane": "live", "holder": None, "epoch": 1, "lease_until": None, "slot": 0, "waiting": 5, "oldest_at": None}
    ]
    out = baton("relay", "status", "--service", "attribution").out
    assert "nobody" in out
    assert "5" in out


@pytest.mark.parametrize(
    ("words", "request_", "answer", "secret"),
    [
        (
            ("person", "add", "eva", "--department", "sales", "--name", "Eva"),
            "POST /v1/people",
            {"person_id": "eva", "api_key": "bk_new"},
            "bk_new",
        ),
        (
            ("key", "create", "crm", "--service", "sales-feedback", "--scope", "handoffs:read"),
            "POST /v1/ops/keys",
            {"key": "bk_new"},
            "bk_new",
        ),
    ],
    ids=["person add", "key create"],
)
def test_keys_are_shown_once_and_not_made_by_a_dry_run(baton, stub, words, request_, answer, secret):
    stub.answers[request_] = (201, answer)
    assert baton(*words, "--dry-run", "--json").code == 0
    assert stub.asked == []
    said = baton(*words)
    assert secret in said.out
    assert "shown this once" in said.err
    assert baton(*words, "--json").json == answer


@pytest.mark.parametrize("words", [("events", "tail", "--limit", "1"), ("topics", "apply", "--dry-run")], ids=" ".join)
def test_kafka_away_is_one_message(baton, words):
    said = baton(*words, "--json")
    assert (said.code, said.out) == (1, "")
    assert "Kafka cannot be reached at 127.0.0.1:9" in said.err


def test_a_backup_needs_the_databases(baton, tmp_path):
    said = baton("backup", str(tmp_path / "new"))
    assert said.code == 1
    assert "BATON_LEAD_INTAKE_DATABASE_URL" in said.err
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_manifest_is_no_backup(baton, tmp_path):
    said = baton("restore", str(tmp_path), "--dry-run")
    assert said.code == 1
    assert "no complete backup" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("source", "list"),
        ("receipts", "list"),
        ("receipts", "balance"),
        ("person", "list"),
        ("agreement", "list"),
        ("parked", "list"),
        ("relay", "status"),
        ("report", "funnel"),
        ("report", "attribution"),
        ("report", "rejections"),
        ("config", "show"),
    ],
    ids=" ".join,
)
def test_an_empty_installation_is_told_in_words_and_in_json(baton, stub, words):
    for path in ("sources", "receipts", "people", "agreements", "ops/parked", "receipts/balance"):
        stub.answers[f"GET /v1/{path}"] = {"items": [], "next_cursor": None}
    stub.answers["GET /v1/ops/relay"] = []
    stub.answers["GET /v1/reports/funnel"] = {"stages": []}
    stub.answers["GET /v1/reports/attribution"] = {"rows": [], "totals": []}
    stub.answers["GET /v1/reports/rejections"] = {"by_reason": []}
    said = baton(*words)
    assert said.code == 0, said.err
    assert said.out.strip()
    said = baton(*words, "--json")
    assert said.code == 0
    assert isinstance(said.json, dict | list)
    assert said.err == ""


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_json_and_an_example_in_its_help(baton, words):
    said = baton(*words, "--help")
    assert said.code == 0
    assert "Example" in said.out
    assert f"baton {' '.join(words)}" in said.out
    assert "--json" in said.out


def _part(lead: str) -> dict[str, Any]:
    return {"lead_id": lead, "source_id": "form", "touches": 2, "keys": {"email": 1}, "channels": ["direct"]}


PREVIEW = {
    "possible": True,
    "why": "",
    "detail": "",
    "canonical_lead_id": "b",
    "from_leads": [_part("a")],
    "into_leads": [_part("b")],
    "features_changed": {"job_level": {"before": "", "after": "c_level"}},
}


def test_a_merge_is_shown_first_and_a_dry_run_ends_there(baton, stub):
    stub.answers["POST /v1/merges/preview"] = PREVIEW
    said = baton("lead", "merge", "a", "b", "--dry-run")
    assert said.code == 0
    assert "c_level" in said.out
    assert stub.to("POST /v1/merges") == []


def test_a_merge_is_sent_once_under_a_key_of_its_own(baton, stub):
    stub.answers["POST /v1/merges/preview"] = PREVIEW
    stub.answers["POST /v1/merges"] = (201, {"id": "m1"})
    said = baton("lead", "merge", "a", "b", "--yes", "--json")
    assert said.json == {"id": "m1"}
    [asked] = stub.to("POST /v1/merges")
    assert asked.json == {"from_lead_id": "a", "into_lead_id": "b", "reason": "same_person"}
    assert asked.headers["idempotency-key"]


def test_a_merge_that_cannot_be_says_what_can(baton, stub):
    stub.answers["POST /v1/merges/preview"] = PREVIEW | {"possible": False, "why": "merged_already", "detail": "Undo."}
    said = baton("lead", "merge", "a", "b", "--yes")
    assert said.code == 1
    assert "Undo." in said.err
    assert stub.to("POST /v1/merges") == []


def test_an_unmerge_names_the_merge_and_the_reason(baton, stub):
    stub.answers["POST /v1/merges/m1/undo"] = {"from_lead_id": "a", "into_lead_id": "b"}
    said = baton("lead", "unmerge", "m1", "--reason", "mistake", "--yes")
    assert "are two leads again" in said.out
    assert stub.to("POST /v1/merges/m1/undo")[0].json == {"reason": "mistake"}


def test_duplicates_are_listed(baton, stub):
    item = {
        "from_lead_id": "a",
        "into_lead_id": "b",
        "kind": "alike",
        "score": 93,
        "proposed_at": "2026-01-01T00:00:00Z",
    }
    stub.answers["GET /v1/merge-proposals"] = {"items": [item]}
    assert "93" in baton("lead", "duplicates").out
    assert baton("lead", "duplicates", "--json").json == [item]


PROPOSAL = {"from_lead_id": "b", "into_lead_id": "a", "kind": "alike", "score": 93, "state": "open"}


@pytest.mark.parametrize("words", [("a", "b"), ("b", "a")])
def test_an_accepted_proposal_is_merged_into_the_older_lead_whichever_is_named_first(baton, stub, words):
    stub.answers["GET /v1/merge-proposals"] = {"items": [{**PROPOSAL, "into_lead_id": "c"}, PROPOSAL]}
    stub.answers["POST /v1/merges/preview"] = PREVIEW
    stub.answers["POST /v1/merges"] = (201, {"id": "m1"})
    assert baton("lead", "accept", *words, "--dry-run").code == 0
    assert stub.to("POST /v1/merges") == []
    said = baton("lead", "accept", *words, "--yes", "--json")
    assert (said.code, said.json) == (0, {"id": "m1"})
    [asked] = stub.to("POST /v1/merges")
    assert asked.json == {"from_lead_id": "b", "into_lead_id": "a", "reason": "same_company_and_name"}


def test_what_was_not_proposed_is_neither_accepted_nor_dismissed(baton, stub):
    stub.answers["GET /v1/merge-proposals"] = {"items": [PROPOSAL | {"from_lead_id": "c"}]}
    for verb in ("accept", "dismiss"):
        said = baton("lead", verb, "a", "b")
        assert said.code == 1
        assert "no open proposal" in said.err
    assert {a.method for a in stub.asked} == {"GET"}


def test_a_proposal_is_dismissed(baton, stub):
    stub.answers["GET /v1/merge-proposals"] = {"items": [PROPOSAL]}
    stub.answers["POST /v1/merge-proposals/dismiss"] = {"dismissed": 1}
    assert "nothing was changed" in baton("lead", "dismiss", "a", "b", "--dry-run").out
    said = baton("lead", "dismiss", "a", "b", "--json")
    assert said.json == {"from_lead_id": "b", "into_lead_id": "a", "dismissed": 1}
    [asked] = stub.to("POST /v1/merge-proposals/dismiss")
    assert asked.json == {"from_lead_id": "b", "into_lead_id": "a"}
    assert asked.headers["idempotency-key"]


def test_shared_keys_are_listed(baton, stub):
    office, switchboard = (
        {"kind": k, "value": v} for k, v in (("email", "info@example.com"), ("phone", "+74950000001"))
    )
    stub.answers["GET /v1/shared-keys"] = {"items": [switchboard, office], "next_cursor": None}
    assert "+74950000001" in baton("shared-key", "list").out
    assert baton("shared-key", "list", "--json").json == [office, switchboard]


@pytest.mark.parametrize(("verb", "is_shared"), [("add", True), ("remove", False)])
def test_a_shared_key_comes_from_standard_input_and_is_repeated_nowhere(baton, stub, monkeypatch, verb, is_shared):
    def said_with(text, *words):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return baton("shared-key", verb, *words)

    noted = {"kind": "email", "shared": is_shared, "added_by": "key:1", "added_at": "2026-01-05T08:00:00Z"}
    stub.answers["POST /v1/shared-keys"] = noted
    dry = said_with("info@example.com\n", "email", "--dry-run")
    assert (dry.code, stub.asked) == (0, [])
    said = said_with("info@example.com\n", "email", "--json")
    assert said.json == noted
    assert stub.asked[0].json == {"kind": "email", "value": "info@example.com", "shared": is_shared}
    assert "info@" not in dry.out + dry.err + said.out + said.err
    assert said_with("\n", "email").code == 2
    assert said_with("1\n", "fax").code == 2


META = {
    "id": "meta-leads",
    "provider": "meta",
    "name": "Meta",
    "settings": {"page_ids": "104882771900001"},
    "secrets": [{"id": "1"}],
    "credentials": [{"name": "access_token", "set_at": "2026-03-01T09:00:00Z"}],
    "webhook_url": "/v1/webhooks/meta-leads",
    "fetching": {
        "state": "token_invalid",
        "since": "2026-03-02T09:00:00Z",
        "reason": "token_expired",
        "detail": "token_invalid since 2026-03-02T09:00:00Z: token_expired. 3 entries wait, none is lost.",
        "waiting": 3,
    },
}


def test_a_source_whose_token_is_refused_says_since_when_and_what_to_do(baton, stub):
    stub.answers["GET /v1/sources/meta-leads"] = META
    said = baton("source", "show", "meta-leads")
    assert said.code == 0
    assert "token_invalid since 2026-03-02T09:00:00Z: token_expired. 3 entries wait, none is lost." in " ".join(
        said.out.split()
    )
    assert baton("source", "show", "meta-leads", "--json").json == META


def test_a_source_that_is_looked_up_takes_its_token_from_a_file_and_tells_its_verify_token_once(baton, stub, tmp_path):
    (tmp_path / "secret").write_text("app-secret-1\n")
    (tmp_path / "token").write_text("EAAB-token\n")
    answer = META | {"verify_token": "v3rify-me", "fetching": {"state": "ready", "waiting": 0}}
    stub.answers["POST /v1/sources"] = (201, answer)
    words = ["source", "add", "meta-leads", "--provider", "meta", "--secret-file", str(tmp_path / "secret")]
    words += ["--credential-file", f"access_token={tmp_path / 'token'}"]
    assert "EAAB-token" not in baton(*words, "--dry-run", "--json").out
    said = baton(*words)
    assert "v3rify-me" in said.out
    assert "EAAB-token" not in said.out + said.err
    assert stub.asked[0].json["credentials"] == {"access_token": "EAAB-token"}
    assert baton(*words[:-1], "access_token=nowhere").code == 2


def test_a_credential_is_set_from_a_file(baton, stub, tmp_path):
    (tmp_path / "token").write_text("EAAB-token\n")
    put = "PUT /v1/sources/meta-leads/credentials/access_token"
    stub.answers[put] = {"name": "access_token", "set_at": "2026-03-02T09:00:00Z"}
    words = ["source", "credential", "set", "meta-leads", "access_token", "--file", str(tmp_path / "token")]
    said = baton(*words)
    assert (said.code, "EAAB-token" in said.out + said.err) == (0, False)
    assert stub.to(put)[0].json == {"value": "EAAB-token"}


def test_differences_from_the_provider_s_list_are_shown_and_make_the_command_fail(baton, stub):
    day = {"day": "2026-03-02", "form_id": "7333", "provider": 5, "taken": 3, "pending": 0, "quarantined": 0}
    day |= {"refused": 0, "missing": 2, "only_here": 0, "differs": True}
    answer = {"source_id": "meta-leads", "ran_at": None, "failed_since": None, "differences": 2, "items": [day]}
    stub.answers["GET /v1/sources/meta-leads/reconciliation"] = answer
    stub.answers["POST /v1/sources/meta-leads/reconciliation"] = (202, answer)
    said = baton("receipts", "reconcile", "--source", "meta-leads", "--days", "3", "--run")
    assert said.code == 1
    assert "differs" in said.out
    assert "2 leads differ" in said.err
    assert len(stub.to("POST /v1/sources/meta-leads/reconciliation")) == 1
    stub.answers["GET /v1/sources/meta-leads/reconciliation"] = answer | {"differences": 0, "items": []}
    assert baton("receipts", "reconcile", "--source", "meta-leads").code == 0


def test_quarantined_lookups_are_listed_and_tried_again_until_none_is_left(baton, stub):
    lookup = {"id": "1", "created_at": "2026-03-02T09:00:00Z", "source_id": "meta-leads", "key": "98", "attempt": 4}
    lookup |= {"state": "quarantined", "reason": "fetch_expired"}
    stub.answers["GET /v1/fetches"] = {"items": [lookup], "next_cursor": None}
    assert "fetch_expired" in baton("receipts", "lookups", "--state", "quarantined").out
    left = iter([500, 0])

    def retried(asked: Any) -> Any:
        return {"retried": 1000, "left": next(left)} if not asked.json["dry_run"] else {"retried": 0, "left": 1500}

    stub.answers["POST /v1/fetches/retry"] = retried
    assert "1500 lookups would wait" in baton("receipts", "retry", "--source", "meta-leads", "--dry-run").out
    said = baton("receipts", "retry", "--source", "meta-leads")
    assert (said.code, "2000 lookups wait again" in said.out) == (0, True)
