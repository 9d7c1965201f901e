import asyncio
import json
from typing import Any

import asyncpg
import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from baton_agreement.canonical import canonical_bytes, digest_of
from baton_agreement.history import Entry, first_flaw
from baton_kit.testing import Harness
from qualification.app import App

from .given import EXAMPLE, activate, people, propose, sign

OTHER = EXAMPLE.replace(b"threshold: 45", b"threshold: 50")


async def test_two_signatures_over_one_digest_bring_the_agreement_into_force(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    digest = await propose(h)
    first = await sign(h, digest, who.boris)
    assert (first.status_code, first.json()["state"], first.json()["activation_seq"]) == (201, "proposed", None)
    assert await h.outbox() == []
    second = await sign(h, digest, who.anna)
    assert (second.status_code, second.json()["state"], second.json()["activation_seq"]) == (201, "active", 1)
    [event] = await h.outbox()
    assert event.type == "baton.qualification.v1.AgreementActivated"
    canonical = (await h.api.get(f"/v1/agreements/{digest}/canonical")).content
    assert event.body.document == canonical
    assert {s.department for s in event.body.signatures} == {"marketing", "sales"}
    active = (await h.api.get("/v1/agreements/active")).json()
    assert (active["digest"], active["state"], active["version"]) == (digest, "active", 1)
    assert active["document"]["threshold"] == 45


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_anyone_can_check_the_signatures_with_the_public_keys(qualification: Harness[App]) -> None:
    h = qualification
    digest = await activate(h, await people(h))
    shown = (await h.api.get(f"/v1/agreements/{digest}")).json()
    keys = {p["person_id"]: p["public_key"] for p in (await h.api.get("/v1/people")).json()["items"]}
    for signature in shown["signatures"]:
        assert "d" not in keys[signature["person_id"]]
        found = jws.deserialize_compact(
            signature["jws"], OKPKey.import_key(keys[signature["person_id"]]), algorithms=["EdDSA"]
        )
        payload = json.loads(found.payload)
        assert (payload["digest"], payload["department"]) == (digest, signature["department"])
        assert {"agreement_id", "version", "person_id", "signed_at"} <= payload.keys()


async def test_nobody_signs_for_both_and_no_department_signs_twice(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    digest = await propose(h)
    assert (await sign(h, digest, who.anna)).status_code == 201
    again = await sign(h, digest, who.anna)
    assert again.status_code == 409
    assert "sales can sign" in again.json()["detail"]
    answer = await h.api.post("/v1/people", json={"id": "carla", "name": "Carla", "department": "marketing"})
    carla = {"Authorization": f"Bearer {answer.json()['api_key']}"}
    assert (await sign(h, digest, carla)).status_code == 409
    assert (await h.api.get("/v1/agreements/active")).status_code == 404


async def test_an_operators_key_cannot_sign(qualification: Harness[App]) -> None:
    digest = await propose(qualification)
    answer = await sign(qualification, digest, {})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_forged_department_on_a_key_cannot_sign(qualification: Harness[App]) -> None:
    h = qualification
    await people(h)
    digest = await propose(h)
    forged = await h.key("agreements:sign", person_id="anna", department="sales")
    assert (await sign(h, digest, {"Authorization": f"Bearer {forged}"})).status_code == 403


async def test_a_digest_that_the_signer_did_not_see_is_refused(qualification: Harness[App]) -> None:
    who = await people(qualification)
    digest = await propose(qualification)
    answer = await sign(qualification, digest, who.anna, said="0" * 64)
    assert answer.status_code == 409
    assert "has now" in answer.json()["detail"]
    assert (await sign(qualification, "1" * 64, who.anna)).status_code == 404


async def test_a_stale_proposal_cannot_be_signed_until_it_is_proposed_again(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    stale = await propose(h, OTHER)
    assert (await sign(h, stale, who.anna)).status_code == 201
    active = await activate(h, who)
    refused = await sign(h, stale, who.boris)
    assert refused.status_code == 409
    assert "Propose the document again" in refused.json()["detail"]
    assert (await sign(h, active, who.anna)).status_code == 409
    # Proposed again it needs both signatures anew.
    assert await propose(h, OTHER) == stale
    assert (await sign(h, stale, who.boris)).json()["state"] == "proposed"
    assert (await sign(h, stale, who.anna)).json()["state"] == "active"


async def test_going_back_is_a_new_activation_of_the_earlier_digest(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    first = await activate(h, who)
    await activate(h, who, OTHER)
    assert await activate(h, who) == first
    activated = [e.body for e in await h.outbox()]
    assert [b.activation_seq for b in activated] == [1, 2, 3]
    assert [b.version for b in activated] == [1, 2, 1]
    states = {a["version"]: a["state"] for a in (await h.api.get("/v1/agreements")).json()["items"]}
    assert states == {1: "active", 2: "superseded"}


async def test_the_second_signatures_at_the_same_moment_activate_once(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    digest = await propose(h)
    answers = await asyncio.gather(*(sign(h, digest, w) for w in (who.anna, who.boris) for _ in range(3)))
    assert sorted(a.status_code for a in answers) == [201, 201, 409, 409, 409, 409]
    assert len(await h.outbox()) == 1


async def test_a_changed_byte_of_the_stored_document_is_never_activated(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    digest = await propose(h)
    await sign(h, digest, who.anna)
    await h.fetch("UPDATE agreement SET document = set_byte(document, 40, get_byte(document, 40) # 1) RETURNING 1")
    answer = await sign(h, digest, who.boris)
    assert answer.status_code == 409
    assert await h.outbox() == []


async def test_a_changed_signature_is_never_activated(qualification: Harness[App]) -> None:
    h = qualification
    who = await people(h)
    digest = await propose(h)
    await sign(h, digest, who.anna)
    await h.fetch("UPDATE signature SET signed_at = signed_at + interval '1 second' RETURNING 1")
    assert (await sign(h, digest, who.boris)).status_code == 409
    assert await h.outbox() == []


async def entries(h: Harness[App]) -> list[Entry]:
    return [Entry(*row) for row in await h.fetch("SELECT seq, entry, prev_hash, hash FROM history ORDER BY seq")]


async def test_the_history_proves_itself(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h))
    kinds = [json.loads(e.entry)["kind"] for e in await entries(h)]
    assert kinds == ["person_added", "person_added", "proposed", "signed", "signed", "activated"]
    answer = await h.api.post("/v1/agreements/history/verification")
    assert answer.json() == {"intact": True, "entries": 6, "flaw": None}
    page = (await h.api.get("/v1/agreements/history?limit=2")).json()
    assert len(page["items"]) == 2
    assert page["next_cursor"]


async def test_tampering_with_the_history_is_found(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h))
    good = await entries(h)
    assert first_flaw(good) is None

    def rewritten(changes: dict[int, Any]) -> list[Entry]:
        """The whole chain with other facts and all hashes made to fit, as a thorough forger would."""
        prev, chain = "", []
        for found in good:
            facts = {**json.loads(found.entry), **changes.get(found.seq, {}), "prev": prev}
            entry = canonical_bytes(facts)
            chain.append(Entry(found.seq, entry, prev, digest_of(entry)))
            prev = chain[-1].hash
        return chain

    assert first_flaw(rewritten({})) is None
    changed = [*good]
    changed[2] = Entry(good[2].seq, good[2].entry.replace(b"45", b"46", 1), good[2].prev_hash, good[2].hash)
    tampered = {
        "one byte": changed,
        "an entry missing": [*good[:3], *good[4:]],
        "reordered": [good[1], good[0], *good[2:]],
        "another digest": rewritten({4: {"digest": "0" * 64}}),
        "swapped roles": rewritten({4: {"department": "sales"}}),
        "another signer": rewritten({4: {"person_id": "boris", "department": "sales"}}),
        "one signature only": rewritten({4: {"kind": "note"}}),
    }
    for what, chain in tampered.items():
        assert first_flaw(chain) is not None, what


async def test_the_database_itself_refuses_to_change_the_history(qualification: Harness[App]) -> None:
    h = qualification
    await people(h)
    for statement in ("UPDATE history SET hash = ''", "DELETE FROM history", "TRUNCATE history"):
        with pytest.raises(asyncpg.RaiseError):
            await h.fetch(statement)


async def test_private_keys_lie_sealed(qualification: Harness[App]) -> None:
    h = qualification
    await people(h)
    for row in await h.fetch("SELECT sealed_key, public_key FROM person"):
        assert row["public_key"]["x"].encode() not in row["sealed_key"]


async def test_the_same_document_keeps_its_version(qualification: Harness[App]) -> None:
    h = qualification
    assert await propose(h) == await propose(h)
    document = (await h.api.get(f"/v1/agreements/{await propose(h)}/canonical")).content
    answer = await h.api.post("/v1/agreements", content=document, headers={"Content-Type": "application/json"})
    assert answer.json()["version"] == 1
    await propose(h, OTHER)
    assert [a["version"] for a in (await h.api.get("/v1/agreements")).json()["items"]] == [2, 1]


HOSTILE = {
    "an unknown field": (EXAMPLE.replace(b"employees >= 1000", b"employes >= 1000"), "/fit/5/when"),
    "a bomb": (b"a: &a [x]\nb: [*a, *a]", ""),
    "NUL": (b"a: \x00", ""),
    "a list": (b"[1, 2]", ""),
    "nothing": (b"", ""),
    "not UTF-8": (b"\xff\xfe", ""),
    "deep": (b"[" * 20_000, ""),
}


@pytest.mark.parametrize(("document", "pointer"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_wrong_document_is_answered_with_the_place(
    qualification: Harness[App], document: bytes, pointer: str
) -> None:
    answer = await qualification.api.post(
        "/v1/agreements", content=document, headers={"Content-Type": "application/yaml"}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    errors = answer.json()["errors"]
    if pointer:
        assert errors[0]["pointer"] == pointer
        assert isinstance(errors[0]["line"], int)
    assert errors[0]["detail"]


async def test_a_huge_document_or_another_type_is_refused(qualification: Harness[App]) -> None:
    post = qualification.api.post
    huge = await post("/v1/agreements", content=b"x" * 300_000, headers={"Content-Type": "application/yaml"})
    assert huge.status_code == 413
    assert (await post("/v1/agreements", content=b"x", headers={"Content-Type": "text/csv"})).status_code == 415
