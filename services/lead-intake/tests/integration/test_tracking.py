"""Visitors whom nobody knows yet, and how their touches find the person: in any order, each once."""

import base64
import dataclasses
import itertools
import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from baton_kit.testing import Harness, client
from lead_intake.app import App
from lead_intake.ledger.reasons import REASONS
from lead_intake.listener import create_public
from lead_intake.tracking import stitch

VISITOR = "507f191e810c19729de860ea"


async def tracker(intake: Harness[App], id: str = "site", **more: Any) -> str:
    """The write key of a new source."""
    answer = await intake.api.post("/v1/sources", json={"id": id, "provider": "segment", **more})
    assert answer.status_code == 201, answer.text
    await intake.app.sources.refresh()
    return str(answer.json()["webhook_url"]).rpartition("/")[2]


async def call(intake: Harness[App], name: str, key: str, body: Any, **headers: str) -> httpx2.Response:
    assert intake.public is not None
    basic = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()} if key else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    while True:
        answer = await intake.public.post(f"/v1/{name}", content=content, headers=basic | headers)
        if answer.status_code != 503:
            return answer


def page(n: int, address: str = "/", **more: Any) -> dict[str, Any]:
    at = f"2026-01-0{n}T08:00:00Z"
    about = {"page": {"url": f"https://firm.de{address}", "referrer": "https://www.google.com/"}}
    return {"type": "page", "messageId": f"m{n}", "anonymousId": VISITOR, "timestamp": at, "context": about} | more


def identify(n: int = 9, **more: Any) -> dict[str, Any]:
    traits = {"email": "anna.petrova@firm.de", "name": "Anna Petrova"}
    return {"type": "identify", "messageId": f"m{n}", "anonymousId": VISITOR, "traits": traits} | more


async def stitched(intake: Harness[App]) -> None:
    while await stitch.stitch_next(intake.app):
        pass


async def touches(intake: Harness[App]) -> list[tuple[str, str]]:
    """(day, page) of each touch that was told of a lead, by time."""
    told = [e for e in await intake.outbox() if e.type.endswith("TouchRecorded")]
    assert len({e.body.touch_id for e in told}) == len(told)
    return sorted((f"{e.occurred_at:%d}", e.body.page) for e in told)


async def outcomes(intake: Harness[App]) -> list[str]:
    rows = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id, ordinal")
    return [row["outcome"] for row in rows]


async def balanced(intake: Harness[App]) -> bool:
    return bool((await intake.api.get("/v1/receipts/balance")).json()["balanced"])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_visits_find_their_person_in_whatever_order_they_come(intake: Harness[App], order: tuple[int]) -> None:
    key = await tracker(intake)
    calls = [page(1, "/blog?utm_source=bing&utm_medium=cpc"), page(2, "/pricing"), identify(timestamp="2026-01-03")]
    for n in order:
        answer = await call(intake, calls[n]["type"], key, calls[n])
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        await stitched(intake)
    assert [day for day, _ in await touches(intake)] == ["01", "02", "03"]
    assert {e.key for e in await intake.outbox()} == {(await intake.fetch("SELECT id::text FROM lead"))[0]["id"]}
    rows = await intake.fetch("SELECT kind, channel, within_visit FROM touch ORDER BY occurred_at")
    assert [(r["kind"], r["channel"]) for r in rows[:2]] == [("visit", "paid_search"), ("visit", "organic_search")]
    assert await intake.fetch("SELECT FROM visit") == []
    assert await intake.fetch("SELECT FROM receipt_entry WHERE lead_id IS NULL") == []
    assert sorted(await outcomes(intake)) == ["created", "touch_only", "touch_only"]
    assert await balanced(intake)


