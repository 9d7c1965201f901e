import asyncio
import random
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from baton_agreement import scoring
from baton_kit.apply import Batch, apply_batches
from baton_kit.envelope import Event, event
from baton_kit.outages import Unprocessable
from baton_kit.testing import START, Harness, record
from qualification import evaluate, store
from qualification.app import App
from qualification.cycle import Lead
from qualification.evaluate import decide_due, decide_waiting

from .given import EXAMPLE, GOOD, HOUR, WEAK, activate, answered, created, people, touched, updated


def short(events: list[Any]) -> list[str]:
    return [e.type.rpartition(".")[2] for e in events]


async def ready(h: Harness[App]) -> None:
    await activate(h, await people(h))
    await h.new_events()


async def test_a_good_lead_is_scored_and_handed_over(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", **GOOD)])
    scored, handed = await qualification.new_events()
    assert (scored.body.score, scored.body.outcome, scored.body.sequence) == (45, 1, 1)
    assert sum(c.points for c in scored.body.contributions) == 45
    assert (handed.type, handed.key) == ("baton.qualification.v1.LeadQualified", "l1")
    assert (handed.body.cycle, handed.body.sequence, handed.body.decision_id) == (1, 2, scored.body.decision_id)
    assert handed.body.features.employees == 250
    assert handed.body.sla.accept_within_seconds == 4 * 3600
    assert handed.body.rejection_reasons[0].code == "wrong_size"
    assert handed.body.agreement == scored.body.agreement


async def test_a_lead_and_its_touches_of_one_batch_make_one_decision(qualification: Harness[App]) -> None:
    await ready(qualification)
    batch = [created("l1", **WEAK), *(touched("l1", kind="form", page="/pricing") for _ in range(10))]
    await qualification.receive(batch)
    assert short(await qualification.new_events()) == ["LeadScored", "LeadQualified"]


async def test_negative_decisions_are_told_too(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", has_email=True, email_kind="disposable"), created("l2", **WEAK)])
    first, second = await qualification.new_events()
    assert (first.body.outcome, first.body.stopped_by) == (3, "reachable-gate")
    assert (second.body.outcome, second.body.score) == (2, 15)


async def test_nothing_is_told_of_a_lead_whose_score_did_not_change(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", **WEAK)])
    await qualification.new_events()
    await qualification.receive([touched("l1", kind="call", page="/x")])
    assert await qualification.new_events() == []


async def test_an_update_is_decided_about_and_is_no_engagement(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", **WEAK)])
    [scored] = await qualification.new_events()
    assert scored.body.score == 15
    await qualification.receive([updated("l1", sequence=3, **GOOD)])
    again, handed = await qualification.new_events()
    assert (again.body.score, short([handed])) == (45, ["LeadQualified"])
    assert await qualification.fetch("SELECT FROM touch") == []
    # One that is older than what is known, and one that says nothing new, change nothing.
    await qualification.receive([updated("l1", sequence=2, **WEAK), updated("l1", sequence=4, **GOOD)])
    assert await qualification.new_events() == []


async def test_an_update_opens_no_new_cycle(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", **GOOD)])
    await qualification.receive([answered("l1", "recycled", at=START + HOUR, return_at=START + 2 * HOUR)])
    await qualification.new_events()
    qualification.app.clock.advance(5 * HOUR)
    await qualification.receive([updated("l1", sequence=3, at=START + 4 * HOUR, **GOOD | {"employees": 5_000})])
    assert await qualification.new_events() == []
    [lead] = await qualification.fetch("SELECT cycle, cycle_state FROM lead")
    assert tuple(lead) == (1, "recycled")


async def test_a_lead_is_handed_over_once_a_cycle(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", **GOOD)])
    for n in range(3):
        await qualification.receive([touched("l1", kind="form", sequence=2 + n)])
    assert short(await qualification.outbox()).count("LeadQualified") == 1


async def test_a_repeated_event_changes_nothing(qualification: Harness[App]) -> None:
    await ready(qualification)
    batch = [created("l1", **GOOD), touched("l1", kind="form")]
    await qualification.receive(batch)
    before = await qualification.outbox()
    await qualification.receive(batch)
    assert await qualification.outbox() == before


async def test_a_touch_that_comes_before_its_lead_is_kept_and_counts(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([touched("l1", kind="form", page="/pricing", features=WEAK)])
    assert await qualification.new_events() == []
    await qualification.receive([created("l1", **WEAK)])
    scored = (await qualification.new_events())[0]
    assert {c.rule_id for c in scored.body.contributions} >= {"sent-form", "saw-prices"}


async def test_the_features_with_the_highest_sequence_count(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([touched("l1", sequence=9, features=GOOD)])
    await qualification.receive([created("l1", sequence=1, has_email=True)])
    assert short(await qualification.new_events()) == ["LeadScored", "LeadQualified"]


async def test_a_test_lead_is_never_handed_over(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", test=True, **GOOD), touched("l1", kind="form", features=GOOD)])
    await decide_waiting(qualification.app)
    assert await qualification.new_events() == []


async def test_leads_that_came_before_any_agreement_are_decided_once_there_is_one(
    qualification: Harness[App],
) -> None:
    h = qualification
    await h.receive([created(f"l{n}", **GOOD) for n in range(5)])
    assert await decide_waiting(h.app) == 0
    assert await h.outbox() == []
    await ready(h)
    assert await decide_waiting(h.app) == 5
    assert await decide_waiting(h.app) == 0
    assert short(await h.new_events()).count("LeadQualified") == 5


async def test_points_that_fade_are_decided_anew_when_they_are_due(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **WEAK), touched("l1", kind="visit")])
    assert (await h.new_events())[0].body.score == 17
    assert await decide_due(h.app) == 0
    h.clock.advance(timedelta(hours=72))
    assert await decide_due(h.app) == 1
    [scored] = await h.new_events()
    assert (scored.body.kind, scored.body.score) == (2, 16)
    h.clock.advance(timedelta(days=400))
    assert await decide_due(h.app) == 1
    assert (await h.new_events())[0].body.score == 15
    h.clock.advance(timedelta(days=400))
    assert await decide_due(h.app) == 0


async def test_two_workers_never_decide_the_same_due_lead(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([e for n in range(20) for e in (created(f"l{n:02}", **WEAK), touched(f"l{n:02}"))])
    h.clock.advance(timedelta(hours=72))
    await h.new_events()
    done = await asyncio.gather(*(decide_due(h.app) for _ in range(4)))
    assert sum(done) == 20
    assert len(await h.new_events()) == 20


async def test_a_recycled_lead_begins_a_new_cycle_with_the_first_touch_after_the_return_date(
    qualification: Harness[App],
) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **GOOD)])
    await h.receive([answered("l1", "recycled", at=START + HOUR, return_at=START + 48 * HOUR)])
    await h.new_events()
    await h.receive([touched("l1", at=START + 24 * HOUR, kind="form")])
    assert await h.new_events() == []
    h.clock.advance(50 * HOUR)
    await h.receive([touched("l1", at=START + 49 * HOUR)])
    scored, handed = await h.new_events()
    assert (scored.body.cycle, handed.body.cycle) == (2, 2)


async def test_a_rejected_lead_comes_back_only_with_a_new_inquiry(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **GOOD)])
    await h.receive([answered("l1", "rejected", at=START + HOUR)])
    await h.new_events()
    await h.receive([touched("l1", at=START + 2 * HOUR, kind="visit")])
    assert await h.new_events() == []
    await h.receive([touched("l1", at=START + 3 * HOUR, kind="form")])
    assert [e.body.cycle for e in await h.new_events()] == [2, 2]


async def test_an_answer_that_comes_after_the_customer_came_back_ends_nothing_for_good(
    qualification: Harness[App],
) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **GOOD), touched("l1", at=START + 9 * HOUR, kind="form")])
    await h.new_events()
    await h.receive([answered("l1", "recycled", at=START + HOUR)])
    assert [e.body.cycle for e in await h.new_events()] == [2, 2]


