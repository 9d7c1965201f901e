"""The service beside its providers, as the tests of lookups and lists use it."""

from dataclasses import dataclass
from typing import Any

import httpx2
from intake_samples import SECRETS, signed
from provider_server import TOKEN, Providers

from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.fetching import fetch


@dataclass
class Fetching:
    """The service beside its providers."""

    intake: Harness[App]
    providers: Providers
    http: httpx2.AsyncClient

    async def given(self, provider: str, *, token: str | None = TOKEN, **more: Any) -> dict[str, Any]:
        body = {
            "id": provider,
            "provider": provider,
            "secrets": [SECRETS.get(provider, "tt-secret-1")],
            "default_region": "ES",
        }
        body |= {"credentials": {"access_token": token} if token else {}} | more
        answer = await self.intake.api.post("/v1/sources", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def push(self, provider: str, body: bytes, *, token: str = "") -> httpx2.Response:
        assert self.intake.public is not None
        path = f"/v1/webhooks/{provider}" + (f"/{token}" if token else "")
        sent = signed(provider, body, now=self.intake.clock.now(), path=path)
        return await self.intake.public.post(path, content=sent.body, headers=sent.headers)

    async def work(self, *, rounds: int = 50) -> int:
        """Work off what is due now, and say how many lookups that were."""
        done = 0
        for _ in range(rounds):
            claimed = await fetch.claim(self.intake.app, most=16)
            if not claimed:
                break
            for source, job in claimed:
                await fetch.work(self.intake.app, self.http, source=source, job=job)
                done += 1
        await self.holds()
        return done

    async def holds(self) -> None:
        """The sums agree, and every pending entry has a job that waits."""
        assert (await self.intake.api.get("/v1/receipts/balance")).json()["balanced"] is True
        rows = await self.intake.fetch(
            """
            SELECT count(*) AS n FROM receipt_entry e FULL JOIN (SELECT * FROM fetch_job WHERE state = 'waiting') j
                ON j.receipt_id = e.receipt_id AND j.ordinal = e.ordinal
            WHERE coalesce(e.outcome = 'pending', FALSE) <> (j.id IS NOT NULL)
            """
        )
        assert rows[0]["n"] == 0

    async def entries(self) -> list[tuple[str, str]]:
        rows = await self.intake.fetch("SELECT outcome, reason FROM receipt_entry ORDER BY receipt_id, ordinal")
        return [(row["outcome"], row["reason"]) for row in rows]

    async def states(self) -> list[str]:
        return [row["state"] for row in await self.intake.fetch("SELECT state FROM receipt ORDER BY id")]

    async def source(self, provider: str) -> dict[str, Any]:
        return dict((await self.intake.api.get(f"/v1/sources/{provider}")).json())


async def outcomes(intake: Harness[App]) -> list[str]:
    rows = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id, ordinal")
    return [row["outcome"] for row in rows]
