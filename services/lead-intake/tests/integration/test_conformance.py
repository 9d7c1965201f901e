"""The part of the conformance suite that needs the real door and the real ledger."""

from datetime import timedelta
from typing import Any

import pytest
from httpx2 import Response
from intake_providers import EMAIL, SAMPLES, Sample

from baton_kit.testing import Harness
from lead_intake.app import App

EACH = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())


WHOLE = pytest.mark.parametrize(
    "sample",
    [sample for sample in SAMPLES.values() if not sample.names_only],
    ids=[name for name, sample in SAMPLES.items() if not sample.names_only],
)
"""Those whose deliveries hold the lead; the others are looked up in `test_fetching`."""


def only(holds: Any) -> Any:
    found = {name: sample for name, sample in SAMPLES.items() if holds(sample)}
    return pytest.mark.parametrize("sample", found.values(), ids=found.keys())


async def given_source(intake: Harness[App], sample: Sample) -> str:
    """The path of the webhook of a new source."""
    body = {
        "id": sample.provider.replace("_", "-"), "provider": sample.provider, "default_region": "ES",
        "secrets": [sample.secret] if sample.secret else [], "settings": dict(sample.settings),
        "mapping": dict(sample.mapping), "credentials": dict(sample.credentials),
    }  # fmt: skip
    answer = await intake.api.post("/v1/sources", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["webhook_url"])


async def send(intake: Harness[App], sample: Sample, path: str, body: bytes, *, key: str = "k1") -> Response:
    assert intake.public is not None
    headers = sample.headers(body, now=intake.clock.now(), path=path, key=key)
    # As every provider does: what was not acknowledged comes again.
    while (answer := await intake.public.post(path, content=body, headers=headers)).status_code == 503:
        pass
    return answer


async def outcomes(intake: Harness[App]) -> list[str]:
    rows = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id, ordinal")
    return [row["outcome"] for row in rows]


async def balanced(intake: Harness[App]) -> bool:
    return bool((await intake.api.get("/v1/receipts/balance")).json()["balanced"])


def kinds(events: Any) -> list[str]:
    return [e.type.rpartition(".")[2] for e in events]


@WHOLE
async def test_a_delivery_becomes_a_lead_and_is_answered_as_demanded(intake: Harness[App], sample: Sample) -> None:
    path = await given_source(intake, sample)
    answer = await send(intake, sample, path, sample.body("k1", EMAIL, "600 11 22 33"))
    assert answer.status_code == 200, answer.text
    if sample.reply is not None:
        assert (answer.status_code, answer.content) == sample.reply
    events = await intake.outbox()
    assert kinds(events) == ["LeadCreated", "TouchRecorded", "ContactChanged"]
    created, touched, contact = events
    assert created.key == touched.key == contact.key == created.body.lead_id
    assert (created.body.sequence, touched.body.sequence, contact.body.sequence) == (1, 2, 1)
    assert list(contact.body.emails) == [EMAIL]
    assert list(contact.body.phones) == ["+34600112233"]
    assert "Anna" in contact.body.full_name
    features = created.body.features
    assert (features.has_email, features.has_phone, features.has_name, features.country) == (True, True, True, "ES")
    for event in (created, touched):  # the facts name no person
        told = event.body.SerializeToString().lower()
        assert not [word for word in (b"anna", b"petrova@", b"600112233", b"test-gclid") if word in told]


@WHOLE
async def test_a_repeated_delivery_creates_the_lead_once_and_gets_the_first_answer(
    intake: Harness[App], sample: Sample
) -> None:
    path = await given_source(intake, sample)
    body = sample.body("k1", EMAIL)
    first = await send(intake, sample, path, body)
    intake.clock.advance(timedelta(seconds=30))
    again = await send(intake, sample, path, body)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert await outcomes(intake) == ["created", "duplicate"]
    assert kinds(await intake.outbox()) == ["LeadCreated", "TouchRecorded", "ContactChanged"]


@EACH
async def test_a_forged_delivery_is_refused_with_a_bounded_receipt_that_keeps_no_body(
    intake: Harness[App], sample: Sample
) -> None:
    assert intake.public is not None
    path = await given_source(intake, sample)
    body = sample.body("k1", EMAIL).replace(sample.secret.encode() or b"-", b"another-key")
    headers = sample.headers(body, now=intake.clock.now(), path=path)
    forged = {k: v if k == "content-type" or k.endswith("timestamp") else v[:-3] + "AA=" for k, v in headers.items()}
    address = path if sample.secret else path[:-2] + "__"
    answers = [await intake.public.post(address, content=body, headers=forged) for _ in range(30)]
    unknown = await intake.public.post("/v1/webhooks/nobody", content=body, headers=forged)
    assert {a.status_code for a in answers} == {401}
    assert unknown.content == answers[0].content
    assert unknown.headers == answers[0].headers
    await intake.app.refusals.write(intake.app)
    rows = await intake.fetch("SELECT state, reason, body FROM receipt")
    assert [(r["state"], r["reason"], r["body"]) for r in rows] == [("refused", "signature", None)] * 20
    assert await balanced(intake)
    assert await intake.outbox() == []


