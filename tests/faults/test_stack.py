"""Kill each of the services, PostgreSQL and Kafka while forms are being filled in.

The sender repeats a delivery until it is answered with 2xx, as providers do. The oracle: each acknowledged delivery
made one lead, one decision to hand over, one handoff and one row of attribution; every event of every outbox is on its
topic; nothing was parked.
"""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from bench.b1_intake import SECRET, create_source, typeform
from bench.prepare import agree

from baton_local.stack import Stack, running_stack
from toy.running import read_topic, until

ROLES = ("api", "worker")


@dataclass
class Forms:
    """Deliveries, each sent until it is acknowledged."""

    stack: Stack
    pause: float = 0.0
    sent: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, client: httpx2.AsyncClient, *, ids: int) -> None:
        while self.sent < ids or not self.stop.is_set():
            numbers = range(self.sent, self.sent + 10)
            await asyncio.gather(*(self.deliver(client, n) for n in numbers))
            self.sent += 10
            await asyncio.sleep(self.pause)

    async def post(self, client: httpx2.AsyncClient, number: int) -> httpx2.Response:
        body = typeform(number, run="faults", domain=f"firm{number}.example")  # each of a new account, too
        signature = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
        headers = {"Content-Type": "application/json", "Typeform-Signature": f"sha256={signature}"}
        url = f"{self.stack.public_url('lead-intake')}/v1/webhooks/bench-typeform"
        return await client.post(url, content=body, headers=headers)

    async def deliver(self, client: httpx2.AsyncClient, number: int) -> None:
        while True:
            try:
                answer = await self.post(client, number)
            except httpx2.HTTPError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 200:
                return
            assert answer.status_code == 503, answer.text
            assert "retry-after" in answer.headers
            await asyncio.sleep(0.1)

    async def more(self, count: int) -> None:
        goal = self.sent + count

        async def reached() -> bool:
            return self.sent >= goal

        await until(reached, within=90, what=f"{count} more deliveries were acknowledged")


async def fetch(stack: Stack, service: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(stack.database_url(service, owner=True), timeout=3)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def counts(stack: Stack) -> dict[str, int]:
    """How far the deliveries have come, place by place."""
    asked = {
        ("lead-intake", "lead"): "SELECT count(DISTINCT person_id) FROM lead",
        ("qualification", "qualified"): "SELECT count(*) FROM qualified",
        ("sales-feedback", "handoff"): "SELECT count(*) FROM handoff",
        ("attribution", "qualified"): "SELECT count(*) FROM qualified",
    }
    return {
        f"{s} {what}": (await fetch(stack, s, query))[0][0] for (s, what), query in asked.items() if s in stack.services
    }


async def check(stack: Stack, *, leads: int) -> None:
    assert set((await counts(stack)).values()) == {leads}
    on_topic: dict[str, set[str]] = {}
    for service in stack.services:
        assert await fetch(stack, service, "SELECT consumer, reason, detail FROM parked") == []
        for row in await fetch(stack, service, "SELECT topic, array_agg(event_id) AS ids FROM outbox GROUP BY topic"):
            if row["topic"] not in on_topic:
                records = await read_topic(stack.bootstrap_servers, stack.topic_prefix + row["topic"])
                on_topic[row["topic"]] = {dict(r.headers)["ce_id"].decode() for r in records}
            assert on_topic[row["topic"]] >= set(row["ids"])


def plan(stack: Stack) -> list[tuple[Callable[[], object], Callable[[], object]]]:
    """Every service's roles, and between them the two servers."""

    def role(service: str, name: str) -> tuple[Callable[[], object], Callable[[], object]]:
        return lambda: stack.kill(service, name), lambda: stack.start_role(service, name, ready=None)

    roles = [role(service, name) for service in stack.services for name in ROLES]
    postgres, kafka = stack.postgres, stack.brokers[0]
    return [*roles[:4], (postgres.kill, postgres.start), *roles[4:], (kafka.kill, kafka.start)]


async def outages(stack: Stack, forms: Forms, client: httpx2.AsyncClient) -> None:
    """Without Kafka deliveries are acknowledged and come through later; without PostgreSQL refused within a second."""
    await asyncio.to_thread(stack.brokers[0].kill)
    answers = [await forms.post(client, forms.sent + n) for n in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 10
    forms.sent += 10
    await asyncio.to_thread(stack.brokers[0].start)
    await asyncio.to_thread(stack.postgres.kill)
    for n in range(3):
        began = time.monotonic()
        answer = await forms.post(client, forms.sent + n)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert time.monotonic() - began < 1
    await asyncio.to_thread(stack.postgres.start)
    await forms.deliver(client, forms.sent)
    forms.sent += 1


async def under_fire(stack: Stack, *, kills: int, ids: int, within: float) -> None:
    await create_source(stack)
    await agree(stack)
    forms = Forms(stack, pause=0.0 if ids > 10_000 else 0.2)
    began = time.monotonic()
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
        sending = asyncio.create_task(forms.run(client, ids=ids))
        order = plan(stack)
        for number in range(kills):
            kill, start = order[number % len(order)]
            await forms.more(20)
            await asyncio.to_thread(kill)
            await asyncio.to_thread(start)
        await forms.more(20)
        forms.stop.set()
        await sending
        await outages(stack, forms, client)

    async def through() -> bool:
        return set((await counts(stack)).values()) == {forms.sent}

    try:
        await until(through, within=within, what="every delivery had come through")
    except AssertionError as error:
        raise AssertionError(f"of {forms.sent} deliveries: {await counts(stack)}") from error
    await check(stack, leads=forms.sent)
    print(  # noqa: T201 - the figures are the result
        f"\n{kills} kills of services, PostgreSQL and Kafka, {forms.sent:,} acknowledged deliveries in "
        f"{time.monotonic() - began:.0f} s: 0 lost, 0 effects twice"
    )


async def test_kills_of_every_service_lose_no_lead_and_hand_none_over_twice(tmp_path: Path) -> None:
    context = running_stack(tmp_path / "home")
    stack = await asyncio.to_thread(context.__enter__)
    try:
        await under_fire(stack, kills=10, ids=200, within=90)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.mark.long
async def test_a_long_run_over_every_service_loses_no_lead(tmp_path: Path) -> None:
    context = running_stack(tmp_path / "home")
    stack = await asyncio.to_thread(context.__enter__)
    try:
        await under_fire(stack, kills=30, ids=50_000, within=900)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
