"""What waits can be repaired and received again under its old identity, and twice is the same as once."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_calls import balanced, deliver, given_form, one, run, waiting
from intake_samples import BODIES, SECRETS, hubspot_events, signed

from baton_kit.db import raw
from baton_kit.testing import SEAL_KEY, Harness
from lead_intake.app import App
from lead_intake.fetching import fetch
from lead_intake.ledger import replay

UNNAMED = '{"submission_id": "k1", "contact": {"mailbox": "anna@firm.es"}, "who": "Anna Petrova"}'
MAPPING = {"email": "contact.mailbox", "full_name": "who"}
WRITTEN = ("receipt", "receipt_entry", "identity_key", "lead", "contact", "touch", "proposed_merge")


async def snapshot(intake: Harness[App]) -> dict[str, Any]:
    state = {t: [tuple(r) for r in await intake.fetch(f"SELECT * FROM {t} ORDER BY 1, 2")] for t in WRITTEN}
    state["outbox"] = [tuple(r) for r in await intake.fetch("SELECT event_id, key, value FROM outbox ORDER BY id")]
    return state


async def test_a_quarantined_delivery_becomes_its_lead_once_the_mapping_is_mended(intake: Harness[App]) -> None:
    url = await given_form(intake)
    receipt = await deliver(intake, url, UNNAMED)
    assert (await one(intake, receipt))["reason"] == "no_identity"  # nothing was mended yet
    await intake.api.patch("/v1/sources/form", json={"mapping": MAPPING})
    intake.clock.advance(timedelta(days=2))
    done = await one(intake, receipt)
    assert (done["state"], [e["outcome"] for e in done["settled"]]) == ("settled", ["created"])
    assert [e["key"] for e in done["settled"]] == ["k1"]
    created, _, contact = await intake.outbox()
    assert created.body.receipt_id == receipt
    assert list(contact.body.emails) == ["anna@firm.es"]
    # It happened when it came, not when it was repaired.
    assert created.occurred_at == intake.clock.now() - timedelta(days=2)
    again = await deliver(intake, url, UNNAMED, expect=200)
    assert again == receipt
    total = await balanced(intake)
    assert (total["entries"], total["created"], total["duplicate"]) == (2, 1, 1)


async def test_replaying_twice_changes_nothing(intake: Harness[App]) -> None:
    url = await given_form(intake)
    receipt = await deliver(intake, url, UNNAMED)
    await intake.api.patch("/v1/sources/form", json={"mapping": MAPPING})
    await one(intake, receipt)
    before = await snapshot(intake)
    assert (await one(intake, receipt))["settled"] == []
    await intake.api.post("/v1/receipts/replay", json={})
    await run(intake)
    assert await snapshot(intake) == before


async def test_a_replay_waits_for_the_one_under_way_and_then_finds_nothing_open(intake: Harness[App]) -> None:
    url = await given_form(intake)
    receipt = await deliver(intake, url, UNNAMED)
    await intake.api.patch("/v1/sources/form", json={"mapping": MAPPING})
    async with intake.db.begin() as tx:
        first = await replay.replay_receipt(tx, intake.app, receipt)
        second = asyncio.create_task(one(intake, receipt))

        await waiting(intake)
    assert first is not None
    assert [e.outcome for e in first.settled] == ["created"]
    assert (await second)["settled"] == []
    await balanced(intake)


async def test_a_settled_entry_of_a_batch_is_not_touched_by_the_repair_of_another(intake: Harness[App]) -> None:
    url = await given_form(intake)
    body = (
        '[{"submission_id": "a", "email": "a@firm.es"}, {"submission_id": "b", "mailbox": "b@firm.es"},'
        ' {"submission_id": "c", "email": "c@firm.es"}]'
    )
    receipt = await deliver(intake, url, body)
    rows = "SELECT * FROM receipt_entry WHERE ordinal <> 1 ORDER BY ordinal"
    settled = [tuple(r) for r in await intake.fetch(rows)]
    await intake.api.patch("/v1/sources/form", json={"mapping": {"email": ["email", "mailbox"]}})
    done = await one(intake, receipt)
    assert [(e["ordinal"], e["key"], e["outcome"]) for e in done["settled"]] == [(1, "b", "created")]
    assert [tuple(r) for r in await intake.fetch(rows)] == settled
    total = await balanced(intake)
    assert (total["entries"], total["created"]) == (3, 3)


async def test_a_body_that_nobody_could_read_may_turn_out_to_hold_many(intake: Harness[App]) -> None:
    url = await given_form(intake)
    body = b'[{"submission_id": "a", "email": "a@firm.es"}, {"submission_id": "b", "email": "b@firm.es"}]'
    receipt = await deliver(intake, url, body, **{"content-type": "application/x-unheard-of"})
    assert (await intake.api.get(f"/v1/receipts/{receipt}")).json()["reason"] == "content_type"
    # Once the fault is mended: here it was the type, which is mended in what is stored.
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute("DELETE FROM receipt_request")
        await (await raw(tx)).execute("UPDATE receipt SET content_type = 'application/json'")
    done = await one(intake, receipt)
    assert [e["outcome"] for e in done["settled"]] == ["created", "created"]
    total = await balanced(intake)
    assert (total["entries"], total["created"]) == (2, 2)


@pytest.mark.parametrize("provider", sorted(set(BODIES) - {"google_ads"}))
async def test_a_delivery_signed_with_a_secret_we_did_not_know_is_received_after_all(
    intake: Harness[App], provider: str
) -> None:
    """Google's key is in the body; see the next test."""
    await signed_with_an_unknown_secret(intake, provider)


