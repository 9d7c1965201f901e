"""Deals over REST."""

import asyncio
from typing import Any

import pytest
from sales_words import Sales, changed


@pytest.fixture
async def lead(sales: Sales) -> str:
    await sales.rep("olga")
    await sales.given("lead-1")
    await sales.told()
    return "lead-1"


async def opened(sales: Sales, lead: str, **more: Any) -> str:
    answer = await sales.post("/v1/deals", {"lead_id": lead, "amount_minor": 480000, "currency": "EUR", **more})
    assert answer.status_code == 201, answer.text
    return f"/v1/deals/{answer.json()['id']}"


async def test_a_deal_is_opened_moved_and_won(sales: Sales, lead: str) -> None:
    deal = await opened(sales, lead, product="planning")
    assert await sales.told() == ["handoff accepted 2", "handoff opportunity 3"]
    moved = await sales.post(f"{deal}/stage", {"stage": "negotiation", "amount_minor": 500000})
    assert (moved.json()["stage"], moved.json()["amount_minor"], moved.headers["ETag"]) == (
        "negotiation",
        500000,
        '"2"',
    )
    assert await sales.told() == []
    won = await sales.post(
        f"{deal}/won", {"amount_minor": 490000, "currency": "EUR", "closed_at": "2026-03-01T10:00:00Z"}
    )
    assert (won.status_code, won.json()["state"], won.json()["closed_at"]) == (200, "won", "2026-03-01T10:00:00Z")
    assert await sales.told() == ["handoff won 4", "deal won 490000 EUR"]
    told = (await sales.harness.outbox())[-1].body
    assert (told.sequence, told.crm, told.product, told.rep_id) == (3, "rest", "planning", "olga")
    assert told.agreement.activation_seq == 4


async def test_a_lost_deal_carries_its_reason_as_a_code(sales: Sales, lead: str) -> None:
    deal = await opened(sales, lead)
    await sales.told()
    assert (await sales.post(f"{deal}/lost", {"reason": "We had no budget"})).status_code == 422
    assert (await sales.post(f"{deal}/lost", {"reason": "budget"})).json()["reason"] == "budget"
    assert await sales.told() == ["handoff lost 4", "deal lost 480000 EUR"]


async def test_a_correction_is_a_new_event_and_the_same_again_is_none(sales: Sales, lead: str) -> None:
    deal = await opened(sales, lead)
    body = {"amount_minor": 1, "currency": "JPY", "closed_at": "2026-03-01T10:00:00Z"}
    await sales.post(f"{deal}/won", body)
    await sales.told()
    await sales.post(f"{deal}/won", body)
    assert await sales.told() == []
    await sales.post(f"{deal}/won", body | {"amount_minor": 2})
    assert await sales.told() == ["deal won 2 JPY"]


async def test_a_reopened_deal_takes_the_close_back(sales: Sales, lead: str) -> None:
    deal = await opened(sales, lead)
    await sales.post(f"{deal}/won", {"amount_minor": 5, "currency": "EUR"})
    await sales.told()
    assert (await sales.post(f"{deal}/reopen")).json()["state"] == "open"
    assert await sales.told() == ["handoff opportunity 5", "deal reopened 0"]
    again = await sales.post(f"{deal}/reopen")
    assert (again.status_code, again.json()["detail"]) == (409, "The deal is open. Possible now: stage, won, lost.")


async def test_a_won_deal_is_not_lost_before_it_is_reopened(sales: Sales, lead: str) -> None:
    deal = await opened(sales, lead)
    await sales.post(f"{deal}/won", {"amount_minor": 5, "currency": "EUR"})
    answer = await sales.post(f"{deal}/lost", {"reason": "price"})
    assert (answer.status_code, answer.json()["detail"]) == (409, "The deal is won. Possible now: won, reopen.")


async def test_a_second_deal_keeps_the_handoff_open_until_all_are_lost(sales: Sales, lead: str) -> None:
    first, second = await opened(sales, lead), await opened(sales, lead)
    await sales.post(f"{first}/lost", {"reason": "price"})
    assert (await sales.latest(lead))["state"] == "opportunity"
    await sales.post(f"{second}/won", {"amount_minor": 5, "currency": "EUR"})
    assert (await sales.latest(lead))["state"] == "won"


