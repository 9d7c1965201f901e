"""The companies of leads and deals are kept with their positions; no report counts by them yet."""

from attribution_stories import closed, created
from google.protobuf.timestamp_pb2 import Timestamp

from attribution.app import App
from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton_kit.envelope import Event, event
from baton_kit.testing import START, Harness


def _stamp() -> Timestamp:
    at = Timestamp()
    at.FromDatetime(START)
    return at


def of_account(told: Event, account_id: str) -> Event:
    told.body.account_id = account_id  # type: ignore[union-attr]
    return event(told.body, key=told.key, occurred_at=START)  # type: ignore[arg-type]


def moved(lead_id: str, account_id: str, *, sequence: int) -> Event:
    body = LeadAccountChanged(lead_id=lead_id, sequence=sequence, occurred_at=_stamp(), account_id=account_id)
    return event(body, key=lead_id, occurred_at=START)


def edge(version: int, *, on: str) -> Event:
    body = (AccountMerged if version % 2 else AccountUnmerged)(
        merge_id="m1", account_id=on, sequence=version, occurred_at=_stamp(), from_account_id="a", into_account_id="b",
        version=version,
    )  # fmt: skip
    return event(body, key=on, occurred_at=START)


async def test_the_account_of_a_lead_and_a_deal_is_kept_in_every_version(attribution: Harness[App]) -> None:
    await attribution.receive([of_account(created("lead-1"), "a"), of_account(closed("lead-1", deal="d"), "c")])
    await attribution.receive([moved("lead-1", "b", sequence=7)])
    assert [row["account_id"] for row in await attribution.fetch("SELECT account_id FROM lead")] == ["a"]
    assert [row["account_id"] for row in await attribution.fetch("SELECT account_id FROM deal_version")] == ["c"]
    [row] = await attribution.fetch("SELECT lead_id, sequence, account_id, known_seq FROM lead_account")
    [lead] = await attribution.fetch("SELECT known_seq FROM lead")
    assert (row["lead_id"], row["sequence"], row["account_id"]) == ("lead-1", 7, "b")
    assert row["known_seq"] > lead["known_seq"]


async def test_a_merge_of_accounts_told_on_both_keys_is_one_fact_a_version(attribution: Harness[App]) -> None:
    linked = AccountLinked(account_id="a", sequence=1, occurred_at=_stamp(), crm="hubspot", crm_company_id="55")
    await attribution.receive([event(linked, key="a", occurred_at=START)])
    await attribution.receive([edge(1, on="a"), edge(1, on="b"), edge(2, on="b"), edge(2, on="a")])
    rows = await attribution.fetch("SELECT version, account_id, into_account_id, active FROM account_merge ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, "a", "b", True), (2, "a", "b", False)]
    assert await attribution.fetch("SELECT 1 FROM parked") == []
