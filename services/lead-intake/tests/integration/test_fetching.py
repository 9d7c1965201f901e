"""Lookups at providers, against a server on this machine that speaks their APIs."""

import asyncio
import dataclasses
import hmac
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from intake_providers import SAMPLES
from intake_samples import hubspot_events, linkedin, meta
from provider_server import TOKEN, graph_error, linkedin_lead, meta_lead, open_providers
from reaching import Fetching, outcomes

from baton_kit.testing import Server, open_harness
from lead_intake.fetching import fetch, store
from lead_intake.fetching.calls import open_http
from lead_intake.service import SERVICE


@pytest.fixture
async def fetching(postgres_server: Server) -> AsyncIterator[Fetching]:
    async with open_providers() as providers:
        urls = dict.fromkeys(("meta", "linkedin", "tiktok", "hubspot"), providers.url)
        async with (
            open_harness(SERVICE, postgres_server, provider_urls=urls) as intake,
            open_http(intake.app.settings) as http,
        ):
            yield Fetching(intake, providers, http)


async def test_a_lead_of_meta_is_pending_until_it_was_looked_up(fetching: Fetching) -> None:
    await fetching.given("meta")
    fetching.providers.leads["98700112233445566778899"] = meta_lead("98700112233445566778899", "anna@example.com")
    answer = await fetching.push("meta", meta("98700112233445566778899"))
    assert answer.status_code == 200
    assert await fetching.entries() == [("pending", "")]
    assert await fetching.states() == ["pending"]
    assert await fetching.intake.outbox() == []
    assert await fetching.work() == 1
    assert await fetching.entries() == [("created", "")]
    assert await fetching.states() == ["settled"]

    created, touched, contact = await fetching.intake.outbox()
    assert [e.type.rpartition(".")[2] for e in (created, touched, contact)] == [
        "LeadCreated",
        "TouchRecorded",
        "ContactChanged",
    ]
    assert (list(contact.body.emails), list(contact.body.phones)) == (["anna@example.com"], ["+34600112233"])
    assert [(c.purpose, c.granted) for c in contact.body.consents] == [("marketing", True)]
    assert (touched.body.channel, touched.body.campaign_id) == ("paid_social", "120210987650001")
    assert (touched.body.adgroup_id, touched.body.ad_id) == ("120210987650009", "120210987650010")
    assert touched.body.form_id == created.body.form_id == "733300112233445"
    assert (touched.body.utm_source, touched.body.utm_campaign) == ("instagram", "Spring demo")
    [entry] = await fetching.intake.fetch("SELECT key, lead_id::text FROM receipt_entry")
    assert (entry["key"], entry["lead_id"]) == ("98700112233445566778899", created.body.lead_id)
    [(path, query, headers)] = fetching.providers.asked
    assert path == "/v25.0/98700112233445566778899"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in query


async def test_several_changes_of_one_post_are_looked_up_each_by_itself(fetching: Fetching) -> None:
    await fetching.given("meta")
    for n in range(5):
        fetching.providers.leads[str(n)] = meta_lead(str(n), f"p{n}@example.com", field_data=[
            {"name": "email", "values": [f"p{n}@example.com"]}
        ])  # fmt: skip
    body = meta("0", "1", "2", "3", "4", "missing")
    assert (await fetching.push("meta", body)).status_code == 200
    assert await fetching.work() == 6
    assert await outcomes(fetching.intake) == ["created"] * 5 + ["quarantined"]
    assert await fetching.states() == ["quarantined"]


async def test_a_repeated_notification_is_a_repeat_before_and_after_the_lookup(fetching: Fetching) -> None:
    await fetching.given("meta")
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    first = await fetching.push("meta", meta("1"))
    again = await fetching.push("meta", meta("1"))
    assert first.content == again.content
    await fetching.work()
    await fetching.push("meta", meta("1"))
    assert await outcomes(fetching.intake) == ["created", "duplicate", "duplicate"]
    assert fetching.providers.asked_for("/v25.0/1") == 1
    assert len(await fetching.intake.outbox()) == 3


