"""Every touch belongs to the campaign that claims it, whether it came before the claim, with it or after it."""

import asyncio
import itertools
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_words import CAMPAIGNS, LEADS, csv, imported
from intake_samples import BODIES

from baton_kit.db import raw
from baton_kit.testing import Harness, client
from lead_intake.app import App, open_app
from lead_intake.campaigns import change, restate, store
from lead_intake.campaigns.matching import Campaigns
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import Delivery, delivery_of
from lead_intake.listener import create_public
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS
from lead_intake.tracking import stitch

ADDRESS = "/v1/campaigns"
FORM = Source("form", "generic", secrets=("x" * 8,), default_region="ES")


async def door(intake: Harness[App]) -> str:
    answer = await intake.api.post("/v1/sources", json={"id": "form", "provider": "generic"})
    return str(answer.json()["webhook_url"])


async def came(intake: Harness[App], path: str, person: Any, **told: str) -> None:
    assert intake.public is not None
    await sent(intake.public, path, {"email": f"p{person}@firm.de", **told})


async def sent(public: httpx2.AsyncClient, path: str, body: dict[str, str]) -> None:
    while (answer := await public.post(path, json=body)).status_code == 503:
        pass
    assert answer.status_code == 200, answer.text


async def added(intake: Harness[App], code: str, *keys: str, **more: Any) -> httpx2.Response:
    return await intake.api.post(ADDRESS, json={"code": code, "name": code.title(), "keys": list(keys), **more})


async def put(intake: Harness[App], code: str, version: int | None, *keys: str, **more: Any) -> httpx2.Response:
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    body = {"name": code.title(), "keys": list(keys), **more}
    return await intake.api.put(f"{ADDRESS}/{code}", json=body, headers=headers)


async def shown(intake: Harness[App], code: str) -> dict[str, Any]:
    return dict((await intake.api.get(f"{ADDRESS}/{code}")).json())


