"""A standby is promoted when its primary has died: what is in the log or was committed on the standby is not lost.

The standby streams asynchronously, as most do. It stops a little before the primary dies, so that the promoted database
goes back in time: effects that were applied, positions that were written and events that went out are missing from it.
"""

import asyncio
import contextlib
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from baton_kit.envelope import event
from baton_kit.outbox import Lane
from baton_kit.testing import START, Server
from baton_local.postgres import BIN, Postgres
from baton_local.process import free_ports, guard
from toy.running import Process, Stage, read_topic, stage, until
from toy.service import HEARD


@dataclass
class Door:
    """The one address of the database, before whichever server serves now."""

    primary: Postgres
    port: int
    target: int
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def admin_url(self) -> str:
        return self.url("postgres")

    def url(self, database: str) -> str:
        return self.primary.url(database).replace(f":{self.primary.port}/", f":{self.port}/")

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self.target)
            self.open.add(there)
            await asyncio.gather(_copy(reader, there), _copy(back, writer))
        except OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self.open.discard(end)
                    end.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    finally:
        target.close()


@contextlib.asynccontextmanager
async def door(primary: Postgres) -> AsyncIterator[Door]:
    [port] = free_ports(1)
    made = Door(primary, port, primary.port)
    server = await asyncio.start_server(made.admit, "127.0.0.1", port)
    try:
        yield made
    finally:
        server.close()
        for writer in list(made.open):
            writer.close()
        await server.wait_closed()


def server(directory: Path, *, port: int, password: str, run: Path) -> Postgres:
    # What was committed is with the kernel, which survives here; only processes are killed.
    return Postgres(
        directory, port=port, password=password, fsync=False, settings={"synchronous_commit": "on"}, run_directory=run
    )


