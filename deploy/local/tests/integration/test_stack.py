"""The stack with a service that does nothing: what starts, stops, dies and is cleaned up."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from baton.catalogue import TOPICS
from baton_local.process import LocalError, end_leftover
from baton_local.services import ServiceSpec
from baton_local.stack import Stack, running_stack

DUMMY = ServiceSpec("dummy", "dummy_service", 0, 0, 0)
ENV = {"PYTHONPATH": str(Path(__file__).parents[1] / "dummy")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("stack"), services=[DUMMY], env=ENV, sasl=True) as running:
        yield running


def eventually(condition: Callable[[], bool], *, within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)


async def test_the_app_role_writes_rows_but_cannot_change_tables(stack: Stack) -> None:
    app = await asyncpg.connect(stack.database_url("dummy"))
    try:
        await app.execute("INSERT INTO note (text) VALUES ('kept')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("DROP TABLE note")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("CREATE TABLE other ()")
    finally:
        await app.close()


async def test_a_wrong_password_does_not_open_the_database(stack: Stack) -> None:
    url = stack.database_url("dummy").replace(stack.secrets.apps["dummy"], "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url)


async def test_what_was_committed_survives_kill_9_of_postgres(stack: Stack) -> None:
    app = await asyncpg.connect(stack.database_url("dummy"))
    await app.execute("INSERT INTO note (text) VALUES ('committed')")
    await asyncio.to_thread(stack.postgres.kill)
    await asyncio.to_thread(stack.postgres.start)
    app.terminate()
    app = await asyncpg.connect(stack.database_url("dummy"))
    assert await app.fetchval("SELECT count(*) FROM note WHERE text = 'committed'") == 1
    await app.close()


async def test_what_was_acknowledged_survives_kill_9_of_kafka_and_is_read_over_sasl(stack: Stack) -> None:
    topic = next(iter(TOPICS))
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, acks="all") as producer:
        sent = await producer.send_and_wait(topic, b"acknowledged", partition=0)
    await asyncio.to_thread(stack.brokers[0].kill)
    await asyncio.to_thread(stack.brokers[0].start)
    env = stack.environment("dummy", "worker")
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=env["BATON_KAFKA__BOOTSTRAP_SERVERS"],
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=env["BATON_KAFKA__SASL_USERNAME"],
        sasl_plain_password=env["BATON_KAFKA__SASL_PASSWORD"],
        auto_offset_reset="earliest",
    )
    async with consumer:
        message = await asyncio.wait_for(consumer.getone(), 20)
    assert (message.offset, message.value) == (sent.offset, b"acknowledged")


def test_a_killed_role_is_named_and_comes_back_by_restart(stack: Stack) -> None:
    before = stack.pid("dummy", "worker")
    stack.kill("dummy", "worker")
    with pytest.raises(LocalError, match="dummy worker ended with code -9"):
        stack.watch(threading.Event())
    stack.restart("dummy", "worker")
    assert stack.pid("dummy", "worker") not in (None, before)


def test_the_client_settings_and_secrets_are_for_their_owner_only(stack: Stack) -> None:
    for name in ("cli.json", "secrets.json"):
        assert (stack.home / name).stat().st_mode & 0o077 == 0
    settings = json.loads((stack.home / "cli.json").read_text())
    assert settings["dummy"]["url"] == stack.url("dummy")
    assert settings["api_key"] == stack.api_key


def test_a_second_start_goes_on_with_the_same_data(tmp_path: Path) -> None:
    async def rows(stack: Stack, statement: str) -> object:
        connection = await asyncpg.connect(stack.database_url("dummy"))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    with running_stack(tmp_path / "home", services=[DUMMY], env=ENV) as first:
        asyncio.run(rows(first, "INSERT INTO note (text) VALUES ('kept') RETURNING 1"))
    with running_stack(tmp_path / "home", services=[DUMMY], env=ENV, servers_only=True) as second:
        assert asyncio.run(rows(second, "SELECT count(*) FROM note")) == 1
        assert second.pid("dummy", "api") is None
        second.start_roles()
        assert second.pid("dummy", "api") is not None
    assert list((tmp_path / "home" / "run").glob("*.pid")) == []


def test_a_role_that_fails_at_start_is_shown_with_its_last_words_and_nothing_stays_behind(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    home = tmp_path / "home"
    with (
        pytest.raises(LocalError, match=r"(?s)dummy worker ended with code 1.*told to fail"),
        running_stack(home, services=[DUMMY], env={**ENV, "DUMMY_FAILS": "worker"}, say=said.append),
    ):
        pass
    assert list((home / "run").glob("*.pid")) == []
    assert not any(str(home) in " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


def test_when_the_supervisor_is_killed_no_process_stays_behind(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from baton_local.services import ServiceSpec; from baton_local.stack import running_stack\n"
        "dummy = ServiceSpec('dummy', 'dummy_service', 0, 0, 0)\n"
        f"with running_stack(Path({str(tmp_path)!r}), services=[dummy]):\n"
        "    print('up', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, **ENV}
    ) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "up\n"
        pids = [int(path.read_text()) for path in (tmp_path / "run").glob("*.pid")]
        assert len(pids) == 4
        supervisor.send_signal(signal.SIGKILL)
    eventually(lambda: not any(_runs(pid) for pid in pids))


def test_a_pid_file_of_an_earlier_boot_ends_nobody(tmp_path: Path) -> None:
    pid_file = tmp_path / "old.pid"
    with subprocess.Popen(["sleep", "600"]) as bystander:
        pid_file.write_text(str(bystander.pid))
        os.utime(pid_file, (1, 1))  # written long before that process began
        end_leftover(pid_file)
        assert bystander.poll() is None
        assert not pid_file.exists()
        bystander.kill()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