async def worklist(intake: Harness[App], **params: Any) -> list[dict[str, Any]]:
    answer = await intake.api.get(f"{ADDRESS}/unmatched", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def placed(intake: Harness[App]) -> dict[str, str]:
    """The campaign of each touch, as it is stored, by its utm_campaign and ad."""
    rows = await intake.fetch("SELECT utm_campaign || ad_id AS what, campaign FROM touch")
    return {row["what"]: row["campaign"] for row in rows}


def told(events: Any, name: str) -> list[Any]:
    return [e for e in events if e.type.endswith(name)]


def heard(events: Any) -> dict[str, str]:
    """The campaign of each touch for whoever follows the events."""
    latest: dict[str, tuple[int, str]] = {}
    for e in events:
        if e.type.endswith(("TouchRecorded", "TouchRegrouped")):
            latest[e.body.touch_id] = max(latest.get(e.body.touch_id, (0, "")), (e.body.sequence, e.body.campaign))
    return {touch: campaign for touch, (_, campaign) in latest.items()}


async def right(intake: Harness[App]) -> dict[str, str]:
    """Where each touch belongs, matched from scratch by the claims that stand now; by the id of the touch."""
    async with intake.db.begin() as tx:
        campaigns = Campaigns(1, await store.claims(tx))
        touches = await store.touches_after(tx, None, most=10_000)
    for touch in touches:
        assert touch.key == touch.mark.key
    assert {t.touch_id: t.campaign for t in touches} == {
        t.touch_id: campaigns.place(t.mark, t.occurred_at).campaign for t in touches
    }
    return {t.touch_id: t.campaign for t in touches}


def inquiry(intake: Harness[App], n: int, **more: Any) -> Delivery:
    body = BODIES["generic"](f"entry-{n}", f"p{n}@firm.de", "", **more)
    now = intake.clock.now()
    incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", now)
    return delivery_of(incoming, FORM, PROVIDERS["generic"].parse(incoming, FORM), body=body)


async def few(intake: Harness[App]) -> None:
    """A chunk of three touches."""
    chunk, restate.CHUNK = restate.CHUNK, 3
    try:
        await restate.restate_chunk(intake.app)
    finally:
        restate.CHUNK = chunk


async def test_a_touch_belongs_to_its_campaign_from_the_first_moment_on(intake: Harness[App]) -> None:
    path = await door(intake)
    made = await added(intake, "sale", "utm:Spring-Sale", planned_leads=2, planned_spend_minor=50_000, currency="EUR")
    assert (made.status_code, made.headers["etag"], made.json()["keys"]) == (201, '"1"', ["utm:spring-sale"])
    assert (await added(intake, "ads", "ad_id:google/77")).status_code == 201
    await intake.new_events()
    await came(intake, path, 1, utm_campaign="SPRING-sale", utm_source="news")
    await came(intake, path, 2, utm_campaign="spring-sale", ad_id="77", gclid="test-1")
    await came(intake, path, 2, utm_campaign="spring-sale", ad_id="77", fbclid="test-1")
    await came(intake, path, 3, utm_campaign="other")
    campaigns = [e.body.campaign for e in told(await intake.new_events(), "TouchRecorded")]
    assert campaigns == ["sale", "ads", "sale", ""], "the ad decides before the link, in its own network"
    sale = await shown(intake, "sale")
    assert (sale["planned_leads"], sale["planned_spend_minor"]) == (2, 50_000)
    assert sale["reached"] == {"touches": 2, "leads": 2}
    listed = (await intake.api.get(ADDRESS)).json()["items"]
    assert {one["code"]: one["reached"]["touches"] for one in listed} == {"sale": 2, "ads": 1}
    [lead] = await intake.fetch("SELECT lead_id::text FROM touch WHERE campaign = 'ads'")
    touches = (await intake.api.get(f"/v1/leads/{lead['lead_id']}")).json()["touches"]
    assert [t["campaign"] for t in touches] == ["ads", "sale"]
    await restate.restate(intake.app)
    assert await intake.new_events() == [], "what was matched when it came needs no restatement"


async def test_touches_that_came_before_follow_what_is_assigned_once(intake: Harness[App]) -> None:
    path = await door(intake)
    for n in range(3):
        await came(intake, path, n, utm_campaign="Handoff-Live", utm_medium="webinar", page_url=f"/webinar/{n}")
        await came(intake, path, n, utm_campaign="digest", message=str(n))
    await intake.new_events()
    [digest, live] = await worklist(intake)
    assert (live["key"], live["touches"], live["leads"], live["more"]) == ("utm:handoff-live", 3, 3, False)
    assert live["example"]["page"].startswith("/webinar/")
    answer = await intake.api.post(
        f"{ADDRESS}/unmatched/assign",
        json={"key": live["key"], "campaign": "webinars", "create": {"name": "Webinars"}},
    )
    assert (answer.status_code, answer.json()["keys"]) == (200, ["utm:handoff-live"])
    await restate.restate(intake.app)
    events = told(await intake.new_events(), "TouchRegrouped")
    assert [(e.body.campaign, e.body.cause, e.body.channel_rules_version) for e in events] == [
        ("webinars", "campaign", 1)
    ] * 3
    channels = {r["id"]: r["channel"] for r in await intake.fetch("SELECT id::text, channel FROM touch")}
    assert all(e.body.channel == channels[e.body.touch_id] for e in events), "it states the whole grouping"
    sequences = {row["id"]: row["sequence"] for row in await intake.fetch("SELECT id::text, sequence FROM lead")}
    assert {e.body.lead_id: e.body.sequence for e in events} == sequences, "each is a version of its lead"
    assert [one["key"] for one in await worklist(intake)] == [digest["key"]]

    again = await intake.api.post(f"{ADDRESS}/unmatched/assign", json={"key": live["key"], "campaign": "webinars"})
    assert (again.json()["version"], (await intake.api.get(f"{ADDRESS}/matching")).json()["done"]) == (1, True)
    await restate.restate(intake.app)
    assert await intake.new_events() == [], "done twice, it is done once"

    assert (await put(intake, "webinars", 1)).status_code == 200
    await restate.restate(intake.app)
    assert {e.body.campaign for e in told(await intake.new_events(), "TouchRegrouped")} == {""}
    assert len(await worklist(intake)) == 2, "a key that is taken away puts its touches back"
    gone = await intake.api.post(f"{ADDRESS}/unmatched/assign", json={"key": "utm:x", "campaign": "nobody"})
    assert gone.status_code == 404


ENTRIES = itertools.count(1)
KEYS = ["utm:a", "utm:b", "ad_id:*/1", "ad_id:google/1", "campaign_id:meta/9", "form_id:form/f", "form_id:*/f"]
TOUCHES = st.fixed_dictionaries(
    {},
    optional={
        "utm_campaign": st.sampled_from(["A", "b", "c"]),
        "ad_id": st.sampled_from(["1", "2"]),
        "campaign_id": st.just("9"),
        "form_id": st.just("f"),
        "gclid": st.just("test"),
        "utm_source": st.sampled_from(["meta", "google"]),
    },
)
CHANGES = st.tuples(
    st.sampled_from(["one", "two", "three"]),
    st.lists(st.sampled_from(KEYS), max_size=3, unique=True),
    st.sampled_from([None, ("2026-01-01", "2026-01-01"), ("2026-01-02", None)]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(TOUCHES | CHANGES | st.just("some"), min_size=3, max_size=14), seed=st.integers(0, 9))
async def test_any_history_ends_as_if_every_touch_were_matched_now(
    intake: Harness[App], steps: list[Any], seed: int
) -> None:
    days = random.Random(seed)
    for step in steps:
        if step == "some":
            await few(intake)
        elif isinstance(step, dict):
            at = f"2026-01-0{days.randint(1, 3)}T12:00:00Z"
            delivery = inquiry(intake, next(ENTRIES), occurred_at=at, **step)
            async with intake.db.begin() as tx:
                await receive(tx, intake.app, [delivery])
        else:
            code, keys, period = step
            starts_on, ends_on = period or (None, None)
            present = await intake.api.get(f"{ADDRESS}/{code}")
            body = {"name": code, "keys": keys, "starts_on": starts_on, "ends_on": ends_on}
            if present.status_code == 404:
                await intake.api.post(ADDRESS, json={"code": code, **body})
            else:
                await intake.api.put(f"{ADDRESS}/{code}", json=body, headers={"If-Match": present.headers["etag"]})
    await restate.restate(intake.app)
    assert heard(await intake.outbox()) == await right(intake)


async def test_a_delivery_that_is_being_written_holds_a_change_up_and_follows_it_afterwards(
    intake: Harness[App],
) -> None:
    await door(intake)
    async with intake.db.begin() as tx:
        await receive(tx, intake.app, [inquiry(intake, 1, utm_campaign="sale")])
        changing = asyncio.ensure_future(added(intake, "sale", "utm:sale"))
        while not await intake.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not changing.done(), "a change must not overtake a touch that was matched without it"
    assert (await changing).status_code == 201
    assert await placed(intake) == {"sale": ""}
    await restate.restate(intake.app)
    assert await placed(intake) == {"sale": "sale"}


async def test_deliveries_pass_while_a_change_waits_for_a_long_transaction(
    intake: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await door(intake)
    monkeypatch.setattr(change, "ATTEMPTS", 2)
    async with intake.db.begin() as tx:
        await store.share(tx)  # an import's chunk
        changing = asyncio.ensure_future(added(intake, "sale", "utm:sale"))
        await came(intake, path, 1, utm_campaign="sale")
        refused = await changing
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert (await added(intake, "sale", "utm:sale")).status_code == 201, "nothing stays held"


async def test_another_process_that_has_not_heard_of_a_change_matches_by_it(intake: Harness[App]) -> None:
    path = await door(intake)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_app(intake.app.settings))
        other = replace(opened, clock=intake.clock)
        await other.sources.refresh()
        public = await stack.enter_async_context(client(create_public(other)))
        await sent(public, path, {"email": "a@firm.de", "utm_campaign": "sale"})
        assert (await added(intake, "sale", "utm:sale")).status_code == 201
        await sent(public, path, {"email": "b@firm.de", "utm_campaign": "sale"})
        assert (await put(intake, "sale", 1, "utm:other")).status_code == 200
        await sent(public, path, {"email": "c@firm.de", "utm_campaign": "sale"})
    rows = await intake.fetch("SELECT campaign FROM touch ORDER BY id")
    assert [row["campaign"] for row in rows] == ["", "sale", ""]


async def test_touches_follow_while_others_come_in_and_the_campaigns_change_again(intake: Harness[App]) -> None:
    path = await door(intake)
    for n in range(12):
        await came(intake, path, n, utm_campaign="ab"[n % 2])

    async def more() -> None:
        for n in range(12, 30):
            await came(intake, path, n % 15, utm_campaign="ab"[n % 2], message=str(n))

    async def changes() -> None:
        assert (await added(intake, "one", "utm:a")).status_code == 201
        assert (await added(intake, "two", "utm:b")).status_code == 201
        assert (await put(intake, "one", 1)).status_code == 200
        assert (await put(intake, "two", 1, "utm:b", "utm:a")).status_code == 200

    async def follow() -> None:
        while not changing.done():
            await few(intake)

    changing = asyncio.ensure_future(changes())
    await asyncio.gather(more(), changing, follow())
    await restate.restate(intake.app)
    assert heard(await intake.outbox()) == await right(intake)
    assert set((await right(intake)).values()) == {"two"}


async def test_a_key_belongs_to_one_campaign_even_when_two_ask_at_once(intake: Harness[App]) -> None:
    answers = await asyncio.gather(added(intake, "one", "utm:sale"), added(intake, "two", "utm:Sale"))
    assert sorted(a.status_code for a in answers) == [201, 409]
    [lost] = [a for a in answers if a.status_code == 409]
    assert "has utm:sale" in lost.json()["errors"][0]["detail"]
    assert (await intake.api.get(ADDRESS)).json()["items"][0]["keys"] == ["utm:sale"]
    assert (await added(intake, "three", "ad_id:google/1")).status_code == 201
    assert (await added(intake, "four", "ad_id:1")).status_code == 409
    assert (await added(intake, "four", "ad_id:meta/1")).status_code == 201


async def test_a_lost_update_is_refused_and_every_version_says_who_made_it(intake: Harness[App]) -> None:
    assert (await added(intake, "sale", "utm:a", product="suite")).status_code == 201
    assert (await added(intake, "sale", "utm:a", product="suite")).json()["version"] == 1, (
        "the same again changes nothing"
    )
    assert (await added(intake, "sale", "utm:b")).status_code == 409
    assert (await put(intake, "sale", None)).status_code == 428
    answers = await asyncio.gather(put(intake, "sale", 1, "utm:b"), put(intake, "sale", 1, "utm:c"))
    assert sorted(a.status_code for a in answers) == [200, 412]
    assert (await put(intake, "nobody", 1)).status_code == 404
    assert (await put(intake, "sale", 2, "sale")).status_code == 422
    changes = (await intake.api.get(f"{ADDRESS}/sale/changes")).json()["items"]
    assert [c["version"] for c in changes] == [2, 1]
    assert changes[1]["campaign"]["product"] == "suite"
    [key] = await intake.fetch("SELECT id FROM api_key")
    assert {c["changed_by"] for c in changes} == {key["id"]}
    reader = {"Authorization": f"Bearer {await intake.key('sources:read')}"}
    assert (await intake.api.post(ADDRESS, json={"code": "x", "name": "X"}, headers=reader)).status_code == 403


async def test_the_day_decides_between_campaigns_that_share_a_link(intake: Harness[App]) -> None:
    await door(intake)
    first = {"starts_on": "2025-01-01", "ends_on": "2025-06-30"}
    assert (await added(intake, "first", "utm:sale", **first)).status_code == 201
    assert (await added(intake, "second", "utm:sale", starts_on="2025-06-30")).status_code == 409
    assert (await added(intake, "second", "utm:sale", starts_on="2025-07-01")).status_code == 201
    async with intake.db.begin() as tx:
        for n, day in enumerate(("2025-06-30T23:59:59Z", "2025-07-01T00:00:00Z", "2024-12-31T00:00:00Z")):
            await receive(tx, intake.app, [inquiry(intake, n, utm_campaign="sale", occurred_at=day)])
    rows = await intake.fetch("SELECT campaign FROM touch ORDER BY occurred_at")
    assert [row["campaign"] for row in rows] == ["first", "first", "second"]
    assert (await put(intake, "first", 1, "utm:sale", starts_on="2025-01-01")).status_code == 409, "now they meet"
    moved = await put(intake, "first", 1, "utm:sale", starts_on="2024-01-01", ends_on="2024-12-31")
    assert moved.status_code == 200
    assert (await put(intake, "second", 1, "utm:sale", starts_on="2025-01-01")).status_code == 200
    await restate.restate(intake.app)
    rows = await intake.fetch("SELECT campaign FROM touch ORDER BY occurred_at")
    assert [row["campaign"] for row in rows] == ["first", "second", "second"], "a period that moves is followed"


async def test_the_worklist_counts_persons_ignores_what_it_is_told_to_and_comes_in_pages(intake: Harness[App]) -> None:
    path = await door(intake)
    for n in range(7):
        await came(intake, path, n, utm_campaign=f"c{n % 4}", page_url=f"/page/{n}")
    await came(intake, path, 0, campaign_id="555", gclid="test")
    await came(intake, path, 0, form_id="contact")
    await came(intake, path, 1, utm_campaign="c0", message="again")
    leads = [
        r[0]
        for r in await intake.fetch(
            "SELECT id::text FROM lead WHERE id IN (SELECT lead_id FROM touch WHERE utm_campaign = 'c0') ORDER BY id"
        )
    ]
    items = await worklist(intake)
    assert [(i["key"], i["touches"]) for i in items] == [
        ("campaign_id:google/555", 1), ("utm:c0", 3), ("utm:c1", 2), ("utm:c2", 2), ("utm:c3", 1),
    ], "a form alone asks for no campaign"  # fmt: skip
    assert (items[1]["leads"], items[1]["first_seen"] <= items[1]["last_seen"]) == (3, True)
    merged = {"from_lead_id": leads[0], "into_lead_id": leads[1]}
    assert (await intake.api.post("/v1/merges", json=merged, headers={"Idempotency-Key": "m"})).status_code == 201
    assert (await worklist(intake))[1]["leads"] == 2, "merged leads are one person"

    for key in ("utm:c0", "utm:c2"):
        answer = await intake.api.post(f"{ADDRESS}/unmatched/ignore", json={"key": key})
        assert answer.json() == {"key": key, "ignored": True}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = (
            await intake.api.get(f"{ADDRESS}/unmatched", params={"limit": 1, **({"cursor": cursor} if cursor else {})})
        ).json()
        seen += [item["key"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["campaign_id:google/555", "utm:c1", "utm:c3"]
    assert [i["key"] for i in await worklist(intake, ignored=True)] == ["utm:c0", "utm:c2"]
    assert (await added(intake, "zero", "utm:c0")).status_code == 201
    await restate.restate(intake.app)
    assert (await shown(intake, "zero"))["reached"] == {"touches": 3, "leads": 2}
    assert [i["key"] for i in await worklist(intake, ignored=True)] == ["utm:c2"]
    await intake.api.post(f"{ADDRESS}/unmatched/ignore", json={"key": "utm:c2", "ignored": False})
    assert len(await worklist(intake)) == 4


async def test_the_worklist_of_a_million_touches_would_read_by_the_index_only(intake: Harness[App]) -> None:
    async with intake.db.begin() as tx:
        connection = await raw(tx)
        await connection.execute(
            "INSERT INTO touch (id, lead_id, receipt_id, occurred_at, sequence, source_id, kind, channel, "
            "utm_campaign, campaign, campaign_key) "
            "SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), 1, 's', 'form', 'x', "
            "'c' || n % 50, CASE WHEN n % 2 = 0 THEN 'one' ELSE '' END, 'utm:c' || n % 50 "
            "FROM generate_series(1, 20000) AS n"
        )
        await connection.execute("ANALYZE touch")
    async with intake.db.begin() as tx:
        plan = await (await raw(tx)).fetch(f"EXPLAIN {store.NEXT_KEYS}".replace("$1", "''").replace("$2", "51"))
        text = "\n".join(row[0] for row in plan)
    assert "touch_unmatched" in text
    assert "Seq Scan on touch" not in text
    assert [i["touches"] for i in await worklist(intake, limit=3)] == [400, 400, 400]


async def test_a_sheet_changes_all_or_nothing_and_says_what_it_would_do(intake: Harness[App]) -> None:
    assert (await added(intake, "old", "utm:a", product="suite", planned_leads=5)).status_code == 201

    async def upload(text: str, **params: Any) -> httpx2.Response:
        return await intake.api.post(f"{ADDRESS}/sheet", content=text.encode(), params=params)

    rows = "code,name,planned_leads,keys\nold,Old,9,utm:a\nnew,New,,utm:b;ad_id:meta/5\n"
    answer = await upload(rows, dry_run=True)
    assert answer.json() == {"dry_run": True, "created": ["new"], "changed": ["old"], "unchanged": 0}
    assert (await shown(intake, "old"))["planned_leads"] == 5
    assert (await intake.api.get(f"{ADDRESS}/new")).status_code == 404
    assert (await upload(rows)).json()["created"] == ["new"]
    old = await shown(intake, "old")
    assert (old["planned_leads"], old["product"], old["version"]) == (9, "suite", 2), "a missing column stays"
    assert (await upload(rows)).json() == {"dry_run": False, "created": [], "changed": [], "unchanged": 2}
    wrong = await upload("code,name,keys\nthird,Third,utm:c\nbad,,ad_id:aol/1\n")
    assert wrong.status_code == 422
    assert [e["pointer"] for e in wrong.json()["errors"]] == ["/3/keys/0", "/3/name"]
    assert (await upload("code,name,keys\nthird,Third,utm:a\n")).status_code == 409
    assert (await upload("code,name,keys\nold,Old,\nthird,Third,utm:a\n")).status_code == 200, "a key can move"
    assert {c["code"] for c in (await intake.api.get(ADDRESS)).json()["items"]} == {"old", "new", "third"}


async def test_campaigns_of_an_export_become_records_where_none_claims_their_name(intake: Harness[App]) -> None:
    data = csv("ID,Source,Medium,Name", "c1,news,email,Spring Sale", "c2,ads,cpc,Brand", "c3,ads,cpc,brand", "c4,,,")
    assert (await imported(intake, CAMPAIGNS, data))["state"] == "done"
    people = csv(
        "Record ID,Email,Phone,Name,Created,Campaign", "1,a@firm.de,,A,01.03.2024,c1", "2,b@firm.de,,B,02.03.2024,c2"
    )
    assert (await imported(intake, LEADS, people))["counts"] == {"created": 2}
    assert (await added(intake, "brand", "utm:brand")).status_code == 201
    order = {"source": "history", "dry_run": True}
    assert (await intake.api.post(f"{ADDRESS}/imported", json=order)).json() == {
        "dry_run": True, "created": ["spring-sale"], "claimed": 1,
    }  # fmt: skip
    assert len((await intake.api.get(ADDRESS)).json()["items"]) == 1
    assert (await intake.api.post(f"{ADDRESS}/imported", json={"source": "history"})).json()["created"] == [
        "spring-sale"
    ]
    again = (await intake.api.post(f"{ADDRESS}/imported", json={"source": "history"})).json()
    assert (again["created"], again["claimed"]) == ([], 2)
    await restate.restate(intake.app)
    assert await placed(intake) == {"Spring Sale": "spring-sale", "Brand": "brand"}


async def test_a_visit_is_matched_when_it_finds_its_person(intake: Harness[App]) -> None:
    assert intake.public is not None
    answer = await intake.api.post("/v1/sources", json={"id": "site", "provider": "segment"})
    key = str(answer.json()["webhook_url"]).rpartition("/")[2]
    await intake.app.sources.refresh()
    page = {
        "type": "page", "messageId": "m1", "anonymousId": "visitor-1", "timestamp": "2026-01-01T08:00:00Z",
        "context": {"page": {"url": "https://firm.de/?utm_campaign=sale&utm_source=news"}},
    }  # fmt: skip
    who = {"type": "identify", "messageId": "m2", "anonymousId": "visitor-1", "traits": {"email": "a@firm.de"}}
    later = page | {"messageId": "m3", "timestamp": "2026-01-02T08:00:00Z"}
    for body in (page, who):
        assert (await intake.public.post("/v1/batch", json={"batch": [body], "writeKey": key})).status_code == 200
    assert (await added(intake, "sale", "utm:sale")).status_code == 201
    while await stitch.stitch_next(intake.app):
        pass
    assert (await intake.public.post("/v1/batch", json={"batch": [later], "writeKey": key})).status_code == 200
    campaigns = {e.body.campaign for e in told(await intake.outbox(), "TouchRecorded") if e.body.utm_campaign}
    assert campaigns == {"sale"}
    assert heard(await intake.outbox()) == await right(intake)


async def test_touches_of_before_the_campaigns_get_their_place_without_being_told_of(intake: Harness[App]) -> None:
    path = await door(intake)
    for n in range(3):
        await came(intake, path, n, utm_campaign="sale")
    await intake.new_events()
    async with intake.db.begin() as tx:  # as the migration leaves a database that has touches
        connection = await raw(tx)
        await connection.execute("UPDATE touch SET campaign_key = ''; UPDATE campaign_book SET restated_at = NULL")
    assert await worklist(intake) == []
    await restate.restate(intake.app)
    assert [(i["key"], i["touches"]) for i in await worklist(intake)] == [("utm:sale", 3)]
    assert await intake.new_events() == []
