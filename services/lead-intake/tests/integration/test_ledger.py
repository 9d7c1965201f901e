"""Nothing is lost, and when something is, somebody hears of it: lists, sums, the permanent count, retention."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_samples import BODIES
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from baton_kit.db import raw
from baton_kit.ids import new_id
from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.delivery import Outcome
from lead_intake.ledger import bodies, count, store
from lead_intake.ledger.hours import hour_of

NOW = datetime.now(UTC)
OUTCOMES = tuple(outcome.value for outcome in Outcome)


async def given_form(intake: Harness[App], id: str = "form", **more: Any) -> str:
    answer = await intake.api.post("/v1/sources", json={"id": id, "provider": "generic"} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["webhook_url"])


async def deliver(intake: Harness[App], url: str, body: bytes | str) -> str:
    assert intake.public is not None
    answer = await intake.public.post(url, content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 300, answer.text
    return str(answer.json()["receipt_id"])


async def given_entries(intake: Harness[App], *, at: datetime, many: int = 3, source: str = "old") -> list[str]:
    """Receipts of another time, as a delivery of that time would have left them."""
    ids = [new_id(at + timedelta(seconds=n)) for n in range(many)]
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(
            "INSERT INTO receipt (id, source_id, received_at, state, reason, entries, content_type, body) "
            "SELECT id, $2, $3, 'settled', '', 1, 'application/json', 'body' FROM unnest($1::uuid[]) AS id",
            ids, source, at,
        )  # fmt: skip
        await (await raw(tx)).execute(
            "INSERT INTO receipt_entry (receipt_id, ordinal, source_id, key, outcome) "
            "SELECT id, 0, $2, id::text, 'test' FROM unnest($1::uuid[]) AS id",
            ids, source,
        )  # fmt: skip
    return ids


async def execute(intake: Harness[App], statement: str, *args: Any) -> None:
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(statement, *args)


async def counted(intake: Harness[App]) -> count.Round:
    """Rounds until all is counted that can be."""
    while (done := await count.count_round(intake.app)).more:
        pass
    return done


async def balance(intake: Harness[App]) -> dict[str, Any]:
    return dict((await intake.api.get("/v1/receipts/balance")).json())


@pytest.fixture
async def later(intake: Harness[App]) -> Harness[App]:
    """The service ten minutes on: what was just delivered can be counted."""
    intake.clock.advance(datetime.now(UTC) + timedelta(minutes=10) - intake.clock.now())
    return intake


async def test_every_outcome_is_counted_by_source_and_in_all(later: Harness[App]) -> None:
    url, other = await given_form(later), await given_form(later, "other", mapping={"test": "test"})
    await deliver(later, url, BODIES["generic"]("k1", "a@firm.es"))
    await deliver(later, url, BODIES["generic"]("k1", "a@firm.es"))
    await deliver(later, url, BODIES["generic"]("k2", "a@firm.es"))
    await deliver(later, other, BODIES["generic"]("k3", "b@firm.es", test="true"))
    await deliver(later, other, "{")
    for _ in range(2):  # before and after the permanent count has been there
        found = await balance(later)
        assert found["balanced"] is True
        assert {i["source_id"]: i["entries"] for i in found["items"]} == {"form": 3, "other": 2}
        total = found["total"]
        told = {name: total[name] for name in OUTCOMES if total[name]}
        assert told == {"created": 1, "touch_only": 1, "duplicate": 1, "test": 1, "quarantined": 1}
        await counted(later)
    assert found["breaks"] == []


async def test_a_row_deleted_by_hand_is_seen_at_once_and_raises_the_alarm(later: Harness[App]) -> None:
    url = await given_form(later)
    ids = [await deliver(later, url, BODIES["generic"](f"k{n}", f"p{n}@firm.es")) for n in range(4)]
    assert (await counted(later)).breaks == ()
    await execute(later, "DELETE FROM receipt_entry WHERE receipt_id = $1::uuid", ids[1])
    assert (await balance(later))["balanced"] is False
    with capture_logs() as logs:
        [broken] = (await counted(later)).breaks
        await counted(later)
    assert (broken.source_id, broken.law, broken.expected, broken.found) == ("form", "sum", 4, 3)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["ledger_broken"]  # told once
    assert REGISTRY.get_sample_value("baton_ledger_breaks", {"law": "sum"}) == 1
    assert "does not add up" in await count.note(later.app)
    [shown] = (await balance(later))["breaks"]
    assert (shown["law"], shown["expected"], shown["found"]) == ("sum", 4, 3)


async def test_a_receipt_that_is_gone_with_its_entries_is_missed_until_a_person_explains_it(
    later: Harness[App],
) -> None:
    ids = await given_entries(later, at=NOW - timedelta(days=3))
    await counted(later)
    await execute(later, "DELETE FROM receipt_entry WHERE receipt_id = $1::uuid", ids[0])
    await execute(later, "DELETE FROM receipt WHERE id = $1::uuid", ids[0])
    [broken] = (await counted(later)).breaks
    assert (broken.law, broken.expected, broken.found) == ("missing", 3, 2)
    found = await balance(later)
    assert (found["balanced"], found["items"][0]["balanced"]) == (False, False)
    await counted(later)
    [broken] = (await counted(later)).breaks  # it does not go away by itself
    hour = hour_of(NOW - timedelta(days=3)).isoformat()
    accepted = await later.api.post("/v1/receipts/balance/accept", json={"source_id": "old", "hour": hour})
    assert (accepted.status_code, accepted.json()["entries"], accepted.json()["balanced"]) == (200, 2, True)
    assert (await counted(later)).breaks == ()
    assert (await balance(later))["balanced"] is True
    again = await later.api.post("/v1/receipts/balance/accept", json={"source_id": "old", "hour": hour})
    assert again.status_code == 404


async def test_what_no_trigger_saw_comes_to_light_when_the_ledger_is_gone_through_again(
    later: Harness[App],
) -> None:
    for days in range(1, 6):
        await given_entries(later, at=NOW - timedelta(days=days), source=f"s{days}")
    await counted(later)
    await execute(
        later,
        "DO $$ BEGIN SET LOCAL session_replication_role = replica; "
        "DELETE FROM receipt_entry WHERE source_id = 's4'; END $$",
    )
    assert await later.fetch("SELECT FROM ledger_change") == []
    breaks = [b for _ in range(3) for b in (await count.count_round(later.app)).breaks]
    assert {(b.source_id, b.law) for b in breaks} == {("s4", "sum")}


async def test_an_entry_whose_lead_is_not_there_raises_the_alarm(later: Harness[App]) -> None:
    url = await given_form(later)
    await deliver(later, url, BODIES["generic"]("k1", "a@firm.es"))
    await execute(later, "DELETE FROM lead")
    [broken] = (await counted(later)).breaks
    assert (broken.law, broken.found) == ("leads", 1)


async def test_an_alarm_ends_when_what_was_missing_is_back(later: Harness[App]) -> None:
    [id, *_] = await given_entries(later, at=NOW - timedelta(days=1))
    await counted(later)
    row = (await later.fetch("SELECT * FROM receipt_entry WHERE receipt_id = $1::uuid", id))[0]
    await execute(later, "DELETE FROM receipt_entry WHERE receipt_id = $1::uuid", id)
    assert len((await counted(later)).breaks) == 1
    await execute(
        later,
        "INSERT INTO receipt_entry (receipt_id, ordinal, source_id, key, outcome) VALUES ($1, 0, 'old', $2, 'test')",
        id,
        row["key"],
    )
    breaks = [(await count.count_round(later.app)).breaks for _ in range(3)]
    assert breaks[-1] == ()


CHANGES = st.lists(
    st.tuples(st.sampled_from(["deliver", "change", "count", "lose"]), st.integers(0, 5)), min_size=1, max_size=14
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
async def test_the_sums_are_always_those_of_a_full_count_and_a_loss_is_always_told(
    later: Harness[App], changes: list[tuple[str, int]]
) -> None:
    await execute(later, "TRUNCATE receipt, receipt_entry, ledger_hour, ledger_change, ledger_break, ledger_mark")
    lost = False
    for what, n in changes:
        if what == "deliver":
            await given_entries(later, at=NOW - timedelta(hours=n, minutes=20), many=n + 1, source=f"s{n % 2}")
        elif what == "change":
            await execute(later, "UPDATE receipt_entry SET outcome = 'quarantined' WHERE source_id = $1", f"s{n % 2}")
        elif what == "count":
            await count.count_round(later.app)
        else:
            gone = await later.fetch(
                "WITH one AS (SELECT receipt_id FROM receipt_entry WHERE source_id = $1 LIMIT 1) "
                "DELETE FROM receipt_entry e USING one WHERE e.receipt_id = one.receipt_id RETURNING 1",
                f"s{n % 2}",
            )
            lost = lost or bool(gone)
        found = await balance(later)
        if found["counted_to"] is None:
            full = await later.fetch("SELECT outcome, count(*) AS n FROM receipt_entry GROUP BY 1")
            assert {name: found["total"][name] for name in OUTCOMES if found["total"][name]} == {
                r["outcome"]: r["n"] for r in full
            }
        if lost:
            assert found["balanced"] is False
    for _ in range(3):  # all is new, changed, or its turn has come
        await count.count_round(later.app)
    found = await balance(later)
    full = await later.fetch("SELECT outcome, count(*) AS n FROM receipt_entry GROUP BY 1")
    assert {name: found["total"][name] for name in OUTCOMES if found["total"][name]} == {
        r["outcome"]: r["n"] for r in full
    }
    assert found["balanced"] is not lost
    assert bool(found["breaks"]) is lost


async def test_a_round_goes_through_a_piece_only_and_in_the_end_through_everything(
    later: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    for hours in range(1, 31):
        await given_entries(later, at=NOW - timedelta(hours=hours), many=10)
    await counted(later)
    await execute(later, "DELETE FROM ledger_mark WHERE name = 'gone_through'")
    monkeypatch.setattr(count, "MOST_AGAIN", 40)
    rounds: list[set[datetime]] = []
    count_spans = store.count_spans

    async def noted(tx: Any, spans: Any) -> Any:
        rounds.append({s[0] for s in spans})
        return await count_spans(tx, spans)

    monkeypatch.setattr(store, "count_spans", noted)
    for _ in range(10):
        await count.count_round(later.app)
    assert max(len(hours) for hours in rounds) <= 5  # forty entries at ten an hour, and what is new
    hours = {r["hour"] for r in await later.fetch("SELECT DISTINCT hour FROM ledger_hour")}
    assert set().union(*rounds) >= hours


# --- lists and reasons -----------------------------------------------------------------------------------------------


async def test_entries_are_listed_by_outcome_reason_source_and_time_in_pages(intake: Harness[App]) -> None:
    url, other = await given_form(intake), await given_form(intake, "other")
    for n in range(5):
        await deliver(
            intake, url, f'[{{"submission_id": "a{n}"}}, {{"submission_id": "b{n}", "email": "b{n}@firm.es"}}]'
        )
    await deliver(intake, other, "{")
    seen: list[tuple[str, int]] = []
    cursor = None
    while True:
        params = {"outcome": "quarantined", "reason": "no_identity", "source": "form", "limit": 2}
        page = (
            await intake.api.get("/v1/receipts/entries", params=params | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [(i["receipt_id"], i["ordinal"]) for i in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)
    every = (await intake.api.get("/v1/receipts/entries", params={"limit": 200})).json()["items"]
    assert [(i["receipt_id"], i["ordinal"]) for i in every] == sorted(
        [(i["receipt_id"], i["ordinal"]) for i in every], key=lambda k: (-int(k[0].replace("-", ""), 16), k[1])
    )
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for params, expected in (({"since": hour_ago}, 11), ({"until": hour_ago}, 0)):
        found = await intake.api.get("/v1/receipts/entries", params={"limit": 200, **params})
        assert len(found.json()["items"]) == expected
    wrong = await intake.api.get("/v1/receipts/entries", params={"since": "2026-01-01T00:00:00"})
    assert wrong.status_code == 422


async def test_reasons_are_counted_with_what_to_do_in_both_languages(intake: Harness[App]) -> None:
    url = await given_form(intake, mapping={"test": "test"})
    for n in range(3):
        await deliver(intake, url, f'{{"submission_id": "a{n}"}}')
    await deliver(intake, url, "{")
    await deliver(intake, url, BODIES["generic"]("t", "b@firm.es", test="true"))
    items = (await intake.api.get("/v1/receipts/reasons")).json()["items"]
    assert [(i["outcome"], i["code"], i["count"]) for i in items] == [
        ("quarantined", "no_identity", 3),
        ("quarantined", "not_json", 1),
        ("test", "", 1),
    ]
    assert "mapping" in items[0]["remedy"]["en"]
    assert "сопоставлении" in items[0]["remedy"]["ru"]
    listed = (await intake.api.get("/v1/receipts/reasons/catalogue")).json()["items"]
    assert {"no_identity", "signature", "spam_honeypot"} <= {i["code"] for i in listed}
    by_reason = (await intake.api.get("/v1/receipts", params={"reason": "not_json"})).json()["items"]
    assert [i["reason"] for i in by_reason] == ["not_json"]


# --- bodies ----------------------------------------------------------------------------------------------------------


async def test_bodies_are_kept_as_long_as_their_state_says_and_the_receipts_for_ever(later: Harness[App]) -> None:
    url = await given_form(later, secrets=["the-right-secret"], settings={"secret_header": "x-key"})
    assert later.public is not None
    headers = {"content-type": "application/json", "x-key": "the-right-secret"}
    for body in (BODIES["generic"]("k1", "a@firm.es"), b"{"):
        await later.public.post(url, content=body, headers=headers)
    await later.public.post(url, content=BODIES["generic"]("k2", "a@firm.es"), headers=headers | {"x-key": "wrong"})
    await later.app.refusals.write(later.app)

    async def kept() -> dict[str, bool]:
        rows = await later.fetch(
            "SELECT r.state, r.body IS NOT NULL OR q.receipt_id IS NOT NULL AS kept "
            "FROM receipt r LEFT JOIN receipt_request q ON q.receipt_id = r.id"
        )
        return {r["state"]: r["kept"] for r in rows}

    assert await kept() == {"settled": True, "quarantined": True, "refused": True}
    for days, expected in (
        (6, {"settled": True, "quarantined": True, "refused": True}),
        (8, {"settled": True, "quarantined": True, "refused": False}),
        (29, {"settled": True, "quarantined": True, "refused": False}),
        (31, {"settled": False, "quarantined": True, "refused": False}),
        (89, {"settled": False, "quarantined": True, "refused": False}),
        (91, {"settled": False, "quarantined": False, "refused": False}),
    ):
        later.clock.advance(datetime.now(UTC) + timedelta(days=days) - later.clock.now())
        await bodies.empty_due(later.app)
        assert await kept() == expected, days
    assert (await balance(later))["total"]["entries"] == 3


async def test_emptying_goes_in_pieces_and_misses_none(later: Harness[App], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST", 7)
    at = NOW - timedelta(days=40)
    await given_entries(later, at=at, many=40)
    same = [new_id(at) for _ in range(20)]  # all of one millisecond
    await execute(
        later,
        "INSERT INTO receipt (id, source_id, received_at, state, reason, entries, content_type, body) "
        "SELECT id, 'old', $2, 'settled', '', 0, '', 'body' FROM unnest($1::uuid[]) AS id",
        same, at,
    )  # fmt: skip
    young = await given_entries(later, at=NOW - timedelta(days=2))
    await bodies.empty_due(later.app)
    rows = await later.fetch("SELECT id::text FROM receipt WHERE body IS NOT NULL")
    assert {r["id"] for r in rows} == set(young)


async def test_a_repair_after_its_time_keeps_no_body(later: Harness[App]) -> None:
    url = await given_form(later)
    receipt = await deliver(later, url, '{"submission_id": "k", "mailbox": "a@firm.es"}')
    later.clock.advance(timedelta(days=45))
    await bodies.empty_due(later.app)
    await later.api.patch("/v1/sources/form", json={"mapping": {"email": "mailbox"}})
    done = (await later.api.post(f"/v1/receipts/{receipt}/replay", json={})).json()
    assert done["state"] == "settled"
    assert (await later.fetch("SELECT body FROM receipt"))[0]["body"] is None


# --- against a provider's own count ----------------------------------------------------------------------------------


async def test_a_providers_own_count_is_compared_by_day_and_form(intake: Harness[App]) -> None:
    url = await given_form(intake)
    for n, (day, form) in enumerate([("01", "F-1"), ("01", "F-1"), ("01", "F-2"), ("02", "F-1")]):
        at = f"2026-02-{day}T23:30:00Z"
        body = BODIES["generic"](f"k{n}", f"p{n}@firm.es", form_id=form, submitted_at=at)
        await deliver(intake, url, body)
    await deliver(intake, url, '{"submission_id": "q"}')
    counts = [
        {"day": "2026-02-01", "form": "F-1", "count": 3},
        {"day": "2026-02-01", "form": "F-2", "count": 1},
        {"day": "2026-02-02", "form": "F-1", "count": 1},
    ]
    answer = await intake.api.post("/v1/receipts/reconcile", json={"source": "form", "counts": counts})
    found = answer.json()
    assert found["agrees"] is False
    assert [(i["day"], i["form"], i["difference"]) for i in found["items"]] == [
        ("2026-02-01", "F-1", 1),
        ("2026-02-01", "F-2", 0),
        ("2026-02-02", "F-1", 0),
    ]
    whole = [{"day": "2026-02-02", "count": 3}, {"day": "2026-02-03", "count": 1}]
    order = {"source": "form", "counts": whole, "time_zone": "Europe/Berlin"}
    berlin = (await intake.api.post("/v1/receipts/reconcile", json=order)).json()
    assert berlin["agrees"] is True, berlin
    nowhere = await intake.api.post("/v1/receipts/reconcile", json=order | {"time_zone": "Mars/Phobos"})
    assert nowhere.status_code == 422
    unknown = await intake.api.post("/v1/receipts/reconcile", json=order | {"source": "unknown"})
    assert unknown.status_code == 404


async def test_what_stands_apart_is_told_beside_the_difference(intake: Harness[App]) -> None:
    url = await given_form(intake)
    intake.clock.advance(datetime.now(UTC) - intake.clock.now())
    await deliver(intake, url, '{"submission_id": "q"}')
    today = datetime.now(UTC).date().isoformat()
    order = {"source": "form", "counts": [{"day": today, "count": 1}]}
    found = (await intake.api.post("/v1/receipts/reconcile", json=order)).json()
    assert found["items"] == [{"day": today, "form": "", "theirs": 1, "ours": 0, "difference": 1}]
    assert found["apart"] == {today: {"quarantined": 1}}