def copy_of(primary: Postgres, directory: Path) -> Postgres:
    """Return a standby of the primary, made with its own `pg_basebackup`, not started yet."""
    done = subprocess.run(
        [
            str(BIN / "pg_basebackup"),
            *("--pgdata", str(directory), "--dbname", primary.url("postgres")),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    owner = primary.directory.stat().st_uid
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner, owner)
    [port] = free_ports(1)
    guard(directory.parent / "run-standby")
    return server(directory, port=port, password=primary.password, run=directory.parent / "run-standby")


async def ask(server: Postgres, query: str, *args: Any) -> Any:
    connection = await asyncpg.connect(server.admin_url, timeout=5)
    try:
        return await connection.fetchval(query, *args)
    finally:
        await connection.close()


async def caught_up(primary: Postgres, standby: Postgres) -> None:
    here = await ask(primary, "SELECT pg_current_wal_flush_lsn()::text")

    async def replayed() -> Any:
        return await ask(standby, "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", here)

    await until(replayed, what="the standby had replayed what was committed")


async def say_later(toy: Stage, words: list[str]) -> None:
    """Commit words on the bulk lane; each counts as accepted."""
    for word in words:
        e = event(StringValue(value=word), key=f"lead-{word}", occurred_at=START)
        async with toy.db.begin() as tx:
            await toy.outbox.append(tx, [e], lane=Lane.BULK)
        toy.accepted[e.id] = word


@pytest.mark.parametrize("survives", [True, False], ids=["the worker runs on", "the worker is started again"])
async def test_a_promoted_standby_goes_on_without_loss_or_duplicate(
    kafka_server: Any, tmp_path: Path, survives: bool
) -> None:
    guard(tmp_path / "run")
    [port] = free_ports(1)
    with contextlib.ExitStack() as servers:
        primary = server(tmp_path / "primary", port=port, password=secrets.token_urlsafe(12), run=tmp_path / "run")
        await asyncio.to_thread(servers.enter_context, primary)
        async with door(primary) as address, stage(address, kafka_server.bootstrap_servers, tmp_path) as toy:
            standby = await asyncio.to_thread(copy_of, primary, tmp_path / "standby")
            servers.callback(standby.stop)
            await asyncio.to_thread(standby.start)
            await live_through_a_promotion(toy, address, standby, survives=survives)


async def live_through_a_promotion(toy: Stage, address: Door, standby: Postgres, *, survives: bool) -> None:
    primary = address.primary
    worker: Process = toy.process("worker")
    # 1. Published, applied, and on the standby. The bulk lane is somebody else's for now.
    await toy.fetch(
        "UPDATE outbox_cursor SET holder = 'another', epoch = epoch + 1, lease_until = now() + interval '1 hour' "
        "WHERE lane = 'bulk'"
    )
    worker.start()
    await worker.ready()
    await toy.say([f"before{n}" for n in range(20)])
    await until(toy.all_noted, what=f"all was noted; the log ends with\n{worker.tail()}")
    await until(
        lambda: toy.fetch(
            "SELECT 1 FROM outbox_cursor WHERE lane = 'live' "
            "AND NOT EXISTS (SELECT FROM outbox WHERE NOT pg_visible_in_snapshot(xid, snap_from))"
        ),
        what="the cursor stood behind what was out",
    )
    published = set(toy.accepted)

    # 2. Committed, on the standby too, and not published.
    await say_later(toy, [f"waits{n}" for n in range(5)])
    await caught_up(primary, standby)
    await asyncio.to_thread(standby.stop)

    # 3. Published and applied, but the standby never heard of it: only the log holds it.
    waiting = {e: word for e, word in toy.accepted.items() if e not in published}
    await toy.say([f"unheard{n}" for n in range(20)])

    async def applied() -> bool:
        notes = {row["told"] for row in await toy.fetch("SELECT told FROM note")}
        return notes == set(toy.accepted.values()) - set(waiting.values())

    await until(applied, what=f"what was published was noted; the log ends with\n{worker.tail()}")
    unheard = set(toy.accepted) - published - set(waiting)

    # 4. The primary dies; the standby takes its place at the same address.
    await asyncio.to_thread(primary.kill)
    if not survives:
        worker.kill()
    await asyncio.to_thread(standby.start)
    assert await ask(standby, "SELECT pg_is_in_recovery()")
    assert await ask(standby, "SELECT pg_promote()")
    address.target = standby.port
    rows = await toy.fetch("SELECT event_id FROM outbox WHERE topic = $1", HEARD)
    assert {row["event_id"] for row in rows} == published | set(waiting), "the standby stopped where it was to stop"
    await toy.db.close()
    # Leases end by the database's clock.
    await toy.fetch("UPDATE outbox_cursor SET lease_until = now()")
    if not survives:
        worker.start()

    # 5. Whatever was acknowledged and is in the log or on the standby takes effect, once.
    await toy.say([f"after{n}" for n in range(20)])
    await until(toy.all_noted, within=60, what=f"everything was there again; the log ends with\n{worker.tail()}")
    await toy.check()
    cursors = await toy.fetch("SELECT timeline FROM outbox_cursor")
    assert {row["timeline"] for row in cursors} == {"00000002"}

    # 6. What was out before goes out again, marked, and only that: nobody can know what the log has of it.
    again = {e for e, mark in await on_topic(toy) if mark}
    assert again == published
    assert unheard <= {e for e, _ in await on_topic(toy)}
    assert worker.returncode is None
    assert await worker.terminate() == 0


async def on_topic(toy: Stage) -> list[tuple[str, bool]]:
    found = [dict(r.headers) for r in await read_topic(toy.bootstrap, toy.prefix + HEARD)]
    return [(headers["ce_id"].decode(), "baton-replay" in headers) for headers in found]


async def test_a_database_that_went_back_under_an_idle_worker_is_brought_up_to_the_log(
    postgres_server: Server, kafka_server: Any, tmp_path: Path
) -> None:
    async with stage(postgres_server, kafka_server.bootstrap_servers, tmp_path) as toy:
        worker = toy.process("worker")
        worker.start()
        await worker.ready()
        await toy.say([f"w{n}" for n in range(10)])
        await until(toy.all_noted)
        for lost in ("DELETE FROM note", "DELETE FROM inbox", "UPDATE consumer_offset SET next_offset = 0"):
            await toy.fetch(lost)
        # Nothing new comes on the topic.
        await until(toy.all_noted, within=20, what=f"what was lost was read again; the log ends with\n{worker.tail()}")
