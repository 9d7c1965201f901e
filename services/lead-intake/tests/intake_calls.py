"""What the tests of the ledger ask of the service, over its own doors."""

import asyncio
from typing import Any

from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.ledger import replay


async def given_form(intake: Harness[App], id: str = "form", **more: Any) -> str:
    answer = await intake.api.post("/v1/sources", json={"id": id, "provider": "generic"} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["webhook_url"])


async def deliver(intake: Harness[App], url: str, body: str | bytes, *, expect: int = 202, **headers: str) -> str:
    assert intake.public is not None
    answer = await intake.public.post(url, content=body, headers={"content-type": "application/json"} | headers)
    assert answer.status_code == expect, answer.text
    return str(answer.json().get("receipt_id", ""))


async def one(intake: Harness[App], id: str, **order: Any) -> dict[str, Any]:
    answer = await intake.api.post(f"/v1/receipts/{id}/replay", json=order)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def run(intake: Harness[App]) -> None:
    while await replay.run_some(intake.app):
        pass


async def balanced(intake: Harness[App]) -> dict[str, Any]:
    answer = (await intake.api.get("/v1/receipts/balance")).json()
    assert answer["balanced"] is True, answer
    return dict(answer["total"])


async def waiting(intake: Harness[App]) -> None:
    """Return when a session of the database waits for a lock."""
    for _ in range(2_000):
        if await intake.fetch(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")
