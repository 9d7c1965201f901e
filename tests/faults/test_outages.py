"""What a caller sees while a server is away, and what becomes of what was taken meanwhile."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from baton_local.kafka import start_kafka
from baton_local.postgres import Postgres
from baton_local.process import free_ports, guard
from toy.running import OPERATOR_KEY, Stage, stage, until


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    guard(tmp_path / "run")
    [port] = free_ports(1)
    with Postgres(
        tmp_path / "postgres", port=port, password=secrets.token_urlsafe(12), run_directory=tmp_path / "run"
    ) as server:
        yield server


async def test_calls_are_taken_without_kafka_and_refused_at_once_without_postgresql(
    postgres: Postgres, tmp_path: Path
) -> None:
    kafka = await asyncio.to_thread(start_kafka, tmp_path / "kafka", run_directory=tmp_path / "run")
    try:
        async with stage(postgres, kafka.bootstrap, tmp_path) as toy:
            migrate, api, worker = (toy.process(role) for role in ("migrate", "api", "worker"))
            migrate.start()
            assert await migrate.ended(within=30) == 0
            api.start()
            worker.start()
            await api.ready()
            await worker.ready()
            await with_kafka_away(toy, kafka, api_port=api.api_port, worker=worker)
            await with_postgresql_away(toy, postgres, api=api)
            # Both are back: nothing of either outage was parked, and the processes outlived them.
            assert await toy.fetch("SELECT 1 FROM parked") == []
            assert [await api.terminate(), await worker.terminate()] == [0, 0]
    finally:
        await asyncio.to_thread(kafka.kill)


async def say(port: int, word: str) -> tuple[httpx2.Response, float]:
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}", "Idempotency-Key": word}
    async with httpx2.AsyncClient(trust_env=False) as client:
        began = time.monotonic()
        answer = await client.post(f"http://127.0.0.1:{port}/v1/words?word={word}", headers=headers)
        return answer, time.monotonic() - began


async def noted(toy: Stage) -> set[str]:
    return {row["told"] for row in await toy.fetch("SELECT told FROM note")}


async def with_kafka_away(toy: Stage, kafka, *, api_port: int, worker) -> None:  # type: ignore[no-untyped-def]
    await asyncio.to_thread(kafka.kill)
    answers = [await say(api_port, f"away{n}") for n in range(5)]
    assert [answer.status_code for answer, _ in answers] == [201] * 5

    async def unready() -> bool:
        wrong = {name for name, state in (await worker.readyz()).items() if state != "ok"}
        return wrong >= {"relay.live", "consumer.toy.count"}

    await until(unready, within=40, what="relay and consumer said that Kafka is away")
    assert await noted(toy) == set()
    await asyncio.to_thread(kafka.start)

    async def arrived() -> bool:
        return await noted(toy) == {f"away{n}" for n in range(5)}

    await until(arrived, within=60, what=f"everything arrived later; the log ends with\n{worker.tail()}")
    await worker.ready(within=60)


async def with_postgresql_away(toy: Stage, postgres: Postgres, *, api) -> None:  # type: ignore[no-untyped-def]
    await asyncio.to_thread(postgres.kill)
    for n in range(3):
        answer, seconds = await say(api.api_port, f"refused{n}")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert seconds < 1
    assert "ok" not in (await api.readyz())["database"]
    await asyncio.to_thread(postgres.start)

    async def taken() -> bool:
        answer, _ = await say(api.api_port, "back")
        return answer.status_code == 201

    await until(taken, what="the API took words again")

    async def arrived() -> bool:
        return "back" in await noted(toy)

    await until(arrived, within=40, what="the word arrived")
    assert not {word for word in await noted(toy) if word.startswith("refused")}
