"""Credits while events come in whatever order, on a real database."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from attribution_stories import CLOSE, closed, created, handed, qualified, touched

from attribution import credit
from attribution.app import App
from attribution.rebuild import verify
from baton import catalogue
from baton.lead.v1.lead_pb2 import TouchRecorded
from baton.sales.v1.sales_pb2 import DealClosed
from baton_kit import migration
from baton_kit.envelope import Event, Received, event
from baton_kit.testing import Harness, Server, database_of

EXAMPLES = Path(__file__).parents[4] / "proto" / "examples"


async def money(attribution: Harness[App], model: str = "linear", by: str = "channel") -> dict[str, int]:
    answer = await attribution.api.get("/v1/reports/attribution", params={"model": model, "by": by})
    return {f"{row['key']} {row['currency']}": row["credit_minor"] for row in answer.json()["rows"]}


async def test_a_won_deal_is_credited_to_the_touches_before_it(attribution: Harness[App]) -> None:
    await attribution.receive(
        [
            touched("lead-1", id="t1", channel="paid_search", campaign="spring", before_close=timedelta(days=9)),
            touched("lead-1", id="t2", channel="email", before_close=timedelta(days=5)),
            touched("lead-1", id="t3", channel="direct", before_close=timedelta(days=1)),
            closed("lead-1", deal="d1", amount=100),
        ]
    )
    assert await money(attribution, "first") == {"paid_search EUR": 100}
    assert await money(attribution, "last") == {"direct EUR": 100}
    assert await money(attribution, "last_non_direct") == {"email EUR": 100}
    assert await money(attribution, "linear") == {"paid_search EUR": 34, "email EUR": 33, "direct EUR": 33}
    assert await money(attribution, "position") == {"paid_search EUR": 40, "email EUR": 20, "direct EUR": 40}
    assert await money(attribution, "first", "campaign") == {"spring EUR": 100}
    assert sum((await money(attribution, "time_decay")).values()) == 100


async def test_a_touch_that_comes_after_the_deal_still_gets_its_share(attribution: Harness[App]) -> None:
    await attribution.receive([closed("lead-1", deal="d1", amount=100)])
    assert await money(attribution) == {"(none) EUR": 100}
    await attribution.receive([touched("lead-1", id="t1", channel="email")])
    assert await money(attribution) == {"email EUR": 100}


async def test_the_highest_sequence_of_a_deal_counts_whichever_comes_last(attribution: Harness[App]) -> None:
    await attribution.receive([touched("lead-1", id="t1")])
    await attribution.receive([closed("lead-1", deal="d1", sequence=2, amount=70)])
    await attribution.receive([closed("lead-1", deal="d1", sequence=1, amount=100)])
    assert await money(attribution) == {"email EUR": 70}


async def test_a_deal_that_is_open_again_takes_its_money_back(attribution: Harness[App]) -> None:
    await attribution.receive([touched("lead-1", id="t1"), closed("lead-1", deal="d1")])
    await attribution.receive([closed("lead-1", deal="d1", sequence=2, outcome="REOPENED")])
    assert await money(attribution) == {}
    assert await attribution.fetch("SELECT * FROM credit_total") == []
    await attribution.receive([closed("lead-1", deal="d1", sequence=3, amount=5)])
    assert await money(attribution) == {"email EUR": 5}


async def test_a_lost_deal_has_no_credit(attribution: Harness[App]) -> None:
    await attribution.receive([touched("lead-1", id="t1"), closed("lead-1", deal="d1", outcome="LOST")])
    assert await money(attribution) == {}


async def test_test_touches_and_touches_after_the_close_do_not_count(attribution: Harness[App]) -> None:
    await attribution.receive(
        [
            touched("lead-1", id="t1", channel="email"),
            touched("lead-1", id="t2", channel="event", test=True),
            touched("lead-1", id="t3", channel="event", before_close=timedelta(seconds=-1)),
            touched("lead-1", id="t4", channel="event", before_close=timedelta(days=91)),
            closed("lead-1", deal="d1", amount=100),
        ]
    )
    assert await money(attribution) == {"email EUR": 100}


async def test_currencies_are_never_added_up(attribution: Harness[App]) -> None:
    await attribution.receive(
        [
            touched("lead-1", id="t1"),
            closed("lead-1", deal="d1", amount=100),
            closed("lead-1", deal="d2", amount=900, currency="USD"),
        ]
    )
    answer = (await attribution.api.get("/v1/reports/attribution")).json()
    assert {t["currency"]: t["total_minor"] for t in answer["totals"]} == {"EUR": 100, "USD": 900}
    assert answer["total_minor"] is None
    only = (await attribution.api.get("/v1/reports/attribution", params={"currency": "USD"})).json()
    assert [(row["credit_minor"], row["share"], row["deals"]) for row in only["rows"]] == [(900, 1.0, 1)]
    assert only["total_minor"] == 900


async def test_a_won_deal_without_a_currency_is_parked_and_the_next_lead_goes_through(
    attribution: Harness[App],
) -> None:
    from baton_kit.outages import Unprocessable

    with pytest.raises(Unprocessable, match="currency"):
        await attribution.receive([closed("lead-1", deal="d1", currency="")])
    await attribution.receive([closed("lead-2", deal="d2", amount=7)])
    assert await money(attribution) == {"(none) EUR": 7}


def received(e: Event) -> Received[TouchRecorded | DealClosed]:
    return Received(e.id, e.type, e.key, e.body, e.occurred_at)  # type: ignore[arg-type]  # never a tombstone here


@pytest.mark.parametrize("touch_first", [True, False])
async def test_a_touch_and_a_close_that_are_written_at_the_same_time_do_not_miss_each_other(
    attribution: Harness[App], touch_first: bool
) -> None:
    app = attribution.app
    touch = received(touched("lead-1", id="t1", channel="email"))
    deal = received(closed("lead-1", deal="d1", amount=100))
    steps = [(credit.leads_touched, touch), (credit.deals_closed, deal)]
    if not touch_first:
        steps.reverse()
    (first, first_event), (second, second_event) = steps

    async def later() -> None:
        async with app.db.begin() as tx:
            await second(tx, app, [second_event])  # type: ignore[list-item,arg-type]

    async with app.db.begin() as tx:
        await first(tx, app, [first_event])  # type: ignore[list-item,arg-type]
        waiting = asyncio.create_task(later())
        # It has started, and stands before the position that this transaction holds.
        async with asyncio.timeout(10):
            while not await attribution.fetch(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                assert not waiting.done()
                await asyncio.sleep(0.01)
    await waiting
    assert await money(attribution) == {"email EUR": 100}
    assert (await verify(app)).identical


async def test_facts_are_stamped_in_the_order_of_their_commits(attribution: Harness[App]) -> None:
    await attribution.receive([touched("lead-1", id="t1")])
    await attribution.receive([touched("lead-1", id="t2"), touched("lead-2", id="t3")])
    rows = await attribution.fetch("SELECT touch_id, known_seq FROM touch ORDER BY touch_id")
    assert [tuple(row) for row in rows] == [("t1", 1), ("t2", 2), ("t3", 2)]


async def test_the_funnel_counts_each_lead_once_a_stage(attribution: Harness[App]) -> None:
    await attribution.receive(
        [
            # The order of the topics is nobody's promise: the deal comes first.
            closed("lead-1", deal="d1"),
            handed("lead-1", "WORKING", sequence=3),
            handed("lead-1", "ACCEPTED", sequence=2),
            handed("lead-2", "REJECTED", sequence=2),
            qualified("lead-1"),
            qualified("lead-1", cycle=2),
            qualified("lead-2"),
            created("lead-1"),
            created("lead-2"),
            created("lead-3"),
            created("lead-4", test=True),
        ]
    )
    stages = (await attribution.api.get("/v1/reports/funnel")).json()["stages"]
    assert [(s["stage"], s["owner"], s["leads"]) for s in stages] == [
        ("lead", "marketing", 3),
        ("qualified", "marketing", 2),
        ("accepted", "sales", 1),
        ("opportunity", "sales", 1),
        ("won", "sales", 1),
    ]
    later = {"from": CLOSE.date().isoformat()}
    assert [s["leads"] for s in (await attribution.api.get("/v1/reports/funnel", params=later)).json()["stages"]] == [
        0
    ] * 5


async def test_every_example_of_the_contract_is_applied(attribution: Harness[App]) -> None:
    events = []
    for type_name, message in catalogue.EVENTS.items():
        if catalogue.TOPIC_OF[type_name] == "baton.contact.v1":
            continue
        for path in sorted((EXAMPLES / type_name).glob("*.bin")):
            body = message()
            body.ParseFromString(path.read_bytes())
            events.append(event(body, key=getattr(body, "lead_id", "") or "agreement", occurred_at=CLOSE))
    assert len(events) > 20
    await attribution.receive(events, one_by_one=True)
    assert await attribution.fetch("SELECT * FROM parked") == []
    assert (await verify(attribution.app)).identical


async def test_the_tables_of_the_code_are_those_of_the_migrations(postgres_server: Server) -> None:
    async with database_of("attribution", postgres_server) as url:
        await asyncio.to_thread(migration.check, "attribution", url=url)
