"""A person is forgotten at once and for good; receipts, counts and the log stay."""

import asyncio
import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from contact_steps import balance, given_source, kinds, outcomes, send, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_samples import BODIES

from baton_kit import forgotten
from baton_kit.db import raw
from baton_kit.forgotten import Forgotten
from baton_kit.ids import new_id
from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.delivery import Incoming
from lead_intake.erasing.erase import finish_restored, follow_orders, sweep
from lead_intake.ledger.request import sealed_request

ANNA = "anna.petrova@example.com"
PHONE = "600 11 22 33"
MARKS = ("petrova", "600112233", "gclid-of-anna")


async def erase(intake: Harness[App], path: str, *, key: str = "e1", **body: Any) -> Any:
    return await intake.api.post(path, json=body, headers={"Idempotency-Key": key})


async def given_lead(intake: Harness[App], *, key: str = "k1", **more: Any) -> str:
    if not await intake.fetch("SELECT 1 FROM source"):
        await given_source(intake)
    body = BODIES["generic"](key, ANNA, PHONE, company="Acme", gclid="gclid-of-anna", **more)
    assert (await send(intake, body, key=key)).status_code == 200
    [row] = await intake.fetch("SELECT lead_id::text FROM receipt_entry WHERE key = $1", key)
    return str(row["lead_id"])


async def everything_but_the_outbox(intake: Harness[App]) -> str:
    """All rows of all tables as text, bytes both as hex and as text."""
    tables = await intake.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'outbox%'"
    )
    found = []
    for table in tables:
        for row in await intake.fetch(f"SELECT * FROM {table['tablename']}"):
            for value in row.values():
                found.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return "\n".join(found).lower()


