"""Of a person's open handoffs one stays with sales; un-merged, each is where it would have been."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sales_words import Sales, contact, qualified, timestamp

from baton.lead.v1.lead_pb2 import LeadMerged, LeadUnmerged
from baton_kit.db import raw
from baton_kit.envelope import Event, event
from baton_kit.testing import START

FACTS = (
    "handoff, handoff_change, feedback, note, contact, deal, deal_change, merge_edge, inbox, outbox, rep, "
    "idempotency_key, crm_entry, crm_receipt, crm_deal, crm"
)


def edge(merge_id: str, from_lead: str, into_lead: str, *, version: int = 1, on: str | None = None) -> Event:
    kind = LeadMerged if version % 2 else LeadUnmerged
    key = on or into_lead
    body = kind(
        merge_id=merge_id,
        lead_id=key,
        sequence=3,
        occurred_at=timestamp(START),
        from_lead_id=from_lead,
        into_lead_id=into_lead,
        version=version,
    )
    return event(body, key=key, occurred_at=START)


def later(hours: int) -> Any:
    return START + timedelta(hours=hours)


async def states(sales: Sales) -> dict[str, str]:
    return {r["lead_id"]: r["state"] for r in await sales.harness.fetch("SELECT lead_id, state FROM handoff")}


async def test_the_older_of_two_open_handoffs_stays_and_the_other_comes_back_on_unmerge(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([qualified("b", at=later(1)), qualified("a", at=later(0))])
    await sales.told()
    await sales.harness.receive([edge("m1", "a", "b", on="a"), edge("m1", "a", "b", on="b")])
    assert await states(sales) == {"a": "offered", "b": "superseded"}
    [told] = await sales.harness.new_events()
    assert (told.body.state, told.body.previous_state, told.body.lead_id) == (9, 1, "b")
    refused = await sales.post(f"/v1/handoffs/{(await handoff_of(sales, 'b'))['id']}/accept")
    assert refused.status_code == 409
    await sales.harness.receive([edge("m1", "a", "b", version=2)])
    assert await states(sales) == {"a": "offered", "b": "offered"}


async def handoff_of(sales: Sales, lead_id: str) -> dict[str, Any]:
    found = (await sales.harness.api.get("/v1/handoffs", params={"lead_id": lead_id})).json()["items"]
    return next(one for one in found if one["lead_id"] == lead_id)


async def test_a_handoff_that_is_offered_after_the_merge_rests_at_once(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([edge("m1", "a", "b"), qualified("a", at=later(0)), qualified("b", at=later(1))])
    assert await states(sales) == {"a": "offered", "b": "superseded"}


async def test_a_rest_ends_where_its_reason_ends_and_not_with_every_unmerge(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([qualified(x, at=later(n)) for n, x in enumerate("abc")])
    await sales.harness.receive([edge("m1", "a", "b"), edge("m2", "b", "c")])
    assert await states(sales) == {"a": "offered", "b": "superseded", "c": "superseded"}
    await sales.harness.receive([edge("m1", "a", "b", version=2)])
    assert await states(sales) == {"a": "offered", "b": "offered", "c": "superseded"}
    await sales.harness.receive([edge("m2", "b", "c", version=2)])
    assert await states(sales) == {"a": "offered", "b": "offered", "c": "offered"}


async def test_a_rest_does_not_end_because_the_other_handoff_did(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([qualified("a", at=later(0)), qualified("b", at=later(1)), edge("m1", "a", "b")])
    older = await handoff_of(sales, "a")
    assert (await sales.post(f"/v1/handoffs/{older['id']}/reject", {"reason": "too_small"})).status_code == 200
    await sales.harness.receive([qualified("c", at=later(2)), edge("m2", "c", "b")])
    assert await states(sales) == {"a": "rejected", "b": "superseded", "c": "offered"}


async def test_a_handoff_with_a_deal_never_rests_and_a_deal_wakes_one(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([qualified("a", at=later(0)), qualified("b", at=later(1))])
    assert (await sales.post("/v1/deals", {"lead_id": "b"})).status_code == 201
    await sales.harness.receive([edge("m1", "a", "b")])
    assert await states(sales) == {"a": "superseded", "b": "opportunity"}
    assert (await sales.post("/v1/deals", {"lead_id": "a"})).status_code == 201
    assert await states(sales) == {"a": "opportunity", "b": "opportunity"}
    history = await sales.harness.fetch(
        "SELECT state, previous_state FROM handoff_change WHERE handoff_id IN "
        "(SELECT id FROM handoff WHERE lead_id = 'a') ORDER BY sequence"
    )
    assert [tuple(row) for row in history][-3:] == [
        ("offered", "superseded"),
        ("accepted", "offered"),
        ("opportunity", "accepted"),
    ]


async def test_the_call_sees_what_the_person_told_under_every_lead_and_each_consent_apart(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([contact("a", name="Anna P."), contact("b", name="Anna Petrova")])
    await sales.harness.receive([qualified("a"), edge("m1", "a", "b")])
    one = await handoff_of(sales, "a")
    seen = (await sales.harness.api.get(f"/v1/handoffs/{one['id']}")).json()
    assert seen["contact"]["full_name"] == "Anna P."
    assert [c["full_name"] for c in seen["merged_contacts"]] == ["Anna Petrova"]
    assert [h["lead_id"] for h in (await sales.harness.api.get("/v1/handoffs?lead_id=b")).json()["items"]] == ["a"]
    timeline = (await sales.harness.api.get("/v1/leads/b/timeline")).json()
    assert {i["title"] for i in timeline["items"]} == {"Handed to sales"}


async def test_two_cycles_of_one_lead_never_make_each_other_rest(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([qualified("a", at=later(0)), qualified("a", cycle=2, at=later(1))])
    await sales.harness.receive([edge("m1", "b", "a"), edge("m1", "b", "a", version=2)])
    rows = await sales.harness.fetch("SELECT cycle, state FROM handoff ORDER BY 1")
    assert [tuple(r) for r in rows] == [(1, "offered"), (2, "offered")]


OFFERS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=3, unique_by=lambda x: x[0])
MERGES = st.lists(st.sampled_from([("a", "b"), ("b", "c"), ("a", "c"), ("c", "b")]), max_size=3)
DEALS = st.sets(st.sampled_from("abc"))


async def where(sales: Sales) -> list[Any]:
    rows = await sales.harness.fetch(
        "SELECT lead_id, cycle, state, rep_id IS NULL, accepted_at IS NULL, ended_at, superseded_by, superseded_from, "
        "accept_due_at, attempts FROM handoff ORDER BY 1, 2"
    )
    deals = await sales.harness.fetch("SELECT lead_id, state FROM deal ORDER BY 1")
    async with sales.harness.db.begin() as tx:
        await (await raw(tx)).execute(f"TRUNCATE {FACTS}")
    return [[tuple(row) for row in rows], [tuple(row) for row in deals]]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offers=OFFERS, merges=MERGES, deals=DEALS, data=st.data())
async def test_merged_and_unmerged_in_any_order_every_handoff_is_where_it_would_have_been(
    sales: Sales, offers: Sequence[Any], merges: Sequence[Any], deals: set[str], data: st.DataObject
) -> None:
    told = [qualified(lead, at=later(hours)) for lead, hours in offers]
    edges = [
        edge(f"m{n}", *pair, version=version, on=key)
        for n, pair in enumerate(merges)
        for version in (1, 2)
        for key in pair
    ]
    results = []
    for order in (told, data.draw(st.permutations([*told, *edges]), label="order")):
        await sales.rep("olga", "petra")
        for one in order:
            await sales.harness.receive([one])
            if one in told and one.key in deals:
                assert (await sales.post("/v1/deals", {"lead_id": one.key})).status_code == 201
        results.append(await where(sales))
    assert results[1] == results[0]
