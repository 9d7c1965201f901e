"""Sales forgets a person with everything that names one, whatever comes before, meanwhile and late."""

import json
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sales_words import Sales, contact, forgotten, pipedrive_deal, timestamp

from baton.lead.v1.lead_pb2 import LeadErased
from baton_kit import forgotten as log
from baton_kit.db import raw
from baton_kit.envelope import Event, event
from baton_kit.forgotten import Forgotten
from baton_kit.ids import new_id
from baton_kit.testing import START
from sales_feedback.erasing import erase
from sales_feedback.erasing.erase import finish_restored
from sales_feedback.tables import metadata

LEAD = "lead-1"


def erased(lead_id: str = LEAD, *, sequence: int = 9) -> Event:
    body = LeadErased(
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=timestamp(START),
        erasure_id=new_id(),
        reason="person_request",
        asked_at=timestamp(START - timedelta(days=1)),
        key_id="key",
    )
    return event(body, key=lead_id, occurred_at=START)


async def everything(sales: Sales) -> str:
    tables = await sales.harness.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = []
    for table in tables:
        for row in await sales.harness.fetch(f"SELECT * FROM {table['tablename']}"):
            for value in row.values():
                found.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return "\n".join(found).lower()


async def given_a_worked_lead(sales: Sales) -> str:
    await sales.rep("olga")
    handoff = await sales.given(LEAD)
    await sales.harness.receive([contact(LEAD)])
    await sales.post(f"/v1/handoffs/{handoff['id']}/accept", {})
    told = {"means": "call", "reached": True, "note": "Petrova asks for an offer"}
    answer = await sales.post(f"/v1/handoffs/{handoff['id']}/contacts", told)
    assert answer.status_code == 201, answer.text
    await sales.pipedrive()
    assert await sales.pipedrive_says(deal("open")) == 200
    return str(handoff["id"])


def deal(status: str, *, at: int = 0, **more: Any) -> Any:
    return pipedrive_deal(status, lead_id=LEAD, at=at, **more)


def test_every_table_is_forgotten_or_says_why_it_need_not() -> None:
    assert set(erase.FORGETS) | set(erase.KEEPS) == set(metadata.tables)
    assert not set(erase.FORGETS) & set(erase.KEEPS)


async def test_contact_notes_and_raw_bodies_go_and_the_rest_stays(sales: Sales) -> None:
    handoff = await given_a_worked_lead(sales)
    assert "petrova" in await everything(sales)
    kept = (
        "SELECT (SELECT count(*) FROM handoff), (SELECT count(*) FROM feedback), (SELECT sum(amount_minor) FROM deal)"
    )
    before = [tuple(row) for row in await sales.harness.fetch(kept)]
    await sales.told()

    await sales.harness.receive([erased()])
    assert "petrova" not in await everything(sales)
    assert [tuple(row) for row in await sales.harness.fetch(kept)] == before
    assert await sales.told() == []
    shown = (await sales.harness.api.get(f"/v1/handoffs/{handoff}")).json()
    assert shown["contact"] is None
    assert shown["notes"] == []
    [item] = (await sales.harness.api.get("/v1/erasures")).json()["items"]
    assert item["removed"] == {"contact": 1, "note": 1, "crm_receipt": 1, "crm_deal": 1}
    assert item["done_at"] is not None
    timeline = (await sales.harness.api.get(f"/v1/leads/{LEAD}/timeline")).json()["items"]
    assert timeline[-1]["kind"] == "erased"


async def test_what_comes_late_is_applied_without_the_person(sales: Sales) -> None:
    handoff = await given_a_worked_lead(sales)
    await sales.harness.receive([erased()])
    await sales.harness.receive([contact(LEAD, sequence=99)])
    answer = await sales.post(
        f"/v1/handoffs/{handoff}/contacts", {"means": "email", "reached": False, "note": "wrote to Petrova"}
    )
    assert answer.status_code == 201
    lost = deal("lost", at=20, lost_reason="Petrova said no")
    assert await sales.pipedrive_says(lost) == 200
    assert "petrova" not in await everything(sales)
    [row] = await sales.harness.fetch("SELECT state, reason FROM deal")
    assert (row["state"], row["reason"]) == ("lost", "other")