async def test_the_test_button_s_lead_cannot_be_looked_up_and_ends_as_a_test(fetching: Fetching) -> None:
    await fetching.given("meta")
    body = meta("444444444444", page_id="444444444444", form_id="444444444444", ad_id="444444444")
    assert (await fetching.push("meta", body)).status_code == 200
    await fetching.work()
    assert await outcomes(fetching.intake) == ["test"]
    assert await fetching.intake.outbox() == []


@pytest.mark.parametrize(
    ("ticked", "consent"),
    [(["1", "1"], True), (["1", ""], False), ([], None)],
)
async def test_consent_is_given_only_where_every_box_is_ticked(
    fetching: Fetching, ticked: list[str], consent: bool | None
) -> None:
    await fetching.given("meta")
    boxes = [{"checkbox_key": f"box_{n}", "is_checked": value} for n, value in enumerate(ticked)]
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com", custom_disclaimer_responses=boxes)
    await fetching.push("meta", meta("1"))
    await fetching.work()
    contact = (await fetching.intake.outbox())[-1].body
    assert [c.granted for c in contact.consents] == ([] if consent is None else [consent])


async def test_a_mapping_names_questions_and_boxes_of_the_form(fetching: Fetching) -> None:
    mapping = {
        "consent_marketing": "disclaimers.news",
        "answers": {"plan": {"path": "which_plan?", "codes": {"team_plan": "team"}}},
    }
    await fetching.given("meta", mapping=mapping)
    boxes = [{"checkbox_key": "terms", "is_checked": ""}, {"checkbox_key": "news", "is_checked": "1"}]
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com", custom_disclaimer_responses=boxes)
    await fetching.push("meta", meta("1"))
    await fetching.work()
    created = (await fetching.intake.outbox())[0].body
    assert dict(created.features.answers) == {"plan": "team"}
    assert created.features.consent_marketing is True


async def test_an_expired_token_is_shown_and_nothing_is_lost_until_a_new_one_comes(fetching: Fetching) -> None:
    await fetching.given("meta", token="an-older-token")
    for n in range(3):
        fetching.providers.leads[str(n)] = meta_lead(str(n), "anna@example.com")
    await fetching.push("meta", meta("0", "1", "2"))
    since = fetching.intake.clock.now()
    await fetching.work()
    assert len(fetching.providers.asked) <= 3
    shown = (await fetching.source("meta"))["fetching"]
    assert (shown["state"], shown["reason"], shown["waiting"]) == ("token_invalid", "token_expired", 3)
    assert shown["since"] == since.isoformat().replace("+00:00", "Z")
    assert "an-older-token" not in str(await fetching.source("meta"))

    # Every quarter of an hour one call finds out whether it is good again; the first refusal keeps its time.
    asked = len(fetching.providers.asked)
    for _ in range(8):
        fetching.intake.clock.advance(timedelta(minutes=5))
        await fetching.work()
    assert 2 <= len(fetching.providers.asked) - asked <= 4
    assert (await fetching.source("meta"))["fetching"]["since"] == shown["since"]
    assert {row["attempt"] for row in await fetching.intake.fetch("SELECT attempt FROM fetch_job")} == {0}

    url = "/v1/sources/meta/credentials/access_token"
    assert (await fetching.intake.api.put(url, json={"value": TOKEN})).status_code == 200
    await fetching.work()
    assert (await fetching.source("meta"))["fetching"]["state"] == "ready"
    assert sorted(await outcomes(fetching.intake)) == ["created", "touch_only", "touch_only"]