@only(lambda s: s.window)
async def test_a_captured_delivery_sent_again_later_is_refused(intake: Harness[App], sample: Sample) -> None:
    assert intake.public is not None
    path = await given_source(intake, sample)
    body = sample.body("k1", EMAIL)
    headers = sample.headers(body, now=intake.clock.now(), path=path)
    assert (await intake.public.post(path, content=body, headers=headers)).status_code == 200
    intake.clock.advance(timedelta(minutes=6))
    assert (await intake.public.post(path, content=body, headers=headers)).status_code == 401
    assert await outcomes(intake) == ["created"]


@only(lambda s: s.secret)
async def test_while_a_secret_is_rotated_both_are_taken(intake: Harness[App], sample: Sample) -> None:
    path = await given_source(intake, sample)
    id = sample.provider.replace("_", "-")
    new = sample.secret[:-4] + "QUE=" if sample.secret.startswith("whsec_") else "the-new-secret"
    added = await intake.api.post(f"/v1/sources/{id}/secrets", json={"secret": new})
    assert added.status_code == 201
    assert (await send(intake, sample, path, sample.body("k1", "a@example.com"))).status_code == 200
    [old] = [s for s in (await intake.api.get(f"/v1/sources/{id}")).json()["secrets"] if s["id"] != added.json()["id"]]
    assert (await intake.api.delete(f"/v1/sources/{id}/secrets/{old['id']}")).status_code == 204
    answer = await send(intake, sample, path, sample.body("k2", "b@example.com"), key="k2")
    assert answer.status_code == 401


@WHOLE
async def test_a_person_whom_nobody_can_reach_is_quarantined_with_success(intake: Harness[App], sample: Sample) -> None:
    path = await given_source(intake, sample)
    answer = await send(intake, sample, path, sample.body("k1", "not an address"))
    assert answer.status_code in sample.statuses
    if sample.reply is not None:
        assert (answer.status_code, answer.content) == sample.reply
    [row] = await intake.fetch("SELECT state, body FROM receipt")
    assert row["state"] == "quarantined"
    assert row["body"]
    [entry] = await intake.fetch("SELECT outcome, reason FROM receipt_entry")
    assert (entry["outcome"], entry["reason"]) == ("quarantined", "no_identity")


@only(lambda s: s.as_test)
async def test_a_test_lead_is_kept_as_such_and_never_a_duplicate(intake: Harness[App], sample: Sample) -> None:
    assert sample.as_test is not None
    path = await given_source(intake, sample)
    body = sample.codec.dump(sample.as_test(sample.fill("0", "test@example.com")))
    for _ in range(2):
        assert (await send(intake, sample, path, body)).status_code == 200
    assert await outcomes(intake) == ["test", "test"]
    assert await intake.outbox() == []


@only(lambda s: s.batch)
async def test_one_bad_entry_waits_and_the_others_become_leads(intake: Harness[App], sample: Sample) -> None:
    assert sample.batch is not None
    path = await given_source(intake, sample)
    leads = [sample.fill(f"k{n}", f"p{n}@example.com") for n in range(2)]
    unreachable = sample.fill("k2", "")
    body = sample.codec.dump(sample.batch([leads[0], "no object", unreachable, leads[1], leads[0]]))
    assert (await send(intake, sample, path, body)).status_code in sample.statuses
    assert await outcomes(intake) == ["created", "quarantined", "quarantined", "created", "duplicate"]
    assert await balanced(intake)


@only(lambda s: s.handshake)
async def test_the_provider_s_question_is_answered_at_the_door_and_stored_nowhere(
    intake: Harness[App], sample: Sample
) -> None:
    assert intake.public is not None
    asked = sample.handshake
    assert asked is not None
    path = await given_source(intake, sample)
    address = f"{path}?{asked.query}" if asked.query else path
    answer = await intake.public.request(asked.method, address, content=asked.body)
    assert (answer.status_code, answer.content) == (asked.status, asked.answer)
    assert answer.headers["content-type"].startswith(asked.content_type)
    assert await intake.fetch("SELECT FROM receipt") == []
