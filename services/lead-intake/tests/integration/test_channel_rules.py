"""A changed channel table is a version and an event, and reaches the touches that came before it."""

import copy
from typing import Any

import httpx2

from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.channels import DEFAULT_RULES, ChannelRules
from lead_intake.grouping import restate

ADDRESS = "/v1/channel-rules"
GAZETTE = {"channel": "press", "source": ["gazette"]}


def table(*first: dict[str, Any]) -> dict[str, Any]:
    return {**copy.deepcopy(dict(DEFAULT_RULES.document)), "rules": [*first, *DEFAULT_RULES.document["rules"]]}


async def put(intake: Harness[App], document: dict[str, Any], version: int | None) -> httpx2.Response:
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    return await intake.api.put(ADDRESS, json={"rules": document}, headers=headers)


async def door(intake: Harness[App]) -> str:
    answer = await intake.api.post("/v1/sources", json={"id": "form", "provider": "generic"})
    return str(answer.json()["webhook_url"])


async def came(intake: Harness[App], path: str, person: int, **told: str) -> None:
    assert intake.public is not None
    body = {"email": f"p{person}@firm.de", **told}
    while (answer := await intake.public.post(path, json=body)).status_code == 503:
        pass
    assert answer.status_code == 200, answer.text


async def channels(intake: Harness[App]) -> list[tuple[str, int]]:
    rows = await intake.fetch("SELECT channel, rules_version FROM touch ORDER BY lead_id, sequence")
    return [(row["channel"], row["rules_version"]) for row in rows]


def told(events: Any, name: str) -> list[Any]:
    return [e for e in events if e.type.endswith(name)]


async def test_a_change_is_a_version_an_event_and_reaches_earlier_touches_once(intake: Harness[App]) -> None:
    path = await door(intake)
    for n in range(3):
        await came(intake, path, n, utm_source="gazette", utm_medium="cpc", page_url=f"/{n}?gclid=test-{n}")
        await came(intake, path, n, utm_source="google", utm_medium="organic", message=str(n))
    await intake.new_events()
    answer = await put(intake, table(GAZETTE), 1)
    assert (answer.status_code, answer.headers["etag"], answer.json()["version"]) == (200, '"2"', 2)
    assert answer.json()["restatement"] == {
        "done": False, "finished_at": None, "touches_read": 0, "touches_regrouped": 0, "touches_left": 6,
    }  # fmt: skip
    await restate.restate(intake.app)
    events = await intake.new_events()
    [changed] = told(events, "ChannelRulesChanged")
    assert (changed.key, changed.body.sequence, changed.body.digest) == ("channel-rules", 2, answer.json()["digest"])
    regrouped = told(events, "TouchRegrouped")
    assert [(e.body.channel, e.body.channel_rules_version, e.body.cause) for e in regrouped] == [
        ("press", 2, "channel_rules")
    ] * 3
    assert {e.key for e in regrouped} == {e.body.lead_id for e in regrouped}
    [ended] = told(events, "ChannelRulesRestated")
    assert (ended.body.sequence, ended.body.touches_regrouped) == (2, 3)
    assert await channels(intake) == [("press", 2), ("organic_search", 2)] * 3
    sequences = {row["id"]: row["sequence"] for row in await intake.fetch("SELECT id::text, sequence FROM lead")}
    assert {e.body.lead_id: e.body.sequence for e in regrouped} == sequences, "each is a version of its lead"

    await restate.restate(intake.app)
    assert await intake.new_events() == [], "done twice, it is done once"
    stands = (await intake.api.get(ADDRESS)).json()["restatement"]
    assert (stands["done"], stands["touches_regrouped"], stands["touches_left"]) == (True, 3, 0)

    await intake.app.sources.refresh()
    await came(intake, path, 9, utm_source="gazette")
    [touched] = told(await intake.new_events(), "TouchRecorded")
    assert (touched.body.channel, touched.body.channel_rules_version) == ("press", 2)