async def test_a_source_without_a_token_waits_and_says_so(fetching: Fetching) -> None:
    await fetching.given("meta", token=None)
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    await fetching.push("meta", meta("1"))
    await fetching.work()
    assert (await fetching.source("meta"))["fetching"]["state"] == "no_token"
    assert fetching.providers.asked == []
    assert await outcomes(fetching.intake) == ["pending"]


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, {}, {"retry_after": "120"}, 120),
        (400, graph_error(80005), {}, 30),
        (
            400,
            graph_error(4),
            {"x_business_use_case_usage": '{"1":[{"type":"leadgen","estimated_time_to_regain_access":19}]}'},
            19 * 60,
        ),
    ],
)
async def test_a_throttled_source_rests_as_long_as_the_provider_says(
    fetching: Fetching, status: int, body: Any, headers: dict[str, str], seconds: int
) -> None:
    await fetching.given("meta")
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    fetching.providers.fails(status, body, **headers)
    await fetching.push("meta", meta("1"))
    await fetching.work()
    assert (await fetching.source("meta"))["fetching"]["state"] == "throttled"
    fetching.intake.clock.advance(timedelta(seconds=seconds - 1))
    assert await fetching.work() == 0
    fetching.intake.clock.advance(timedelta(seconds=1))
    assert await fetching.work() == 1
    assert await outcomes(fetching.intake) == ["created"]
    [job] = await fetching.intake.fetch("SELECT attempt FROM fetch_job")
    assert job["attempt"] == 0


async def test_calls_under_way_that_hear_the_same_refusal_make_one_pause(fetching: Fetching) -> None:
    await fetching.given("meta")
    lead_ids = [str(n) for n in range(8)]
    fetching.providers.leads |= {id: meta_lead(id, "anna@example.com") for id in lead_ids}
    for _ in lead_ids:
        fetching.providers.fails(429, {})
    await fetching.push("meta", meta(*lead_ids))
    claimed = await fetch.claim(fetching.intake.app, most=8)
    await asyncio.gather(
        *(fetch.work(fetching.intake.app, fetching.http, source=source, job=job) for source, job in claimed)
    )
    fetching.intake.clock.advance(timedelta(seconds=30))
    assert await fetching.work() == 8


async def test_a_nearly_used_up_allowance_makes_the_source_rest_before_it_is_refused(fetching: Fetching) -> None:
    await fetching.given("meta")
    for n in range(4):
        fetching.providers.leads[str(n)] = meta_lead(str(n), "anna@example.com")
        await fetching.push("meta", meta(str(n)))
    fetching.providers.usage = {"x-app-usage": '{"call_count":97,"total_time":3,"total_cputime":4}'}
    claimed = await fetch.claim(fetching.intake.app, most=1)
    await fetch.work(fetching.intake.app, fetching.http, source=claimed[0][0], job=claimed[0][1])
    assert await fetching.work() == 0
    fetching.intake.clock.advance(timedelta(minutes=5))
    fetching.providers.usage = {}
    assert await fetching.work() == 3


async def test_a_source_asks_no_more_than_its_rate(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"fetch_per_minute": "60"})
    lead_ids = [str(n) for n in range(50)]
    fetching.providers.leads |= {id: meta_lead(id, "anna@example.com") for id in lead_ids}
    await fetching.push("meta", meta(*lead_ids))
    assert await fetching.work() == store.BURST
    fetching.intake.clock.advance(timedelta(seconds=10))
    assert await fetching.work() == 10
    fetching.intake.clock.advance(timedelta(minutes=10))
    assert await fetching.work() == store.BURST
    assert await outcomes(fetching.intake) == ["created"] + ["touch_only"] * 49


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (503, b"<html>"), (400, graph_error(2)), (200, b"{"), (200, b"[]"), (200, {"id": "1"}), (302, {})],
)
async def test_a_passing_failure_is_tried_again_later(fetching: Fetching, status: int, body: Any) -> None:
    await fetching.given("meta")
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    fetching.providers.fails(status, body, location="http://127.0.0.1:1/")
    await fetching.push("meta", meta("1"))
    await fetching.work()
    assert await outcomes(fetching.intake) == ["pending"]
    assert await fetching.work() == 0
    fetching.intake.clock.advance(timedelta(seconds=5))
    assert await fetching.work() == 1
    assert await outcomes(fetching.intake) == ["created"]


