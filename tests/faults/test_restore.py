"""A service's database restored into another cluster loses nothing that is still in the ring or in the log."""

import asyncio
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import asyncpg

from baton_kit.db import open_database
from baton_kit.settings import DatabaseSettings
from baton_kit.testing import Server
from baton_local.postgres import BIN, Postgres
from baton_local.process import free_ports, guard
from toy.running import Stage, stage, until


def run(program: str, *arguments: str) -> None:
    done = subprocess.run([str(BIN / program), *arguments], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_dump_restored_into_another_cluster_goes_on_without_loss_or_duplicate(
    postgres_server: Server, kafka_server: Any, tmp_path: Path
) -> None:
    guard(tmp_path / "run")
    [port] = free_ports(1)
    with Postgres(
        tmp_path / "postgres", port=port, password=secrets.token_urlsafe(12), run_directory=tmp_path / "run"
    ) as another:
        async with stage(postgres_server, kafka_server.bootstrap_servers, tmp_path) as toy:
            await go_on_elsewhere(toy, another, dump=tmp_path / "dump")


async def go_on_elsewhere(toy: Stage, another: Postgres, *, dump: Path) -> None:
    # The old cluster's transaction ids are ahead of what the new one reaches in this test.
    await toy.fetch(
        "DO $$ BEGIN FOR n IN 1..20000 LOOP BEGIN CREATE TEMP TABLE gone(); RAISE division_by_zero; "
        "EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
    )
    worker = toy.process("worker")
    worker.start()
    await worker.ready()
    await toy.say([f"before{n}" for n in range(20)])
    await until(toy.all_noted)
    assert await worker.terminate() == 0

    # 1. What waits at the time of the dump is in it; what is applied after it is lost to the database, not to the log.
    await toy.say([f"waits{n}" for n in range(5)])
    await asyncio.to_thread(run, "pg_dump", "--format=custom", f"--file={dump}", toy.url)
    worker.start()
    await until(toy.all_noted)
    assert await worker.terminate() == 0

    # 2. Another cluster, with another identity and young transaction ids.
    admin = await asyncpg.connect(another.admin_url)
    await admin.execute("CREATE DATABASE restored")
    await admin.close()
    url = another.url("restored")
    await asyncio.to_thread(run, "pg_restore", "--no-owner", f"--dbname={url}", str(dump))
    await toy.db.close()
    toy.url, toy.db = url, open_database(DatabaseSettings(url=url), application_name="tests")  # type: ignore[arg-type]
    for process in toy.processes:
        process.env["BATON_DATABASE__URL"] = url
    worker.start()
    await worker.ready()
    await toy.say([f"after{n}" for n in range(5)])
    await until(toy.all_noted, within=40, what=f"everything was there again; the log ends with\n{worker.tail()}")
    await toy.check()
    assert await worker.terminate() == 0