async def test_the_key_in_googles_body_proves_it_later_and_is_not_kept(intake: Harness[App]) -> None:
    await signed_with_an_unknown_secret(intake, "google_ads")
    [row] = await intake.fetch("SELECT body FROM receipt")
    assert SECRETS["google_ads"].encode() not in row["body"]


async def signed_with_an_unknown_secret(intake: Harness[App], provider: str) -> None:
    other = (
        "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=" if provider == "standard_webhooks" else "other-key"
    )
    source = {"id": "door", "provider": provider, "secrets": [other]}
    assert (await intake.api.post("/v1/sources", json=source)).status_code == 201
    path = "/v1/webhooks/door"
    sent = signed(provider, BODIES[provider]("k1", "anna@firm.es"), now=intake.clock.now(), path=path)
    assert intake.public is not None
    refused = await intake.public.post(path, content=sent.body, headers=sent.headers)
    assert refused.status_code == 401
    await intake.app.refusals.write(intake.app)
    [row] = await intake.fetch("SELECT id::text, state, body FROM receipt")
    assert (row["state"], row["body"]) == ("refused", None)
    [kept] = await intake.fetch("SELECT sealed FROM receipt_request")
    assert b"anna" not in kept["sealed"]

    still = await one(intake, row["id"])
    assert (still["state"], still["reason"], still["settled"]) == ("refused", "signature", [])
    assert (await intake.api.post("/v1/sources/door/secrets", json={"secret": SECRETS[provider]})).status_code == 201
    intake.clock.advance(timedelta(hours=3))  # the signed time counts as of the moment when it came
    done = await one(intake, row["id"])
    assert (done["state"], [e["outcome"] for e in done["settled"]]) == ("settled", ["created"])
    assert await intake.fetch("SELECT FROM receipt_request") == []
    await balanced(intake)


