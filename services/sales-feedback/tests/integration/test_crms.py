"""Deliveries of CRMs through the public listener, on a real database."""

import asyncio
import itertools
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sales_words import HUBSPOT_SECRET, PUBLIC_URL, Sales, changed, forgotten, pipedrive_deal, qualified, sign

from baton_kit.testing import Server
from sales_feedback.crms.settle import settle_waiting
from sales_feedback.tasks import forget_old

WON = ["handoff accepted 2", "handoff opportunity 3", "handoff won 4", "deal won 480050 EUR"]


@pytest.fixture
async def lead(sales: Sales) -> str:
    await sales.rep("olga")
    await sales.hubspot()
    await sales.pipedrive()
    await sales.given("lead-1")
    await sales.told()
    return "lead-1"


def won_deal(lead: str) -> list[dict[str, Any]]:
    return [
        changed("baton_lead_id", lead),
        changed("amount", "4800.50", at=1),
        changed("deal_currency_code", "EUR", at=2),
        changed("dealstage", "closedwon", at=3),
    ]


async def settle(sales: Sales) -> int:
    async with sales.app.db.begin() as tx:
        return await settle_waiting(tx, sales.app)


async def test_a_won_deal_of_hubspot_closes_the_handoff(sales: Sales, lead: str) -> None:
    assert await sales.hubspot_says(*won_deal(lead)) == 200
    assert await sales.told() == WON
    closed = (await sales.harness.outbox())[-1].body
    assert (closed.crm, closed.rep_id, closed.handoff_id != "") == ("hubspot", "olga", True)
    assert closed.agreement.digest == "ab" * 32
    assert await sales.receipts() == [("applied", None)]


async def test_a_repeated_delivery_changes_nothing(sales: Sales, lead: str) -> None:
    for _ in range(3):
        assert await sales.hubspot_says(*won_deal(lead)) == 200
    assert await sales.told() == WON
    assert [state for state, _ in await sales.receipts()] == ["applied", "duplicate", "duplicate"]


async def test_two_repeats_at_once_change_nothing_twice(sales: Sales, lead: str) -> None:
    answers = await asyncio.gather(*(sales.hubspot_says(*won_deal(lead)) for _ in range(4)))
    assert answers == [200] * 4
    assert await sales.told() == WON
    assert sorted(state for state, _ in await sales.receipts()) == ["applied", "duplicate", "duplicate", "duplicate"]


async def test_every_order_of_the_changes_ends_in_the_crms_truth(sales: Sales, lead: str) -> None:
    for number, order in enumerate(itertools.permutations(range(4))):
        name = f"lead-x{number}"
        await sales.harness.receive([qualified(name)])
        events = [
            event | {"objectId": number + 1, "eventId": number * 10 + i} for i, event in enumerate(won_deal(name))
        ]
        for i in order:
            assert await sales.hubspot_says(events[i]) == 200
    rows = await sales.harness.fetch(
        "SELECT state, amount_minor, currency, count(*) FROM deal GROUP BY state, amount_minor, currency"
    )
    assert [tuple(row) for row in rows] == [("won", 480050, "EUR", 24)]
    last: dict[str, Any] = {}
    for e in await sales.harness.outbox():
        if e.type.endswith("DealClosed") and (e.key not in last or last[e.key].sequence < e.body.sequence):
            last[e.key] = e.body
    assert {(body.outcome, body.amount_minor) for body in last.values()} == {(1, 480050)}
    assert len(last) == 24


async def test_an_older_stage_that_comes_late_changes_nothing(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal(lead))
    await sales.told()
    await sales.hubspot_says(changed("dealstage", "contractsent", at=-60))
    assert await sales.told() == []