async def test_a_form_that_names_the_visitor_stitches_as_well_and_keeps_click_ids_with_the_contact(
    intake: Harness[App],
) -> None:
    key = await tracker(intake)
    await call(intake, "page", key, page(1, "/?gclid=test-gclid-AbC"))
    form = (await intake.api.post("/v1/sources", json={"id": "form", "provider": "generic"})).json()["webhook_url"]
    assert intake.public is not None
    answer = await intake.public.post(form, json={"email": "anna@firm.de", "anonymous_id": VISITOR})
    assert answer.json()["outcomes"] == ["created"]
    await stitched(intake)
    events = await intake.outbox()
    assert [e.type.rpartition(".")[2] for e in events] == [
        "LeadCreated", "TouchRecorded", "ContactChanged", "TouchRecorded", "ContactChanged",
    ]  # fmt: skip
    assert [(c.kind, c.value) for c in events[-1].body.click_ids] == [("gclid", "test-gclid-AbC")]
    assert list(events[3].body.click_kinds) == ["gclid"]
    facts = b"".join(e.body.SerializeToString() for e in events if not e.type.endswith("ContactChanged"))
    assert b"test-gclid" not in facts
    assert VISITOR.encode() not in facts


async def test_a_message_that_comes_again_is_one_touch_before_and_after_the_person_is_known(
    intake: Harness[App],
) -> None:
    key = await tracker(intake)
    for told in (page(1), page(1), identify(), page(1), identify(), page(2), page(2)):
        await call(intake, told["type"], key, told)
        await stitched(intake)
    assert await outcomes(intake) == [
        "touch_only", "duplicate", "created", "duplicate", "duplicate", "touch_only", "duplicate",
    ]  # fmt: skip
    assert [day for day, _ in await touches(intake)][:2] == ["01", "02"]
    assert len(await touches(intake)) == 3


async def test_the_site_s_own_id_of_a_person_joins_the_devices_that_named_it(intake: Harness[App]) -> None:
    key = await tracker(intake)
    await call(intake, "page", key, page(1, anonymousId="phone"))
    await call(intake, "page", key, page(2, anonymousId="phone", userId="u-1"))  # signed in
    await call(intake, "page", key, page(3, anonymousId="desktop"))  # somebody else
    await call(intake, "identify", key, {"messageId": "i", "userId": "u-1", "traits": {"email": "anna@firm.de"}})
    await stitched(intake)
    assert [day for day, _ in await touches(intake)][:2] == ["01", "02"]
    assert [r["anonymous_key"] for r in await intake.fetch("SELECT anonymous_key FROM visit")] == ["anonymous:desktop"]


async def test_what_is_told_of_a_known_visitor_is_an_update_and_no_touch(intake: Harness[App]) -> None:
    key = await tracker(intake)
    await call(intake, "identify", key, identify())
    count = len(await intake.new_events())
    assert count == 3
    traits = {"title": "Head of Sales", "employees": 300, "company": "Firm"}
    told = {"type": "identify", "messageId": "m10", "anonymousId": VISITOR, "traits": traits}
    await call(intake, "identify", key, told)
    updated, contact = await intake.new_events()
    assert updated.type.endswith("LeadUpdated")
    assert (updated.body.features.employees, updated.body.features.job_function) == (250, "sales")
    assert (updated.body.features.has_email, updated.body.features.email_kind) == (True, "business")
    assert (updated.body.sequence, updated.key) == (3, updated.body.lead_id)
    assert (contact.body.company_name, contact.body.full_name) == ("Firm", "Anna Petrova")

    # Again in other words, by address, or without a word: nothing new is told, and nothing is a touch.
    await call(intake, "identify", key, told | {"messageId": "m11"})
    await call(intake, "identify", key, identify(12))
    await call(intake, "alias", key, {"messageId": "m13", "userId": "u-1", "previousId": VISITOR})
    await call(intake, "identify", key, told)
    assert await intake.new_events() == []
    assert await outcomes(intake) == ["created", "updated", "duplicate", "duplicate", "duplicate", "duplicate"]
    [listed] = (await intake.api.get("/v1/receipts/entries?outcome=updated&reason=told_on")).json()["items"]
    assert (listed["outcome"], listed["lead_id"]) == ("updated", updated.key)
    assert REASONS["told_on"].ru != REASONS["told_on"].en
    assert len(await touches(intake)) == 1
    assert await balanced(intake)

    # Nothing of it is left when the person is forgotten, though no touch leads there.
    lead = updated.key
    once = {"Idempotency-Key": "k1"}
    answer = await intake.api.post(f"/v1/leads/{lead}/erase", json={"reason": "person_request"}, headers=once)
    assert answer.status_code < 300, answer.text
    assert await intake.fetch("SELECT FROM receipt WHERE body IS NOT NULL") == []


