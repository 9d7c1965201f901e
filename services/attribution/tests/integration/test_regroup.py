"""Touches that are grouped anew move their credits, in whatever order that is told, and as a rebuild says."""

from datetime import timedelta
from typing import Any

from attribution_stories import CLOSE, closed, regrouped, rules_changed, rules_restated, touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attribution.app import App
from attribution.rebuild import verify
from baton.lead.v1.lead_pb2 import TouchRecorded
from baton_kit.envelope import Event, event
from baton_kit.testing import Harness


async def report(attribution: Harness[App], by: str = "channel") -> dict[str, Any]:
    answer = await attribution.api.get("/v1/reports/attribution", params={"model": "linear", "by": by})
    return dict(answer.json())


async def money(attribution: Harness[App], by: str = "channel") -> dict[str, int]:
    return {row["key"]: row["credit_minor"] for row in (await report(attribution, by))["rows"]}


async def test_a_regrouped_touch_takes_its_credit_along_and_a_rebuild_agrees(attribution: Harness[App]) -> None:
    await attribution.receive([touched("lead-1", id="t1", channel="referral"), touched("lead-1", id="t2")])
    await attribution.receive([closed("lead-1", deal="d1", amount=100)])
    assert await money(attribution) == {"referral": 50, "email": 50}
    await attribution.receive([regrouped("lead-1", id="t1", channel="press", sequence=7)])
    assert await money(attribution) == {"press": 50, "email": 50}
    assert (await verify(attribution.app)).identical
    await attribution.receive([regrouped("lead-1", id="t1", channel="late", sequence=6)])
    assert await money(attribution) == {"press": 50, "email": 50}, "the highest sequence counts"


async def test_a_grouping_that_comes_before_its_touch_counts_with_it(attribution: Harness[App]) -> None:
    await attribution.receive([regrouped("lead-1", id="t1", channel="press", sequence=7, campaign="spring")])
    await attribution.receive([closed("lead-1", deal="d1", amount=100)])
    await attribution.receive([touched("lead-1", id="t1", channel="referral", campaign="utm-name")])
    assert await money(attribution) == {"press": 100}
    assert await money(attribution, "campaign") == {"spring": 100}
    await attribution.receive([regrouped("lead-1", id="t1", channel="press", sequence=8, cause="campaign")])
    assert await money(attribution, "campaign") == {"utm-name": 100}, "of no campaign again: its link's name counts"


async def test_a_step_within_a_visit_is_in_no_journey(attribution: Harness[App]) -> None:
    inside = TouchRecorded(touch_id="t2", lead_id="lead-1", channel="direct", within_visit=True)
    inside.occurred_at.FromDatetime(CLOSE - timedelta(days=1))
    await attribution.receive([touched("lead-1", id="t1"), event(inside, key="lead-1", occurred_at=CLOSE)])
    await attribution.receive([closed("lead-1", deal="d1", amount=100)])
    assert await money(attribution) == {"email": 100}
    assert (await verify(attribution.app)).identical


async def test_a_report_names_the_rules_and_whether_all_of_the_past_follows_them(attribution: Harness[App]) -> None:
    async def rules() -> tuple[int, bool]:
        said = (await report(attribution))["channel_rules"]
        return said["version"], said["restated"]

    assert await rules() == (1, True)
    await attribution.receive([rules_changed(2)])
    assert await rules() == (2, False)
    # The end travels on another partition than the touches: it may come before the last of them.
    await attribution.receive([regrouped("lead-1", id="t1", channel="press", sequence=3), rules_restated(2, 2)])
    assert await rules() == (2, False)
    await attribution.receive([regrouped("lead-2", id="t2", channel="press", sequence=3, cause="campaign")])
    assert await rules() == (2, False), "another cause is no restatement"
    await attribution.receive([regrouped("lead-3", id="t3", channel="press", sequence=3)])
    assert await rules() == (2, True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_history_of_groupings_ends_as_its_latest_says(attribution: Harness[App], data: st.DataObject) -> None:
    prefix = f"r{attribution.offsets.get('baton.lead.v1', 0)}"
    latest: dict[str, tuple[int, str]] = {}
    events: list[Event] = [closed(f"{prefix}-lead", deal=f"{prefix}-d", amount=999)]
    for n in range(data.draw(st.integers(1, 4))):
        id = f"{prefix}-t{n}"
        events.append(touched(f"{prefix}-lead", id=id, channel="as-told", before_close=timedelta(days=n + 1)))
        latest[id] = (0, "as-told")
        for sequence in data.draw(st.lists(st.integers(1, 30), max_size=4, unique=True)):
            channel = data.draw(st.sampled_from(["a", "b", "as-told"]))
            events.append(regrouped(f"{prefix}-lead", id=id, channel=channel, sequence=sequence))
            latest[id] = max(latest[id], (sequence, channel))
    await attribution.receive(data.draw(st.permutations(events)), one_by_one=data.draw(st.booleans()))
    rows = await attribution.fetch("SELECT touch_id, channel FROM deal_credit WHERE deal_id = $1", f"{prefix}-d")
    assert {row["touch_id"]: row["channel"] for row in rows} == {id: channel for id, (_, channel) in latest.items()}
    assert (await verify(attribution.app)).identical