async def test_an_answer_about_an_unknown_lead_is_kept_and_counts_when_it_comes(
    qualification: Harness[App],
) -> None:
    h = qualification
    await ready(h)
    await h.receive([answered("l1", "rejected", at=START + HOUR)])
    await h.receive([created("l1", **GOOD)])
    assert await h.new_events() == []  # its cycle was handed over and has ended


async def test_a_cycle_keeps_the_version_it_began_with(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    first = await activate(h, who)
    await h.receive([created("old", **WEAK)])
    second = await activate(h, who, EXAMPLE.replace(b"threshold: 45", b"threshold: 10"))
    await h.receive([touched("old", kind="form"), created("new", **WEAK)])
    scored = [e.body for e in await h.outbox() if e.type.endswith("LeadScored")]
    assert [(b.lead_id, b.agreement.digest, b.agreement.activation_seq) for b in scored] == [
        ("old", first, 1),
        ("old", first, 1),
        ("new", second, 2),
    ]


async def test_under_concurrent_activations_no_decision_is_made_by_a_version_that_is_not_in_force(
    qualification: Harness[App],
) -> None:
    h = qualification
    who = await people(h)
    await activate(h, who)

    async def leads() -> None:
        for n in range(12):
            await h.receive([created(f"l{n:02}-{i}", **GOOD) for i in range(5)])

    async def versions() -> None:
        for n in range(6):
            await activate(h, who, EXAMPLE.replace(b"threshold: 45", f"threshold: {30 + n}".encode()))

    await asyncio.gather(leads(), versions())
    # In the order of the log, the version of first decisions never goes back, and is the last one activated.
    active = 0
    seen = 0
    for e in await h.outbox():
        if e.type.endswith("AgreementActivated"):
            active = e.body.activation_seq
        elif e.type.endswith("LeadScored"):
            assert e.body.agreement.activation_seq == active
            seen += 1
    assert seen == 60


async def test_the_order_of_events_does_not_change_what_is_decided_in_the_end(
    qualification: Harness[App],
) -> None:
    h = qualification
    await ready(h)
    story: list[Event] = []
    for n in range(12):
        lead = f"a{n:02}"
        story.append(created(lead, **WEAK))
        story += [
            touched(lead, at=START - i * HOUR, kind=["form", "visit"][i % 2], page="/pricing", id=f"t{i}")
            for i in range(3)
        ]

    def renamed(prefix: str) -> list[Event]:
        copies = []
        for e in story:
            body = type(e.body)()  # type: ignore[misc]
            body.CopyFrom(e.body)
            body.lead_id = prefix + e.key[1:]
            copies.append(event(body, key=body.lead_id, occurred_at=e.occurred_at))
        return copies

    shuffled = renamed("b")
    random.Random(7).shuffle(shuffled)
    await h.receive(renamed("a"))
    await h.receive(shuffled, one_by_one=True)
    rows = await h.fetch("SELECT id, score, outcome, features FROM lead ORDER BY id")
    ended = {row["id"]: (row["score"], row["outcome"], row["features"]) for row in rows}
    assert len(ended) == 24
    for n in range(12):
        assert ended[f"a{n:02}"] == ended[f"b{n:02}"]


async def test_every_stored_decision_comes_out_again_byte_for_byte_also_after_the_agreement_changed(
    qualification: Harness[App],
) -> None:
    h = qualification
    who = await people(h)
    await activate(h, who)
    rng = random.Random(11)
    for n in range(40):
        lead = f"l{n:02}"
        features = {
            "has_email": rng.random() < 0.8,
            "has_phone": rng.random() < 0.4,
            "email_kind": rng.choice(["business", "free", "role", "disposable"]),
            "country": rng.choice(["DE", "US", "BR", ""]),
            "employees": rng.choice([0, 10, 50, 1000]),
            "answers": {"intent": rng.choice(["job", "buy"]), "ключ": "значение"},
        }
        await h.receive(
            [
                created(lead, **features),
                *(
                    touched(lead, kind=rng.choice(["form", "visit", "event"]), page=rng.choice(["/pricing", "/"]))
                    for _ in range(rng.randrange(4))
                ),
            ]
        )
    await activate(h, who, EXAMPLE.replace(b"threshold: 45", b"threshold: 5"))
    h.clock.advance(timedelta(days=9))
    await decide_due(h.app)
    rows = await h.fetch("SELECT id FROM decision")
    assert len(rows) > 40
    for row in rows:
        answer = await h.api.post(f"/v1/decisions/{row['id']}/verification")
        assert answer.json()["identical"] is True


async def test_a_stored_decision_that_was_changed_does_not_verify(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **GOOD)])
    [row] = await h.fetch("SELECT id FROM decision")
    await h.fetch("UPDATE decision SET canonical = replace(convert_from(canonical, 'UTF8'), "
                  "'\"score\":45', '\"score\":46')::bytea RETURNING id")  # fmt: skip
    answer = await h.api.post(f"/v1/decisions/{row['id']}/verification")
    assert answer.json()["identical"] is False