async def test_a_deal_belongs_to_the_latest_handoff_of_its_lead(sales: Sales, lead: str) -> None:
    handoff = await sales.latest(lead)
    await sales.post(f"/v1/handoffs/{handoff['id']}/recycle", {"reason": "next_year"})
    refused = await sales.post("/v1/deals", {"lead_id": lead})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/handoff-state")
    second = await sales.given(lead, cycle=2)
    answer = await sales.post("/v1/deals", {"lead_id": lead})
    assert answer.json()["handoff_id"] == second["id"]


async def test_a_lead_that_was_not_handed_over_has_no_deals(sales: Sales, lead: str) -> None:
    answer = await sales.post("/v1/deals", {"lead_id": "nobody"})
    assert (answer.status_code, answer.json()["title"]) == (
        404,
        "There is no such lead among those handed to sales",
    )


async def test_a_deal_opened_over_rest_is_the_one_its_crm_speaks_of(sales: Sales, lead: str) -> None:
    await sales.hubspot()
    deal = await opened(sales, lead, crm="hubspot", crm_deal_id="17")
    await sales.told()
    await sales.hubspot_says(changed("baton_lead_id", lead, deal=17), changed("dealstage", "closedwon", deal=17, at=1))
    [row] = await sales.harness.fetch("SELECT id, state FROM deal")
    assert (f"/v1/deals/{row['id']}", row["state"]) == (deal, "won")
    twice = await sales.post("/v1/deals", {"lead_id": lead, "crm": "hubspot", "crm_deal_id": "17"})
    assert (twice.status_code, twice.json()["detail"]) == (409, f"Use {deal}.")


async def test_of_two_closes_at_once_the_second_sees_the_first(sales: Sales, lead: str) -> None:
    deal = await opened(sales, lead)
    answers = await asyncio.gather(
        sales.post(f"{deal}/won", {"amount_minor": 5, "currency": "EUR"}),
        sales.post(f"{deal}/lost", {"reason": "price"}),
    )
    assert sorted(a.status_code for a in answers) == [200, 409]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"lead_id": "lead-1", "amount_minor": 1.5, "currency": "EUR"}, "/amount_minor"),
        ({"lead_id": "lead-1", "amount_minor": -1, "currency": "EUR"}, "/amount_minor"),
        ({"lead_id": "lead-1", "amount_minor": 2**70, "currency": "EUR"}, "/amount_minor"),
        ({"lead_id": "lead-1", "amount_minor": "12", "currency": "EUR"}, "/amount_minor"),
        ({"lead_id": "lead-1", "amount_minor": 1, "currency": "EURO"}, "/currency"),
        ({"lead_id": "lead-1", "amount_minor": 1}, ""),
        ({"lead_id": "lead\u0000"}, "/lead_id"),
        ({"lead_id": "lead-1", "crm_deal_id": "a\u0000"}, "/crm_deal_id"),
        ({"lead_id": "lead-1", "opened_at": "9999-12-31T23:59:59-14:00"}, "/opened_at"),
        ({"lead_id": "lead-1", "opened_at": "2026-01-01T00:00:00"}, "/opened_at"),
        ({"lead_id": "lead-1", "colour": "red"}, "/colour"),
    ],
)
async def test_a_bad_field_is_pointed_at_and_never_repeated(
    sales: Sales, lead: str, body: dict[str, Any], pointer: str
) -> None:
    answer = await sales.post("/v1/deals", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await sales.told() == []


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b"\xff", b"[" * 100_000, b"null", b'{"lead_id": NaN}', b'{"lead_id": "\\ud800"}'],
)
async def test_a_hostile_body_is_a_problem_and_the_next_request_goes_through(
    sales: Sales, lead: str, content: bytes
) -> None:
    answer = await sales.harness.api.post(
        "/v1/deals", content=content, headers={"Idempotency-Key": "x", "Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    await opened(sales, lead)


@pytest.mark.parametrize("id_", ["%00", "a%00b", "%ff", "..%2f..", "x" * 300, "'; DROP TABLE deal"])
async def test_a_hostile_id_finds_nothing(sales: Sales, lead: str, id_: str) -> None:
    for path in (f"/v1/deals/{id_}", f"/v1/handoffs/{id_}", f"/v1/leads/{id_}/timeline"):
        assert (await sales.harness.api.get(path)).status_code in {404, 422}
