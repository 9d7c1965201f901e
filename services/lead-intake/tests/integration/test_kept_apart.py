"""Suspicion and tests: kept apart, shown, and released by a person."""

from typing import Any

import pytest
from intake_calls import balanced, deliver, given_form, one, run

from baton_kit.testing import Harness
from lead_intake.app import App

TRAP = '{"submission_id": "s", "email": "a@firm.es", "fax": "http://pills"}'


async def test_what_looked_like_spam_becomes_a_lead_when_a_person_says_so(intake: Harness[App]) -> None:
    url = await given_form(intake, mapping={"honeypot": "fax"})
    receipt = await deliver(intake, url, TRAP, expect=200)  # as if all were well
    [entry] = (await intake.api.get(f"/v1/receipts/{receipt}")).json()["items"]
    assert (entry["outcome"], entry["reason"]) == ("quarantined", "spam_honeypot")
    assert await intake.outbox() == []
    assert (await one(intake, receipt))["reason"] == "spam_honeypot"  # a mere replay does not release it
    done = await one(intake, receipt, release=True)
    assert [e["outcome"] for e in done["settled"]] == ["created"]
    await balanced(intake)


async def test_who_comes_too_often_is_held_back_and_released_by_the_filter(intake: Harness[App]) -> None:
    url = await given_form(intake, settings={"address_per_hour": "2"})
    for n in range(5):
        body = f'{{"submission_id": "k{n}", "email": "a@firm.es"}}'
        await deliver(intake, url, body, expect=200)
    counts = (await intake.api.get("/v1/receipts/reasons")).json()["items"]
    assert [(c["code"], c["count"]) for c in counts] == [("spam_rate_address", 3)]
    order = {"reason": "spam_rate_address", "release": True}
    await intake.api.post("/v1/receipts/replay", json=order)
    await run(intake)
    total = await balanced(intake)
    assert (total["created"], total["touch_only"], total["quarantined"]) == (1, 4, 0)


async def test_a_test_lead_is_released_only_by_name(intake: Harness[App]) -> None:
    url = await given_form(intake, mapping={"test": "is_test"})
    receipt = await deliver(intake, url, '{"submission_id": "t", "email": "a@firm.es", "is_test": true}', expect=200)
    assert (await one(intake, receipt))["settled"] == []
    asked = await intake.api.post("/v1/receipts/replay", json={"release": True, "dry_run": True})
    assert asked.json()["total"] == 0
    refused = await intake.api.post("/v1/receipts/replay", json={"outcome": "test"})
    assert refused.status_code == 422
    await intake.api.post("/v1/receipts/replay", json={"outcome": "test", "release": True})
    await run(intake)
    assert (await balanced(intake))["created"] == 1


@pytest.mark.parametrize(
    "settings", [{"spam": "maybe"}, {"disposable": "no"}, {"address_per_hour": "-1"}, {"source_per_minute": "many"}]
)
async def test_wrong_limits_are_told_where_they_are_wrong(intake: Harness[App], settings: dict[str, Any]) -> None:
    answer = await intake.api.post("/v1/sources", json={"id": "f", "provider": "generic", "settings": settings})
    assert answer.status_code == 422
    [pointer] = [e["pointer"] for e in answer.json()["errors"]]
    assert pointer == f"/settings/{next(iter(settings))}"
