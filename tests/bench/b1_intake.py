"""B1: durable intake, the full path of a real provider's payload, against a bare route that commits three rows."""

import asyncio
import base64
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import httpx2

from baton_local.process import free_ports
from baton_local.stack import Stack

from . import floor_intake
from .load import Outcome, closed_loop, open_loop, request
from .memory import Memory
from .result import Figure, Say

SECRET = "a signing secret for the bench"
CONNECTIONS = 64


def typeform(n: int, *, run: str, domain: str = "example.com") -> bytes:
    """Return one response as Typeform sends it; every one is a new person, of the account of `domain`."""
    answers = [
        ("full_name", "short_text", "text", f"Anna Petrova {n}"),
        ("email", "email", "email", f"anna.{run}.{n}@company{n % 5000}.{domain}"),
        ("phone", "phone_number", "phone_number", f"+4915{int(run, 36) % 100:02d}{n:07d}"),
        ("company", "short_text", "text", f"Company {n % 5000} GmbH"),
        ("job_title", "short_text", "text", "Head of Marketing"),
    ]
    return json.dumps(
        {
            "event_id": f"01JH{run}{n:016d}",
            "event_type": "form_response",
            "form_response": {
                "form_id": "aBcD12",
                "token": f"tok-{run}-{n}",
                "landed_at": "2026-01-05T07:58:00Z",
                "submitted_at": "2026-01-05T08:00:00Z",
                "hidden": {"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "spring", "gclid": f"TEST{n}"},
                "definition": {
                    "id": "aBcD12",
                    "title": "Demo request",
                    "fields": [{"id": f"f{i}", "ref": a[0], "type": a[1]} for i, a in enumerate(answers)],
                },
                "answers": [
                    {"type": kind, kind: value, "field": {"id": f"f{i}", "type": field, "ref": ref}}
                    for i, (ref, field, kind, value) in enumerate(answers)
                ],
            },
        }
    ).encode()


def signed_requests(count: int, *, run: str, port: int) -> list[bytes]:
    """Return the bytes of `count` requests, signed as Typeform signs."""
    found = []
    for n in range(count):
        body = typeform(n, run=run)
        signature = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
        headers = [("Content-Type", "application/json"), ("Typeform-Signature", f"sha256={signature}")]
        found.append(request("/v1/webhooks/bench-typeform", body, headers, port=port))
    return found


async def create_source(stack: Stack) -> None:
    """Configure the source that the requests go to."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {stack.api_key}"}, trust_env=False) as client:
        answer = await client.post(
            f"{stack.url('lead-intake')}/v1/sources",
            json={
                "id": "bench-typeform",
                "provider": "typeform",
                "name": "Bench",
                "default_region": "DE",
                "secrets": [SECRET],
            },
        )
        answer.raise_for_status()


async def measure(stack: Stack, say: Say, *, rounds: int, requests: int, open_seconds: int, memory: Memory) -> Figure:
    """Measure B1 on a running stack whose other processes are stopped."""
    figure = Figure(
        "B1",
        "durable intake: verify, parse, receipt, identity, lead, touch, outbox, commit",
        "requests/s",
        "ratio >= 0.5; p99 <= 10 ms at 500/s open loop",
    )
    port = stack.services["lead-intake"].public_port
    assert port is not None
    floor = await Floor.start(stack)
    try:
        for n in range(rounds):
            subject = await closed_loop(
                port, signed_requests(requests, run=f"c{n}", port=port), connections=CONNECTIONS
            )
            _expect(subject, requests)
            memory.sample("lead-intake api", stack.pid("lead-intake", "api"))
            bare = await closed_loop(floor.port, floor.requests(requests), connections=CONNECTIONS)
            _expect(bare, requests)
            figure.pairs.append((subject.rate, bare.rate))
            say(f"B1 {n + 1}/{rounds}: {subject.rate:,.0f}/s of {bare.rate:,.0f}/s = {subject.rate / bare.rate:.2f}")
        count = 500 * open_seconds
        paced = await open_loop(port, signed_requests(count, run="open", port=port), rate=500)
        _expect(paced, count)
        memory.sample("lead-intake api", stack.pid("lead-intake", "api"))
        bare = await open_loop(floor.port, floor.requests(count), rate=500)
    finally:
        floor.stop()
    figure.more = {
        "p50_ms_at_500": round(paced.percentile(50), 2),
        "p99_ms_at_500": round(paced.percentile(99), 2),
        "floor_p99_ms_at_500": round(bare.percentile(99), 2),
    }
    ratio = figure.as_json()["ratio"]
    figure.met = ratio >= 0.5 and figure.more["p99_ms_at_500"] <= 10
    say(f"B1 at 500/s: p50 {paced.percentile(50):.1f} ms, p99 {paced.percentile(99):.1f} ms")
    return figure


class Floor:
    """The bare route as a process of its own, on the same PostgreSQL."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port, self.process = port, process

    @classmethod
    async def start(cls, stack: Stack) -> "Floor":
        """Make its tables and start it."""
        admin = await asyncpg.connect(stack.postgres.admin_url)
        await admin.execute("DROP DATABASE IF EXISTS bench_floor")
        await admin.execute("CREATE DATABASE bench_floor")
        await admin.close()
        url = stack.postgres.url("bench_floor")
        connection = await asyncpg.connect(url)
        await connection.execute(floor_intake.TABLES)
        await connection.close()
        [port] = free_ports(1)
        script = str(Path(floor_intake.__file__))
        process = subprocess.Popen([sys.executable, script, url, str(port)])  # noqa: ASYNC220 - once, at the start
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return cls(port, process)
                except OSError:
                    await asyncio.sleep(0.05)

    def requests(self, count: int) -> list[bytes]:
        """Return requests with bodies of the same size as the subject's."""
        body = typeform(0, run="f0")
        one = request("/v1/webhooks/floor", body, [("Content-Type", "application/json")], port=self.port)
        return [one] * count

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(timeout=20)


def _expect(outcome: Outcome, count: int) -> None:
    if outcome.good != count:
        raise RuntimeError(f"expected {count} good answers, got {outcome.answers}")


def only(stack: Stack, keep: Sequence[tuple[str, str]]) -> None:
    """Stop every role but those kept: the machine is measured, not shared."""
    for service in stack.services:
        for role in ("api", "worker"):
            if (service, role) not in keep and stack.pid(service, role) is not None:
                stack.stop_role(service, role)
