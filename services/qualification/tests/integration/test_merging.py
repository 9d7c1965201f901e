"""Leads that were merged are decided about together; un-merged, each is what its own facts make it."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baton.lead.v1 import lead_pb2
from baton.sales.v1 import sales_pb2
from baton_kit.db import raw
from baton_kit.envelope import Event, event
from baton_kit.testing import START, Harness
from qualification.app import App
from qualification.evaluate import decide_due, decide_waiting

from .given import GOOD, HOUR, WEAK, activate, answered, created, people, touched

FACTS = "lead, touch, decision, qualified, feedback, merge_edge, resting_handoff, inbox, outbox"


def short(events: Sequence[Any]) -> list[str]:
    return [e.type.rpartition(".")[2] for e in events]


def _stamp() -> Timestamp:
    at = Timestamp()
    at.FromDatetime(START)
    return at


def edge(
    merge_id: str, from_lead: str, into_lead: str, *, version: int = 1, on: str | None = None, sequence: int = 3
) -> Event:
    kind = lead_pb2.LeadMerged if version % 2 else lead_pb2.LeadUnmerged
    key = on or into_lead
    body = kind(
        merge_id=merge_id,
        lead_id=key,
        sequence=sequence,
        occurred_at=_stamp(),
        from_lead_id=from_lead,
        into_lead_id=into_lead,
        version=version,
    )
    return event(body, key=key, occurred_at=START)


def handoff(lead_id: str, state: str, previous: str, *, sequence: int, cycle: int = 1) -> Event:
    body = sales_pb2.HandoffChanged(
        handoff_id=f"h-{lead_id}",
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=_stamp(),
        cycle=cycle,
        state=sales_pb2.HandoffState.Value(f"HANDOFF_STATE_{state}"),
        previous_state=sales_pb2.HandoffState.Value(f"HANDOFF_STATE_{previous}"),
    )
    return event(body, key=lead_id, occurred_at=START)


async def ready(h: Harness[App]) -> None:
    await activate(h, await people(h))
    await h.new_events()


async def test_the_canonical_lead_is_judged_by_what_all_its_leads_did(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **WEAK), created("b", **WEAK)])
    await h.receive([touched("a", kind="form", page="/pricing"), touched("b", kind="form", page="/pricing")])
    alone = {e.key: e.body.score for e in await h.new_events() if "LeadScored" in e.type}
    await h.receive([edge("m1", "a", "b")])
    [scored, *_] = await h.new_events()
    assert scored.key == "b"
    assert scored.body.score > alone["b"]
    await h.receive([touched("a", kind="form", page="/pricing")])
    assert {e.key for e in await h.new_events()} <= {"b"}


async def test_a_touch_told_under_both_leads_counts_once(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **WEAK), created("b", **WEAK)])
    await h.receive([touched(lead, kind="form", page="/pricing", id="the-same") for lead in "ab"])
    before = [e for e in await h.new_events() if e.key == "b"][-1]
    await h.receive([edge("m1", "a", "b")])
    assert await h.new_events() == []
    assert before.body.score == (await h.fetch("SELECT score FROM lead WHERE id = 'b'"))[0]["score"]


async def test_a_person_who_is_with_sales_is_not_handed_over_again(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **GOOD), created("b", **WEAK), edge("m1", "a", "b")])
    await h.receive([touched("b", kind="form", page="/pricing") for _ in range(10)])
    told = await h.new_events()
    # In one batch the two were merged before anything was decided: the person is handed over once.
    assert [e.key for e in told if "LeadQualified" in e.type] == ["b"]


async def test_whom_sales_works_under_one_lead_waits_under_the_other_until_that_ends(
    qualification: Harness[App],
) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **GOOD)])
    assert short(await h.new_events()) == ["LeadScored", "LeadQualified"]
    await h.receive([created("b", **WEAK), edge("m1", "a", "b")])
    await h.receive([touched("b", kind="form", page="/pricing", at=START + HOUR)])
    told = await h.new_events()
    assert told[-1].body.outcome == 1
    assert "LeadQualified" not in short(told)
    # Sales gives the person back; only a new inquiry after that brings it again, under the canonical lead.
    await h.receive([answered("a", "rejected", at=START + 2 * HOUR)])
    assert "LeadQualified" not in short(await h.new_events())
    h.clock.advance(4 * HOUR)
    await h.receive([touched("a", kind="form", page="/pricing", at=START + 3 * HOUR)])
    handed = [e for e in await h.new_events() if "LeadQualified" in e.type]
    assert [(e.key, e.body.cycle) for e in handed] == [("b", 1)]


async def test_a_resting_handoff_does_not_keep_the_person_away_for_ever(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **GOOD), created("b", **GOOD)])
    await h.receive([edge("m1", "a", "b"), handoff("b", "SUPERSEDED", "OFFERED", sequence=2)])
    await h.receive([answered("a", "rejected", at=START + HOUR)])
    await h.new_events()
    h.clock.advance(3 * HOUR)
    await h.receive([touched("b", kind="form", page="/pricing", at=START + 2 * HOUR)])
    handed = [e for e in await h.new_events() if "LeadQualified" in e.type]
    assert [(e.key, e.body.cycle) for e in handed] == [("b", 2)]


async def test_the_consent_of_a_merged_lead_is_not_spread(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **GOOD, consent_marketing=True), created("b", **WEAK, industry="steel")])
    await h.receive([edge("m1", "a", "b")])
    [row] = await h.fetch("SELECT snapshot FROM decision WHERE lead_id = 'b' ORDER BY sequence DESC LIMIT 1")
    assert b"consent_marketing" not in bytes(row["snapshot"])
    assert b"c_level" not in bytes(row["snapshot"])
    assert b'"job_level":"director"' in bytes(row["snapshot"])


async def test_an_edge_of_unknown_leads_is_kept_and_counts_once_they_come(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([edge("m1", "a", "b")])
    assert await h.new_events() == []
    await h.receive([touched("a", kind="form", page="/pricing"), created("b", **WEAK)])
    alone = (await h.new_events())[-1].body.score
    assert alone > 15
    await h.receive([edge("m1", "a", "b", version=2, on="a")])
    [scored] = await h.new_events()
    assert (scored.key, scored.body.score) == ("b", 15)


async def test_a_cycle_that_only_the_other_lead_began_ends_with_the_merge(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("a", **WEAK), created("b", **WEAK), answered("b", "rejected", at=START)])
    await h.receive([edge("m1", "a", "b")])
    h.clock.advance(2 * HOUR)
    await h.receive([touched("a", kind="form", page="/pricing", at=START + HOUR)])
    [row] = await h.fetch("SELECT cycle, cycle_state FROM lead WHERE id = 'b'")
    assert tuple(row) == (2, "open")
    await h.receive([edge("m1", "a", "b", version=2)])
    [row] = await h.fetch("SELECT cycle, cycle_state, ended_at FROM lead WHERE id = 'b'")
    assert tuple(row) == (1, "rejected", START)


async def test_leads_merged_before_any_agreement_are_judged_together_when_one_comes(
    qualification: Harness[App],
) -> None:
    h = qualification
    await h.receive([created("a", **GOOD), created("b", **WEAK), edge("m1", "a", "b")])
    assert await decide_waiting(h.app) == 0
    await ready(h)
    assert await decide_waiting(h.app) == 1
    assert {e.key for e in await h.new_events()} == {"b"}
    assert await decide_waiting(h.app) == 0


LEADS = "abc"
AT = st.integers(0, 12).map(lambda h: START - timedelta(hours=24) + h * HOUR)
FACT = st.one_of(
    st.tuples(st.just("created"), st.sampled_from(LEADS), st.sampled_from([WEAK, {"has_email": True}]), AT),
    st.tuples(st.just("touched"), st.sampled_from(LEADS), st.sampled_from(["form", "visit"]), AT),
    st.tuples(st.just("answered"), st.sampled_from(LEADS), st.sampled_from(["accepted", "rejected", "recycled"]), AT),
)
MERGE = st.tuples(st.sampled_from([("a", "b"), ("b", "c"), ("a", "c"), ("c", "b"), ("b", "a")]), st.booleans())
SEQUENCES = itertools.count(1)


def _once(fact: tuple[str, str, Any, Any]) -> object:
    """A lead is created once; the rest may happen as often as it likes."""
    return fact[:2] if fact[0] == "created" else object()


def told(fact: tuple[str, str, Any, Any]) -> Event:
    what, lead, more, at = fact
    if what == "created":
        return created(lead, at=at, sequence=1, **more)
    if what == "touched":
        return touched(lead, at=at, kind=more, page="/pricing", sequence=next(SEQUENCES) + 1)
    return answered(lead, more, at=at, sequence=next(SEQUENCES))


def edges_of(merges: Sequence[Any]) -> list[Event]:
    """Each merge and its undoing, on both keys: a merge that the owner would refuse is left out."""
    found: list[Event] = []
    for n, ((source, target), _) in enumerate(merges):
        for version in (1, 2):
            found += [edge(f"m{n}", source, target, version=version, on=key) for key in (source, target)]
    return found


async def state(h: Harness[App]) -> dict[str, Any]:
    rows = await h.fetch(
        "SELECT id, created_at, test, features, features_sequence, cycle, cycle_state, ended_at, return_at, "
        "CASE WHEN cycle_state IN ('open', 'qualified') THEN outcome END AS outcome, "
        "CASE WHEN cycle_state IN ('open', 'qualified') THEN score END AS score, "
        "next_change_at FROM lead WHERE created_at IS NOT NULL OR features <> '{}'::jsonb ORDER BY id"
    )
    touches = await h.fetch("SELECT lead_id, occurred_at, id FROM touch ORDER BY 1, 2, 3")
    handed = await h.fetch("SELECT lead_id, cycle FROM qualified ORDER BY 1, 2")
    async with h.db.begin() as tx:
        await (await raw(tx)).execute(f"TRUNCATE {FACTS}")
    h.seen = 0
    return {
        "leads": [tuple(r) for r in rows],
        "told": [tuple(r)[:5] for r in rows],
        "touches": [tuple(t) for t in touches],
        "handed": [tuple(r) for r in handed],
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.lists(FACT, max_size=8, unique_by=_once), merges=st.lists(MERGE, max_size=3), data=st.data())
async def test_merged_and_unmerged_in_any_order_every_lead_is_what_its_own_facts_make_it(
    qualification: Harness[App], facts: list[Any], merges: list[Any], data: st.DataObject
) -> None:
    h = qualification
    if not await h.fetch("SELECT 1 FROM agreement"):
        await ready(h)
    events = [told(fact) for fact in facts]
    await h.receive(events, one_by_one=True)
    plain = await state(h)

    both = list(events)  # what comes on one key keeps its order; the merges come anywhere between, in any order
    for told_edge in data.draw(st.permutations(edges_of(merges)), label="edges"):
        both.insert(data.draw(st.integers(0, len(both)), label="place"), told_edge)
    await h.receive(both, one_by_one=data.draw(st.booleans(), label="one by one"))
    await decide_due(h.app)
    assert await h.fetch("SELECT 1 FROM merge_edge WHERE active") == []
    # One handover for each lead and cycle, whatever was merged when.
    handed = await h.fetch("SELECT lead_id, cycle FROM qualified")
    assert len(handed) == len({tuple(row) for row in handed})
    after = await state(h)
    if after["handed"] != plain["handed"]:
        # Handed over while it stood for several: that is a fact about the lead, and stays. What was told is as told.
        after, plain = ({k: x[k] for k in ("told", "touches")} for x in (after, plain))
    assert after == plain
