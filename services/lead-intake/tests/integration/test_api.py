import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from intake_samples import BODIES, SECRETS
from sqlalchemy import text

from baton.lead.v1 import lead_pb2
from baton_kit import migration
from baton_kit.policy import unprotected_routes
from baton_kit.testing import Harness, Server, database_of
from lead_intake.api import create_api
from lead_intake.app import App

OPENAPI = Path(__file__).parents[2] / "openapi.json"


def test_every_route_has_a_policy(intake: Harness[App]) -> None:
    assert unprotected_routes(create_api(intake.app)) == []


def test_the_committed_openapi_document_is_current(intake: Harness[App]) -> None:
    current = create_api(intake.app).openapi()
    assert json.loads(OPENAPI.read_text()) == json.loads(json.dumps(current))


async def test_the_tables_of_the_code_are_those_of_the_migrations(postgres_server: Server) -> None:
    import asyncio

    async with database_of("lead_intake", postgres_server) as url:
        await asyncio.get_running_loop().run_in_executor(None, lambda: migration.check("lead_intake", url=url))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"provider": "unheard-of"}, "/provider"),
        ({"provider": "google_ads"}, "/secrets"),
        ({"provider": "standard_webhooks", "secrets": ["whsec_short"]}, "/secrets/0"),
        ({"default_region": "QQ"}, "/default_region"),
        ({"mapping": {"emial": "x"}}, "/mapping/emial"),
        ({"mapping": {"answers": {"q": {"path": "x", "codes": {"A": "Not A Code"}}}}}, "/mapping/answers/q/codes"),
        ({"settings": {"signature_encoding": "rot13"}}, "/settings/signature_encoding"),
        ({"settings": {"colour": "red"}}, "/settings/colour"),
        ({"id": "Bad Id"}, "/id"),
        ({"mapping": {"email": "\x00"}}, ""),
    ],
)
async def test_a_wrong_source_is_told_where_it_is_wrong(
    intake: Harness[App], change: dict[str, Any], pointer: str
) -> None:
    answer = await intake.api.post("/v1/sources", json={"id": "form", "provider": "generic"} | change)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_the_secrets_of_a_source_are_sealed_and_never_shown(intake: Harness[App]) -> None:
    added = await intake.api.post(
        "/v1/sources", json={"id": "tally", "provider": "tally", "secrets": [SECRETS["tally"]]}
    )
    shown = await intake.api.get("/v1/sources")
    for answer in (added, shown):
        assert SECRETS["tally"] not in answer.text
    [row] = await intake.fetch("SELECT sealed FROM source_secret")
    assert SECRETS["tally"].encode() not in row["sealed"]


@pytest.mark.parametrize("provider", ["standard_webhooks", "tally"])
async def test_a_source_whose_secret_cannot_be_opened_takes_nothing(intake: Harness[App], provider: str) -> None:
    assert intake.public is not None
    body = {"id": "broken", "provider": provider, "secrets": [SECRETS[provider]]}
    assert (await intake.api.post("/v1/sources", json=body)).status_code == 201
    async with intake.db.begin() as tx:
        await tx.execute(text("UPDATE source_secret SET sealed = '\\x00'"))
        await tx.execute(text("UPDATE source_version SET version = version + 1"))
    await intake.app.sources.refresh()
    lead, path = BODIES[provider]("k1", "anna@example.com"), "/v1/webhooks/broken"
    at = str(int(intake.clock.now().timestamp()))
    # The keys that a fault could leave in the secret's place, for whoever reads the code.
    for key in (b"", b"\x00"):
        signature = base64.b64encode(hmac.digest(key, lead, "sha256")).decode()
        standard = base64.b64encode(hmac.digest(key, f"m1.{at}.".encode() + lead, "sha256")).decode()
        headers = {
            "content-type": "application/json", "tally-signature": signature, "webhook-id": "m1",
            "webhook-timestamp": at, "webhook-signature": f"v1,{standard}",
        }  # fmt: skip
        assert (await intake.public.post(path, content=lead, headers=headers)).status_code == 401