async def test_nothing_of_the_person_is_left_in_any_table(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    await given_lead(intake, key="k2", message="Call Petrova")
    await send(intake, BODIES["generic"]("k1", ANNA, PHONE), key="k1")  # a repeat has a body as well
    await send(intake, json.dumps({"name": "x", "cc": ANNA}).encode(), key="q")  # quarantined: no identity
    before = await everything_but_the_outbox(intake)
    assert all(mark in before for mark in MARKS)
    assert await outcomes(intake) == ["created", "matched", "duplicate", "quarantined"]
    balance_before = await balance(intake)

    answer = await erase(intake, f"/v1/leads/{lead}/erase", reason="consent_withdrawn")
    assert answer.status_code == 200, answer.text
    [item] = answer.json()["items"]
    assert item["removed"]["contact"] == 1
    assert item["removed"]["identity_key"] == 2
    assert item["removed"]["receipt"] == 4
    after = await everything_but_the_outbox(intake)
    assert [mark for mark in MARKS if mark in after] == []
    now = await balance(intake)
    assert {**now, "as_of": ""} == {**balance_before, "as_of": ""}
    assert (await intake.api.get(f"/v1/leads/{lead}/contact")).status_code == 410
    assert len((await intake.api.get(f"/v1/leads/{lead}")).json()["touches"]) == 2


async def test_what_a_repair_would_need_is_forgotten_too_sealed_bodies_of_the_unproven_included(
    intake: Harness[App],
) -> None:
    lead = await given_lead(intake)
    [receipt] = await intake.fetch("SELECT receipt_id::text AS id FROM receipt_entry WHERE key = 'k1'")
    key, now = intake.app.settings.seal_key_bytes, intake.app.clock.now()
    theirs, others = new_id(), new_id()
    for id, body in ((theirs, f'{{"email": "{ANNA}"}}'), (others, '{"email": "else@example.com"}')):
        await intake.fetch(
            "INSERT INTO receipt (id, source_id, received_at, state, reason, entries, content_type) "
            "VALUES ($1, 'site', $2, 'refused', 'signature', 1, 'application/json')", id, now,
        )  # fmt: skip
        incoming = Incoming("POST", "https://x/", {}, body.encode(), "", now)
        sealed = sealed_request(key, incoming, receipt_id=id, with_body=True)
        await intake.fetch("INSERT INTO receipt_request VALUES ($1, 'site', true, $2, $3)", id, len(sealed), sealed)
    own = sealed_request(key, Incoming("POST", f"/?q={ANNA}", {}, b"", "", now), receipt_id=receipt["id"],
                         with_body=False)  # fmt: skip
    await intake.fetch(
        "INSERT INTO receipt_request VALUES ($1, 'site', false, $2, $3) "
        "ON CONFLICT (receipt_id) DO UPDATE SET sealed = excluded.sealed", receipt["id"], len(own), own,
    )  # fmt: skip

    answer = await erase(intake, f"/v1/leads/{lead}/erase")
    assert answer.json()["items"][0]["removed"]["receipt_request"] == 2
    left = await intake.fetch("SELECT receipt_id::text FROM receipt_request")
    assert [row["receipt_id"] for row in left] == [others]


async def test_the_tombstone_and_the_log_go_out_once(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    await intake.new_events()
    await erase(intake, f"/v1/leads/{lead}/erase", asked_at="2026-02-27T10:00:00Z")
    erased, tombstone = await intake.new_events()
    assert kinds([erased, tombstone]) == ["LeadErased", "ContactChanged"]
    assert (erased.topic, tombstone.topic) == ("baton.erasure.v1", "baton.contact.v1")
    assert tombstone.tombstone
    assert erased.key == tombstone.key == erased.body.lead_id == lead
    assert erased.body.sequence == 3
    assert erased.body.reason == "person_request"
    again = await erase(intake, f"/v1/leads/{lead}/erase", key="e2", reason="unlawful")
    assert again.json()["items"][0]["erasure_id"] == erased.body.erasure_id
    assert again.json()["items"][0]["reason"] == "person_request"
    assert await intake.new_events() == []


async def test_a_repeat_changes_nothing_and_leaves_no_body(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    await erase(intake, f"/v1/leads/{lead}/erase")
    await intake.new_events()
    assert (await send(intake, BODIES["generic"]("k1", ANNA, PHONE), key="k1")).status_code == 200
    assert await outcomes(intake) == ["created", "duplicate"]
    assert await intake.new_events() == []
    assert "petrova" not in await everything_but_the_outbox(intake)
    receipt = (await intake.fetch("SELECT id::text FROM receipt ORDER BY id DESC LIMIT 1"))[0]["id"]
    [entry] = (await intake.api.get(f"/v1/receipts/{receipt}")).json()["items"]
    assert entry["erased"] is True


async def test_a_new_inquiry_is_a_new_person(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    await erase(intake, f"/v1/leads/{lead}/erase")
    again = await given_lead(intake, key="k9")
    assert again != lead
    persons = await intake.fetch("SELECT DISTINCT person_id FROM lead")
    assert len(persons) == 2
    assert (await intake.api.get(f"/v1/leads/{again}/contact")).json()["emails"] == [ANNA]


async def test_of_a_delivery_of_several_only_the_persons_entry_is_cut(intake: Harness[App]) -> None:
    await given_source(intake)
    people = [{"submission_id": f"n{n}", "email": f"person{n}@example.com", "name": f"Name{n}"} for n in range(3)]
    await send(intake, json.dumps(people).encode())
    [row] = await intake.fetch("SELECT lead_id::text FROM receipt_entry WHERE key = 'n1'")
    assert (await erase(intake, f"/v1/leads/{row['lead_id']}/erase")).status_code == 200
    [receipt] = await intake.fetch("SELECT body, entries FROM receipt")
    assert json.loads(receipt["body"]) == [people[0], {}, people[2]]
    # The same delivery again: the others are repeats with their body, the forgotten one is not.
    await send(intake, json.dumps(people).encode())
    assert await outcomes(intake) == ["created"] * 3 + ["duplicate"] * 3
    assert "person1" not in await everything_but_the_outbox(intake)


async def test_a_person_is_found_by_an_address_in_the_body(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    for body in ({}, {"email": "no address"}, {"phone": "1"}):
        assert (await erase(intake, "/v1/leads/erase", key="x", **body)).status_code == 422
    assert (await erase(intake, "/v1/leads/erase", key="y", email="else@example.com")).status_code == 404
    answer = await erase(intake, "/v1/leads/erase", email=ANNA.upper(), phone=PHONE, region="ES")
    assert answer.status_code == 200, answer.text
    assert [item["lead_id"] for item in answer.json()["items"]] == [lead]
    assert "petrova" not in answer.text


async def test_all_that_was_merged_is_forgotten_together(intake: Harness[App]) -> None:
    await given_source(intake)
    await send(intake, BODIES["generic"]("k1", ANNA), key="k1")
    await send(intake, BODIES["generic"]("k2", "petrova@home.example", PHONE), key="k2")
    await send(intake, BODIES["generic"]("k3", "c@example.com", name="Somebody Else"), key="k3")
    first, second, other = [r["id"] for r in await intake.fetch("SELECT id::text FROM lead ORDER BY id")]
    pair = {"from_lead_id": second, "into_lead_id": first, "reason": "same_person"}
    merged = await intake.api.post("/v1/merges", json=pair, headers={"Idempotency-Key": "m"})
    assert merged.status_code == 201, merged.text
    answer = await erase(intake, "/v1/leads/erase", email=ANNA, phone=PHONE, region="ES")
    assert answer.status_code == 200, answer.text
    assert {item["lead_id"] for item in answer.json()["items"]} == {first, second}
    assert len({item["erasure_id"] for item in answer.json()["items"]}) == 1
    assert "petrova" not in await everything_but_the_outbox(intake)
    assert (await intake.api.get(f"/v1/leads/{other}/contact")).status_code == 200


@pytest.mark.parametrize(("key", "ordered"), [("r1:CREATED", "r1:CREATED"), ("contact:7:1:29", "contact:7:1")])
async def test_an_order_of_the_provider_is_followed_once(intake: Harness[App], key: str, ordered: str) -> None:
    await given_lead(intake, key=key)
    async with intake.db.begin() as tx:
        connection = await raw(tx)
        for one in (ordered, "nobody"):
            await connection.execute(
                "INSERT INTO erase_request (source_id, key, receipt_id, requested_at) "
                "SELECT 'generic', $1, id, $2 FROM receipt LIMIT 1",
                one, intake.clock.now(),
            )  # fmt: skip
    assert await follow_orders(intake.app) == 2
    assert "petrova" not in await everything_but_the_outbox(intake)
    [row] = await intake.fetch("SELECT reason FROM erased_lead")
    assert row["reason"] == "provider_request"
    assert await follow_orders(intake.app) == 0


async def test_of_an_address_that_many_share_only_the_person_goes(intake: Harness[App]) -> None:
    await given_source(intake)
    for n, name in enumerate(("Anna Petrova", "Boris Ivanov")):
        await send(intake, BODIES["generic"](f"k{n}", "info@acme.example", name=name), key=f"k{n}")
    anna, boris = [r["id"] for r in await intake.fetch("SELECT id::text FROM lead ORDER BY id")]
    assert (await erase(intake, f"/v1/leads/{anna}/erase")).status_code == 200
    assert "petrova" not in await everything_but_the_outbox(intake)
    assert (await intake.api.get(f"/v1/leads/{boris}/contact")).json()["full_name"] == "Boris Ivanov"


async def test_an_address_of_one_and_a_number_of_another_forget_nobody(intake: Harness[App]) -> None:
    await given_source(intake)
    await send(intake, BODIES["generic"]("k1", ANNA), key="k1")
    await send(intake, BODIES["generic"]("k2", "b@example.com", PHONE), key="k2")
    answer = await erase(intake, "/v1/leads/erase", email=ANNA, phone=PHONE, region="ES")
    assert answer.status_code == 409
    assert await intake.fetch("SELECT 1 FROM erased_lead") == []


async def test_only_a_key_with_the_scope_forgets_and_only_with_an_idempotency_key(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    key = await intake.key("contacts:read", "leads:read")
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "e"}
    assert (await intake.api.post(f"/v1/leads/{lead}/erase", json={}, headers=headers)).status_code == 403
    assert (await intake.api.post(f"/v1/leads/{lead}/erase", json={})).status_code == 400
    assert (await erase(intake, f"/v1/leads/{new_id()}/erase")).status_code == 404
    assert await intake.fetch("SELECT 1 FROM erased_lead") == []


async def test_a_number_as_delivery_id_is_not_kept_in_clear(intake: Harness[App]) -> None:
    await given_source(intake)
    await send(intake, BODIES["generic"]("34600112233", ANNA, "34600112233"), key="")
    [row] = await intake.fetch("SELECT lead_id::text FROM receipt_entry")
    await erase(intake, f"/v1/leads/{row['lead_id']}/erase")
    assert "600112233" not in await everything_but_the_outbox(intake)


async def test_the_log_says_when_why_and_what_without_the_person(intake: Harness[App]) -> None:
    leads = []
    for n in range(3):
        leads.append(await given_lead(intake, key=f"k{n}"))
        await erase(intake, f"/v1/leads/{leads[-1]}/erase", key=f"e{n}", asked_at="2026-02-27T10:00:00Z")
        intake.clock.advance(timedelta(minutes=1))
    first = (await intake.api.get("/v1/erasures?limit=2")).json()
    rest = (await intake.api.get("/v1/erasures", params={"cursor": first["next_cursor"]})).json()
    assert [item["lead_id"] for item in first["items"] + rest["items"]] == leads[::-1]
    assert rest["next_cursor"] is None
    exported = await intake.api.get("/v1/erasures/export?format=csv")
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert [row["lead_id"] for row in rows] == leads[::-1]
    assert rows[0]["asked_at"] == "2026-02-27T10:00:00Z"
    assert "contact=1" in rows[0]["removed"].split(";")
    lines = (await intake.api.get("/v1/erasures/export?format=jsonl")).text.splitlines()
    assert [json.loads(line)["lead_id"] for line in lines] == leads[::-1]
    assert "petrova" not in exported.text
    shown = (await intake.api.get(f"/v1/leads/{leads[0]}/timeline")).json()["items"]
    assert [item["kind"] for item in shown] == ["lead_created", "touch", "erased"]


async def test_a_restored_row_is_hidden_at_once_and_deleted_by_the_worker(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    at = intake.clock.now()
    async with intake.db.begin() as tx:
        await forgotten.note(tx, [Forgotten(lead, new_id(), 9, "person_request", at, "key", at)])
    assert (await intake.api.get(f"/v1/leads/{lead}/contact")).status_code == 410
    found = await intake.api.post("/v1/leads/search", json={"term": ANNA})
    assert found.json()["items"] == []
    await intake.new_events()
    assert await finish_restored(intake.app) == 1
    assert "petrova" not in await everything_but_the_outbox(intake)
    assert kinds(await intake.new_events()) == ["LeadErased", "ContactChanged"]
    assert await finish_restored(intake.app) == 0


async def test_the_tombstone_is_written_once_more_when_the_segment_can_be_closed(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    await erase(intake, f"/v1/leads/{lead}/erase")
    await intake.new_events()
    assert await sweep(intake.app) == 0
    intake.clock.advance(timedelta(hours=26))
    assert await sweep(intake.app) == 1
    [tombstone] = await intake.new_events()
    assert (tombstone.key, tombstone.tombstone) == (lead, True)
    assert await sweep(intake.app) == 0


async def test_a_parked_contact_is_given_up_and_its_key_freed(intake: Harness[App]) -> None:
    lead = await given_lead(intake)
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(
            'INSERT INTO parked (consumer, topic, partition, "offset", key, event_id, reason, headers, value) '
            "VALUES ('lead-intake.search', 'baton.contact.v1', 0, 0, $1, 'e', 'handler', ''::bytea, $2)",
            lead, ANNA.encode(),
        )  # fmt: skip
        await (await raw(tx)).execute("INSERT INTO parked_key (consumer, key) VALUES ('lead-intake.search', $1)", lead)
    await erase(intake, f"/v1/leads/{lead}/erase")
    assert await intake.fetch("SELECT 1 FROM parked UNION ALL SELECT 1 FROM parked_key") == []


STEPS = st.lists(st.sampled_from(["deliver", "repeat", "erase", "both"]), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_comes_in_whatever_order_every_lead_has_a_person_or_an_erasure(
    intake: Harness[App], steps: list[str]
) -> None:
    await _clear(intake)
    await given_source(intake)
    numbers = iter(range(1000))

    async def deliver(key: str) -> None:
        assert (await send(intake, BODIES["generic"](key, ANNA, PHONE), key=key)).status_code == 200

    async def forget() -> None:
        answer = await erase(intake, "/v1/leads/erase", key=f"e{next(numbers)}", email=ANNA)
        assert answer.status_code in (200, 404), answer.text

    for step in steps:
        match step:
            case "deliver":
                await deliver(f"k{next(numbers)}")
            case "repeat":
                await deliver("k0")
            case "erase":
                await forget()
            case "both":
                await asyncio.gather(deliver(f"k{next(numbers)}"), forget(), deliver(f"k{next(numbers)}"))
    leads = {r["id"] for r in await intake.fetch("SELECT id::text FROM lead")}
    contacts = {r["id"] for r in await intake.fetch("SELECT lead_id::text AS id FROM contact")}
    erased = {r["id"] for r in await intake.fetch("SELECT lead_id AS id FROM erased_lead WHERE done_at IS NOT NULL")}
    assert contacts | erased == leads
    assert not contacts & erased
    assert len(contacts) <= 1
    bodies = await intake.fetch(
        "SELECT r.id FROM receipt r JOIN receipt_entry e ON e.receipt_id = r.id "
        "WHERE r.body IS NOT NULL AND e.lead_id::text IN (SELECT lead_id FROM erased_lead)"
    )
    assert bodies == []
    await forget()
    assert "petrova" not in await everything_but_the_outbox(intake)
    assert (await balance(intake))["balanced"] is True


async def _clear(intake: Harness[App]) -> None:
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(
            "TRUNCATE source, source_secret, receipt, receipt_entry, identity_key, lead, contact, touch, "
            "proposed_merge, outbox, erased_lead, lead_search, idempotency_key, likeness, key_name CASCADE"
        )
    await intake.app.sources.refresh()


@pytest.mark.parametrize("failing", ["proposed_merge", "contact", "identity_key", "lead_search", "receipt"])
async def test_half_an_erasure_is_none(intake: Harness[App], failing: str) -> None:
    lead = await given_lead(intake)
    await told(intake)
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
        )
        await (await raw(tx)).execute(
            f"CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON {failing} FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        if failing == "proposed_merge":
            await (await raw(tx)).execute(
                "INSERT INTO proposed_merge SELECT person_id, gen_random_uuid(), receipt_id, now() FROM lead"
            )
    before = await everything_but_the_outbox(intake)
    assert (await erase(intake, f"/v1/leads/{lead}/erase")).status_code >= 500
    assert await everything_but_the_outbox(intake) == before
    assert await intake.fetch("SELECT 1 FROM erased_lead") == []