async def test_a_restatement_in_any_chunks_and_over_any_versions_ends_as_the_last_rules_say(
    intake: Harness[App],
) -> None:
    path = await door(intake)
    for n in range(4):
        await came(intake, path, n, utm_source=["gazette", "bing", "x", ""][n], utm_medium=["cpc", "", "y", ""][n])
    assert (await put(intake, table(GAZETTE), 1)).status_code == 200
    chunk, restate.CHUNK = restate.CHUNK, 1
    try:
        assert (await restate.restate_chunk(intake.app))[0] == 1
        assert (await put(intake, table({"channel": "odd", "medium": ["y"]}), 2)).status_code == 200
        await restate.restate(intake.app)
    finally:
        restate.CHUNK = chunk
    last = ChannelRules(table({"channel": "odd", "medium": ["y"]}), version=3)
    rows = await intake.fetch("SELECT utm_source, utm_medium, channel, rules_version FROM touch")
    assert len(rows) == 4
    for row in rows:
        assert (row["channel"], row["rules_version"]) == (last.channel_of(row["utm_source"], row["utm_medium"]), 3)
    latest: dict[str, Any] = {}
    for e in await intake.outbox():
        if e.type.endswith(("TouchRecorded", "TouchRegrouped")):
            latest[e.body.touch_id] = e.body.channel
    assert sorted(latest.values()) == sorted(row["channel"] for row in rows), "who follows the events knows the same"


async def test_a_touch_that_was_grouped_by_rules_that_had_just_ended_is_found_as_well(intake: Harness[App]) -> None:
    path = await door(intake)
    await intake.app.sources.refresh()
    assert (await put(intake, table(GAZETTE), 1)).status_code == 200
    await restate.restate(intake.app)
    await came(intake, path, 1, utm_source="gazette", utm_medium="cpc")  # this door has not heard of it yet
    assert await channels(intake) == [("paid_other", 1)]
    await restate.restate(intake.app)
    assert await channels(intake) == [("press", 2)]


async def test_a_lost_update_is_refused_and_the_same_rules_again_are_the_same_version(intake: Harness[App]) -> None:
    assert (await put(intake, table(GAZETTE), None)).status_code == 428
    assert (await put(intake, table(GAZETTE), 1)).json()["version"] == 2
    assert (await put(intake, table(GAZETTE), 1)).json()["version"] == 2
    assert (await put(intake, table(), 1)).status_code == 412
    assert (await put(intake, {"rules": [{"channel": "x"}]}, 2)).status_code == 422
    versions = (await intake.api.get(f"{ADDRESS}/versions")).json()["items"]
    assert [v["version"] for v in versions] == [2, 1]
    assert (await intake.api.get(ADDRESS, params={"version": 1})).json()["rules"] == DEFAULT_RULES.document
    assert len(told(await intake.outbox(), "ChannelRulesChanged")) == 1


async def test_a_preview_counts_what_would_change_and_changes_nothing(intake: Harness[App]) -> None:
    path = await door(intake)
    await came(intake, path, 1, utm_source="gazette", utm_medium="cpc")
    await came(intake, path, 2, utm_source="google", utm_medium="cpc")
    answer = await intake.api.post(f"{ADDRESS}/preview", json={"rules": table(GAZETTE)})
    assert answer.json() == {
        "touches": 2, "changed": 1, "moves": [{"before": "paid_other", "after": "press", "touches": 1}],
    }  # fmt: skip
    assert [channel for channel, _ in await channels(intake)] == ["paid_other", "paid_search"]
    trial = {"page_url": "https://firm.de/?utm_source=gazette&utm_medium=cpc", "rules": table(GAZETTE)}
    assert (await intake.api.post(f"{ADDRESS}/try", json=trial)).json() == {
        "channel": "press", "rule": 0, "decided_by": GAZETTE, "version": None,
    }  # fmt: skip


async def test_a_lead_shows_its_first_and_last_touch_apart(intake: Harness[App]) -> None:
    path = await door(intake)
    await came(intake, path, 1, utm_source="gazette", utm_medium="cpc", page_url="/?fbclid=test-Ab")
    await came(intake, path, 1, referrer="https://gemini.google.com/app", occurred_at="2026-01-01T00:00:00Z")
    [row] = await intake.fetch("SELECT id::text FROM lead")
    lead = (await intake.api.get(f"/v1/leads/{row['id']}")).json()
    assert (lead["first_touch"]["channel"], lead["last_touch"]["channel"]) == ("ai_assistant", "paid_other")
    assert (lead["first_touch"]["referrer_host"], lead["last_touch"]["click_kinds"]) == (
        "gemini.google.com", ["fbclid"],
    )  # fmt: skip