async def test_an_answer_that_never_can_be_read_goes_to_a_person(fetching: Fetching) -> None:
    await fetching.given("meta")
    for _ in range(5):
        fetching.providers.fails(200, b"\xff{")
    await fetching.push("meta", meta("1"))
    for _ in range(5):
        await fetching.work()
        fetching.intake.clock.advance(timedelta(hours=1))
    assert await fetching.entries() == [("quarantined", "fetch_malformed")]


async def test_a_slow_provider_and_one_that_is_away_cost_an_attempt_and_no_entry(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lead_intake.fetching.calls.WHOLE_S", 0.2)
    await fetching.given("meta")
    fetching.providers.slow = asyncio.Event()
    await fetching.push("meta", meta("1"))
    await fetching.work()
    [job] = await fetching.intake.fetch("SELECT attempt, reason FROM fetch_job")
    assert (job["attempt"], job["reason"]) == (1, "timeout")
    away = fetching.intake.app.settings.model_copy(update={"provider_urls": {"meta": "http://127.0.0.1:9"}})
    app = dataclasses.replace(fetching.intake.app, settings=away)
    fetching.intake.clock.advance(timedelta(seconds=10))
    [(source, claimed)] = await fetch.claim(app, most=1)
    await fetch.work(app, fetching.http, source=source, job=claimed)
    [job] = await fetching.intake.fetch("SELECT attempt, reason FROM fetch_job")
    assert (job["attempt"], job["reason"]) == (2, "network")
    assert await outcomes(fetching.intake) == ["pending"]


async def test_what_waits_beyond_its_limit_is_quarantined_and_can_be_looked_up_again(fetching: Fetching) -> None:
    await fetching.given("meta", token=None)
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    await fetching.push("meta", meta("1"))
    fetching.intake.clock.advance(timedelta(hours=168) - timedelta(seconds=1))
    assert await fetch.expire(fetching.intake.app) == 0
    fetching.intake.clock.advance(timedelta(seconds=1))
    assert await fetch.expire(fetching.intake.app) == 1
    assert await fetch.expire(fetching.intake.app) == 0
    assert await fetching.entries() == [("quarantined", "fetch_expired")]
    assert await fetching.states() == ["quarantined"]
    await fetching.holds()

    url = "/v1/sources/meta/credentials/access_token"
    await fetching.intake.api.put(url, json={"value": TOKEN})
    order = {"source": "meta", "reason": "fetch_expired"}
    dry = await fetching.intake.api.post("/v1/fetches/retry", json=order | {"dry_run": True})
    assert dry.json() == {"retried": 0, "left": 1}
    done = await fetching.intake.api.post("/v1/fetches/retry", json=order)
    assert done.json() == {"retried": 1, "left": 0}
    await fetching.holds()
    again = await fetching.intake.api.post("/v1/fetches/retry", json=order)
    assert again.json() == {"retried": 0, "left": 0}
    await fetching.work()
    assert await fetching.entries() == [("created", "")]
    assert len(await fetching.intake.fetch("SELECT FROM receipt")) == 1


async def test_a_quarantined_lookup_whose_lead_came_another_way_ends_as_its_repeat(fetching: Fetching) -> None:
    await fetching.given("meta")
    await fetching.push("meta", meta("1"))
    await fetching.work()
    assert await fetching.entries() == [("quarantined", "lead_not_found")]
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    await fetching.push("meta", meta("1"))
    await fetching.work()
    assert await outcomes(fetching.intake) == ["quarantined", "created"]
    assert (await fetching.intake.api.post("/v1/fetches/retry", json={})).json() == {"retried": 0, "left": 0}
    assert await outcomes(fetching.intake) == ["duplicate", "created"]
    await fetching.holds()
    assert len(await fetching.intake.outbox()) == 3


async def test_a_worker_that_lost_its_lease_settles_nothing(fetching: Fetching) -> None:
    await fetching.given("meta")
    fetching.providers.leads["1"] = meta_lead("1", "anna@example.com")
    await fetching.push("meta", meta("1"))
    [(source, slow)] = await fetch.claim(fetching.intake.app, most=1)
    assert await fetch.claim(fetching.intake.app, most=1) == []
    await fetching.intake.fetch("UPDATE fetch_job SET lease_until = now() - interval '1 second' RETURNING 1")
    [(_, other)] = await fetch.claim(fetching.intake.app, most=1)
    assert other.epoch == slow.epoch + 1
    await fetch.work(fetching.intake.app, fetching.http, source=source, job=slow)
    assert await outcomes(fetching.intake) == ["pending"]
    await fetch.work(fetching.intake.app, fetching.http, source=source, job=other)
    await fetch.work(fetching.intake.app, fetching.http, source=source, job=other)
    assert await outcomes(fetching.intake) == ["created"]
    assert len(await fetching.intake.outbox()) == 3


async def test_lookups_of_one_delivery_that_end_at_once_leave_it_settled(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"fetch_per_minute": "9999"})
    lead_ids = [str(n) for n in range(20)]
    # Different persons: nothing but the receipt they share makes their ends follow each other.
    fetching.providers.leads |= {
        id: meta_lead(id, "", field_data=[{"name": "email", "values": [f"p{id}@example.com"]}]) for id in lead_ids
    }
    await fetching.push("meta", meta(*lead_ids))
    claimed = await fetch.claim(fetching.intake.app, most=20)
    assert len(claimed) == 20
    await asyncio.gather(
        *(fetch.work(fetching.intake.app, fetching.http, source=source, job=job) for source, job in claimed)
    )
    await fetching.holds()
    assert await fetching.states() == ["settled"]
    assert await outcomes(fetching.intake) == ["created"] * 20
    assert len(await fetching.intake.fetch("SELECT FROM lead")) == 20


