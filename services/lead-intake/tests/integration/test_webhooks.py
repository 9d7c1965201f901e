import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

from httpx2 import Response
from intake_samples import BODIES, SECRETS, signed

from baton_kit.testing import Harness
from lead_intake.app import App


async def given_source(intake: Harness[App], provider: str, **more: Any) -> str:
    id = provider.replace("_", "-")
    body = {"id": id, "provider": provider, "secrets": [SECRETS[provider]], "default_region": "ES"} | more
    answer = await intake.api.post("/v1/sources", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["webhook_url"])


async def send(intake: Harness[App], provider: str, body: bytes, *, key: str = "k", **more: Any) -> Response:
    assert intake.public is not None
    path = f"/v1/webhooks/{provider.replace('_', '-')}"
    sent = signed(provider, body, now=intake.clock.now(), path=path, key=key, **more)
    return await intake.public.post(path, content=sent.body, headers=sent.headers)


async def outcomes(intake: Harness[App]) -> list[str]:
    rows = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id, ordinal")
    return [row["outcome"] for row in rows]


async def balance(intake: Harness[App]) -> dict[str, Any]:
    answer = await intake.api.get("/v1/receipts/balance")
    assert answer.status_code == 200
    return dict(answer.json())


def kinds(events: Sequence[Any]) -> list[str]:
    return [e.type.rpartition(".")[2] for e in events]


async def test_every_active_secret_is_taken_until_it_is_removed(intake: Harness[App]) -> None:
    await given_source(intake, "tally", secrets=["the-old-secret"])
    added = await intake.api.post("/v1/sources/tally/secrets", json={"secret": SECRETS["tally"]})
    assert added.status_code == 201
    assert (await send(intake, "tally", BODIES["tally"]("k1", "a@example.com"))).status_code == 200
    removed = await intake.api.delete(f"/v1/sources/tally/secrets/{added.json()['id']}")
    assert removed.status_code == 204
    assert (await send(intake, "tally", BODIES["tally"]("k2", "b@example.com"))).status_code == 401


async def test_an_unsigned_source_is_known_by_the_token_in_its_address(intake: Harness[App]) -> None:
    assert intake.public is not None
    url = await given_source(intake, "typeform", secrets=[])
    body = BODIES["typeform"]("k1", "anna@example.com")
    headers = {"content-type": "application/json"}
    assert (await intake.public.post(url, content=body, headers=headers)).status_code == 200
    for wrong in ("/v1/webhooks/typeform", "/v1/webhooks/typeform/guess", "/v1/webhooks/typeform/%ff%fe"):
        assert (await intake.public.post(wrong, content=body, headers=headers)).status_code == 401
    shown = (await intake.api.get("/v1/sources/typeform")).json()["webhook_url"]
    assert url.rpartition("/")[2] not in shown


async def test_the_google_key_is_not_stored(intake: Harness[App]) -> None:
    await given_source(intake, "google_ads")
    await send(intake, "google_ads", BODIES["google_ads"]("k1", "anna@example.com"))
    escaped = BODIES["google_ads"]("k2", "b@example.com").replace(b'"google_key"', b'"google\\u005fkey"')
    assert (await send(intake, "google_ads", escaped)).status_code == 200
    bodies = [row["body"] for row in await intake.fetch("SELECT body FROM receipt")]
    assert len(bodies) == 2
    assert not any(SECRETS["google_ads"].encode() in body for body in bodies)


async def test_the_form_again_is_matched_and_nothing_new_is_a_touch_only(intake: Harness[App]) -> None:
    await given_source(intake, "generic")
    await send(intake, "generic", BODIES["generic"]("1", "Anna@Example.com", company="Petrova Labs"))
    await send(intake, "generic", BODIES["generic"]("2", "anna@example.com", "+34600112233", job_title="CEO"))
    await send(intake, "generic", BODIES["generic"]("3", "", "+34600112233"))
    assert await outcomes(intake) == ["created", "matched", "touch_only"]
    events = await intake.outbox()
    assert kinds(events) == [
        "LeadCreated", "TouchRecorded", "ContactChanged", "TouchRecorded", "ContactChanged", "TouchRecorded",
    ]  # fmt: skip
    assert len({e.key for e in events}) == 1
    assert [e.body.sequence for e in events if kinds([e]) != ["ContactChanged"]] == [1, 2, 3, 4]
    last = events[-1].body.features
    assert (last.has_company, last.job_level, last.has_phone) == (True, "c_level", True)
    [lead] = (await intake.api.get("/v1/leads")).json()["items"]
    assert lead["features"]["job_level"] == "c_level"
    contact = (await intake.api.get(f"/v1/leads/{lead['id']}/contact")).json()
    assert (contact["company_name"], contact["job_title"], contact["phones"]) == (
        "Petrova Labs", "CEO", ["+34600112233"],
    )  # fmt: skip