async def test_of_unproven_requests_a_source_keeps_so_many_and_no_more(
    intake: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lead_intake.refusals.MOST_UNPROVEN", 3)
    await given_form(intake, secrets=["the-right-secret"])
    for n in range(5):
        body = BODIES["generic"](f"k{n}", "x@firm.es")
        await deliver(intake, "/v1/webhooks/form", body, expect=401, authorization="Bearer wrong")
        await intake.app.refusals.write(intake.app)
    assert len(await intake.fetch("SELECT FROM receipt_request WHERE unproven")) == 3
    assert len(await intake.fetch("SELECT FROM receipt WHERE state = 'refused'")) == 5


async def test_a_wrong_token_is_kept_by_no_one(intake: Harness[App]) -> None:
    await given_form(intake)
    await deliver(intake, "/v1/webhooks/form/guessed", BODIES["generic"]("k", "x@firm.es"), expect=401)
    await intake.app.refusals.write(intake.app)
    assert await intake.fetch("SELECT FROM receipt_request") == []


async def test_a_filter_is_replayed_with_a_dry_run_first_and_its_progress_shown(intake: Harness[App]) -> None:
    url, other = await given_form(intake), await given_form(intake, "other")
    for n in range(5):
        await deliver(intake, url, f'{{"submission_id": "k{n}", "mailbox": "p{n}@firm.es"}}')
    await deliver(intake, other, '{"submission_id": "x", "mailbox": "x@firm.es"}')
    await deliver(intake, url, "{")  # stays unreadable
    await intake.api.patch("/v1/sources/form", json={"mapping": {"email": "mailbox"}})
    await intake.api.patch("/v1/sources/other", json={"mapping": {"email": "mailbox"}})

    order = {"source": "form", "dry_run": True}
    dry = await intake.api.post("/v1/receipts/replay", json=order)
    assert (dry.status_code, dry.json()["total"]) == (200, 6)
    assert dry.json()["would_make"] == {"leads": 5, "not_json": 1}
    assert await intake.fetch("SELECT FROM lead") == []

    asked = await intake.api.post("/v1/receipts/replay", json={"source": "form"})
    assert (asked.status_code, asked.json()["state"], asked.json()["total"]) == (202, "running", 6)
    await run(intake)
    told = (await intake.api.get(asked.headers["location"])).json()
    assert (told["state"], told["done"], told["settled"], told["waiting"], told["failed"]) == ("done", 6, 5, 1, 0)
    assert [r["source_id"] for r in await intake.fetch("SELECT DISTINCT source_id FROM lead")] == ["form"]
    assert [job["id"] for job in (await intake.api.get("/v1/receipts/replays")).json()["items"]] == [told["id"]]
    await balanced(intake)


async def test_what_is_gone_cannot_be_replayed_and_says_so(intake: Harness[App]) -> None:
    receipt = await deliver(intake, await given_form(intake), UNNAMED)
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute("UPDATE receipt SET body = NULL")
    answer = await intake.api.post(f"/v1/receipts/{receipt}/replay", json={})
    assert (answer.status_code, answer.json()["title"]) == (409, "Nothing is kept of this receipt")
    asked = (await intake.api.post("/v1/receipts/replay", json={"dry_run": True})).json()
    assert (asked["total"], asked["without_body"]) == (0, 1)


async def test_a_mapping_is_tried_on_a_stored_receipt_before_it_is_saved(intake: Harness[App]) -> None:
    receipt = await deliver(intake, await given_form(intake), UNNAMED)
    before = await snapshot(intake)
    tried = await intake.api.post(f"/v1/receipts/{receipt}/try", json={"mapping": MAPPING})
    [entry] = tried.json()["entries"]
    assert (entry["stands"]["outcome"], entry["open"]) == ("quarantined", True)
    assert entry["candidate"]["outcome"] == "created_or_matched"
    differences = {d["field"]: (d["saved"], d["candidate"]) for d in entry["differences"]}
    assert differences["identities"] == ([], ["email:anna@firm.es"])
    assert differences["outcome"] == ("quarantined", "created_or_matched")
    assert await snapshot(intake) == before
    same = await intake.api.post(f"/v1/receipts/{receipt}/try", json={})
    assert same.json()["entries"][0]["differences"] == []
    wrong = await intake.api.post(f"/v1/receipts/{receipt}/try", json={"mapping": {"emial": "x"}})
    assert wrong.status_code == 422


async def test_a_lookup_that_expired_waits_again_after_a_replay_with_its_time_anew(intake: Harness[App]) -> None:
    source = {"id": "door", "provider": "hubspot", "secrets": [SECRETS["hubspot"]]}
    assert (await intake.api.post("/v1/sources", json=source)).status_code == 201
    sent = signed("hubspot", hubspot_events({"eventId": 1}), now=intake.clock.now(), path="/v1/webhooks/door")
    assert intake.public is not None
    answer = await intake.public.post("/v1/webhooks/door", content=sent.body, headers=sent.headers)
    receipt = answer.json()["receipt_id"]
    intake.clock.advance(timedelta(days=9))
    assert await fetch.expire(intake.app) == 1
    assert (await intake.api.get(f"/v1/receipts/{receipt}")).json()["items"][0]["reason"] == "fetch_expired"
    done = await one(intake, receipt)
    assert (done["state"], done["settled"]) == ("pending", [])
    assert await fetch.expire(intake.app) == 0
    jobs = await intake.fetch("SELECT state, receipt_id::text, ordinal FROM fetch_job")
    assert [tuple(job) for job in jobs] == [("waiting", receipt, 0)]
    assert (await one(intake, receipt))["state"] == "pending"  # nothing is open now
    assert (await balanced(intake))["pending"] == 1


RECORDS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["email", "mailbox", "none"]), st.integers(0, 3)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(RECORDS, min_size=1, max_size=4), order=st.randoms(use_true_random=False))
async def test_any_parts_replayed_in_any_order_any_number_of_times_settle_each_entry_once(
    intake: Harness[App], batches: list[Any], order: Any
) -> None:
    if not await intake.fetch("SELECT FROM source"):
        await given_form(intake, settings={"address_per_hour": "0"})
    await intake.api.patch("/v1/sources/form", json={"mapping": {}, "rotate_token": True})
    changed = await intake.api.patch("/v1/sources/form", json={"rotate_token": True})
    url, salt = changed.json()["webhook_url"], os.urandom(4).hex()
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(f"TRUNCATE {', '.join(WRITTEN)}, outbox, receipt_request CASCADE")
    receipts = []
    for batch in batches:
        records = ",".join(
            f'{{"submission_id": "{salt}-{key}", "{where}": "p{person}@firm.es"}}' for key, where, person in batch
        )
        assert intake.public is not None
        answer = await intake.public.post(url, content=f"[{records}]", headers={"content-type": "application/json"})
        receipts.append(answer.json()["receipt_id"])
    await intake.api.patch("/v1/sources/form", json={"mapping": {"email": ["email", "mailbox"]}})
    for _ in range(6):
        await one(intake, order.choice(receipts))
    for receipt in receipts:
        await one(intake, receipt)
    state = await snapshot(intake)
    for receipt in receipts:
        assert (await one(intake, receipt))["settled"] == []
    assert await snapshot(intake) == state
    sent = {(key, where != "none") for batch in batches for key, where, _ in batch}
    taken = {
        r["key"]
        for r in await intake.fetch(
            "SELECT key FROM receipt_entry WHERE outcome IN ('created', 'matched', 'touch_only')"
        )
    }
    assert taken == {f"{salt}-{key}" for key, good in sent if good}
    await balanced(intake)


