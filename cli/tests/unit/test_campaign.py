"""What `baton campaign` asks: a change touches only what was named, over the version that was read."""

import json

ONE = {
    "code": "webinar", "version": 3, "name": "Webinar", "owner_department": "marketing", "owner_person": "anna",
    "product": "suite", "segment": "", "starts_on": "2026-09-01", "ends_on": None, "planned_spend_minor": 1_200_000,
    "currency": "EUR", "planned_leads": 80, "keys": ["ad_id:*/7", "utm:live"], "archived": False,
    "created_at": "2026-09-01T08:00:00Z", "changed_at": "2026-09-01T08:00:00Z", "reached": {"touches": 40, "leads": 31},
}  # fmt: skip
OWN = ("code", "version", "created_at", "changed_at", "reached")
WAITS = {
    "key": "utm:few", "touches": 2, "more": False, "leads": 2, "first_seen": "2026-09-01T08:00:00Z",
    "last_seen": "2026-09-02T08:00:00Z", "ignored": False, "example": {"page": "/x", "source_id": "form"},
}  # fmt: skip
MANY = WAITS | {"key": "utm:many", "touches": 1_000, "more": True}


def test_a_list_shows_what_was_planned_and_reached(baton, stub):
    stub.answers["GET /v1/campaigns"] = {"items": [ONE], "next_cursor": None}
    said = baton("campaign", "list").out
    for word in ("marketing/anna", "2026-09-01 –", "12,000.00 EUR", "31 of 80", "40"):
        assert word in said
    assert json.loads(baton("campaign", "list", "--json").out) == [ONE]


def test_a_change_sends_the_whole_record_with_what_was_named_and_the_version_that_was_read(baton, stub):
    stub.answers["GET /v1/campaigns/webinar"] = ONE
    stub.answers["PUT /v1/campaigns/webinar"] = ONE | {"version": 4}
    said = baton(
        "campaign", "set", "webinar", "--key", "utm:late", "--drop-key", "utm:live", "--from", "", "--spend", "5USD"
    )
    assert (said.code, "version 4" in said.out) == (0, True)
    assert stub.asked[-1].headers["if-match"] == '"3"'
    kept = {name: value for name, value in ONE.items() if name not in OWN}
    assert json.loads(stub.asked[-1].body) == kept | {
        "keys": ["ad_id:*/7", "utm:late"], "starts_on": None, "planned_spend_minor": 5, "currency": "USD",
    }  # fmt: skip
    assert baton("campaign", "archive", "webinar").code == 0
    assert json.loads(stub.asked[-1].body) == kept | {"archived": True}
    said = baton("campaign", "set", "webinar", "--drop-key", "utm:gone")
    assert (said.code, "ad_id:*/7, utm:live" in said.err) == (1, True)


def test_a_campaign_is_added_as_it_is_named(baton, stub):
    stub.answers["POST /v1/campaigns"] = ONE | {"version": 1}
    said = baton("campaign", "add", "x", "--name", "X", "--owner", "sales/", "--key", "utm:x", "--leads", "5")
    assert said.code == 0
    assert json.loads(stub.asked[-1].body) == {
        "code": "x", "name": "X", "owner_department": "sales", "owner_person": "", "planned_leads": 5,
        "keys": ["utm:x"],
    }  # fmt: skip
    assert baton("campaign", "add", "x", "--name", "X", "--spend", "EUR").code == 2


def test_the_worklist_shows_what_matters_most_first(baton, stub):
    stub.answers["GET /v1/campaigns/unmatched"] = {"items": [WAITS, MANY], "next_cursor": None}
    said = baton("campaign", "unmatched").out
    assert said.index("utm:many") < said.index("utm:few")
    assert "1000+" in said
    assert [one["key"] for one in json.loads(baton("campaign", "unmatched", "--json").out)] == ["utm:many", "utm:few"]


def test_a_key_is_assigned_or_set_aside(baton, stub):
    stub.answers["POST /v1/campaigns/unmatched/assign"] = ONE
    assert baton("campaign", "assign", "utm:x", "webinar", "--name", "Webinar").code == 0
    assert json.loads(stub.asked[-1].body) == {"key": "utm:x", "campaign": "webinar", "create": {"name": "Webinar"}}
    stub.answers["POST /v1/campaigns/unmatched/ignore"] = {"key": "utm:x", "ignored": True}
    assert baton("campaign", "assign", "utm:x", "--ignore").out == "utm:x is ignored\n"
    assert json.loads(stub.asked[-1].body) == {"key": "utm:x", "ignored": True}
    assert baton("campaign", "assign", "utm:x").code == 2
    assert baton("campaign", "assign", "utm:x", "webinar", "--ignore").code == 2


def test_a_sheet_is_sent_as_it_is_and_tried_first(baton, stub, tmp_path):
    file = tmp_path / "campaigns.csv"
    file.write_text("code,name\na,A\n")
    stub.answers["POST /v1/campaigns/sheet"] = {"dry_run": True, "created": ["a"], "changed": [], "unchanged": 1}
    said = baton("campaign", "import", str(file), "--dry-run")
    assert said.out == "a would be created\n1 unchanged; nothing was changed\n"
    assert stub.asked[-1].body == b"code,name\na,A\n"
    stub.answers["POST /v1/campaigns/imported"] = {"dry_run": False, "created": ["b"], "claimed": 2}
    assert baton("campaign", "import", "--of", "crm").out == "b created\n2 had a campaign already\n"
    assert baton("campaign", "import").code == 2
    assert baton("campaign", "show", "x").code == 1


def test_a_campaign_is_shown_with_who_changed_it(baton, stub):
    stub.answers["GET /v1/campaigns/webinar"] = ONE
    changes = [{"version": 3, "changed_at": "2026-09-01T08:00:00Z", "changed_by": "k-1", "campaign": {}}]
    stub.answers["GET /v1/campaigns/webinar/changes"] = {"items": changes, "next_cursor": None}
    said = baton("campaign", "show", "webinar").out
    for word in ("webinar: Webinar", "utm:live", "31 of 80", "k-1"):
        assert word in said
