"""What sales made of the leads that were handed over, rule by rule."""

import itertools
from datetime import timedelta
from typing import Any

from baton_kit.testing import START, Harness
from qualification.app import App

from .given import EXAMPLE, GOOD, activate, answered, closed, created, people

SMALL = {**GOOD, "employees": 20}
LOW = EXAMPLE.replace(b"threshold: 45", b"threshold: 5")


async def evidence(h: Harness[App], **params: str) -> Any:
    answer = await h.api.get("/v1/evidence", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rule(found: Any, name: str) -> Any:
    [one] = [r for r in found["rules"] if r["rule"] == name]
    return one


async def given_answers(h: Harness[App], *, small_declined: int, large_declined: int) -> None:
    """Three reps have 20 small and 20 large companies each; so many of each twenty are declined."""
    events = []
    for rep, size, n in itertools.product(("r1", "r2", "r3"), ("small", "large"), range(20)):
        lead = f"{rep}-{size}-{n}"
        events.append(created(lead, **(SMALL if size == "small" else GOOD)))
        declined = n < (small_declined if size == "small" else large_declined)
        kind, reason = ("rejected", "wrong_size") if declined else ("accepted", "")
        events.append(answered(lead, kind, reason=reason, rep_id=rep, at=START + timedelta(minutes=5)))
    await h.receive(events)


async def test_a_rule_whose_leads_are_declined_more_is_spoken_against(qualification: Harness[App]) -> None:
    h = qualification
    digest = await activate(h, await people(h), LOW)
    await given_answers(h, small_declined=2, large_declined=12)
    found = await evidence(h)
    assert found["digest"] == digest
    assert (found["all"]["handed_over"], found["all"]["accepted"], found["all"]["rejected"]) == (120, 78, 42)
    mid_market = rule(found, "mid-market")
    assert (mid_market["met"]["rejected"], mid_market["not_met"]["rejected"]) == (36, 6)
    assert mid_market["verdict"] == "speaks_against"
    assert mid_market["rejection_odds"]["low"] > 1
    assert mid_market["rejection_odds"]["reps"] == 3
    assert mid_market["reasons"] == [{"reason": "wrong_size", "leads": 36}]
    assert rule(found, "business-mail")["rejection_odds"] is None  # everybody met it: there is nothing to compare with


async def test_a_rule_whose_leads_are_taken_more_is_supported(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h), LOW)
    await given_answers(h, small_declined=12, large_declined=2)
    assert rule(await evidence(h), "mid-market")["verdict"] == "supports"


async def test_alike_on_either_side_is_no_evidence(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h), LOW)
    await given_answers(h, small_declined=5, large_declined=6)
    assert rule(await evidence(h), "mid-market")["verdict"] == "no_evidence"


async def test_deals_count_in_their_newest_version_and_where_they_were_closed_after_the_handover(
    qualification: Harness[App],
) -> None:
    h = qualification
    await activate(h, await people(h), LOW)
    later, before = START + timedelta(days=3), START - timedelta(days=3)
    await h.receive(
        [
            closed("l1", "won", sequence=2, at=later),  # before its lead, and before its own first version
            closed("l1", "lost", sequence=1, at=later),
            *(created(f"l{n}", **GOOD) for n in range(1, 5)),
            closed("l2", "lost", at=later),
            closed("l3", "won", at=before),
            closed("l4", "won", at=later),
            closed("l4", "reopened", sequence=2, at=later),
        ]
    )
    whole = (await evidence(h))["all"]
    assert (whole["handed_over"], whole["won"], whole["lost"]) == (4, 1, 1)
    assert whole["win_rate"]["value"] == 0.5
    assert whole["accept_rate"] is None


async def test_each_version_has_its_own_evidence(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    first = await activate(h, who, LOW)
    await h.receive([created("l1", **GOOD)])
    second = await activate(h, who)
    await h.receive([created("l2", **GOOD), created("l3", **GOOD)])
    assert (await evidence(h, agreement=first))["all"]["handed_over"] == 1
    assert (await evidence(h, agreement=second))["all"]["handed_over"] == 2
    assert (await h.api.get("/v1/evidence", params={"agreement": "0" * 64})).status_code == 404
    assert (await h.api.get("/v1/evidence", params={"agreement": "x"})).status_code == 422


async def test_without_an_agreement_there_is_no_evidence(qualification: Harness[App]) -> None:
    assert (await qualification.api.get("/v1/evidence")).status_code == 404