async def test_a_delivery_that_meets_two_persons_proposes_a_merge_and_merges_nothing(intake: Harness[App]) -> None:
    await given_source(intake, "generic")
    await send(intake, "generic", BODIES["generic"]("1", "anna@example.com"))
    await send(intake, "generic", BODIES["generic"]("2", "", "+34600112233"))
    await send(intake, "generic", BODIES["generic"]("3", "anna@example.com", "+34600112233"))
    assert (await outcomes(intake))[:2] == ["created", "created"]
    [merge] = await intake.fetch("SELECT * FROM proposed_merge")
    assert merge["person_low"] < merge["person_high"]
    assert len(await intake.fetch("SELECT FROM lead")) == 2
    assert len(await intake.fetch("SELECT FROM identity_key")) == 2


async def test_an_array_of_hubspot_settles_each_entry_by_itself(intake: Harness[App]) -> None:
    await given_source(intake, "hubspot")
    flat = {"objectId": 332507367156, "portalId": 1, "lastmodifieddate": "1767600000000"}
    event = {"portalId": 1, "subscriptionId": 2, "occurredAt": 1767600000123, "eventId": 3, "objectId": 4}
    records = [
        flat | {"email": "a@example.com"},
        flat | {"objectId": 332507367157, "email": "b@example.com"},
        event | {"subscriptionType": "contact.creation"},
        event | {"subscriptionType": "deal.creation"},
        flat | {"email": "a@example.com"},
    ]
    answer = await send(intake, "hubspot", json.dumps(records).encode())
    assert answer.status_code == 200
    assert await outcomes(intake) == ["created", "created", "pending", "refused", "duplicate"]
    keys = [row["key"] for row in await intake.fetch("SELECT key FROM receipt_entry ORDER BY ordinal")]
    assert keys[0] == "1:332507367156:1767600000000"
    assert (await balance(intake))["balanced"] is True


async def test_many_at_once_make_each_person_once_and_the_ledger_agrees(intake: Harness[App]) -> None:
    await given_source(intake, "generic")
    shuffle = random.Random(7)
    bodies = []
    for n in range(400):
        person = shuffle.randrange(40)
        # Half of them are known by the address, half by the number, some by both.
        email = f"p{person}@example.com" if shuffle.random() < 0.7 else ""
        phone = f"+3460011{person:04d}" if shuffle.random() < 0.7 or not email else ""
        bodies.append(BODIES["generic"](str(n % 350), email, phone))
    asked_again = 0

    async def deliver(body: bytes) -> int:
        nonlocal asked_again
        # As every provider does: what was not acknowledged in time comes again.
        while (answer := await send(intake, "generic", body)).status_code == 503:
            asked_again += 1
        return answer.status_code

    assert set(await asyncio.gather(*(deliver(body) for body in bodies))) == {200}
    found = await outcomes(intake)
    assert len(found) - found.count("duplicate") == 350
    assert 50 <= found.count("duplicate") <= 50 + asked_again
    [leads] = await intake.fetch("SELECT count(*) AS n, count(DISTINCT person_id) AS persons FROM lead")
    assert leads["n"] == leads["persons"] == found.count("created") <= 80
    whole = await balance(intake)
    assert whole["balanced"] is True
    [unclaimed] = await intake.fetch(
        "SELECT count(*) AS n FROM identity_key k LEFT JOIN lead l USING (person_id) WHERE l.id IS NULL"
    )
    assert unclaimed["n"] == 0
    events = await intake.outbox()
    for lead_id in {e.key for e in events}:
        own = [e.body.sequence for e in events if e.key == lead_id and kinds([e]) != ["ContactChanged"]]
        assert own == list(range(1, len(own) + 1))