async def test_a_reason_in_somebodys_own_words_goes_and_the_reason_stays(sales: Sales) -> None:
    await given_a_worked_lead(sales)
    await sales.pipedrive_says(deal("lost", at=10, lost_reason="Petrova said no"))
    assert "petrova said no" in await everything(sales)
    await sales.told()
    await sales.harness.receive([erased()])
    assert "petrova" not in await everything(sales)
    await sales.pipedrive_says(deal("lost", at=20, lost_reason="Too expensive"))
    assert [tuple(r) for r in await sales.harness.fetch("SELECT reason FROM deal")] == [("price",)]


async def test_bodies_that_nobody_could_read_are_looked_through(sales: Sales) -> None:
    await given_a_worked_lead(sales)
    for text in ('{"who": "ANNA@petrova.example", broken', json.dumps({"meta": {}, "lead": LEAD, "x": "Petrova"})):
        await sales.pipedrive_sends(text.encode())
    await sales.pipedrive_sends(b"{broken, of somebody else")
    await sales.harness.receive([erased()])
    assert "petrova" not in await everything(sales)
    assert "somebody else" in await everything(sales)


async def test_a_parked_contact_does_not_hold_up_that_its_person_is_forgotten(sales: Sales) -> None:
    late = contact(LEAD)
    async with sales.app.db.begin() as tx:
        await (await raw(tx)).execute(
            'INSERT INTO parked (consumer, topic, partition, "offset", key, event_id, reason, headers, value) '
            "VALUES ('sales-feedback.contact', 'baton.contact.v1', 0, 900, $1, $2, 'handler', ''::bytea, $3)",
            LEAD, late.id, late.body.SerializeToString() if late.body else b"",
        )  # fmt: skip
        await (await raw(tx)).execute(
            "INSERT INTO parked_key (consumer, key) VALUES ('sales-feedback.contact', $1)", LEAD
        )
    assert "petrova" in await everything(sales)
    await sales.harness.receive([erased()])
    assert "petrova" not in await everything(sales)
    assert await sales.harness.fetch("SELECT 1 FROM parked_key") == []


async def test_a_restored_row_is_hidden_at_once_and_deleted_by_the_worker(sales: Sales) -> None:
    handoff = await given_a_worked_lead(sales)
    async with sales.app.db.begin() as tx:
        await log.note(tx, [Forgotten(LEAD, new_id(), 9, "person_request", None, "", START)])
    shown = (await sales.harness.api.get(f"/v1/handoffs/{handoff}")).json()
    assert (shown["contact"], shown["notes"]) == (None, [])
    assert await finish_restored(sales.app) == 1
    assert "petrova" not in await everything(sales)
    assert await finish_restored(sales.app) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(["contact", "contact again", "tombstone", "log", "log again"]),
    one_by_one=st.booleans(),
)
async def test_in_whatever_order_contacts_tombstone_and_log_come_nothing_is_left(
    sales: Sales, order: list[str], one_by_one: bool
) -> None:
    lead = f"lead-{new_id()}"
    events = {
        "contact": contact(lead),
        "contact again": contact(lead, sequence=2),
        "tombstone": forgotten(lead),
        "log": erased(lead),
        "log again": erased(lead),
    }
    await sales.harness.receive([events[name] for name in order], one_by_one=one_by_one)
    rows = await sales.harness.fetch("SELECT body FROM contact WHERE lead_id = $1", lead)
    assert [row["body"] for row in rows] == [None]
    [row] = await sales.harness.fetch("SELECT done_at, removed::text FROM erased_lead WHERE lead_id = $1", lead)
    assert row["done_at"] is not None
    assert json.loads(row["removed"])["contact"] in (0, 1)
