"""Kill a process at every named place once, start it again, and ask the oracle.

The names come from the source: a failpoint that no case here covers fails a test.
"""

import ast
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest
from google.protobuf.wrappers_pb2 import StringValue

import baton_kit
from baton_kit.envelope import event
from baton_kit.testing import START, Server
from toy.running import OPERATOR_KEY, Process, Stage, stage, until
from toy.service import HEARD

KIT = Path(baton_kit.__file__).parent
TOY = Path(__file__).parents[2] / "libs" / "kit" / "tests" / "toy"

WORKER = [
    "relay.after_read",
    "relay.after_send",
    "relay.after_acknowledgement",
    "relay.before_cursor",
    "relay.after_cursor",
    "consumer.after_poll",
    "consumer.after_position",
    "consumer.before_claim",
    "consumer.after_claim",
    "consumer.after_effects",
    "consumer.before_commit",
    "consumer.after_commit",
    "toy.before_effects",
    "toy.between_effects",
    "outbox.before_append",
    "outbox.after_append",
]
REPLAY = ["replay.after_event", "replay.before_commit"]
API = ["outbox.before_append", "outbox.after_append", "idempotency.after_act", "idempotency.after_record"]

LENT = ["edges.after_learn"]
"""Passed by services alone: `test_service_places.py` kills each of those that use it."""


def failpoints(folder: Path) -> set[str]:
    """Return the names of all failpoints in the sources of a folder; each must be a plain text in its place."""
    names: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "failpoint":
                [name] = node.args
                assert isinstance(name, ast.Constant), f"{path}:{node.lineno}: no plain name"
                assert isinstance(name.value, str)
                names.add(name.value)
    return names


def test_every_failpoint_of_the_kit_is_killed_by_a_case() -> None:
    assert failpoints(KIT) | failpoints(TOY) == {*WORKER, *REPLAY, *API, *LENT}


@pytest.fixture
async def toy(postgres_server: Server, kafka_server: Any, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(postgres_server, kafka_server.bootstrap_servers, tmp_path) as made:
        yield made


async def died_at(process: Process, name: str) -> None:
    assert await process.ended(within=90) == -9, f"{name} was not passed:\n{process.tail()}"


@pytest.mark.parametrize(
    ("name", "at"), [(name, at) for name in WORKER for at in ("14" if name.startswith("relay") else "2")]
)
async def test_a_worker_killed_there_loses_nothing_and_does_nothing_twice(toy: Stage, name: str, at: str) -> None:
    worker = toy.process("worker")
    # Its passes differ from run to run with the size of the pages, so the load goes on until the process is gone.
    worker.start(BATON_FAILPOINT=f"{name}:{at}")
    # By time, not by count: a quick machine says thousands of words before the worker has joined its group.
    sent, give_up = 0, monotonic() + 90
    while worker.returncode is None:
        await toy.say([f"w{sent + n}" for n in range(3)])
        sent += 3
        assert monotonic() < give_up, f"{name} was not passed {at} times:\n{worker.tail()}"
    await died_at(worker, name)
    # The lease of the dead holder ends by the database's clock; nothing else is worth waiting for here.
    await toy.fetch("UPDATE outbox_cursor SET lease_until = now()")
    worker.start()
    await toy.say([f"x{n}" for n in range(3)])
    await until(toy.all_noted, within=40, what=f"all words were noted; the log ends with\n{worker.tail()}")
    await toy.check()


@pytest.mark.parametrize("name", API)
async def test_an_api_killed_there_acts_once_for_a_client_that_repeats(toy: Stage, name: str) -> None:
    api, worker = toy.process("api"), toy.process("worker")
    migrate = toy.process("migrate")
    migrate.start()
    assert await migrate.ended(within=30) == 0
    api.start(BATON_FAILPOINT=name)
    await api.ready()
    url = f"http://127.0.0.1:{api.api_port}/v1/words?word=hello"
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}", "Idempotency-Key": "k1"}
    async with httpx2.AsyncClient() as client:
        with contextlib.suppress(httpx2.HTTPError):
            await client.post(url, headers=headers)
        await died_at(api, name)
        api.start()
        await api.ready()
        assert (await client.post(url, headers=headers)).status_code == 201
    worker.start()

    async def noted() -> Any:
        return await toy.fetch("SELECT told FROM note")

    await until(noted)
    assert [row["told"] for row in await noted()] == ["hello"]
    assert len(await toy.fetch("SELECT 1 FROM outbox WHERE topic = $1", HEARD)) == 1


@pytest.mark.parametrize("name", REPLAY)
async def test_a_replay_killed_there_is_repeated_as_a_whole(toy: Stage, name: str) -> None:
    migrate, worker, api = (toy.process(role) for role in ("migrate", "worker", "api"))
    migrate.start()
    assert await migrate.ended(within=30) == 0
    # Two good events were parked behind one that a person has skipped.
    async with toy.db.begin() as tx:
        for n in range(2):
            e = event(StringValue(value=f"w{n}"), key="lead-1", occurred_at=START)
            await toy.outbox.append(tx, [e])
            toy.accepted[e.id] = f"w{n}"
    await toy.fetch("INSERT INTO parked_key (consumer, key) VALUES ('toy.count', 'lead-1')")
    worker.start()

    async def parked() -> bool:
        return len(await toy.fetch("SELECT 1 FROM parked")) == 2

    await until(parked, what="both were parked behind their key")
    api.start(BATON_FAILPOINT=name)
    await api.ready()
    url = f"http://127.0.0.1:{api.api_port}/v1/ops/parked/replay"
    order, headers = {"consumer": "toy.count", "key": "lead-1"}, {"Authorization": f"Bearer {OPERATOR_KEY}"}
    async with httpx2.AsyncClient(headers=headers) as client:
        with contextlib.suppress(httpx2.HTTPError):
            await client.post(url, json=order)
        await died_at(api, name)
        assert await toy.fetch("SELECT 1 FROM note") == []
        api.start()
        await api.ready()
        answer = await client.post(url, json=order)
        assert answer.json() == {"applied": 2}
    await toy.check()
