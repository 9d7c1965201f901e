"""Deals and answers of the time before Baton are kept once, told on, and move no handoff."""

from datetime import timedelta

from sales_words import LONG_AGO, Sales, changed, qualified
from sales_words import past_answer as answer
from sales_words import past_deal as deal


async def test_a_won_deal_of_the_past_is_told_with_its_own_dates_and_no_handoff(sales: Sales) -> None:
    await sales.harness.receive([deal()])
    [told] = await sales.harness.new_events()
    assert told.type.endswith("DealClosed")
    assert (told.body.lead_id, told.body.amount_minor, told.body.currency) == ("lead-1", 100_000, "EUR")
    assert told.body.imported
    assert told.body.handoff_id == ""
    assert told.body.closed_at.ToDatetime() == (LONG_AGO + timedelta(days=30)).replace(tzinfo=None)
    assert await sales.harness.fetch("SELECT 1 FROM handoff") == []
    [lane] = await sales.harness.fetch("SELECT slot = (SELECT slot FROM outbox_ring WHERE lane = 'bulk') FROM outbox")
    assert lane[0]


async def test_told_again_it_changes_nothing_and_a_later_export_corrects_it(sales: Sales) -> None:
    await sales.harness.receive([deal(), deal("d2", state="OPEN")])
    await sales.harness.new_events()
    await sales.harness.receive([deal(told=2), deal("d2", state="OPEN", told=2)])
    assert await sales.harness.new_events() == []
    await sales.harness.receive([deal(told=3, amount_minor=90_000), deal("d2", state="LOST", told=3, reason="price")])
    corrected = {(e.body.outcome, e.body.amount_minor, e.body.sequence) for e in await sales.harness.new_events()}
    assert corrected == {(1, 90_000, 2), (2, 100_000, 2)}
    [count] = await sales.harness.fetch("SELECT count(*) FROM deal")
    assert count[0] == 2


async def test_of_one_batch_the_newest_word_counts(sales: Sales) -> None:
    await sales.harness.receive([deal(told=5, amount_minor=5), deal(told=4, amount_minor=4)])
    [row] = await sales.harness.fetch("SELECT amount_minor FROM deal")
    assert row[0] == 5


async def test_a_deal_that_sales_works_here_is_not_changed_by_an_export(sales: Sales) -> None:
    await sales.harness.receive([qualified("lead-1")])
    await sales.hubspot()
    body = {"lead_id": "lead-1", "amount_minor": 7, "currency": "EUR", "crm": "hubspot", "crm_deal_id": "d1"}
    opened = await sales.harness.api.post("/v1/deals", json=body, headers={"Idempotency-Key": "k1"})
    assert opened.status_code == 201, opened.text
    await sales.harness.new_events()
    await sales.harness.receive([deal()])
    assert await sales.harness.new_events() == []
    [row] = await sales.harness.fetch("SELECT state, amount_minor FROM deal")
    assert tuple(row) == ("open", 7)


async def test_answers_of_the_past_are_told_once_and_stand_in_the_timeline(sales: Sales) -> None:
    await sales.harness.receive([answer(), answer("r2", kind="CONTACTED")])
    await sales.harness.receive([answer()])
    told = await sales.harness.new_events()
    assert [(e.type.rsplit(".", 1)[1], e.body.cycle, e.body.imported, e.body.handoff_id) for e in told] == [
        ("SalesFeedback", 0, True, "")
    ] * 2
    items = (await sales.harness.api.get("/v1/leads/lead-1/timeline")).json()["items"]
    assert sorted(item["kind"] for item in items) == ["contact", "feedback"]


async def test_a_webhook_about_a_deal_of_the_past_moves_it_though_its_lead_was_never_handed_over(sales: Sales) -> None:
    await sales.hubspot()
    await sales.harness.receive([deal("901", state="OPEN")])
    await sales.harness.new_events()
    assert (
        await sales.hubspot_says(changed("dealstage", "closedwon", deal=901), changed("amount", "1234", deal=901))
        == 200
    )
    [told] = await sales.harness.new_events()
    assert (told.body.outcome, told.body.amount_minor, told.body.imported) == (1, 123_400, True)
    [row] = await sales.harness.fetch("SELECT state, lead_id FROM deal")
    assert tuple(row) == ("won", "lead-1")
