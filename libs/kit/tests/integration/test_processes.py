import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from baton_kit.testing import Server
from toy.running import OPERATOR_KEY, Stage, stage, until


@pytest.fixture
async def toy_stage(postgres_server: Server, kafka_server: Any, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(postgres_server, kafka_server.bootstrap_servers, tmp_path) as made:
        yield made


async def test_what_is_said_travels_over_kafka_and_the_worker_stops_when_told(toy_stage: Stage) -> None:
    worker = toy_stage.process("worker")
    worker.start()
    await worker.ready()
    await toy_stage.say([f"w{n}" for n in range(50)])
    await until(toy_stage.all_noted, what="all words were noted")
    await toy_stage.check()
    assert await worker.terminate() == 0
    leases = await toy_stage.fetch("SELECT holder, lease_until FROM outbox_cursor")
    assert [tuple(row) for row in leases] == [(None, None), (None, None)]


async def test_the_api_takes_a_word_with_a_key_of_its_own(toy_stage: Stage) -> None:
    migrate, api, worker = (toy_stage.process(role) for role in ("migrate", "api", "worker"))
    migrate.start()
    assert await migrate.ended(within=30) == 0
    api.start()
    worker.start()
    await api.ready()
    await worker.ready()
    async with httpx2.AsyncClient() as client:
        url = f"http://127.0.0.1:{api.api_port}/v1/words?word=hello"
        headers = {"Authorization": f"Bearer {OPERATOR_KEY}", "Idempotency-Key": "k1"}
        answers = [await client.post(url, headers=headers) for _ in range(3)]
        assert [a.status_code for a in answers] == [201, 201, 201]
    notes = await until(lambda: toy_stage.fetch("SELECT told FROM note"), what="the word was noted")
    assert [row["told"] for row in notes] == ["hello"]
    assert await api.terminate() == 0


async def test_the_lease_passes_on_when_its_holder_stops(toy_stage: Stage) -> None:
    first, second = toy_stage.process("worker"), toy_stage.process("worker")
    first.start()
    await first.ready()
    second.start()
    await second.ready()
    await toy_stage.say(["a", "b"])
    await until(toy_stage.all_noted)
    [before] = await toy_stage.fetch("SELECT holder, epoch FROM outbox_cursor WHERE lane = 'live'")
    assert await first.terminate() == 0
    await toy_stage.say(["c", "d"])
    await until(toy_stage.all_noted, what="the successor published")
    [after] = await toy_stage.fetch("SELECT holder, epoch FROM outbox_cursor WHERE lane = 'live'")
    assert after["holder"] != before["holder"]
    assert after["epoch"] > before["epoch"]
    await toy_stage.check()
    assert await second.terminate() == 0


async def test_a_paused_holder_cannot_move_the_cursor_and_nothing_is_lost(toy_stage: Stage) -> None:
    first, second = toy_stage.process("worker"), toy_stage.process("worker")
    first.start()
    await first.ready()
    await toy_stage.say(["a"])
    await until(toy_stage.all_noted)
    first.signal(signal.SIGSTOP)
    second.start()
    await toy_stage.say([f"p{n}" for n in range(20)])
    await until(toy_stage.all_noted, within=40, what="the second worker carried on")
    first.signal(signal.SIGCONT)
    await toy_stage.say([f"q{n}" for n in range(20)])
    await until(toy_stage.all_noted, what="both went on")
    await toy_stage.check()
    assert [await first.terminate(), await second.terminate()] == [0, 0]


async def test_a_worker_without_kafka_is_unready_and_still_stops_in_time(toy_stage: Stage) -> None:
    worker = toy_stage.process("worker")
    worker.start(BATON_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:9")
    await toy_stage.say(["a"])

    async def unready() -> bool:
        return "relay.live" in {k for k, v in (await worker.readyz()).items() if v != "ok"}

    await until(unready, what="readyz named the relay")
    assert await worker.terminate() == 0


async def test_a_worker_that_meets_a_taken_port_ends_and_says_so(toy_stage: Stage) -> None:
    first, second = toy_stage.process("worker"), toy_stage.process("worker")
    first.start()
    await first.ready()
    second.ops_port = first.ops_port
    second.start()
    assert await second.ended(within=20) == 1
    assert "another process on the port" in second.tail()