PLACES = (
    "replay_receipt.after_lock",
    "replay_receipt.after_take_out",
    "intake.after_locks",
    "intake.after_insert",
    "intake.before_commit",
    "replay_receipt.after_receive",
    "replay_receipt.before_commit",
    "replay_receipt.after_claim",
    "replay_receipt.after_move",
    "replay_receipt.after_commit",
)


async def test_a_replay_killed_anywhere_goes_on_and_makes_each_lead_once(intake: Harness[App], tmp_path: Path) -> None:
    url = await given_form(intake)
    for n in range(30):
        await deliver(intake, url, f'{{"submission_id": "k{n}", "mailbox": "p{n % 12}@firm.es"}}')
    await intake.api.patch("/v1/sources/form", json={"mapping": {"email": "mailbox"}})
    await intake.api.post("/v1/receipts/replay", json={})
    program = tmp_path / "work.py"
    program.write_text(_WORKER)
    environment = os.environ | {
        "BATON_DATABASE__URL": intake.app.settings.database.url.get_secret_value(),
        "BATON_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BATON_SEAL_KEY": SEAL_KEY,
    }
    for place in PLACES:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), env=environment | {"BATON_FAILPOINT": f"{place}:2"}
        )
        assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL, place
        await balanced(intake)
    await run(intake)
    [job] = (await intake.api.get("/v1/receipts/replays")).json()["items"]
    assert (job["state"], job["done"], job["settled"]) == ("done", 30, 30)
    [agree] = await intake.fetch(
        """
        SELECT (SELECT count(*) FROM lead) AS leads, (SELECT count(*) FROM touch) AS touches,
               (SELECT count(DISTINCT event_id) FROM outbox) = (SELECT count(*) FROM outbox) AS once,
               (SELECT count(*) FROM receipt_entry WHERE outcome IN ('created', 'touch_only', 'matched')) AS taken
        """
    )
    assert tuple(agree) == (12, 30, True, 30)


_WORKER = """
import asyncio
from lead_intake.app import open_app
from lead_intake.fetching import fetch
from lead_intake.ledger import replay
from lead_intake.settings import IntakeSettings

async def main():
    async with open_app(IntakeSettings()) as app:
        while await replay.run_some(app):
            pass

asyncio.run(main())
"""
