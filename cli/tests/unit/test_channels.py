"""What `baton channels` asks, and that nothing is changed before it was shown."""

import json

TABLE = {"rules": [{"channel": "press", "source": ["gazette"]}]}
STANDS = {"done": False, "finished_at": None, "touches_read": 0, "touches_regrouped": 0, "touches_left": 12}
PRESENT = {"version": 3, "changed_at": "2026-01-05T08:00:00Z", "rules": TABLE, "restatement": STANDS}
PREVIEW = {"touches": 50, "changed": 2, "moves": [{"before": "referral", "after": "press", "touches": 2}]}


def test_a_table_is_previewed_and_set_over_the_version_that_was_read(baton, stub, tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text("rules:\n- channel: press\n  source: [gazette]\n")
    stub.answers["GET /v1/channel-rules"] = PRESENT
    stub.answers["POST /v1/channel-rules/preview"] = PREVIEW
    stub.answers["PUT /v1/channel-rules"] = PRESENT | {"version": 4}
    said = baton("channels", "set", str(file), "--dry-run")
    assert said.code == 0
    assert "2 of the newest 50 touches would change" in said.out
    assert "nothing was changed" in said.out
    assert [a.headers.get("if-match") for a in stub.asked] == [None, None]
    said = baton("channels", "set", str(file), "--yes")
    assert (said.code, "version 4 is in force" in said.out) == (0, True)
    assert stub.asked[-1].headers["if-match"] == '"3"'
    assert json.loads(stub.asked[-1].body) == {"rules": TABLE}


def test_a_table_is_shown_and_comes_back_as_a_file_that_can_be_set(baton, stub):
    stub.answers["GET /v1/channel-rules"] = PRESENT
    said = baton("channels", "show")
    assert "source is gazette" in said.out
    assert "12 earlier touches" in said.out + said.err
    assert baton("channels", "show", "--yaml").out == "rules:\n- channel: press\n  source:\n  - gazette\n"
    assert json.loads(baton("channels", "show", "--json").out) == PRESENT


def test_an_origin_is_tried_and_the_rule_is_named(baton, stub):
    stub.answers["POST /v1/channel-rules/try"] = {
        "channel": "press", "rule": 0, "decided_by": TABLE["rules"][0], "version": 3,
    }  # fmt: skip
    assert baton("channels", "try", "--source", "gazette").out == "press (rule 0: source is gazette)\n"