async def test_a_visit_of_somebody_else_that_names_the_person_loses_its_body_with_them(intake: Harness[App]) -> None:
    key = await tracker(intake)
    naming = page(1, "/thanks?to=Anna.Petrova%40firm.de", anonymousId="somebody")
    await call(intake, "page", key, naming)
    await call(intake, "page", key, naming)  # a repeat keeps a body of its own
    await call(
        intake, "batch", key, {"batch": [page(2, anonymousId="x"), page(3, "/?tel=79160000001", anonymousId="y")]}
    )
    traits = {"email": "anna.petrova@firm.de", "phone": "+79160000001"}
    await call(intake, "identify", key, identify(traits=traits))
    [lead] = await intake.fetch("SELECT id::text FROM lead")
    once = {"Idempotency-Key": "k1"}
    answer = await intake.api.post(f"/v1/leads/{lead['id']}/erase", json={"reason": "person_request"}, headers=once)
    assert answer.status_code < 300, answer.text
    left = b"".join(r["body"] for r in await intake.fetch("SELECT body FROM receipt WHERE body IS NOT NULL"))
    assert b"etrova" not in left
    assert b"79160000001" not in left
    assert b'"m2"' in left, "the other call of the batch stays"
    assert len(await intake.fetch("SELECT FROM visit")) == 3


async def test_a_device_that_another_person_uses_next_merges_nobody(intake: Harness[App]) -> None:
    key = await tracker(intake)
    await call(intake, "identify", key, identify())
    await call(intake, "identify", key, identify(8, traits={"email": "boris@firm.de"}))
    await call(intake, "page", key, page(1))
    [boris] = await intake.fetch("SELECT lead_id::text AS id FROM receipt_entry WHERE key = 'm8'")
    assert [
        r["id"]
        for r in await intake.fetch(
            "SELECT lead_id::text AS id FROM touch WHERE kind = 'visit' AND page = '/' AND occurred_at < '2026-01-02'"
        )
    ] == [boris["id"]]
    assert await intake.fetch("SELECT FROM proposed_merge") == []


async def test_a_large_batch_is_taken_whole_and_a_robot_in_it_is_refused(intake: Harness[App]) -> None:
    key = await tracker(intake)
    calls = [page(1, f"/{n}", messageId=f"b{n}") for n in range(249)]
    calls.append(page(1, messageId="bot", context={"userAgent": "Googlebot/2.1"}))
    body = {"batch": calls, "sentAt": "2026-01-09T08:00:00Z", "writeKey": key}
    assert (await call(intake, "batch", "", body)).json() == {"success": True}
    assert (await call(intake, "batch", "", body)).json() == {"success": True}
    counts = {name: (await outcomes(intake)).count(name) for name in ("touch_only", "duplicate", "refused")}
    assert counts == {"touch_only": 249, "duplicate": 249, "refused": 2}
    await call(intake, "identify", key, identify())
    await stitched(intake)
    assert len(await touches(intake)) == 250
    assert await balanced(intake)
    assert await intake.fetch("SELECT FROM receipt WHERE position($1::bytea IN body) > 0", key.encode()) == []


