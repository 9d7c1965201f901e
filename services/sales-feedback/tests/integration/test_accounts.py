"""Handoffs and deals show their company: the canonical one, of a deal that of its company in the CRM first."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sales_words import HUBSPOT_SECRET, START, Sales, changed, past_deal, pipedrive_deal, qualified, timestamp

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton_kit.db import raw
from baton_kit.envelope import Event, event


def of_account(told: Event, account_id: str, sequence: int = 1) -> Event:
    told.body.account_id, told.body.account_sequence = account_id, sequence  # type: ignore[union-attr]
    return event(told.body, key=told.key, occurred_at=START)  # type: ignore[arg-type]


def moved(lead_id: str, account_id: str, *, sequence: int) -> Event:
    body = LeadAccountChanged(lead_id=lead_id, sequence=sequence, occurred_at=timestamp(START), account_id=account_id)
    return event(body, key=lead_id, occurred_at=START)


def linked(account_id: str, company_id: str, *, crm: str = "hubspot", sequence: int = 1) -> Event:
    body = AccountLinked(
        account_id=account_id, sequence=sequence, occurred_at=timestamp(START), crm=crm, crm_company_id=company_id
    )
    return event(body, key=account_id, occurred_at=START)


def edge(merge_id: str, from_account: str, into_account: str, *, version: int = 1) -> Event:
    body = (AccountMerged if version % 2 else AccountUnmerged)(
        merge_id=merge_id,
        account_id=into_account,
        sequence=version,
        occurred_at=timestamp(START),
        from_account_id=from_account,
        into_account_id=into_account,
        version=version,
    )
    return event(body, key=into_account, occurred_at=START)


async def account_of(sales: Sales, lead_id: str) -> Any:
    latest = await sales.latest(lead_id)
    one = (await sales.harness.api.get(f"/v1/handoffs/{latest['id']}")).json()
    assert one["account_id"] == latest["account_id"]
    return latest["account_id"]


async def opened(sales: Sales, lead_id: str, **more: Any) -> Any:
    answer = await sales.post("/v1/deals", {"lead_id": lead_id, "amount_minor": 100, "currency": "EUR", **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_handoff_and_its_deal_show_the_account_of_the_lead(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([of_account(qualified("lead-1"), "a"), qualified("lead-2")])
    assert await account_of(sales, "lead-1") == "a"
    assert await account_of(sales, "lead-2") is None
    deal = await opened(sales, "lead-1")
    assert deal["account_id"] == "a"
    await sales.post(f"/v1/deals/{deal['id']}/won", {"amount_minor": 100, "currency": "EUR"})
    [closed] = [e for e in await sales.harness.outbox() if e.type.endswith("DealClosed")]
    assert closed.body.account_id == "a"


async def test_a_deal_of_a_company_in_the_crm_shows_that_companys_account(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([of_account(qualified("lead-1"), "a")])
    deal = await opened(sales, "lead-1", crm="hubspot", crm_deal_id="d", crm_company_id="55")
    path = f"/v1/deals/{deal['id']}"
    assert deal["account_id"] == "a"
    await sales.harness.receive([linked("other", "55", crm="elsewhere")])
    assert (await sales.harness.api.get(path)).json()["account_id"] == "a"
    await sales.harness.receive([linked("b", "55")])
    assert (await sales.harness.api.get(path)).json()["account_id"] == "b"
    await sales.harness.receive([edge("m1", "b", "c")])
    assert (await sales.harness.api.get(path)).json()["account_id"] == "c"
    [listed] = (await sales.harness.api.get("/v1/deals")).json()["items"]
    assert (listed["account_id"], listed["crm_company_id"]) == ("c", "55")


async def test_a_webhook_says_the_company_of_a_deal_and_the_close_tells_its_account(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.pipedrive()
    await sales.harness.receive([of_account(qualified("lead-1"), "a"), linked("b", "77", crm="pipedrive")])
    said = pipedrive_deal("won", lead_id="lead-1")
    said["data"]["org_id"] = 77
    assert await sales.pipedrive_says(said) == 200
    [deal] = (await sales.harness.api.get("/v1/deals")).json()["items"]
    assert (deal["crm_company_id"], deal["account_id"]) == ("77", "b")
    [closed] = [e for e in await sales.harness.outbox() if e.type.endswith("DealClosed")]
    assert closed.body.account_id == "b"


async def test_the_property_of_hubspot_that_the_mapping_names_is_the_deals_company(sales: Sales) -> None:
    await sales.rep("olga")
    mapping = {"company_id_property": "firm", "currency": "EUR"}
    body = {"id": "hubspot", "kind": "hubspot", "secrets": [HUBSPOT_SECRET], "mapping": mapping}
    assert (await sales.harness.api.post("/v1/crms", json=body)).status_code == 201
    await sales.harness.receive([qualified("lead-1"), linked("b", "55")])
    said = [changed("baton_lead_id", "lead-1"), changed("firm", "55", at=1), changed("dealstage", "new", at=2)]
    assert await sales.hubspot_says(*said) == 200
    [deal] = (await sales.harness.api.get("/v1/deals")).json()["items"]
    assert (deal["crm_company_id"], deal["account_id"]) == ("55", "b")


async def test_a_deal_of_an_export_shows_its_company_without_any_handoff(sales: Sales) -> None:
    await sales.harness.receive([of_account(past_deal("d1"), "a"), past_deal("d2", lead="lead-2", crm_company_id="55")])
    await sales.harness.receive([linked("b", "55")])
    items = (await sales.harness.api.get("/v1/deals")).json()["items"]
    assert {deal["crm_deal_id"]: deal["account_id"] for deal in items} == {"d1": "a", "d2": "b"}
    closed = [e for e in await sales.harness.outbox() if e.type.endswith("DealClosed")]
    assert {e.body.lead_id: e.body.account_id for e in closed} == {"lead-1": "a", "lead-2": ""}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_of_what_is_told_of_a_leads_account_the_highest_version_counts(
    sales: Sales, order: tuple[int, ...]
) -> None:
    told = [of_account(qualified("lead-1"), "a", 2), moved("lead-1", "b", sequence=5), moved("lead-1", "c", sequence=3)]
    for n in order:
        await sales.harness.receive([told[n]])
    assert await account_of(sales, "lead-1") == "b"


async def test_an_id_that_is_linked_anew_means_the_newer_account(sales: Sales) -> None:
    await sales.harness.receive([linked("b", "55", sequence=2)])
    await sales.harness.receive([linked("a", "55", sequence=1)])
    [row] = await sales.harness.fetch("SELECT account_id FROM company_account")
    assert row["account_id"] == "b"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), st.sampled_from([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("d", "a")])),
        st.tuples(st.just("move"), st.tuples(st.sampled_from(["lead-1", "lead-2"]), st.sampled_from("abcd"))),
    ),
    max_size=8,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, data=st.data())
async def test_merges_and_their_undoing_always_leave_what_the_leads_own_events_say(
    sales: Sales, steps: Sequence[Any], data: st.DataObject
) -> None:
    async with sales.app.db.begin() as tx:
        await (await raw(tx)).execute(
            "TRUNCATE handoff, handoff_change, feedback, note, deal, deal_change, lead_account, account_edge, inbox, "
            "outbox"
        )
    told = [of_account(qualified("lead-1"), "a"), of_account(qualified("lead-2"), "b")]
    expected = {"lead-1": "a", "lead-2": "b"}
    for n, (what, arg) in enumerate(steps, start=2):
        if what == "move":
            told.append(moved(*arg, sequence=n))
            expected[arg[0]] = arg[1]
        else:
            told += [edge(f"m{n}", *arg), edge(f"m{n}", *arg, version=2)]
    # In any order, each twice.
    for one in data.draw(st.permutations(told)):
        await sales.harness.receive([one])
    assert {lead: await account_of(sales, lead) for lead in expected} == expected
