"""Merges are edges: nothing is rewritten, no circle comes to be, and undoing one leaves everything as it would be."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_samples import BODIES

from baton.lead.v1.lead_pb2 import LeadMerged, LeadUnmerged
from baton_kit.db import raw
from baton_kit.edges import families_of
from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import delivery_of
from lead_intake.merging.merge import Refused, merge, undo
from lead_intake.merging.propose import propose_page
from lead_intake.merging.store import LEADS
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS

SOURCE = Source("form", "generic", secrets=("x" * 8,), default_region="ES")
TABLES = (
    "receipt, receipt_entry, identity_key, lead, contact, touch, proposed_merge, outbox, merge_edge, merge_decision, "
    "idempotency_key"
)


async def inquiry(intake: Harness[App], key: str, email: str, phone: str = "", **more: Any) -> str:
    """The lead that one delivery ends at."""
    now = intake.clock.now()
    body = BODIES["generic"](key, email, phone, **more)
    incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", now)
    delivery = delivery_of(incoming, SOURCE, PROVIDERS["generic"].parse(incoming, SOURCE), body=body)
    async with intake.db.begin() as tx:
        [result] = await receive(tx, intake.app, [delivery])
    [lead_id] = result.lead_ids
    assert lead_id is not None
    return lead_id


async def ask(intake: Harness[App], path: str, body: dict[str, Any], *, key: str = "k1") -> Any:
    return await intake.api.post(path, json=body, headers={"Idempotency-Key": key})


def pair(from_lead: str, into_lead: str) -> dict[str, str]:
    return {"from_lead_id": from_lead, "into_lead_id": into_lead}


async def test_a_merge_is_told_on_both_keys_with_one_id_and_version(intake: Harness[App]) -> None:
    a, b = await inquiry(intake, "1", "a@a.example.com"), await inquiry(intake, "2", "b@b.example.com")
    await intake.new_events()
    merged = await ask(intake, "/v1/merges", pair(a, b))
    assert merged.status_code == 201
    told = await intake.new_events()
    assert {(e.key, e.body.lead_id, e.body.sequence) for e in told} == {(a, a, 3), (b, b, 3)}
    assert {(e.body.merge_id, e.body.version, e.body.from_lead_id, e.body.into_lead_id) for e in told} == {
        (merged.json()["id"], 1, a, b)
    }
    assert {type(e.body) for e in told} == {LeadMerged}
    assert len({e.id for e in told}) == 2

    undone = await ask(intake, f"/v1/merges/{merged.json()['id']}/undo", {"reason": "mistake"}, key="k2")
    assert undone.json()["active"] is False
    told = await intake.new_events()
    assert {(type(e.body), e.key, e.body.version, e.body.sequence) for e in told} == {
        (LeadUnmerged, a, 2, 4),
        (LeadUnmerged, b, 2, 4),
    }
    listed = (await intake.api.get("/v1/merges", params={"lead_id": a})).json()["items"]
    assert [(m["active"], m["reason"], m["undone_reason"]) for m in listed] == [(False, "same_person", "mistake")]


async def test_a_merge_repeated_with_its_key_is_one_merge_and_undoing_twice_is_refused(intake: Harness[App]) -> None:
    a, b = await inquiry(intake, "1", "a@a.example.com"), await inquiry(intake, "2", "b@b.example.com")
    first, second = await ask(intake, "/v1/merges", pair(a, b)), await ask(intake, "/v1/merges", pair(a, b))
    assert first.json() == second.json()
    path = f"/v1/merges/{first.json()['id']}/undo"
    assert (await ask(intake, path, {}, key="u1")).status_code == 200
    assert (await ask(intake, path, {}, key="u1")).status_code == 200
    assert (await ask(intake, path, {}, key="u2")).status_code == 409
    assert (await intake.api.post("/v1/merges", json=pair(a, b))).status_code == 400


async def test_circles_selves_strangers_and_second_ways_out_are_refused(intake: Harness[App]) -> None:
    a, b, c = [await inquiry(intake, str(n), f"{n}@n.example.com") for n in range(3)]
    stranger = "01a05c06-7d5e-7cd1-8155-66af75f0734c"
    assert (await ask(intake, "/v1/merges", pair(a, b))).status_code == 201
    assert (await ask(intake, "/v1/merges", pair(b, c), key="k2")).status_code == 201
    for wrong, status in (
        (pair(c, a), 409),
        (pair(b, a), 409),
        (pair(a, c), 409),
        (pair(a, a), 409),
        (pair(a, stranger), 404),
    ):
        assert (await ask(intake, "/v1/merges", wrong, key=str(wrong))).status_code == status
    seen = (await intake.api.get(f"/v1/leads/{a}")).json()
    assert seen["canonical_lead_id"] == c
    assert seen["merged_lead_ids"] == sorted([a, b, c])


async def test_merges_at_the_same_time_never_close_a_circle(intake: Harness[App]) -> None:
    leads = [await inquiry(intake, str(n), f"{n}@n.example.com") for n in range(6)]

    async def one(n: int) -> bool:
        try:
            async with intake.db.begin() as tx:
                await merge(
                    tx, intake.app, LEADS, source=leads[n], target=leads[(n + 1) % 6], by="test", reason="other"
                )
        except Refused:
            return False
        return True

    assert sorted(await asyncio.gather(*map(one, range(6)))) == [False, True, True, True, True, True]
    async with intake.db.begin() as tx:
        whole = await families_of(tx, leads[:1])
    assert whole.members(leads[0]) == tuple(sorted(leads))


async def test_a_later_delivery_of_the_merged_lead_shows_with_the_canonical_one_and_keeps_its_origin(
    intake: Harness[App],
) -> None:
    a, b = await inquiry(intake, "1", "a@a.example.com"), await inquiry(intake, "2", "b@b.example.com")
    await ask(intake, "/v1/merges", pair(a, b))
    assert await inquiry(intake, "3", "a@a.example.com", utm_source="news", utm_medium="email") == a
    whole = (await intake.api.get(f"/v1/leads/{b}")).json()
    assert sorted(t["origin_lead_id"] for t in whole["touches"]) == sorted([a, a, b])
    for lead_id in (a, b):
        kinds = [i["kind"] for i in (await intake.api.get(f"/v1/leads/{lead_id}/timeline")).json()["items"]]
        assert sorted(kinds) == ["lead_created", "lead_created", "lead_merged", "touch", "touch", "touch"]


async def test_a_delivery_that_names_both_leads_of_a_merge_proposes_nothing(intake: Harness[App]) -> None:
    a = await inquiry(intake, "1", "a@a.example.com")
    b = await inquiry(intake, "2", "", "+34600112201")
    await inquiry(intake, "3", "a@a.example.com", "+34600112201")
    [proposed] = (await intake.api.get("/v1/merge-proposals")).json()["items"]
    assert (proposed["from_lead_id"], proposed["into_lead_id"], proposed["kind"]) == (max(a, b), min(a, b), "keys")
    await ask(intake, "/v1/merges", pair(b, a))
    assert (await intake.api.get("/v1/merge-proposals")).json()["items"] == []
    assert len((await intake.api.get("/v1/merge-proposals", params={"state": "merged"})).json()["items"]) == 1
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute("DELETE FROM proposed_merge")
    await inquiry(intake, "4", "a@a.example.com", "+34600112201")
    assert await intake.fetch("SELECT * FROM proposed_merge") == []


async def test_a_dismissed_proposal_does_not_come_back(intake: Harness[App]) -> None:
    a, b = await inquiry(intake, "1", "a@a.example.com"), await inquiry(intake, "2", "", "+34600112201")
    await inquiry(intake, "3", "a@a.example.com", "+34600112201")
    assert (await ask(intake, "/v1/merge-proposals/dismiss", pair(a, b))).json() == {"dismissed": 1}
    await inquiry(intake, "4", "a@a.example.com", "+34600112201")
    assert (await intake.api.get("/v1/merge-proposals")).json()["items"] == []


async def test_a_preview_shows_what_would_join_and_the_person_only_to_whom_may_see_it(intake: Harness[App]) -> None:
    a = await inquiry(intake, "1", "a@a.example.com", job_title="CEO", consent_marketing="yes")
    b = await inquiry(intake, "2", "b@b.example.com", "+34600112201", name="Boris")
    seen = await intake.api.post("/v1/merges/preview", json=pair(a, b))
    found = seen.json()
    assert found["possible"] is True
    assert found["canonical_lead_id"] == b
    assert found["features_changed"] == {
        "job_level": {"before": "", "after": "c_level"},
    }
    assert [p["keys"] for p in found["into_leads"]] == [{"email": 1, "phone": 1}]
    assert found["into_leads"][0]["contact"]["full_name"] == "Boris"
    key = await intake.key("leads:read")
    bare = await intake.api.post("/v1/merges/preview", json=pair(a, b), headers={"Authorization": f"Bearer {key}"})
    assert "Boris" not in bare.text
    assert bare.json()["into_leads"][0]["contact"] is None
    assert [e for e in await intake.new_events() if isinstance(e.body, LeadMerged)] == []
    may_not = await intake.api.post(
        "/v1/merges", json=pair(a, b), headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    )
    assert may_not.status_code == 403


FACT = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([{}, {"company": "Labs"}, {"job_title": "CEO"}, {"utm_source": "google"}, {"consent": "no"}]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), FACT),
        st.tuples(st.just("merge"), st.tuples(st.sampled_from("abc"), st.sampled_from("abc"))),
        st.tuples(st.just("undo"), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_merging_telling_and_undoing_always_leaves_what_telling_alone_would(
    intake: Harness[App], steps: Sequence[Any]
) -> None:
    async def tell(n: int, who: str, more: dict[str, str]) -> None:
        leads[who] = await inquiry(intake, f"{who}{n}", f"{who}@{who}.example.com", **more)

    leads: dict[str, str] = {}
    states = []
    for with_merges in (True, False):
        start = intake.clock.now()
        merges: list[str] = []
        for who in "abc":
            await tell(0, who, {})
        for n, (what, arg) in enumerate(steps, start=1):
            intake.clock.advance(timedelta(minutes=1))
            if what == "tell":
                await tell(n, *arg)
            elif what == "merge" and with_merges:
                try:
                    async with intake.db.begin() as tx:
                        edge = await merge(
                            tx, intake.app, LEADS, source=leads[arg[0]], target=leads[arg[1]], by="t", reason="other"
                        )
                    merges.append(edge.id)
                except Refused:
                    pass
            elif what == "undo" and arg < len(merges):
                async with intake.db.begin() as tx:
                    await undo(tx, intake.app, LEADS, merge_id=merges.pop(arg), by="t", reason="other")
        for merge_id in merges:
            async with intake.db.begin() as tx:
                await undo(tx, intake.app, LEADS, merge_id=merge_id, by="t", reason="other")
        state = {}
        for who, lead_id in leads.items():
            seen = (await intake.api.get(f"/v1/leads/{lead_id}")).json()
            contact = (await intake.api.get(f"/v1/leads/{lead_id}/contact")).json()
            assert seen["canonical_lead_id"] == lead_id
            state[who] = (
                seen["features"],
                [(t["channel"], t["utm_source"]) for t in seen["touches"]],
                {k: contact[k] for k in ("full_name", "company_name", "job_title", "emails", "sequence")},
                [(c["purpose"], c["granted"]) for c in contact["consents"]],
            )
        states.append(state)
        async with intake.db.begin() as tx:
            await (await raw(tx)).execute(f"TRUNCATE {TABLES} CASCADE")
        intake.clock.advance(start - intake.clock.now())
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "point",
    ["merge.after_gate", "merge.after_locks", "edges.after_learn", "merge.before_outbox", "merge.before_commit"],
)
async def test_a_merge_that_stops_half_way_was_never_made(
    intake: Harness[App], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def stop(name: str) -> None:
        if name == point:
            raise RuntimeError(name)

    a, b = await inquiry(intake, "1", "a@a.example.com"), await inquiry(intake, "2", "b@b.example.com")
    before = len(await intake.outbox())
    with monkeypatch.context() as patched:
        patched.setattr("lead_intake.merging.merge.failpoint", stop)
        patched.setattr("baton_kit.edges.failpoint", stop)
        answer = await ask(intake, "/v1/merges", pair(a, b))
    assert answer.status_code == 500
    assert await intake.fetch("SELECT * FROM merge_edge") == []
    assert len(await intake.outbox()) == before
    assert (await ask(intake, "/v1/merges", pair(a, b))).status_code == 201
    assert len(await intake.outbox()) == before + 2


async def proposed(intake: Harness[App]) -> list[tuple[str, str, str, int]]:
    intake.clock.advance(timedelta(minutes=2))
    async with intake.db.begin() as tx:
        await propose_page(tx, intake.app)
    items = (await intake.api.get("/v1/merge-proposals", params={"kind": "alike"})).json()["items"]
    return [(p["from_lead_id"], p["into_lead_id"], p["kind"], p["score"]) for p in items]


async def test_name_and_company_alike_are_proposed_and_never_merged(intake: Harness[App]) -> None:
    intake.clock.advance(datetime.now(UTC) - intake.clock.now())  # ids are made by the machine's clock
    a = await inquiry(intake, "1", "anna@a.example.com", name="Anna Petrova", company="Nordwerk GmbH")
    b = await inquiry(intake, "2", "petrova@gmail.com", name="Petrova, Anna", company="Nordwerk")
    await inquiry(intake, "3", "boris@a.example.com", name="Boris Petrov", company="Nordwerk GmbH")
    await inquiry(intake, "4", "anna@else.example.com", name="Anna Petrova", company="Südstahl AG")
    await inquiry(intake, "5", "anna@none.example.com", name="Anna Petrova")
    [found] = await proposed(intake)
    assert found[:3] == (max(a, b), min(a, b), "alike")
    assert found[3] >= 90
    assert await intake.fetch("SELECT * FROM merge_edge") == []
    # Dismissed, it stays dismissed, also when everything is looked at again.
    await ask(intake, "/v1/merge-proposals/dismiss", pair(a, b))
    intake.clock.advance(timedelta(days=2))
    assert await proposed(intake) == []


async def test_what_a_forgotten_contact_was_compared_by_goes_with_it(intake: Harness[App]) -> None:
    intake.clock.advance(datetime.now(UTC) - intake.clock.now())
    await inquiry(intake, "1", "anna@a.example.com", name="Anna Petrova", company="Nordwerk GmbH")
    await proposed(intake)
    assert len(await intake.fetch("SELECT * FROM likeness")) == 1
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute("DELETE FROM contact")
    assert await intake.fetch("SELECT * FROM likeness") == []