async def test_the_last_proof_of_a_source_cannot_be_removed(intake: Harness[App]) -> None:
    added = await intake.api.post(
        "/v1/sources", json={"id": "tally", "provider": "tally", "secrets": [SECRETS["tally"]]}
    )
    [secret] = added.json()["secrets"]
    assert (await intake.api.delete(f"/v1/sources/tally/secrets/{secret['id']}")).status_code == 409
    # With a token in the address the source still has a proof.
    changed = await intake.api.patch("/v1/sources/tally", json={"rotate_token": True})
    assert changed.json()["webhook_url"].startswith("/v1/webhooks/tally/")
    assert (await intake.api.delete(f"/v1/sources/tally/secrets/{secret['id']}")).status_code == 204


async def test_a_trial_tells_what_would_be_made_and_stores_nothing(intake: Harness[App]) -> None:
    await intake.api.post("/v1/sources", json={"id": "form", "provider": "generic", "default_region": "ES"})
    body = BODIES["generic"]("k1", "anna@firm.es", "600112233", company="Firm").decode()
    tried = (await intake.api.post("/v1/sources/form/test", json={"body": body})).json()
    [entry] = tried["entries"]
    assert (entry["key"], entry["identities"]) == ("k1", ["email:anna@firm.es", "phone:+34600112233"])
    assert (entry["features"]["country"], entry["features"]["email_kind"]) == ("ES", "business")
    nonsense = (await intake.api.post("/v1/sources/form/test", json={"body": "{"})).json()
    assert nonsense == {"reason": "not_json", "entries": []}
    assert await intake.fetch("SELECT FROM receipt") == []


async def test_lists_come_in_pages_without_gaps_and_without_persons(intake: Harness[App]) -> None:
    assert intake.public is not None
    url = (await intake.api.post("/v1/sources", json={"id": "form", "provider": "generic"})).json()["webhook_url"]
    for n in range(7):
        headers = {"content-type": "application/json"}
        await intake.public.post(url, content=BODIES["generic"](f"k{n}", f"p{n}@example.com"), headers=headers)
    for path in ("/v1/leads", "/v1/receipts"):
        seen, cursor = [], None
        while True:
            page = (await intake.api.get(path, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 7
        assert seen == sorted(seen, reverse=True)
    lead_id = (await intake.api.get("/v1/leads")).json()["items"][0]["id"]
    timeline = await intake.api.get(f"/v1/leads/{lead_id}/timeline")
    assert [item["kind"] for item in timeline.json()["items"]] == ["lead_created", "touch"]
    detail = await intake.api.get(f"/v1/leads/{lead_id}")
    for answer in (timeline, detail):
        company = answer.text.replace('"company_domain":"example.com"', "").replace('"name":"example.com"', "")
        assert "example.com" not in company
    assert (await intake.api.get("/v1/leads/not-an-id")).status_code == 422
    assert (await intake.api.get("/v1/leads", params={"cursor": "rubbish"})).status_code == 400


async def test_contacts_need_their_own_scope(intake: Harness[App]) -> None:
    key = await intake.key("leads:read")
    headers = {"Authorization": f"Bearer {key}"}
    lead = "01a20f72-160d-715e-b83f-0bda30027cb2"
    assert (await intake.api.get(f"/v1/leads/{lead}/contact", headers=headers)).status_code == 403
    assert (await intake.api.get(f"/v1/leads/{lead}", headers=headers)).status_code == 404


async def test_a_source_of_events_brings_touches_of_that_kind(intake: Harness[App]) -> None:
    source = {"id": "fair", "provider": "generic", "name": "Fair", "settings": {"touch_kind": "event"}}
    made = await intake.api.post("/v1/sources", json=source)
    assert made.status_code == 201
    wrong = await intake.api.patch("/v1/sources/fair", json={"settings": {"touch_kind": "seance"}})
    assert wrong.status_code == 422
    assert intake.public is not None
    await intake.app.sources.refresh()
    answer = await intake.public.post(made.json()["webhook_url"], json={"email": "ada@analytical.example.com"})
    assert answer.status_code == 200
    touched = [e for e in await intake.outbox() if e.type.endswith("TouchRecorded")]
    assert [e.body.kind for e in touched] == [lead_pb2.TOUCH_KIND_EVENT]