async def test_a_lead_of_linkedin_is_read_with_its_form(fetching: Fetching) -> None:
    mapping = {"answers": {"team_size": {"path": "questions.3", "codes": {"11-50": "medium"}}}}
    await fetching.given("linkedin", mapping=mapping)
    for n in range(2):
        fetching.providers.leads[f"7c1d-{n}"] = linkedin_lead(f"7c1d-{n}", f"p{n}@example.com")
        assert (await fetching.push("linkedin", linkedin(f"7c1d-{n}"))).status_code == 200
    await fetching.work()
    assert await outcomes(fetching.intake) == ["created", "created"]
    assert fetching.providers.asked_for("/rest/leadForms/112233") == 1
    created, touched, contact = (await fetching.intake.outbox())[:3]
    assert dict(created.body.features.answers) == {"team_size": "medium"}
    assert (contact.body.first_name, list(contact.body.emails)) == ("Anna", ["p0@example.com"])
    assert [c.granted for c in contact.body.consents] == [True]
    assert (touched.body.campaign_id, touched.body.ad_id, touched.body.form_id) == ("440011", "330044551", "112233")
    assert (touched.body.utm_source, touched.body.utm_campaign) == ("linkedin", "spring")
    assert touched.body.channel == "paid_social"


async def test_a_test_lead_of_linkedin_is_kept_as_such(fetching: Fetching) -> None:
    await fetching.given("linkedin")
    fetching.providers.leads["1"] = linkedin_lead("1", "anna@example.com", testLead=True)
    await fetching.push("linkedin", linkedin("1"))
    await fetching.work()
    assert await outcomes(fetching.intake) == ["test"]