async def test_what_is_no_call_of_a_known_source_is_refused_and_any_site_may_ask(intake: Harness[App]) -> None:
    key = await tracker(intake)
    assert (await call(intake, "page", "another-key", page(1))).status_code == 401
    assert (await call(intake, "page", "", page(1))).status_code == 401
    assert (await call(intake, "page", key, b"{")).status_code == 400
    assert (await call(intake, "page", key, page(1, name="x" * 33_000))).status_code == 400
    large = {"batch": [page(1, messageId="large", name="x" * 33_000), page(2)]}
    assert (await call(intake, "batch", key, large)).status_code == 200
    assert await outcomes(intake) == ["refused", "touch_only"]
    assert intake.public is not None
    asked = await intake.public.request("OPTIONS", "/v1/t", headers={"Origin": "https://firm.de"})
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")
    assert "authorization" in asked.headers["access-control-allow-headers"]
    for name in ("t", "p"):  # as the browser library names them
        answer = await call(intake, name, key, page(3, messageId=name, type=None), **{"Content-Type": "text/plain"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


async def test_a_source_that_floods_is_asked_to_wait(intake: Harness[App]) -> None:
    key = await tracker(intake)
    slow = intake.app.settings.model_copy(update={"tracking_a_second": 1})
    async with client(create_public(dataclasses.replace(intake.app, settings=slow))) as public:
        narrow = dataclasses.replace(intake, public=public)
        batch = {"batch": [page(1, messageId=f"f{n}") for n in range(10)]}
        answers = [await call(narrow, "batch", key, batch) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 429]
    assert answers[1].headers["retry-after"]


async def test_who_is_never_identified_is_forgotten(intake: Harness[App]) -> None:
    key = await tracker(intake)
    await call(intake, "page", key, page(1))
    intake.clock.advance(timedelta(days=89))
    assert await stitch.forget_old(intake.app) == 0
    intake.clock.advance(timedelta(days=2))
    assert await stitch.forget_old(intake.app) == 1
    await call(intake, "identify", key, identify())
    await stitched(intake)
    assert len(await touches(intake)) == 1
    assert await balanced(intake)


@pytest.mark.parametrize("first", ["stitched", "waiting"])
async def test_a_forgotten_person_s_visits_are_gone_and_found_by_nobody(intake: Harness[App], first: str) -> None:
    key = await tracker(intake)
    await call(intake, "batch", key, {"batch": [page(1), page(2, anonymousId="stranger")]})
    await call(intake, "page", key, page(1))  # a repeat, while nobody is known
    await call(intake, "page", key, page(3, "/?gclid=test-gclid-AbC", userId="u-1"))
    await call(intake, "page", key, page(4, anonymousId="second-device", userId="u-1"))
    await call(intake, "identify", key, identify())
    await call(intake, "identify", key, identify(8, traits={"name": "Anna P."}))  # known, and no touch
    if first == "stitched":
        await stitched(intake)
    [lead] = await intake.fetch("SELECT id::text FROM lead")

    answer = await intake.api.post(f"/v1/leads/{lead['id']}/erase", json={}, headers={"Idempotency-Key": "e"})
    assert answer.status_code == 200, answer.text
    removed = answer.json()["items"][0]["removed"]
    assert (removed["visit"], removed["visitor"], removed["stitch"]) == (
        (0, 3, 0) if first == "stitched" else (3, 1, 1)
    )
    await intake.new_events()
    await stitched(intake)
    assert await intake.new_events() == []
    left = b" ".join(r["body"] for r in await intake.fetch("SELECT body FROM receipt WHERE body IS NOT NULL"))
    assert b"stranger" in left
    assert [mark for mark in (VISITOR, "second-device", "AbC", "Anna") if mark.encode() in left] == []
    assert [r["anonymous_key"] for r in await intake.fetch("SELECT anonymous_key FROM visit")] == ["anonymous:stranger"]

    # Whoever comes next under the same ids is somebody else.
    await call(intake, "page", key, page(5))
    await call(intake, "page", key, page(6, anonymousId="second-device"))
    await stitched(intake)
    assert await intake.new_events() == []
    assert await balanced(intake)