async def verified(h: Harness[App], **wanted: object) -> tuple[int, list[dict[str, Any]], int]:
    """Verify a range part by part: how many, what differs, in how many parts."""
    checked, differing, parts, cursor = 0, [], 0, ""
    while cursor is not None:
        answer = await h.api.post(f"/v1/decisions/verifications{cursor and f'?cursor={cursor}'}", json=wanted)
        assert answer.status_code == 200, answer.text
        part = answer.json()
        checked, differing, parts = checked + part["checked"], differing + part["differing"], parts + 1
        cursor = part["next_cursor"]
    return checked, differing, parts


async def test_any_range_of_decisions_is_made_again_part_by_part(
    qualification: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    h = qualification
    who = await people(h)
    await activate(h, who)
    monkeypatch.setattr("qualification.verify.LOOKED_AT", 7)
    await h.receive([created(f"l{n}", **GOOD) for n in range(20)])
    h.clock.advance(timedelta(days=1))
    newer = await activate(h, who, EXAMPLE.replace(b"threshold: 45", b"threshold: 5"))
    await h.receive([created(f"m{n}", **WEAK) for n in range(10)])
    total = (await h.fetch("SELECT count(*) FROM decision"))[0][0]
    assert await verified(h) == (total, [], total // 7 + 1)
    noon = (START + timedelta(hours=12)).isoformat()
    assert (await verified(h, until=noon))[0] == 20
    assert (await verified(h, since=noon))[0] == 10
    assert (await verified(h, agreement=newer))[0] == 10
    assert (await verified(h, lead_id="l3"))[:2] == (1, [])
    assert (await h.api.post("/v1/decisions/verifications", json={"since": "2026-01-01T00:00:00"})).status_code == 422


async def test_a_range_names_each_decision_that_does_not_come_out_again_and_why(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created(f"l{n}", **GOOD) for n in range(4)])
    one, other, third, _ = [row[0] for row in await h.fetch("SELECT id FROM decision ORDER BY lead_id")]
    changed = "UPDATE decision SET canonical = replace(convert_from(canonical, 'UTF8'), $2, $3)::bytea WHERE id = $1"
    await h.fetch(f"{changed} RETURNING id", one, '"score":45', '"score":46')
    await h.fetch(f"{changed} RETURNING id", other, '"evaluator_version":1', '"evaluator_version":9')
    await h.fetch("UPDATE decision SET digest = repeat('0', 64) WHERE id = $1 RETURNING id", third)
    checked, differing, _ = await verified(h)
    assert checked == 4
    assert {d["decision_id"]: d["reason"] for d in differing} == {
        one: "other_bytes",
        other: "cannot_be_made",
        third: "document_changed",
    }
    assert {d["lead_id"] for d in differing} == {"l0", "l1", "l2"}


async def test_a_thousand_touches_of_a_robot_do_not_break_the_decision(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **WEAK), *(touched("l1", at=START - n * timedelta(seconds=1)) for n in range(1200))])
    [row] = await h.fetch("SELECT count(*) FROM touch")
    assert row[0] == 1200
    assert (await h.new_events())[0].body.score == 15 + 10