@pytest.mark.parametrize("deleted_first", [True, False])
async def test_a_lead_that_its_member_took_back_is_not_brought_in(fetching: Fetching, deleted_first: bool) -> None:
    await fetching.given("linkedin")
    fetching.providers.leads["1"] = linkedin_lead("1", "anna@example.com")
    bodies = [linkedin("1"), linkedin("1", "DELETED")]
    for body in reversed(bodies) if deleted_first else bodies:
        assert (await fetching.push("linkedin", body)).status_code == 200
    await fetching.work()
    assert await fetching.entries() == [("refused", "erase_requested")] * 2
    assert await fetching.intake.outbox() == []
    [order] = await fetching.intake.fetch("SELECT key, done_at FROM erase_request")
    assert (order["key"], order["done_at"]) == ("urn:li:leadGenFormResponse:1:CREATED", None)


async def test_a_contact_of_hubspot_is_looked_up_once_for_all_that_one_form_changed(fetching: Fetching) -> None:
    await fetching.given("hubspot")
    fetching.providers.leads["332507367156"] = {"email": "anna@example.com", "firstname": "Anna", "company": "Labs"}
    changed = {"subscriptionType": "contact.propertyChange", "eventId": 2}
    body = hubspot_events(
        {},
        changed | {"propertyName": "recent_conversion_date"},
        changed | {"propertyName": "lifecyclestage"},
        {"subscriptionType": "deal.creation"},
        {"subscriptionType": "object.creation", "objectTypeId": "0-1", "objectId": 9007199254740993},
    )
    assert (await fetching.push("hubspot", body)).status_code == 200
    assert await fetching.entries() == [
        ("pending", ""), ("duplicate", ""), ("refused", "not_an_inquiry"), ("refused", "not_a_lead"),
        ("pending", ""),
    ]  # fmt: skip
    await fetching.work()
    assert [outcome for outcome, _ in await fetching.entries()][::4] == ["created", "quarantined"]
    assert fetching.providers.asked_for("/crm/v3/objects/contacts/9007199254740993") == 1
    contact = (await fetching.intake.outbox())[-1].body
    assert (contact.first_name, contact.company_name) == ("Anna", "Labs")


async def test_a_changed_contact_of_hubspot_is_an_update_of_who_is_known_and_nobody_otherwise(
    fetching: Fetching,
) -> None:
    await fetching.given("hubspot")
    leads = fetching.providers.leads
    leads["332507367156"] = {"email": "anna@example.com", "firstname": "Anna", "numberofemployees": "20"}
    await fetching.push("hubspot", hubspot_events({}))
    await fetching.work()
    before = len(await fetching.intake.outbox())
    leads["332507367156"] |= {"numberofemployees": "300", "jobtitle": "CFO"}
    leads["7"] = {"email": "unknown@example.com"}
    at = 1772438500000
    changed = {"subscriptionType": "contact.propertyChange", "occurredAt": at}
    body = hubspot_events(
        changed | {"propertyName": "numberofemployees", "eventId": 2},
        changed | {"propertyName": "jobtitle", "eventId": 3},
        changed | {"propertyName": "jobtitle", "eventId": 4, "objectId": 7},
        changed | {"propertyName": "lifecyclestage", "eventId": 5},
        changed | {"propertyName": "jobtitle", "eventId": 6, "occurredAt": at + 5_000},
    )
    await fetching.push("hubspot", body)
    assert [outcome for outcome, _ in await fetching.entries()][1:] == [
        "pending", "duplicate", "pending", "refused", "pending",
    ]  # fmt: skip
    await fetching.work()
    assert (await fetching.entries())[1:] == [
        ("updated", "told_on"), ("duplicate", ""), ("refused", "nobody_known"), ("refused", "not_an_inquiry"),
        ("duplicate", ""),
    ]  # fmt: skip
    updated, contact = (await fetching.intake.outbox())[before:]
    assert (updated.type.rpartition(".")[2], updated.body.provider) == ("LeadUpdated", "hubspot")
    assert (updated.body.features.employees, updated.body.features.job_level) == (250, "c_level")
    assert contact.body.job_title == "CFO"
    assert len(await fetching.intake.fetch("SELECT FROM touch")) == 1
    assert len(await fetching.intake.fetch("SELECT FROM lead")) == 1


