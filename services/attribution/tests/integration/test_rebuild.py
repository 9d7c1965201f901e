"""Increment = rebuild = what the definitions say, for any history in any order and any batches."""

import asyncio
import json
from collections import defaultdict
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from attribution_stories import CLOSE, closed, touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attribution.app import SERVICE, App
from attribution.rebuild import AlreadyRebuilding, rebuild, verify
from baton.sales.v1.sales_pb2 import DealClosed, DealOutcome
from baton_kit.envelope import Event
from baton_kit.testing import Harness
from baton_models.weights import Parameters

LEADS = ("lead-1", "lead-2", "lead-3")

# Whole days and few of them: equal times, the very end of the lookback and the very time of the close are common.
touches = st.builds(
    touched,
    st.sampled_from(LEADS),
    id=st.uuids().map(str),
    channel=st.sampled_from(["direct", "email", "paid_search"]),
    campaign=st.sampled_from(["", "spring"]),
    before_close=st.integers(-3, 95).map(lambda days: timedelta(days=days)),
    test=st.sampled_from([False, False, False, True]),
)


@st.composite
def deals(draw: st.DrawFn) -> list[Event]:
    """All versions of one deal: corrections, reopenings, now and then on another lead than before."""
    deal_id = str(draw(st.uuids()))
    lead = draw(st.sampled_from(LEADS))
    versions = []
    for sequence in range(1, 1 + draw(st.integers(1, 4))):
        versions.append(
            closed(
                draw(st.sampled_from([lead, lead, lead, "lead-1"])),
                deal=deal_id,
                sequence=sequence,
                outcome=draw(st.sampled_from(["WON", "WON", "WON", "LOST", "REOPENED"])),
                amount=draw(st.integers(-50, 10_000)),
                currency=draw(st.sampled_from(["EUR", "USD"])),
                at=CLOSE + timedelta(days=draw(st.integers(-2, 2))),
            )
        )
    return versions


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Every fact, some of them twice, in any order and in any batches."""
    events: list[Event] = draw(st.lists(touches, max_size=14))
    events += [version for versions in draw(st.lists(deals(), min_size=1, max_size=4)) for version in versions]
    events += draw(st.lists(st.sampled_from(events), max_size=4))
    events = draw(st.permutations(events))
    cuts = sorted(draw(st.sets(st.integers(1, len(events)), max_size=6)) | {len(events)})
    return [events[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]


# --- the oracle: the definitions word for word, in fractions ------------------------------------------------------


def shares(model: str, journey: list[Any], close: Any) -> list[Fraction]:
    n = len(journey)
    if model == "linear":
        raw = [Fraction(1)] * n
    elif model == "time_decay":
        ages = [(close - t.occurred_at.ToDatetime(tzinfo=close.tzinfo)).total_seconds() / 3600 for t in journey]
        raw = [Fraction(2.0 ** -((age - min(ages)) / 168)) for age in ages]
    elif model == "position" and n > 2:
        raw = [Fraction(40), *[Fraction(20, n - 2)] * (n - 2), Fraction(40)]
    elif model == "position":
        raw = [Fraction(1)] * n
    else:
        at = {"first": 0, "last": n - 1}.get(model)
        if at is None:
            at = max((i for i, t in enumerate(journey) if t.channel != "direct"), default=n - 1)
        raw = [Fraction(i == at) for i in range(n)]
    return [weight / sum(raw) for weight in raw]


def cents(amount: int, parts: list[Fraction]) -> list[int]:
    sign, exact = (1 if amount >= 0 else -1), [abs(amount) * part for part in parts]
    floors = [int(x) for x in exact]
    order = sorted(range(len(parts)), key=lambda i: (floors[i] - exact[i], i))
    for i in order[: abs(amount) - sum(floors)]:
        floors[i] += 1
    return [sign * x for x in floors]


def expected(events: list[Event], *, lookback: timedelta | None = timedelta(days=90)) -> dict[Any, tuple[int, int]]:
    touched_by: dict[str, dict[str, Any]] = defaultdict(dict)
    latest: dict[str, DealClosed] = {}
    for e in events:
        body: Any = e.body
        if not isinstance(body, DealClosed):
            if not body.test:
                touched_by[body.lead_id][body.touch_id] = body
        elif body.deal_id not in latest or latest[body.deal_id].sequence < body.sequence:
            latest[body.deal_id] = body
    money: dict[Any, int] = defaultdict(int)
    counted: dict[Any, set[str]] = defaultdict(set)
    for deal in latest.values():
        if deal.outcome != DealOutcome.DEAL_OUTCOME_WON:
            continue
        close = deal.closed_at.ToDatetime(tzinfo=CLOSE.tzinfo)
        journey = [
            t
            for t in touched_by[deal.lead_id].values()
            if t.occurred_at.ToDatetime(tzinfo=CLOSE.tzinfo) <= close
            and (lookback is None or close - t.occurred_at.ToDatetime(tzinfo=CLOSE.tzinfo) <= lookback)
        ]
        journey.sort(key=lambda t: (t.occurred_at.seconds, t.touch_id))
        for model in ("first", "last", "last_non_direct", "linear", "position", "time_decay"):
            parts = shares(model, journey, close) if journey else [Fraction(1)]
            for i, credit in enumerate(cents(deal.amount_minor, parts)):
                if parts[i]:
                    channel = journey[i].channel if journey else "(none)"
                    campaign = (journey[i].utm_campaign or "(not set)") if journey else "(none)"
                    for by, key in (("channel", channel), ("campaign", campaign)):
                        cell = (model, by, key, deal.currency, close.date())
                        money[cell] += credit
                        counted[cell].add(deal.deal_id)
    return {cell: (credit, len(counted[cell])) for cell, credit in money.items()}


async def stored(attribution: Harness[App]) -> dict[Any, tuple[int, int]]:
    rows = await attribution.fetch(
        "SELECT model, dimension, key, currency, closed_on, credit_minor, deals FROM credit_total "
        "JOIN generation USING (generation_id) WHERE state = 'current'"
    )
    return {tuple(row)[:5]: (row["credit_minor"], row["deals"]) for row in rows}


async def forget_everything(attribution: Harness[App]) -> None:
    async with attribution.db.begin() as tx:
        await tx.exec_driver_sql("TRUNCATE touch, deal_version, deal_credit, credit_total, inbox")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=histories(), rebuild_at=st.integers(0, 8))
async def test_increment_and_rebuild_and_definition_always_agree(
    attribution: Harness[App], history: list[list[Event]], rebuild_at: int
) -> None:
    await forget_everything(attribution)
    for n, batch in enumerate(history):
        if n == rebuild_at:
            await rebuild(attribution.app)
        await attribution.receive(batch)
    everything = expected([e for batch in history for e in batch])
    assert await stored(attribution) == everything
    assert (await verify(attribution.app)).identical
    await rebuild(attribution.app)
    assert await stored(attribution) == everything


async def test_what_is_written_during_a_rebuild_is_in_it(
    attribution: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    await attribution.receive([touched("lead-1", id="t1"), closed("lead-1", deal="d1", amount=100)])
    from attribution import store

    leads_changed_after = store.next_position
    written: list[bool] = []

    async def interrupted(tx: Any, *, at: Any) -> int:
        # The rebuild has read everything and is about to catch up; a batch comes between, once.
        if not written:
            written.append(True)
            await attribution.receive(
                [
                    touched("lead-1", id="t0", channel="event", before_close=timedelta(days=20)),
                    closed("lead-2", deal="d2", amount=7),
                ]
            )
        return await leads_changed_after(tx, at=at)

    monkeypatch.setattr(store, "next_position", interrupted)
    await rebuild(attribution.app)
    assert written
    assert (await verify(attribution.app)).identical
    rows = await stored(attribution)
    assert rows[("first", "channel", "event", "EUR", CLOSE.date())] == (100, 1)
    assert rows[("first", "channel", "(none)", "EUR", CLOSE.date())] == (7, 1)


async def test_a_verification_lists_what_differs_to_the_cent_and_a_rebuild_repairs_it(
    attribution: Harness[App],
) -> None:
    await attribution.receive([touched("lead-1", id="t1"), closed("lead-1", deal="d1", amount=100)])
    async with attribution.db.begin() as tx:
        await tx.exec_driver_sql("UPDATE credit_total SET credit_minor = 99 WHERE model = 'last' AND key = 'email'")
        await tx.exec_driver_sql("UPDATE deal_credit SET credits[1] = 101")
        await tx.exec_driver_sql(
            "INSERT INTO deal_credit SELECT generation_id, 'zzz', place, lead_id, touch_id, channel, campaign, "
            "currency, closed_on, credits FROM deal_credit"
        )
    answer = (await attribution.api.post("/v1/rebuild", json={"verify": True})).json()
    assert answer["identical"] is False
    assert answer["differing"] == 3
    assert [(d["kind"], d["place"].get("deal_id")) for d in answer["differences"]] == [
        ("credit", "d1"),
        ("credit", "zzz"),
        ("total", None),
    ]
    assert answer["differences"][0]["stored"] == [101, 100, 100, 100, 100, 100]
    assert answer["differences"][1]["rebuilt"] is None
    assert answer["differences"][2]["stored"] == [99, 1]
    assert answer["differences"][2]["rebuilt"] == [100, 1]

    assert (await attribution.api.post("/v1/rebuild", json={})).status_code == 200
    again = (await attribution.api.post("/v1/rebuild", json={"verify": True})).json()
    assert (again["identical"], again["deals"], again["differences"]) == (True, 1, [])


async def test_pages_of_deals_leave_none_out(attribution: Harness[App], monkeypatch: pytest.MonkeyPatch) -> None:
    from attribution import rebuild as rebuilding

    await attribution.receive([closed("lead-1", deal=f"d{n}", amount=n) for n in range(6)])
    before = await stored(attribution)
    for page in (1, 2, 3, 5, 6, 7):
        monkeypatch.setattr(rebuilding, "PAGE", page)
        assert (await rebuild(attribution.app)).deals == 6
        assert await stored(attribution) == before
        assert (await verify(attribution.app)).identical


async def test_other_parameters_are_stored_with_the_projection_and_hold_for_what_comes_later(
    attribution: Harness[App],
) -> None:
    old = touched("lead-1", id="t1", channel="event", before_close=timedelta(days=200))
    await attribution.receive([old, touched("lead-1", id="t2"), closed("lead-1", deal="d1", amount=100)])
    assert (await stored(attribution)).keys().isdisjoint({("first", "channel", "event", "EUR", CLOSE.date())})
    order = {"parameters": {"lookback_days": None, "half_life_hours": 720}}
    assert (await attribution.api.post("/v1/rebuild", json=order)).status_code == 200
    assert (await stored(attribution))[("first", "channel", "event", "EUR", CLOSE.date())] == (100, 1)
    await attribution.receive([closed("lead-1", deal="d2", amount=1)])
    assert (await stored(attribution))[("first", "channel", "event", "EUR", CLOSE.date())] == (101, 2)
    report = (await attribution.api.get("/v1/reports/attribution")).json()
    assert report["parameters"] == order["parameters"]
    # An unspecified parameter of a later rebuild stays what it was.
    await rebuild(attribution.app)
    assert (await attribution.api.get("/v1/reports/attribution")).json()["parameters"] == order["parameters"]


async def test_only_one_rebuild_runs_at_a_time(attribution: Harness[App]) -> None:
    from attribution import store

    async with attribution.db.begin() as tx:
        assert await store.one_rebuild_at_a_time(tx)
        with pytest.raises(AlreadyRebuilding):
            await rebuild(attribution.app)
        answer = await attribution.api.post("/v1/rebuild", json={})
        assert (answer.status_code, answer.headers["retry-after"]) == (409, "10")
    assert (await rebuild(attribution.app, Parameters())).deals == 0


async def test_the_command_compares_and_its_exit_code_tells(
    attribution: Harness[App], capsys: pytest.CaptureFixture[str]
) -> None:
    command = SERVICE.commands["rebuild"]
    await attribution.receive([touched("lead-1", id="t1"), closed("lead-1", deal="d1", amount=100)])
    assert await command(attribution.app, ["--verify"]) == 0
    assert json.loads(capsys.readouterr().out)["identical"] is True
    async with attribution.db.begin() as tx:
        await tx.exec_driver_sql("UPDATE credit_total SET deals = 2 WHERE model = 'first'")
    assert await command(attribution.app, ["--verify"]) == 1
    assert json.loads(capsys.readouterr().out)["differing"] == 2
    assert await command(attribution.app, ["--half-life-hours", "720"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["parameters"] == {"lookback_days": 90, "half_life_hours": 720}
    assert await command(attribution.app, ["--lookback-days", "none"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["parameters"] == {"lookback_days": None, "half_life_hours": 720}
    assert await command(attribution.app, ["--lookback-days", "0"]) == 2
    assert await command(attribution.app, ["--verify", "--lookback-days", "3"]) == 2
    assert await command(attribution.app, ["--nonsense"]) == 2


async def test_concurrent_batches_of_different_leads_add_up(attribution: Harness[App]) -> None:
    """Totals are shared by all leads: batches that add to the same cells at once must not lose one another."""
    from attribution import credit
    from baton_kit.envelope import Received

    async def close(n: int) -> None:
        e = closed(f"lead-{n}", deal=f"d{n}", amount=10)
        async with attribution.db.begin() as tx:
            received: Any = Received(e.id, e.type, e.key, e.body, e.occurred_at)
            await credit.deals_closed(tx, attribution.app, [received])

    for start in range(0, 24, 6):
        await asyncio.gather(*(close(n) for n in range(start, start + 6)))
    assert (await stored(attribution))[("first", "channel", "(none)", "EUR", CLOSE.date())] == (240, 24)
    assert (await verify(attribution.app)).identical