async def test_a_reopened_deal_takes_the_close_back_and_may_be_lost(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal(lead))
    await sales.told()
    await sales.hubspot_says(changed("dealstage", "contractsent", at=10))
    assert await sales.told() == ["handoff opportunity 5", "deal reopened 0"]
    await sales.hubspot_says(
        changed("dealstage", "closedlost", at=20), changed("closed_lost_reason", "Too expensive", at=20)
    )
    assert await sales.told() == ["handoff lost 6", "deal lost 480050 EUR"]
    assert (await sales.harness.outbox())[-1].body.reason == "price"


async def test_a_corrected_amount_is_told_once_with_a_higher_sequence(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal(lead))
    await sales.told()
    await sales.hubspot_says(changed("amount", "5000", at=10))
    assert await sales.told() == ["deal won 500000 EUR"]
    assert (await sales.harness.outbox())[-1].body.sequence == 2


async def test_a_deal_without_its_lead_waits_for_the_lead_id(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal(lead)[1:])
    assert await sales.told() == []
    assert [state for state, _ in await sales.receipts()] == ["pending"]
    await sales.hubspot_says(changed("baton_lead_id", lead, at=30))
    assert await sales.told() == WON
    assert [state for state, _ in await sales.receipts()] == ["applied", "applied"]


async def test_a_deal_whose_lead_was_not_handed_over_yet_settles_when_it_is(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal("lead-late"))
    assert await settle(sales) == 0
    assert await sales.told() == []
    await sales.harness.receive([qualified("lead-late")])
    assert await settle(sales) == 1
    assert (await sales.told())[1:] == WON
    assert await settle(sales) == 0
    assert [state for state, _ in await sales.receipts()] == ["applied"]


async def test_a_deal_moved_to_another_lead_counts_there_alone(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal(lead))
    await sales.given("lead-2")
    await sales.told()
    await sales.hubspot_says(changed("baton_lead_id", "lead-2", at=30))
    assert sorted(await sales.told()) == sorted([*WON, "handoff opportunity 5", "deal reopened 0"])
    closes = [e for e in await sales.harness.outbox() if e.type.endswith("DealClosed")]
    assert [(e.key, e.body.outcome, e.body.sequence) for e in closes] == [
        ("lead-1", 1, 1),
        ("lead-1", 3, 2),
        ("lead-2", 1, 3),
    ]


async def test_a_deleted_deal_counts_no_more(sales: Sales, lead: str) -> None:
    await sales.hubspot_says(*won_deal(lead))
    await sales.told()
    await sales.hubspot_says(changed("", "", at=40) | {"subscriptionType": "deal.deletion"})
    assert await sales.told() == ["handoff opportunity 5", "deal reopened 0"]


async def test_money_that_is_not_exact_is_quarantined_until_it_is(sales: Sales, lead: str) -> None:
    events = won_deal(lead)
    events[1]["propertyValue"] = "4800.505"
    assert await sales.hubspot_says(*events) == 200
    assert await sales.told() == []
    assert await sales.receipts() == [("quarantined", "the amount has more decimals than EUR has")]
    await sales.hubspot_says(changed("amount", "4800.50", at=50))
    assert await sales.told() == WON
    assert [state for state, _ in await sales.receipts()] == ["applied", "applied"]


async def test_another_mapping_settles_the_deals_again(sales: Sales, lead: str) -> None:
    events = won_deal(lead)
    events[3]["propertyValue"] = "555"
    await sales.hubspot_says(*events)
    assert await sales.told() == ["handoff accepted 2", "handoff opportunity 3"]
    body = {
        "id": "hubspot",
        "kind": "hubspot",
        "secrets": [HUBSPOT_SECRET],
        "mapping": {"pipelines": {"default": {"555": "won"}}},
    }
    assert (await sales.harness.api.post("/v1/crms", json=body)).status_code == 200
    assert await settle(sales) == 1
    assert await sales.told() == ["handoff won 4", "deal won 480050 EUR"]


