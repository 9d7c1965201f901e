"""Steps of the tests about persons: a source, deliveries, and the contacts as the topic brings them back."""

from collections.abc import Sequence
from typing import Any

from httpx2 import Response
from intake_samples import SECRETS, signed

from baton_kit.envelope import Event
from baton_kit.testing import Harness
from lead_intake.app import App


async def given_source(intake: Harness[App]) -> None:
    body = {"id": "generic", "provider": "generic", "secrets": [SECRETS["generic"]], "default_region": "ES"}
    answer = await intake.api.post("/v1/sources", json=body)
    assert answer.status_code == 201, answer.text


async def send(intake: Harness[App], body: bytes, *, key: str = "k") -> Response:
    assert intake.public is not None
    path = "/v1/webhooks/generic"
    sent = signed("generic", body, now=intake.clock.now(), path=path, key=key)
    return await intake.public.post(path, content=sent.body, headers=sent.headers)


async def told(intake: Harness[App]) -> None:
    """Bring the new contacts of the outbox back, as the topic does."""
    events = [e for e in await intake.new_events() if e.topic == "baton.contact.v1"]
    await intake.receive([Event(e.type, e.key, None if e.tombstone else e.body, e.occurred_at, e.id) for e in events])


async def outcomes(intake: Harness[App]) -> list[str]:
    rows = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id, ordinal")
    return [row["outcome"] for row in rows]


async def balance(intake: Harness[App]) -> dict[str, Any]:
    answer = await intake.api.get("/v1/receipts/balance")
    assert answer.status_code == 200
    return dict(answer.json())


def kinds(events: Sequence[Any]) -> list[str]:
    return [e.type.rpartition(".")[2] for e in events]
