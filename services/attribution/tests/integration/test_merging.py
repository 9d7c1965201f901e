"""A journey is all that a person did, under whichever lead; un-merged, every credit is what it would have been."""

from datetime import timedelta
from typing import Any

from attribution_stories import closed, created, merged, qualified, touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attribution import store
from attribution.app import App
from attribution.rebuild import rebuild, verify
from baton_kit.db import raw
from baton_kit.envelope import Event
from baton_kit.testing import Harness

FACTS = "touch, deal_version, merge_version, deal_credit, credit_total, inbox, lead, qualified"


async def linear(attribution: Harness[App]) -> dict[str, int]:
    """Credit by channel, in the linear model."""
    rows = await attribution.fetch(
        "SELECT key, sum(credit_minor)::bigint FROM credit_total JOIN generation USING (generation_id) "
        "WHERE state = 'current' AND model = 'linear' AND dimension = 'channel' GROUP BY key"
    )
    return {row[0]: row[1] for row in rows}


async def test_a_merge_joins_the_journeys_and_an_unmerge_parts_them(attribution: Harness[App]) -> None:
    h = attribution
    await h.receive([touched("a", id="t1", channel="email"), touched("b", id="t2", channel="paid_search")])
    await h.receive([closed("b", deal="d", amount=100)])
    assert await linear(h) == {"paid_search": 100}
    await h.receive([merged("m1", "a", "b", on="a"), merged("m1", "a", "b", on="b")])
    assert await linear(h) == {"paid_search": 50, "email": 50}
    # Also what comes later under either, and whatever the deal is on.
    await h.receive([touched("a", id="t3", channel="event"), closed("a", deal="e", amount=300)])
    assert sum((await linear(h)).values()) == 400
    assert (await verify(h.app)).identical
    await h.receive([merged("m1", "a", "b", version=2)])
    assert await linear(h) == {"paid_search": 100, "email": 150, "event": 150}


async def test_an_unmerge_seen_before_its_merge_wins(attribution: Harness[App]) -> None:
    h = attribution
    await h.receive([touched("a", id="t1"), touched("b", id="t2", channel="paid_search"), closed("b", deal="d")])
    await h.receive([merged("m1", "a", "b", version=2, on="a"), merged("m1", "a", "b", on="b")])
    assert await linear(h) == {"paid_search": 10_000}


async def test_the_funnel_counts_a_merged_person_once(attribution: Harness[App]) -> None:
    h = attribution
    await h.receive([created("a"), created("b"), qualified("a"), qualified("b"), closed("b", deal="d")])

    async def stages() -> list[int]:
        report = (await h.api.get("/v1/reports/funnel")).json()
        return [stage["leads"] for stage in report["stages"]]

    assert (await stages())[:2] == [2, 2]
    await h.receive([merged("m1", "a", "b")])
    assert (await stages())[:2] == [1, 1]
    timeline = (await h.api.get("/v1/leads/a/timeline")).json()
    assert len(timeline["items"]) == 1
    await h.receive([merged("m1", "a", "b", version=2)])
    assert (await stages())[:2] == [2, 2]


LEADS = "abc"
FACT = st.one_of(
    st.builds(
        touched,
        st.sampled_from(LEADS),
        id=st.uuids().map(str),
        channel=st.sampled_from(["email", "paid_search", "direct"]),
        before_close=st.integers(0, 20).map(lambda days: timedelta(days=days)),
    ),
    st.builds(closed, st.sampled_from(LEADS), deal=st.sampled_from("de"), sequence=st.integers(1, 3)),
)
PAIRS = st.lists(st.sampled_from([("a", "b"), ("b", "c"), ("a", "c"), ("c", "b")]), max_size=3)


async def projection(h: Harness[App]) -> list[Any]:
    credits = await h.fetch(
        "SELECT deal_id, place, lead_id, touch_id, credits FROM deal_credit JOIN generation USING (generation_id) "
        "WHERE state = 'current' ORDER BY 1, 2"
    )
    totals = await h.fetch(
        "SELECT model, dimension, key, credit_minor, deals FROM credit_total JOIN generation USING (generation_id) "
        "WHERE state = 'current' ORDER BY 1, 2, 3"
    )
    return [[tuple(row) for row in credits], [tuple(row) for row in totals]]


async def cleared(h: Harness[App]) -> None:
    async with h.db.begin() as tx:
        await (await raw(tx)).execute(f"TRUNCATE {FACTS}")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.lists(FACT, max_size=10), pairs=PAIRS, undone=st.booleans(), data=st.data())
async def test_in_any_order_increment_is_rebuild_and_unmerged_is_as_if_never_merged(
    attribution: Harness[App], facts: list[Event], pairs: list[Any], undone: bool, data: st.DataObject
) -> None:
    h = attribution
    await h.receive(facts, one_by_one=True)
    plain = await projection(h)
    await cleared(h)
    merges = [
        merged(f"m{n}", *pair, version=version, on=key)
        for n, pair in enumerate(pairs)
        for version in ((1, 2) if undone else (1,))
        for key in pair
    ]
    order = data.draw(st.permutations(merges), label="merges")
    both = list(facts)
    for one in order:
        both.insert(data.draw(st.integers(0, len(both)), label="place"), one)
    await h.receive(both, one_by_one=data.draw(st.booleans(), label="one by one"))
    assert (await verify(h.app)).identical
    if undone:
        assert await projection(h) == plain
    before = await projection(h)
    await rebuild(h.app)
    assert await projection(h) == before
    await cleared(h)


async def test_a_merge_is_known_from_its_position_on(attribution: Harness[App]) -> None:
    h = attribution
    await h.receive([touched("a", id="t1"), touched("b", id="t2")])
    async with h.db.begin() as tx:
        position = await store.position(tx)
    await h.receive([merged("m1", "a", "b")])
    async with h.db.begin() as tx:
        then = await store.touches_of(tx, {"b"}, position=position)
        now = await store.touches_of(tx, {"b"})
    assert [len(then["b"]), len(now["b"])] == [1, 2]