async def test_a_deal_of_pipedrive_is_won_reopened_and_lost(sales: Sales, lead: str) -> None:
    assert await sales.pipedrive_says(pipedrive_deal("open", lead_id=lead)) == 200
    assert await sales.told() == ["handoff accepted 2", "handoff opportunity 3"]
    await sales.pipedrive_says(pipedrive_deal("won", lead_id=lead, at=10))
    assert await sales.told() == ["handoff won 4", "deal won 480000 EUR"]
    await sales.pipedrive_says(pipedrive_deal("open", lead_id=lead, at=20))
    assert await sales.told() == ["handoff opportunity 5", "deal reopened 0"]
    await sales.pipedrive_says(pipedrive_deal("lost", lead_id=lead, at=30, lost_reason="Too expensive"))
    assert await sales.told() == ["handoff lost 6", "deal lost 480000 EUR"]


async def test_a_repeat_of_pipedrive_shares_its_id_whatever_the_attempt(sales: Sales, lead: str) -> None:
    for attempt in (1, 2, 3):
        await sales.pipedrive_says(pipedrive_deal("won", lead_id=lead, id="one", attempt=attempt))
    assert [name for name in await sales.told() if name.startswith("deal")] == ["deal won 480000 EUR"]
    assert [state for state, _ in await sales.receipts()] == ["applied", "duplicate", "duplicate"]


async def test_pipedrives_older_state_comes_too_late(sales: Sales, lead: str) -> None:
    await sales.pipedrive_says(pipedrive_deal("won", lead_id=lead, at=10))
    await sales.told()
    await sales.pipedrive_says(pipedrive_deal("open", lead_id=lead, at=5))
    assert await sales.told() == []


async def test_a_wrong_signature_and_an_unknown_crm_are_answered_by_the_same_bytes(sales: Sales, lead: str) -> None:
    body = json.dumps(won_deal(lead)).encode()
    assert sales.harness.public is not None
    answers = []
    for path, secret in [("hubspot", "wrong"), ("nobody", HUBSPOT_SECRET), ("pipedrive", HUBSPOT_SECRET)]:
        headers = sign(body, f"{PUBLIC_URL}/v1/webhooks/{path}", sales.harness.clock.now(), secret=secret)
        answers.append(
            await sales.harness.public.post(
                f"/v1/webhooks/{path}", content=body, headers={**headers, "X-Request-Id": "same"}
            )
        )
    assert {(a.status_code, a.content) for a in answers} == {(401, b"")}
    assert len({tuple(sorted((k, v) for k, v in a.headers.items() if k != "traceparent")) for a in answers}) == 1
    assert await sales.told() == []
    rows = await sales.harness.fetch("SELECT state, body FROM crm_receipt")
    assert [(row["state"], row["body"]) for row in rows] == [("refused", None)] * 3


async def test_refusals_do_not_fill_the_disk(sales: Sales, lead: str) -> None:
    for _ in range(14):
        assert await sales.hubspot_sends(b"[]", secret="wrong") == 401
    assert len(await sales.receipts()) == 10


async def test_an_old_signature_is_refused(sales: Sales, lead: str) -> None:
    body = json.dumps(won_deal(lead)).encode()
    headers = sign(body, f"{PUBLIC_URL}/v1/webhooks/hubspot", sales.harness.clock.now() - timedelta(seconds=301))
    assert sales.harness.public is not None
    answer = await sales.harness.public.post("/v1/webhooks/hubspot", content=body, headers=headers)
    assert answer.status_code == 401


async def test_a_body_above_the_limit_is_refused(sales: Sales, lead: str) -> None:
    assert await sales.hubspot_sends(b"[" + b" " * (256 * 1024) + b"]") == 413
    assert await sales.receipts() == []


