"""Kill workers, PostgreSQL and Kafka under load, with an oracle that knows every acknowledged id.

The load appends like an intake whose providers repeat: the ids are made first, and a batch is sent again until its
commit was acknowledged. The oracle is `Stage.check`: every id took effect once and is on the topic.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from baton_kit.envelope import event
from baton_kit.outages import is_outage
from baton_kit.testing import START
from baton_local.kafka import Broker, start_cluster, start_kafka
from baton_local.postgres import Postgres
from baton_local.process import free_ports, guard
from toy.running import Process, Stage, stage, until

BATCH = 25


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    # With fsync: what is killed here must find its data again.
    guard(tmp_path / "run")
    [port] = free_ports(1)
    with Postgres(
        tmp_path / "postgres", port=port, password=secrets.token_urlsafe(12), run_directory=tmp_path / "run"
    ) as server:
        yield server


@dataclass
class Load:
    """Appends batches until it is told to stop; each id counts once its commit was acknowledged."""

    toy: Stage
    keys: int
    pause: float = 0.05
    number: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, *, ids: int) -> None:
        while self.number < ids or not self.stop.is_set():
            words = [f"w{self.number + n:06d}" for n in range(BATCH)]
            events = [
                event(StringValue(value=w), key=f"lead-{(self.number + n) % self.keys}", occurred_at=START)
                for n, w in enumerate(words)
            ]
            while True:
                try:
                    async with self.toy.db.begin() as tx:
                        await self.toy.outbox.append(tx, events)
                    break
                except Exception as error:
                    if not is_outage(error):
                        raise
                    await asyncio.sleep(0.05)
            self.toy.accepted |= {e.id: w for e, w in zip(events, words, strict=True)}
            self.number += BATCH
            await asyncio.sleep(self.pause)

    async def more(self, count: int) -> None:
        """Return when so many more ids were acknowledged."""
        goal = self.number + count

        async def reached() -> bool:
            return self.number >= goal

        await until(reached, within=90, what=f"{count} more ids were acknowledged")


async def killed_and_restarted(load: Load, kill: Callable[[], object], start: Callable[[], object]) -> None:
    await asyncio.to_thread(kill)
    await asyncio.to_thread(start)
    # Under load again before the next one goes.
    await load.more(2 * BATCH)


async def under_fire(
    toy: Stage, postgres: Postgres, kafka: Broker, *, kills: int, ids: int, keys: int, within: float
) -> None:
    workers = [toy.process("worker"), toy.process("worker")]
    for worker in workers:
        worker.start()
    await workers[0].ready()

    def restart(worker: Process) -> tuple[Callable[[], object], Callable[[], object]]:
        return worker.kill, worker.start

    plan = [
        restart(workers[0]),
        (postgres.kill, postgres.start),
        (kafka.kill, kafka.start),
        restart(workers[1]),
        (lambda: postgres.stop(immediate=True), postgres.start),
        (kafka.kill, kafka.start),
    ]
    began = time.monotonic()
    load = Load(toy, keys=keys, pause=0.02 if ids > 10_000 else 0.05)
    loading = asyncio.create_task(load.run(ids=ids))
    for number in range(kills):
        await load.more(2 * BATCH)
        await killed_and_restarted(load, *plan[number % len(plan)])
    load.stop.set()
    await loading

    async def all_noted() -> bool:
        [row] = await toy.fetch("SELECT count(*) AS n FROM note")
        return int(row["n"]) >= len(toy.accepted)

    tail = "\n".join(w.tail() for w in workers)
    await until(all_noted, within=within, what=f"every acknowledged id took effect; the logs end with\n{tail}")
    await toy.check()
    copies = len(await toy.on_topic("toy.heard.v1")) - len(toy.accepted)
    print(  # noqa: T201 - the figures are the result
        f"\n{kills} kills, {len(toy.accepted):,} acknowledged ids in {time.monotonic() - began:.0f} s: 0 lost, "
        f"0 effects twice ({copies} repeated records were dropped)"
    )


async def test_kills_of_everything_lose_nothing_and_do_nothing_twice(postgres: Postgres, tmp_path: Path) -> None:
    kafka = await asyncio.to_thread(start_kafka, tmp_path / "kafka", run_directory=tmp_path / "run")
    try:
        async with stage(postgres, kafka.bootstrap, tmp_path) as toy:
            await under_fire(toy, postgres, kafka, kills=6, ids=600, keys=40, within=60)
    finally:
        await asyncio.to_thread(kafka.kill)


@pytest.mark.long
async def test_a_long_run_of_kills_loses_nothing_and_does_nothing_twice(postgres: Postgres, tmp_path: Path) -> None:
    kafka = await asyncio.to_thread(start_kafka, tmp_path / "kafka", run_directory=tmp_path / "run")
    try:
        async with stage(postgres, kafka.bootstrap, tmp_path) as toy:
            await under_fire(toy, postgres, kafka, kills=24, ids=50_000, keys=2_000, within=300)
    finally:
        await asyncio.to_thread(kafka.kill)


async def test_one_of_three_brokers_may_die_under_load(postgres: Postgres, tmp_path: Path) -> None:
    cluster = await asyncio.to_thread(start_cluster, tmp_path / "cluster", run_directory=tmp_path / "run")
    try:
        async with stage(postgres, cluster.bootstrap, tmp_path) as toy:
            worker = toy.process("worker")
            worker.start()
            await worker.ready()
            load = Load(toy, keys=40)
            loading = asyncio.create_task(load.run(ids=400))
            await load.more(4 * BATCH)
            await asyncio.to_thread(cluster.brokers[0].kill)
            await load.more(4 * BATCH)
            load.stop.set()
            await loading
            # It stays dead: the two that are left hold everything.
            await until(toy.all_noted, within=60, what=f"every id took effect; the log ends with\n{worker.tail()}")
            toy.bootstrap = cluster.brokers[1].bootstrap
            await toy.check()
            print(f"\n1 of 3 brokers killed, {len(toy.accepted):,} acknowledged ids: 0 lost, 0 effects twice")  # noqa: T201
    finally:
        for broker in cluster.brokers:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(broker.kill)
