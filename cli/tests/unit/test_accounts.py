"""`baton account`: what is asked of intake, what a person reads, what a program gets."""

import json

SEEN = {
    "possible": True,
    "why": "",
    "detail": "",
    "canonical_account_id": "b",
    "tax_numbers_contradict": True,
    "from_accounts": [{"account_id": "a", "name": "Acme", "leads": 3, "domains": ["a.example"]}],
    "into_accounts": [{"account_id": "b", "name": "Acme AG", "leads": 1, "domains": []}],
}
ONE = {
    "id": "a",
    "canonical_account_id": "b",
    "name": "Acme",
    "leads_total": 3,
    "domains": ["a.example"],
    "company_ids": [{"crm": "hubspot", "id": "55"}],
    "tax_numbers": None,
    "lead_ids": ["l1"],
    "merges": [{"id": "m1", "from_account_id": "a", "into_account_id": "b", "active": False, "decided_by": "olga"}],
}


def test_accounts_are_listed_by_what_they_are_known_by(baton, stub):
    item = {"id": "a", "canonical_account_id": "b", "name": "Acme", "created_at": "2026-09-01T08:00:00Z"}
    stub.answers["GET /v1/accounts"] = {"items": [item], "next_cursor": None}
    said = baton("account", "list", "--crm", "hubspot", "--company-id", "55")
    assert "Acme" in said.out
    asked = str(stub.asked[0].url) if hasattr(stub.asked[0], "url") else str(stub.asked[0])
    assert "company_id" in asked
    assert json.loads(baton("account", "list", "--json").out) == [item]


def test_an_account_shows_its_keys_and_what_it_was_merged_into(baton, stub):
    stub.answers["GET /v1/accounts/a"] = ONE
    said = baton("account", "show", "a")
    assert said.code == 0
    for word in ("Acme, 3 leads", "merged into b", "a.example", "id in hubspot", "l1", "undone"):
        assert word in said.out
    assert json.loads(baton("account", "show", "a", "--json").out) == ONE


def test_a_merge_is_shown_before_it_is_made_and_a_dry_run_makes_none(baton, stub):
    stub.answers["POST /v1/account-merges/preview"] = SEEN
    stub.answers["POST /v1/account-merges"] = (201, {"id": "m1"})
    said = baton("account", "merge", "a", "b", "--dry-run")
    assert "probably two companies" in said.out
    assert stub.to("POST /v1/account-merges") == []
    said = baton("account", "merge", "a", "b", "--yes")
    assert "baton account unmerge m1" in said.out
    [asked] = stub.to("POST /v1/account-merges")
    assert asked.json == {"from_account_id": "a", "into_account_id": "b", "reason": "same_company"}


def test_a_merge_that_cannot_be_says_why(baton, stub):
    stub.answers["POST /v1/account-merges/preview"] = SEEN | {"possible": False, "why": "one_already", "detail": "One."}
    said = baton("account", "merge", "a", "b", "--yes")
    assert said.code == 1
    assert "one_already" in said.err
    assert stub.to("POST /v1/account-merges") == []


def test_a_merge_is_undone_and_a_proposal_dismissed(baton, stub):
    stub.answers["POST /v1/account-merges/m1/undo"] = {"from_account_id": "a", "into_account_id": "b"}
    stub.answers["POST /v1/account-proposals/dismiss"] = {"dismissed": 1}
    proposal = {"from_account_id": "b", "into_account_id": "a", "kind": "keys", "proposed_at": "2026-09-01T08:00:00Z"}
    stub.answers["GET /v1/account-proposals"] = {"items": [proposal], "next_cursor": None}
    assert "two accounts again" in baton("account", "unmerge", "m1", "--yes").out
    assert stub.to("POST /v1/account-merges/m1/undo")[0].json == {"reason": "different_companies"}
    assert "keys" in baton("account", "proposals").out
    assert baton("account", "dismiss", "b", "a").code == 0
    assert stub.to("POST /v1/account-proposals/dismiss")[0].json == {"from_account_id": "b", "into_account_id": "a"}
