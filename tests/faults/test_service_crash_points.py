"""Kill the services at each named place that the life of a lead passes, and ask the oracle.

The places are collected from a run under load, role by role. Then each role in turn is armed with its next place, all
roles at once, and started again as soon as it has died.
"""

import asyncio
from pathlib import Path

import httpx2
import pytest
from bench.b1_intake import create_source
from bench.prepare import agree
from test_stack import ROLES, Forms, check, counts

from baton_local.stack import Stack, running_stack
from toy.running import until

OF_THE_KIT = ("relay.", "consumer.", "outbox.", "idempotency.", "replay.")
"""Killed in `test_crash_points.py`, on the toy."""

Role = tuple[str, str]


async def through(stack: Stack, forms: Forms) -> None:
    async def done() -> bool:
        return set((await counts(stack)).values()) == {forms.sent}

    try:
        await until(done, within=60)
    except AssertionError as error:
        raise AssertionError(f"of {forms.sent} deliveries: {await counts(stack)}") from error


async def places(stack: Stack, forms: Forms, client: httpx2.AsyncClient, home: Path) -> dict[Role, list[str]]:
    roles = [(service, role) for service in stack.services for role in ROLES]
    for service, role in roles:
        await asyncio.to_thread(stack.kill, service, role)
        seen = home / f"seen-{service}-{role}"
        await asyncio.to_thread(stack.start_role, service, role, env={"BATON_FAILPOINTS_SEEN": str(seen)}, ready=None)
    await send(forms, client)
    await through(stack, forms)
    found: dict[Role, list[str]] = {}
    for service, role in roles:
        path = home / f"seen-{service}-{role}"
        names = path.read_text().split() if path.exists() else []
        found[service, role] = sorted({name for name in names if not name.startswith(OF_THE_KIT)})
    return found


async def send(forms: Forms, client: httpx2.AsyncClient) -> None:
    await asyncio.gather(*(forms.deliver(client, forms.sent + n) for n in range(10)))
    forms.sent += 10


async def dies_and_comes_back(stack: Stack, place: Role, name: str) -> None:
    service, role = place
    child = await asyncio.to_thread(stack.start_role, service, role, env={"BATON_FAILPOINT": name}, ready=None)

    async def dead() -> bool:
        return child.returncode is not None

    await until(dead, within=90, what=f"{service} {role} passed {name}")
    assert child.returncode == -9, child.last_lines()
    await asyncio.to_thread(stack.start_role, service, role, ready=None)


@pytest.mark.long
async def test_a_service_killed_anywhere_loses_no_lead_and_hands_none_over_twice(tmp_path: Path) -> None:
    context = running_stack(tmp_path / "home", env={"BATON_KAFKA__SESSION_TIMEOUT_MS": "6000"})
    stack = await asyncio.to_thread(context.__enter__)
    try:
        await create_source(stack)
        await agree(stack)
        forms = Forms(stack)
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            found = await places(stack, forms, client, tmp_path)
            assert all(found[service, "worker"] for service in stack.services if service != "lead-intake")
            assert found["lead-intake", "api"]
            for cycle in range(max(map(len, found.values()))):
                armed = {place: names[cycle] for place, names in found.items() if cycle < len(names)}
                for service, role in armed:
                    await asyncio.to_thread(stack.kill, service, role)
                dying = [asyncio.create_task(dies_and_comes_back(stack, p, name)) for p, name in armed.items()]
                # A sender repeats until its delivery is acknowledged, also over the death of the door.
                await send(forms, client)
                await asyncio.gather(*dying)
                await through(stack, forms)
            await check(stack, leads=forms.sent)
        killed = sum(map(len, found.values()))
        print(f"\n{killed} places killed in {len(stack.services)} services: 0 lost, 0 effects twice")  # noqa: T201
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
