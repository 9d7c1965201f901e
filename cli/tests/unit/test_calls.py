"""Whatever goes wrong on the way to a service is one readable message with what to do, and exit code 1."""

import json
from pathlib import Path

import pytest

PROBLEM = {
    "type": "about:blank",
    "title": "The agreement is not valid",
    "status": 422,
    "detail": "Correct the places named in `errors` and propose it again.",
    "errors": [{"pointer": "/threshold", "line": 76, "detail": "should be a valid integer"}],
    "trace_id": "a61e36e8c79ce34785a89b5b4ca5a2e6",
}


def test_the_operators_key_is_sent(baton, stub):
    stub.answers["GET /v1/people"] = {"items": [], "next_cursor": None}
    assert baton("person", "list").code == 0
    assert stub.asked[0].headers["authorization"] == "Bearer bk_operator"


def test_a_problem_is_shown_with_its_places_and_trace_id(baton, stub, tmp_path):
    stub.answers["POST /v1/agreements"] = (422, PROBLEM, {"content-type": "application/problem+json"})
    document = tmp_path / "agreement.yaml"
    document.write_text("threshold: many\n")
    said = baton("agreement", "propose", str(document))
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines() == [
        "baton: qualification: The agreement is not valid (422)",
        "Correct the places named in `errors` and propose it again.",
        "  /threshold, line 76: should be a valid integer",
        "trace id: a61e36e8c79ce34785a89b5b4ca5a2e6",
    ]
    assert stub.asked[0].headers["content-type"] == "application/yaml"
    assert stub.asked[0].body == document.read_bytes()


def test_a_service_that_is_away_is_one_message_with_what_to_do(baton, home):
    point_elsewhere(home, "attribution", "http://127.0.0.1:9")
    said = baton("report", "funnel", "--json")
    assert (said.code, said.out) == (1, "")
    first, advice = said.err.splitlines()
    assert first == "baton: attribution cannot be reached at http://127.0.0.1:9 (connection refused)"
    assert "`baton doctor`" in advice
    assert "BATON_ATTRIBUTION_URL" in advice


def test_a_wrong_key_says_where_the_key_comes_from(baton, stub):
    stub.answers["GET /v1/people"] = (401, {"title": "An API key is needed", "status": 401})
    said = baton("person", "list")
    assert said.code == 1
    assert "BATON_API_KEY" in said.err


def test_an_overloaded_service_says_when_to_come_again(baton, stub):
    stub.answers["GET /v1/people"] = (503, {"title": "The database is away"}, {"retry-after": "7"})
    said = baton("person", "list")
    assert said.code == 1
    assert "Try again in 7 s." in said.err


@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_of_a_proxy_is_not_taken_for_one_of_baton(baton, stub, status):
    stub.answers["GET /v1/people"] = (status, b"<html>hello</html>", {"content-type": "text/html"})
    said = baton("person", "list")
    assert (said.code, said.out) == (1, "")
    assert f"qualification answered {status} with text/html" in said.err
    assert "proxy" in said.err


def test_lists_are_read_page_after_page_up_to_the_limit(baton, stub):
    def page(asked):
        first = int(asked.query.get("cursor", ["0"])[0])
        items = [{"id": f"r{n}"} for n in range(first, first + int(asked.query["limit"][0]))]
        return {"items": items, "next_cursor": str(first + len(items))}

    stub.answers["GET /v1/receipts"] = page
    found = baton("receipts", "list", "--limit", "450", "--json").json
    assert [one["id"] for one in found] == [f"r{n}" for n in range(450)]
    assert [one.query["limit"] for one in stub.asked] == [["200"], ["200"], ["50"]]


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b]0;owned\x07", "\u202egnirts", "a\rb", "a\nb", "\u200f", "[bold]x[/bold][/]", "\ud800"]
)
def test_hostile_text_in_answers_cannot_steer_the_terminal(baton, stub, text):
    stub.answers["GET /v1/sources"] = {"items": [{"id": "s", "provider": text, "name": text, "webhook_url": text}]}
    said = baton("source", "list")
    assert said.code == 0
    assert not set(said.out) & set("\x1b\x07\r\u202e\u200f")
    assert "[bold]x[/bold][/]" in said.out or text != "[bold]x[/bold][/]"
    stub.answers["GET /v1/sources"] = (409, {"title": text, "detail": text, "trace_id": text})
    said = baton("source", "list")
    assert said.code == 1
    assert not set(said.err) & set("\x1b\x07\r\u202e\u200f")


def test_hostile_text_in_json_is_escaped_json(baton, stub):
    text = "\x1b[31m\ud800\u202e"
    stub.answers["GET /v1/sources"] = {"items": [{"id": text}]}
    said = baton("source", "list", "--json")
    assert "\x1b" not in said.out
    assert json.loads(said.out) == [{"id": text}]


def test_no_colour_without_a_terminal_nor_with_no_color(baton, stub, monkeypatch):
    stub.answers["GET /v1/sources"] = (409, {"title": "No", "detail": "way"})
    assert "\x1b" not in baton("source", "list").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in baton("source", "list").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in baton("source", "list").err


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("report", "attribution", "--model", "best"),
        ("report", "attribution", "--by", "weather"),
        ("relay", "status", "--service", "sales"),
        ("relay", "rewind", "--service", "lead-intake", "--since", "yesterday"),
        ("events", "tail", "--topic", "nothing"),
        ("agreement", "sign", "xyz", "--as", "anna"),
        ("source", "add", "form"),
        ("lead", "show"),
        ("doctor", "--public-url", "ftp://leads.example.com"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_asks_nothing(baton, stub, words):
    said = baton(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err
    assert stub.asked == []


def test_what_changes_things_does_not_go_on_unasked_without_a_terminal(baton, stub):
    stub.answers["POST /v1/ops/relay/rewind"] = {"events": 207}
    said = baton("relay", "rewind", "--service", "lead-intake", "--since", "2h")
    assert said.code == 2
    assert "--yes" in said.err
    assert [one.query["dry_run"] for one in stub.asked] == [["true"]]


def point_elsewhere(home: Path, service: str, url: str) -> None:
    settings = json.loads((home / "cli.json").read_text())
    settings[service]["url"] = url
    (home / "cli.json").write_text(json.dumps(settings))
