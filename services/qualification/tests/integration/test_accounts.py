"""A lead shows its company, whatever is told first, and hands it on to sales."""

import itertools
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from baton.lead.v1 import accounts_pb2
from baton_kit.envelope import Event, event
from baton_kit.testing import START, Harness
from qualification.app import App

from .given import GOOD, WEAK, activate, created, people, touched


def _stamp() -> Timestamp:
    at = Timestamp()
    at.FromDatetime(START)
    return at


def moved(lead_id: str, account_id: str, *, sequence: int) -> Event:
    body = accounts_pb2.LeadAccountChanged(
        lead_id=lead_id, sequence=sequence, occurred_at=_stamp(), account_id=account_id
    )
    return event(body, key=lead_id, occurred_at=START)


def edge(merge_id: str, from_account: str, into_account: str, *, version: int = 1) -> Event:
    kind = accounts_pb2.AccountMerged if version % 2 else accounts_pb2.AccountUnmerged
    body = kind(
        merge_id=merge_id,
        account_id=into_account,
        sequence=version,
        occurred_at=_stamp(),
        from_account_id=from_account,
        into_account_id=into_account,
        version=version,
    )
    return event(body, key=into_account, occurred_at=START)


def of_account(told: Event, account_id: str) -> Event:
    told.body.account_id = account_id  # type: ignore[union-attr]
    return event(told.body, key=told.key, occurred_at=START)  # type: ignore[arg-type]


async def shown(qualification: Harness[App], lead_id: str) -> Any:
    answer = await qualification.api.get(f"/v1/leads/{lead_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_of_what_is_told_of_a_leads_account_the_highest_version_counts(
    qualification: Harness[App], order: tuple[int, ...]
) -> None:
    told = [
        of_account(created("lead-1", **WEAK), "a"),
        of_account(touched("lead-1", sequence=2), "a"),
        moved("lead-1", "b", sequence=3),
    ]
    for n in order:
        await qualification.receive([told[n]])
    assert (await shown(qualification, "lead-1"))["account_id"] == "b"
    await qualification.receive([touched("lead-1", sequence=4)])
    assert (await shown(qualification, "lead-1"))["account_id"] == "b"
    assert (await qualification.api.get("/v1/leads/nobody")).status_code == 404


async def test_a_lead_that_is_handed_over_names_its_account(qualification: Harness[App]) -> None:
    await activate(qualification, await people(qualification))
    await qualification.receive([of_account(created("lead-1", **GOOD), "a")])
    [qualified] = [e for e in await qualification.outbox() if e.type.endswith("LeadQualified")]
    assert (qualified.body.account_id, qualified.body.account_sequence) == ("a", 1)


async def test_a_lead_shows_the_canonical_account_while_a_merge_stands(qualification: Harness[App]) -> None:
    await qualification.receive([of_account(created("lead-1", **WEAK), "a")])
    await qualification.receive([edge("m1", "b", "c"), edge("m2", "a", "b")])
    seen = await shown(qualification, "lead-1")
    assert (seen["account_id"], seen["origin_account_id"]) == ("c", "a")
    await qualification.receive([edge("m1", "b", "c", version=2)])
    assert (await shown(qualification, "lead-1"))["account_id"] == "b"
    await qualification.receive([edge("m2", "a", "b", version=2)])
    seen = await shown(qualification, "lead-1")
    assert (seen["account_id"], seen["canonical_lead_id"]) == ("a", "lead-1")