async def test_a_source_of_whole_leads_asks_for_no_token_until_something_must_be_looked_up(fetching: Fetching) -> None:
    await fetching.given("hubspot", token=None)
    assert (await fetching.source("hubspot"))["fetching"] is None
    await fetching.push("hubspot", hubspot_events({}))
    assert (await fetching.source("hubspot"))["fetching"]["state"] == "no_token"


async def test_a_privacy_deletion_of_hubspot_keeps_later_answers_out(fetching: Fetching) -> None:
    await fetching.given("hubspot")
    fetching.providers.leads["332507367156"] = {"email": "anna@example.com"}
    await fetching.push("hubspot", hubspot_events({}, {"subscriptionType": "contact.privacyDeletion"}))
    await fetching.work()
    assert await fetching.entries() == [("refused", "erase_requested")] * 2


async def test_hubspot_s_limits_are_kept(fetching: Fetching) -> None:
    await fetching.given("hubspot")
    fetching.providers.leads |= {str(n): {"email": f"p{n}@example.com"} for n in (1, 2)}
    fetching.providers.usage = {
        "x-hubspot-ratelimit-remaining": "3", "x-hubspot-ratelimit-interval-milliseconds": "10000",
    }  # fmt: skip
    await fetching.push("hubspot", hubspot_events({"objectId": 1}, {"objectId": 2}))
    [(source, job)] = await fetch.claim(fetching.intake.app, most=1)
    await fetch.work(fetching.intake.app, fetching.http, source=source, job=job)
    assert await fetching.work() == 0
    fetching.intake.clock.advance(timedelta(seconds=10))
    assert await fetching.work() == 1
    assert await outcomes(fetching.intake) == ["created", "created"]


async def test_tiktok_is_known_by_its_address_and_its_signature_only_where_one_comes(fetching: Fetching) -> None:
    url = (await fetching.given("tiktok", settings={"advertiser_id": "42"}))["webhook_url"]
    assert fetching.intake.public is not None
    token = url.rpartition("/")[2]
    body = SAMPLES["tiktok"].body("7590011223344556677", "anna@example.com")
    good = {"content-type": "application/json"}
    signature = hmac.digest(b"tt-secret-1", b"1767600000." + body, "sha256").hex()
    good["tiktok-signature"] = f"t=1767600000,s={signature}"
    assert (await fetching.intake.public.post(url, content=body, headers=good)).status_code == 200
    assert (await fetching.push("tiktok", body, token=token)).status_code == 200
    assert (await fetching.push("tiktok", SAMPLES["tiktok"].body("2", "b@example.com"))).status_code == 401
    plain = {"content-type": "application/json"}
    assert (
        await fetching.intake.public.post(url, content=SAMPLES["tiktok"].body("3", "c@example.com"), headers=plain)
    ).is_success
    forged = plain | {"tiktok-signature": "t=1767600000,s=" + "0" * 64}
    answer = await fetching.intake.public.post(
        url, content=SAMPLES["tiktok"].body("4", "d@example.com"), headers=forged
    )
    assert answer.status_code == 401
    assert await outcomes(fetching.intake) == ["created", "duplicate", "created"]


async def test_a_lead_of_tiktok_without_answers_is_looked_up(fetching: Fetching) -> None:
    url = (await fetching.given("tiktok", settings={"advertiser_id": "42"}))["webhook_url"]
    fetching.providers.leads["7590011223344556677"] = {
        "lead_data": {"Name": "Anna", "Email": "anna@example.com"},
        "meta_data": {
            "lead_id": "7590011223344556677",
            "page_id": "75",
            "campaign_id": "18",
            "create_time": "2026-03-02 08:00:00",
        },
    }
    body = b'{"object":1,"entry":[{"id":7590011223344556677,"page_id":75,"create_time":1772438400,"changes":[]}]}'
    await fetching.push("tiktok", body, token=url.rpartition("/")[2])
    assert await outcomes(fetching.intake) == ["pending"]
    await fetching.work()
    assert await outcomes(fetching.intake) == ["created"]
    [(_, query, _)] = fetching.providers.asked
    assert "lead_id=7590011223344556677" in query