async def test_hostile_texts_in_features_pass_through_the_database(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive(
        [created("l1", **{**GOOD, "industry": "a\x00b\u202e😀"}, answers={"\x00k": "v\x00", "😀\ufb33": "x"}),
         touched("l1", page="/\x00'; drop", utm_campaign="\\u0000")]
    )  # fmt: skip
    [row] = await h.fetch("SELECT id FROM decision")
    assert (await h.api.post(f"/v1/decisions/{row['id']}/verification")).json()["identical"] is True


async def test_two_batches_that_bring_the_same_new_lead_make_it_once_and_use_both_events(
    qualification: Harness[App],
) -> None:
    h = qualification
    await ready(h)
    [subscription] = h.service.subscriptions

    async def bring(partition: int, events: list[Event]) -> None:
        async with h.db.begin() as tx:
            records = [record(e, offset=n) for n, e in enumerate(events)]
            await apply_batches(tx, h.app, subscription, [Batch("baton.lead.v1", partition, records)])

    ids = [f"l{n:02}" for n in range(20)]
    await asyncio.gather(
        bring(0, [created(i, **WEAK) for i in ids]),
        bring(1, [touched(i, kind="form", page="/pricing") for i in reversed(ids)]),
    )
    rows = await h.fetch("SELECT id, score FROM lead ORDER BY id")
    assert [row["id"] for row in rows] == ids
    assert {row["score"] for row in rows} == {38}  # 15 of fit, 15 for the form, 8 for the prices


async def test_a_lead_that_is_there_by_now_is_not_written_over(qualification: Harness[App]) -> None:
    h = qualification
    await ready(h)
    await h.receive([created("l1", **GOOD)])
    before = await h.fetch("SELECT * FROM lead")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with h.db.begin() as tx:
            await store.insert_leads(tx, [Lead("l1", created_at=START)])
    assert await h.fetch("SELECT * FROM lead") == before


async def test_a_batch_of_many_parts_is_decided_as_one_part_would_be(
    qualification: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    h = qualification
    await ready(h)

    def batch(prefix: str) -> list[Event]:
        return [created(f"{prefix}{n:02}", **(GOOD if n % 3 else WEAK)) for n in range(23)]

    await h.receive(batch("a"))
    one = await h.new_events()
    monkeypatch.setattr(evaluate, "PART", 4)
    monkeypatch.setattr(evaluate, "TURN", 1)
    await h.receive(batch("b"))
    many = await h.new_events()
    assert [(e.type, e.key[1:], e.body.sequence) for e in many] == [(e.type, e.key[1:], e.body.sequence) for e in one]
    rows = await h.fetch("SELECT substr(id, 2), score, outcome, sequence, cycle_state FROM lead ORDER BY 1, id")
    assert len(rows) == 46
    assert rows[::2] == rows[1::2]


@pytest.mark.parametrize("sound", [3, 9])
async def test_an_error_in_any_part_undoes_the_whole_batch(
    qualification: Harness[App], monkeypatch: pytest.MonkeyPatch, sound: int
) -> None:
    h = qualification
    await ready(h)
    await h.new_events()
    monkeypatch.setattr(evaluate, "PART", 2)
    monkeypatch.setattr(evaluate, "TURN", 1)
    decide, calls = scoring.decide, 0

    def fails(*args: Any, **named: Any) -> scoring.Decision:
        nonlocal calls
        calls += 1
        if calls > sound:
            raise ArithmeticError
        return decide(*args, **named)

    events = [created(f"l{n:02}", **GOOD) for n in range(10)]
    with monkeypatch.context() as broken:
        broken.setattr(scoring, "decide", fails)
        with pytest.raises(ArithmeticError):
            await h.receive(events)
    assert await h.fetch("SELECT id FROM lead UNION ALL SELECT id FROM decision") == []
    assert await h.new_events() == []
    h.offsets.clear()
    await h.receive(events)
    assert len(await h.new_events()) == 20


async def test_an_error_of_the_database_comes_out_as_it_is(
    qualification: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    h = qualification
    await ready(h)
    monkeypatch.setattr(evaluate, "PART", 2)
    async with h.db.begin() as tx:
        await (await store.raw(tx)).execute("ALTER TABLE lead ADD CONSTRAINT refused CHECK (id <> 'l01')")
    with pytest.raises(asyncpg.CheckViolationError):  # the consumer tells by it what may be parked
        await h.receive([created(f"l{n:02}", **GOOD) for n in range(10)])
    assert await h.fetch("SELECT id FROM lead UNION ALL SELECT id FROM decision") == []


async def test_an_event_without_a_lead_is_refused_for_good(qualification: Harness[App]) -> None:

    with pytest.raises(Unprocessable):
        await qualification.receive([created("")])


async def test_the_due_claim_uses_its_index(qualification: Harness[App]) -> None:
    h = qualification
    async with h.db.begin() as tx:
        connection = await store.raw(tx)
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch(
            "EXPLAIN SELECT id FROM lead WHERE next_change_at <= now() ORDER BY next_change_at LIMIT 500"
        )
    assert any("lead_due" in row[0] for row in plan)
