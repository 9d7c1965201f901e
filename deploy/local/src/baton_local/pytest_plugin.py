"""Session fixtures for every test suite: one real PostgreSQL and one real Kafka a run.

Each starts when it is first asked for. Under pytest-xdist all workers share them. They
end with the run, also when it is killed.
"""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_RUN_ID = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running PostgreSQL with fsync off: for every test but those that pull its plug."""

    port: int
    password: str

    @property
    def admin_url(self) -> str:
        """The superuser's URL of the database `postgres`."""
        return self.url("postgres")

    def url(self, database: str, *, user: str = "postgres", password: str | None = None) -> str:
        """The URL of a database; by default as superuser."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(user)}:{secret}@127.0.0.1:{self.port}/{quote(database)}"


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """A running Kafka of one broker. Tests keep apart by a topic prefix each."""

    bootstrap_servers: str


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The PostgreSQL of this test run."""

    def start(directory: Path) -> dict[str, Any]:
        from baton_local.postgres import Postgres
        from baton_local.process import free_ports

        password = secrets.token_urlsafe(12)
        [port] = free_ports(1)
        server = Postgres(
            directory / "postgres",
            port=port,
            password=password,
            fsync=False,
            run_directory=directory / "run",
            # Nobody measures here, so the machine is kept for the tests.
            settings={"max_wal_size": "256MB", "wal_level": "replica", "max_connections": "500"},
        ).start()
        server.release()
        return {"port": port, "password": password}

    return PostgresServer(**_shared("postgres", start))


@pytest.fixture(scope="session")
def kafka_server() -> KafkaServer:
    """The Kafka of this test run."""

    def start(directory: Path) -> dict[str, Any]:
        from baton_local.kafka import start_kafka

        broker = start_kafka(directory / "kafka", run_directory=directory / "run")
        broker.release()
        return {"bootstrap_servers": broker.bootstrap}

    return KafkaServer(**_shared("kafka", start))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the servers of the run, once: in the process that started the workers, or the only one."""
    if hasattr(session.config, "workerinput"):
        return
    directory = _directory(session.config.stash.get(_RUN, _RUN_ID))
    if not directory.exists():
        return
    from baton_local.process import end_leftover

    for pid_file in sorted((directory / "run").glob("*.pid")):
        end_leftover(pid_file)
    shutil.rmtree(directory, ignore_errors=True)


_RUN = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Remember under which id the workers of this run find each other."""
    node.config.stash[_RUN] = node.workerinput["testrunuid"]


def _shared(name: str, start: "Callable[[Path], dict[str, Any]]") -> dict[str, Any]:
    """Start the server once a run and tell every worker where it is."""
    directory = _directory(_RUN_ID)
    directory.mkdir(exist_ok=True, mode=0o755)
    with _only_one(directory / f"{name}.lock"):
        described = directory / f"{name}.json"
        if not described.exists():
            _watch(directory)
            started = start(directory)
            with os.fdopen(os.open(described, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                json.dump(started, file)
        facts: dict[str, Any] = json.loads(described.read_text())
        return facts


def _watch(directory: Path) -> None:
    from baton_local.process import guard

    with _only_one(directory / "guard.lock"):
        if not (directory / "run").exists():
            # With workers the run ends with their parent, not with the worker that happened to come first.
            owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
            guard(directory / "run", remove=directory, owner=owner)


def _directory(run_id: str) -> Path:
    return Path(tempfile.gettempdir()) / f"baton-tests-{run_id[:12]}"


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