async def test_the_codes_of_tiktok_are_told_apart(fetching: Fetching) -> None:
    url = (await fetching.given("tiktok", token="a-revoked-token", settings={"advertiser_id": "42"}))["webhook_url"]
    body = b'{"object":1,"entry":[{"id":"1"}]}'
    await fetching.push("tiktok", body, token=url.rpartition("/")[2])
    await fetching.work()
    assert (await fetching.source("tiktok"))["fetching"]["state"] == "token_invalid"


async def test_credentials_are_sealed_and_never_shown(fetching: Fetching) -> None:
    made = await fetching.given("meta")
    assert len(made["verify_token"]) >= 24
    shown = await fetching.source("meta")
    assert [c["name"] for c in shown["credentials"]] == ["access_token", "verify_token"]
    assert shown["verify_token"] is None
    rows = await fetching.intake.fetch("SELECT sealed FROM source_credential")
    assert not any(TOKEN.encode() in row["sealed"] or made["verify_token"].encode() in row["sealed"] for row in rows)
    for bad in ("short", "line\nbreak-in-it", "ключ-не-из-ascii"):
        answer = await fetching.intake.api.put("/v1/sources/meta/credentials/access_token", json={"value": bad})
        assert answer.status_code == 422
        assert bad not in answer.text
    assert (
        await fetching.intake.api.put("/v1/sources/meta/credentials/other", json={"value": TOKEN})
    ).status_code == 404


async def test_meta_s_challenge_is_answered_only_with_the_verify_token(fetching: Fetching) -> None:
    assert fetching.intake.public is not None
    token = (await fetching.given("meta"))["verify_token"]
    ask = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
    good = await fetching.intake.public.get("/v1/webhooks/meta", params=ask | {"hub.verify_token": token})
    assert (good.status_code, good.content) == (200, b"1158201444")
    refused = [
        await fetching.intake.public.get("/v1/webhooks/meta", params=ask | {"hub.verify_token": "guess"}),
        await fetching.intake.public.get("/v1/webhooks/meta", params=ask),
        await fetching.intake.public.get(
            "/v1/webhooks/meta", params={"hub.verify_token": token, "hub.mode": "subscribe"}
        ),
        await fetching.intake.public.get("/v1/webhooks/nobody", params=ask | {"hub.verify_token": token}),
    ]
    assert {(answer.status_code, answer.content) for answer in refused} == {(403, refused[0].content)}


async def test_linkedin_s_challenge_signs_nothing_but_a_challenge(fetching: Fetching) -> None:
    assert fetching.intake.public is not None
    await fetching.given("linkedin")
    url = "/v1/webhooks/linkedin"
    code = "3f0d7c1e-6d0a-4c55-9f2b-1b2a3c4d5e6f"
    answer = await fetching.intake.public.get(url, params={"challengeCode": code})
    assert answer.json() == {
        "challengeCode": code,
        "challengeResponse": "525d3bfa801ab8ce21f79721ff0543c5556cdeb024db2509aa46d5bd3df36cbf",
    }
    # Whoever could have this signed could send it as a delivery.
    forged = "hmacsha256=" + linkedin("1").decode()
    assert (await fetching.intake.public.get(url, params={"challengeCode": forged})).status_code == 403


async def test_a_provider_can_be_put_elsewhere_only_on_this_machine(fetching: Fetching) -> None:
    from pydantic import ValidationError

    settings = fetching.intake.app.settings
    given = {name: getattr(settings, name) for name in ("database", "kafka", "seal_key")}
    with pytest.raises(ValidationError, match="not on this machine"):
        type(settings)(**given, provider_urls={"meta": "https://graph.example.com"})
    type(settings)(**given, provider_urls={"meta": "https://graph.example.com"}, provider_urls_anywhere=True)
