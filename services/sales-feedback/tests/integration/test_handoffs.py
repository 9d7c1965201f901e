import asyncio
from collections import Counter
from datetime import timedelta

from sales_words import Sales, contact, forgotten, qualified

from baton_kit.testing import START
from sales_feedback.handoffs.offer import assign_waiting, leads_qualified
from sales_feedback.service import SERVICE


async def test_each_lead_and_cycle_gets_one_handoff_in_turn(sales: Sales) -> None:
    await sales.rep("olga", "pavel", "rita")
    await sales.harness.receive([qualified(f"lead-{n}") for n in range(7)])
    rows = await sales.harness.fetch("SELECT count(*) FROM handoff GROUP BY rep_id")
    assert sorted(row["count"] for row in rows) == [2, 2, 3]
    assert await sales.told() == ["handoff offered 1"] * 7


async def test_the_due_times_come_from_the_terms(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.given("lead-1")
    [told] = await sales.harness.outbox()
    assert told.body.accept_due_at.ToDatetime(tzinfo=START.tzinfo) == START + timedelta(hours=4)
    assert told.body.first_response_due_at.ToDatetime(tzinfo=START.tzinfo) == START + timedelta(hours=8)
    assert (told.key, told.body.rep_id, told.body.agreement.digest) == ("lead-1", "olga", "ab" * 32)


async def test_a_lead_that_is_read_again_under_another_event_id_gets_no_second_handoff(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.harness.receive([qualified("lead-1", event_id="a")])
    await sales.harness.receive([qualified("lead-1", event_id="b"), qualified("lead-1", event_id="c")])
    assert await sales.told() == ["handoff offered 1"]


async def test_a_database_that_went_back_says_the_same_under_the_same_ids(sales: Sales) -> None:
    await sales.rep("olga")
    await sales.given("lead-1")
    [before] = await sales.harness.outbox()
    async with sales.app.db.begin() as tx:
        for table in ("outbox", "handoff_change", "handoff", "inbox", "consumer_offset"):
            await tx.exec_driver_sql(f"DELETE FROM {table}")
    sales.harness.offsets.clear()
    await sales.given("lead-1")
    [after] = await sales.harness.outbox()
    assert (after.id, after.body) == (before.id, before.body)


async def test_without_a_rep_the_handoff_waits_and_is_assigned_when_one_appears(sales: Sales) -> None:
    handoff = await sales.given("lead-1")
    assert (handoff["state"], handoff["rep_id"]) == ("offered", None)
    async with sales.app.db.begin() as tx:
        assert await assign_waiting(tx, sales.app) == 0
    await sales.rep("olga")
    async with sales.app.db.begin() as tx:
        assert await assign_waiting(tx, sales.app) == 1
    assert (await sales.latest("lead-1"))["rep_id"] == "olga"
    assert await sales.told() == ["handoff offered 1", "handoff offered 2"]


async def test_two_workers_share_one_round_exactly(sales: Sales) -> None:
    await sales.rep("olga", "pavel", "rita")

    async def worker(name: str) -> None:
        for n in range(15):
            async with sales.app.db.begin() as tx:
                found = [_received(qualified(f"{name}-{n}-{m}")) for m in range(2)]
                await leads_qualified(tx, sales.app, found)

    await asyncio.gather(worker("a"), worker("b"))
    rows = await sales.harness.fetch("SELECT rep_id FROM handoff")
    assert Counter(row["rep_id"] for row in rows) == {"olga": 20, "pavel": 20, "rita": 20}


async def test_two_workers_assign_the_waiting_ones_once(sales: Sales) -> None:
    await sales.harness.receive([qualified(f"lead-{n}") for n in range(30)])
    await sales.rep("olga", "pavel")

    async def assign() -> int:
        done = 0
        for _ in range(10):
            async with sales.app.db.begin() as tx:
                done += await assign_waiting(tx, sales.app, limit=4)
        return done

    assert sum(await asyncio.gather(assign(), assign())) == 30
    rows = await sales.harness.fetch("SELECT rep_id FROM handoff")
    assert Counter(row["rep_id"] for row in rows) == {"olga": 15, "pavel": 15}


async def test_the_path_of_a_worked_lead(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}"
    accepted = await sales.post(f"{path}/accept")
    assert (accepted.status_code, accepted.json()["state"], accepted.headers["ETag"]) == (200, "accepted", '"2"')
    called = await sales.post(f"{path}/contacts", {"means": "call", "reached": False, "note": "no answer"})
    assert (called.status_code, called.json()["state"], called.json()["attempts"]) == (201, "working", 1)
    await sales.post(f"{path}/contacts", {"means": "email", "reached": True})
    assert await sales.told() == [
        "handoff offered 1",
        "handoff accepted 2",
        "feedback accepted 2",
        "handoff working 3",
        "feedback contacted 3",
        "feedback contacted 4",
    ]
    told = await sales.harness.outbox()
    assert [e.body.first_response for e in told if e.type.endswith("SalesFeedback")] == [False, True, False]


async def test_a_rejection_carries_reason_and_family_but_never_the_note(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    answer = await sales.post(f"/v1/handoffs/{handoff['id']}/reject", {"reason": "too_small", "note": "Anna said no"})
    assert answer.json()["state"] == "rejected"
    told = (await sales.harness.outbox())[-1]
    assert (told.body.reason, told.body.reason_family) == ("too_small", "fit")
    assert told.body.note_id
    assert all(b"Anna" not in e.body.SerializeToString() for e in await sales.harness.outbox())
    report = (await sales.harness.api.get("/v1/reports/rejections")).json()
    assert report["by_reason"] == [{"family": "fit", "reason": "too_small", "count": 1}]
    assert report["by_family"] == {"fit": 1}
    states = (await sales.harness.api.get("/v1/reports/handoffs")).json()["by_state"]
    assert (states["rejected"], states["offered"]) == (1, 0)


async def test_a_recycled_lead_says_when_it_may_come_back(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    body = {"reason": "next_year", "return_at": "2027-01-10T00:00:00Z"}
    assert (await sales.post(f"/v1/handoffs/{handoff['id']}/recycle", body)).json()["state"] == "recycled"
    told = (await sales.harness.outbox())[-1].body
    assert told.return_at.ToJsonString() == "2027-01-10T00:00:00Z"
    again = await sales.given("lead-1", cycle=2)
    assert (again["cycle"], again["state"]) == (2, "offered")


async def test_a_wrong_state_says_what_is_possible_and_changes_nothing(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}"
    early = await sales.post(f"{path}/contacts", {"means": "call", "reached": True})
    assert early.status_code == 409
    assert early.headers["content-type"] == "application/problem+json"
    assert "accept, reject, recycle" in early.json()["detail"]
    await sales.post(f"{path}/reject", {"reason": "too_small"})
    late = await sales.post(f"{path}/accept")
    assert (late.status_code, late.json()["detail"]) == (
        409,
        "The handoff is rejected. It has ended; nothing more is possible.",
    )
    assert await sales.told() == ["handoff offered 1", "handoff rejected 2", "feedback rejected 2"]


async def test_an_unknown_reason_names_the_known_ones(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    answer = await sales.post(f"/v1/handoffs/{handoff['id']}/reject", {"reason": "ugly"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "Reasons under the agreement of this lead: next_year, too_small."
    assert "ugly" not in answer.text


async def test_a_repeated_key_gets_the_first_answer_and_no_second_effect(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}/accept"
    first = await sales.post(path, key="one")
    again = await sales.post(path, key="one")
    assert (again.status_code, again.content, again.headers["ETag"]) == (200, first.content, '"2"')
    assert (await sales.post(path, {"rep_id": "olga"}, key="one")).status_code == 422
    assert (await sales.harness.api.post(path, json={})).status_code == 400
    assert await sales.told() == ["handoff offered 1", "handoff accepted 2", "feedback accepted 2"]


async def test_a_lost_update_is_refused(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}/accept"
    stale = await sales.post(path, If_Match='"7"')
    assert (stale.status_code, "version is 1" in stale.json()["detail"]) == (412, True)
    assert (await sales.post(path, If_Match='"1"')).status_code == 200


async def test_two_answers_at_once_leave_one(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}"
    answers = await asyncio.gather(
        sales.post(f"{path}/reject", {"reason": "too_small"}), sales.post(f"{path}/recycle", {"reason": "next_year"})
    )
    assert sorted(a.status_code for a in answers) == [200, 409]


async def test_who_accepts_must_be_a_rep(sales: Sales) -> None:
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}/accept"
    assert (await sales.post(path)).json()["type"] == "/problems/no-rep"
    assert (await sales.post(path, {"rep_id": "nobody"})).json()["type"] == "/problems/unknown-rep"
    await sales.rep("olga")
    assert (await sales.post(path, {"rep_id": "olga"})).json()["rep_id"] == "olga"


async def test_a_time_still_to_come_counts_as_now(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    answer = await sales.post(f"/v1/handoffs/{handoff['id']}/accept", {"occurred_at": "2030-01-01T00:00:00Z"})
    assert answer.json()["accepted_at"] == "2026-03-02T09:00:00Z"


async def test_the_contact_is_shown_only_with_its_scope(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    await sales.harness.receive([contact("lead-1")])
    path = f"/v1/handoffs/{handoff['id']}"
    assert (await sales.harness.api.get(path)).json()["contact"]["full_name"] == "Anna Petrova"
    key = await sales.harness.key("handoffs:read")
    without = await sales.harness.api.get(path, headers={"Authorization": f"Bearer {key}"})
    assert without.status_code == 200
    assert "contact" not in without.json()
    assert "Anna" not in without.text


async def test_an_older_contact_changes_nothing(sales: Sales) -> None:
    handoff = await sales.given("lead-1")
    await sales.harness.receive([contact("lead-1", sequence=2), contact("lead-1", sequence=1, name="Old")])
    await sales.harness.receive([contact("lead-1", sequence=1, name="Older")])
    shown = (await sales.harness.api.get(f"/v1/handoffs/{handoff['id']}")).json()
    assert shown["contact"]["full_name"] == "Anna Petrova"


async def test_a_forgotten_person_leaves_nothing_behind_and_does_not_come_back(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    path = f"/v1/handoffs/{handoff['id']}"
    await sales.post(f"{path}/accept")
    await sales.post(f"{path}/contacts", {"means": "call", "reached": True, "note": "Anna likes tea"})
    await sales.harness.receive([contact("lead-1"), forgotten("lead-1"), contact("lead-1", sequence=9)])
    await sales.harness.receive([contact("lead-1", sequence=10)])
    await sales.post(f"{path}/contacts", {"means": "call", "reached": True, "note": "Anna likes coffee"})
    shown = (await sales.harness.api.get(path)).json()
    assert (shown["contact"], shown["notes"]) == (None, [])
    assert shown["attempts"] == 2
    [row] = await sales.harness.fetch("SELECT body, erased_at FROM contact")
    assert row["body"] is None
    assert row["erased_at"] is not None


async def test_the_timeline_names_no_person(sales: Sales) -> None:
    await sales.rep("olga")
    handoff = await sales.given("lead-1")
    await sales.harness.receive([contact("lead-1")])
    await sales.post(f"/v1/handoffs/{handoff['id']}/accept")
    timeline = await sales.harness.api.get("/v1/leads/lead-1/timeline")
    assert [item["title"] for item in timeline.json()["items"]] == [
        "Handed to sales",
        "Handoff accepted",
        "Sales accepted the lead",
    ]
    assert "Anna" not in timeline.text


async def test_handoffs_come_in_pages(sales: Sales) -> None:
    await sales.harness.receive([qualified(f"lead-{n}", at=START + timedelta(minutes=n)) for n in range(5)])
    first = (await sales.harness.api.get("/v1/handoffs", params={"limit": 3})).json()
    rest = (await sales.harness.api.get("/v1/handoffs", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [h["lead_id"] for h in first["items"] + rest["items"]] == [f"lead-{n}" for n in (4, 3, 2, 1, 0)]
    assert rest["next_cursor"] is None


def _received(e):  # type: ignore[no-untyped-def]
    from baton_kit.envelope import Received

    return Received(e.id, e.type, e.key, e.body, e.occurred_at)


def test_the_service_has_its_roles() -> None:
    assert [s.group for s in SERVICE.subscriptions] == [
        "sales-feedback.offer",
        "sales-feedback.contact",
        "sales-feedback.erase",
        "sales-feedback.merge",
        "sales-feedback.history",
    ]