HOSTILE = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"null",
    b"[NaN]",
    b'["\\ud800", {"objectId": "\\u0000"}]',
    json.dumps([changed("amount", "1\x00")]).encode(),
    json.dumps([changed("dealstage", "\ud800")]).encode(),
    json.dumps([changed("amount", "1e999999999")]).encode(),
    json.dumps([changed("amount", "10") | {"objectId": 2**70}]).encode(),
    json.dumps([changed("baton_lead_id", "'; DROP TABLE deal; --"), changed("baton_lead_id", "\u202e\u200b")]).encode(),
    json.dumps([{f"f{n}": n for n in range(10_000)}]).encode(),
    b'[{"occurredAt": 1, "occurredAt": 2}]',
    json.dumps(pipedrive_deal("won", lead_id="\x00")).encode(),
    json.dumps(pipedrive_deal("won", lead_id="lead-1", value=10**400)).encode(),
    json.dumps(pipedrive_deal("won", lead_id="lead-1", currency="€")).encode(),
    json.dumps(pipedrive_deal("won", lead_id="x" * 400)).encode(),
]


@pytest.mark.parametrize("body", HOSTILE)
async def test_a_hostile_body_of_a_known_sender_is_kept_and_the_next_deal_goes_through(
    sales: Sales, lead: str, body: bytes
) -> None:
    assert await sales.hubspot_sends(body) == 200
    assert await sales.pipedrive_sends(body) == 200
    assert all(state in {"quarantined", "pending", "ignored"} for state, _ in await sales.receipts())
    [row] = await sales.harness.fetch("SELECT DISTINCT body FROM crm_receipt")
    assert row["body"] == body
    assert await sales.told() == []
    assert await sales.hubspot_says(*(e | {"objectId": 42} for e in won_deal(lead))) == 200
    assert await sales.told() == WON


async def test_one_bad_event_does_not_hold_up_the_others_of_its_delivery(sales: Sales, lead: str) -> None:
    assert await sales.hubspot_says({"objectId": "\x00"}, *won_deal(lead)) == 200
    assert await sales.told() == WON
    receipt = (await sales.harness.api.get("/v1/receipts")).json()["items"][0]
    assert receipt["state"] == "quarantined"
    assert [e["state"] for e in receipt["entries"]] == ["quarantined"] + ["applied"] * 4


async def test_a_forgotten_person_leaves_no_raw_body(sales: Sales, lead: str) -> None:
    await sales.pipedrive_says(pipedrive_deal("won", lead_id=lead))
    await sales.harness.receive([forgotten(lead)])
    [row] = await sales.harness.fetch("SELECT body, state FROM crm_receipt")
    assert (row["body"], row["state"]) == (None, "applied")


async def test_raw_bodies_go_after_their_days(sales: Sales, lead: str) -> None:
    await sales.pipedrive_says(pipedrive_deal("won", lead_id=lead))
    await sales.hubspot_sends(b"not json")
    for days, left in ((29, 2), (2, 1), (60, 0)):
        sales.harness.clock.advance(timedelta(days=days))
        async with sales.app.db.begin() as tx:
            await forget_old(tx, sales.app)
        rows = await sales.harness.fetch("SELECT id FROM crm_receipt WHERE body IS NOT NULL")
        assert len(rows) == left


async def test_a_database_that_is_away_is_answered_503(sales: Sales, lead: str, postgres_server: Server) -> None:
    [row] = await sales.harness.fetch("SELECT current_database() AS name")
    await sales.app.db.engine.dispose()
    admin = await asyncpg.connect(postgres_server.admin_url)
    await admin.execute(f'ALTER DATABASE "{row["name"]}" ALLOW_CONNECTIONS false')
    await admin.close()
    body = json.dumps(won_deal(lead)).encode()
    assert sales.harness.public is not None
    headers = sign(body, f"{PUBLIC_URL}/v1/webhooks/hubspot", sales.harness.clock.now())
    answer = await sales.harness.public.post("/v1/webhooks/hubspot", content=body, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


async def test_secrets_are_sealed_and_never_shown(sales: Sales, lead: str) -> None:
    rows = await sales.harness.fetch("SELECT secrets FROM crm")
    assert all(HUBSPOT_SECRET.encode() not in row["secrets"] for row in rows)
    assert HUBSPOT_SECRET not in (await sales.harness.api.get("/v1/crms")).text
