"""The whole system on this machine: PostgreSQL, Kafka, topics, migrations, every service."""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2
from aiokafka.admin import AIOKafkaAdminClient

from baton.catalogue import TOPICS
from baton_kit.topics import apply_topics
from baton_local.databases import create_databases, is_migrated
from baton_local.jars import ensure_jars
from baton_local.kafka import Broker, Cluster, Sasl, cluster, run_blocking, single_broker
from baton_local.postgres import Postgres
from baton_local.process import Child, LocalError, end_leftover, free_ports, guard, port_answers, require_port
from baton_local.services import ROLES, SERVICES, ServiceSpec, on_free_ports
from baton_local.stack_secrets import load_or_create, write_private

Say = Callable[[str], None]
"""Called with one line about what just happened."""

POSTGRES_PORT = 54329
KAFKA_PORT = 19092
DRAIN_SECONDS = 28  # services drain within 25 s


class Stack:
    """Every process of the system, started in the order in which they need each other and stopped in reverse.

    All state lies in `home`: data, logs, secrets. No process outlives the one that started the stack. Methods
    block; call them in a thread from async code.
    """

    def __init__(
        self,
        home: Path,
        *,
        services: Sequence[ServiceSpec] = SERVICES,
        postgres_port: int = POSTGRES_PORT,
        kafka_port: int = KAFKA_PORT,
        brokers: int = 1,
        sasl: bool = False,
        fsync: bool = True,
        topic_prefix: str = "",
        env: Mapping[str, str] | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self.home = home.absolute()
        self.services = {service.name: service for service in services}
        self.topic_prefix = topic_prefix
        self.secrets = load_or_create(self.home / "secrets.json", self.services)
        self._env = dict(env or {})
        self._say = say
        self._sasl = Sasl("baton", self.secrets.kafka) if sasl else None
        self._run = self.home / "run"
        self._logs = self.home / "logs"
        self.postgres = Postgres(
            self.home / "postgres",
            port=postgres_port,
            password=self.secrets.postgres,
            fsync=fsync,
            run_directory=self._run,
            log=self._logs / "postgres.log",
        )
        self.kafka = self._describe_kafka(kafka_port, brokers)
        self._children: dict[tuple[str, str], Child] = {}
        self._guard: int | None = None
        self._ending = threading.Event()

    # What others need to know

    @property
    def api_key(self) -> str:
        """The operator's key, valid in every service's API."""
        return self.secrets.api_key

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """The Kafka brokers; one unless asked for more."""
        return self.kafka.brokers

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's plain listeners."""
        return self.kafka.bootstrap

    def url(self, service: str) -> str:
        """Base URL of a service's API."""
        return f"http://127.0.0.1:{self.services[service].port}"

    def public_url(self, service: str) -> str:
        """Base URL of the listener that providers call. Raises LocalError for a service without one."""
        port = self.services[service].public_port
        if port is None:
            raise LocalError(f"{service} has no public listener")
        return f"http://127.0.0.1:{port}"

    def ops_url(self, service: str, role: str = "api") -> str:
        """Base URL of /livez, /readyz and /metrics of one role."""
        return f"http://127.0.0.1:{self.services[service].ops_port(role)}"

    def database_url(self, service: str, *, owner: bool = False) -> str:
        """URL of a service's database, as its app role or as the owner of its tables."""
        spec = self.services[service]
        user = f"{spec.package}_owner" if owner else spec.package
        passwords = self.secrets.owners if owner else self.secrets.apps
        return self.postgres.url(spec.database, user=user, password=passwords[service])

    def log(self, service: str, role: str) -> Path:
        """The log file of one role."""
        return self._logs / f"{service}-{role}.log"

    def environment(self, service: str, role: str) -> dict[str, str]:
        """What a role is started with: this process' environment, the stack's settings, then `env`."""
        spec = self.services[service]
        settings = {
            "BATON_DATABASE__URL": self.database_url(service, owner=role not in ROLES),
            "BATON_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "BATON_KAFKA__TOPIC_PREFIX": self.topic_prefix,
            "BATON_HTTP__HOST": "127.0.0.1",
            "BATON_SEAL_KEY": self.secrets.seal_key,
            "BATON_BOOTSTRAP_API_KEY": self.secrets.api_key,
            "PYTHONUNBUFFERED": "1",  # the last lines before a crash are the ones that matter
        }
        if self._sasl is not None:
            settings |= {
                "BATON_KAFKA__BOOTSTRAP_SERVERS": self.kafka.sasl_bootstrap,
                "BATON_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
                "BATON_KAFKA__SASL_MECHANISM": "PLAIN",
                "BATON_KAFKA__SASL_USERNAME": self._sasl.username,
                "BATON_KAFKA__SASL_PASSWORD": self._sasl.password,
            }
        if role in ROLES:
            settings["BATON_HTTP__OPS_PORT"] = str(spec.ops_port(role))
        if role == "api":
            settings["BATON_HTTP__PORT"] = str(spec.port)
            if spec.public_port is not None:
                settings["BATON_HTTP__PUBLIC_PORT"] = str(spec.public_port)
                # Providers sign the address that they call: it is the one on these ports.
                settings["BATON_PUBLIC_URL"] = self.public_url(service)
        return {**os.environ, **settings, **self._env}

    # Life

    def start(self, *, servers_only: bool = False) -> "Stack":
        """Start everything and return when every role is ready; a failure stops the rest: LocalError.

        With `servers_only` PostgreSQL and Kafka run, migrated and with topics, until `start_roles` is called.
        """
        began = time.monotonic()
        self._ending.clear()
        self._sweep()
        for service in self.services.values():
            for port in (service.port, service.public_port, service.api_ops_port, service.worker_ops_port):
                if port is not None:
                    require_port(port, name=service.name, setting="BATON_LOCAL_FREE_PORTS=1")
        self._guard = guard(self._run)
        try:
            # 1. The two servers side by side, each followed by what needs only it: migrations, topics.
            self._side_by_side(self._start_databases, self._start_kafka)
            # 2. Then every role at once.
            self.write_client_settings()
            if not servers_only:
                self.start_roles()
        except BaseException:
            self.stop()
            raise
        self._say(f"everything is ready after {time.monotonic() - began:.1f} s")
        return self

    def stop(self) -> None:
        """Stop in order: services drain first, then Kafka, then PostgreSQL."""
        self._ending.set()
        children = list(self._children.values())
        if children:
            self._say("stopping the services")
            with ThreadPoolExecutor(len(children)) as pool:
                list(pool.map(lambda child: child.stop(within=DRAIN_SECONDS), children))
        self._say("stopping Kafka and PostgreSQL")
        with contextlib.suppress(LocalError):
            self.kafka.stop()
        self.postgres.stop()
        if self._guard is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._guard, signal.SIGKILL)
            self._guard = None

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def watch(self, stop: threading.Event) -> None:
        """Return when `stop` is set. Raises LocalError, with the last words of a process, when one ends."""
        while not stop.wait(0.2):
            for (service, role), child in self._children.items():
                if child.returncode is not None:
                    raise LocalError(
                        f"{service} {role} ended with code {child.returncode}; {child.log} ends with:\n"
                        f"{child.last_lines()}"
                    )
            if self.postgres.pid is None:
                raise LocalError(f"PostgreSQL ended; see {self.postgres.log}")
            for broker in self.brokers:
                if broker.pid is None:
                    raise LocalError(f"Kafka ended; see {broker.log}")

    # Single roles, for tests of what happens when one goes away

    def start_roles(self) -> None:
        """Start every role of every service and return when all are ready. Raises LocalError."""
        began = time.monotonic()
        every = [(name, role) for name in self.services for role in ROLES]
        for name, role in every:
            self.start_role(name, role, ready=None)

        def ready(one: tuple[str, str]) -> None:
            self.await_ready(*one)
            self._say(f"{one[0]} {one[1]} is ready ({time.monotonic() - began:.1f} s)")

        self._side_by_side(*(partial(ready, one) for one in every))

    def start_role(
        self, service: str, role: str, *, env: Mapping[str, str] | None = None, ready: float | None = 60
    ) -> Child:
        """Start one role, `env` over the stack's settings; wait `ready` seconds for it (None: do not)."""
        spec = self.services[service]
        child = Child(
            f"{service} {role}",
            [sys.executable, "-m", spec.package, role],
            log=self.log(service, role),
            pid_file=self._run / f"{service}-{role}.pid",
            env={**self.environment(service, role), **(env or {})},
            cwd=self.home,
        )
        self._children[service, role] = child
        child.start()
        if ready is not None:
            self.await_ready(service, role, within=ready)
        return child

    def await_ready(self, service: str, role: str, *, within: float = 60) -> None:
        """Return when the role's /readyz says yes. Raises LocalError with its last log lines otherwise."""
        url = f"{self.ops_url(service, role)}/readyz"
        port = self.services[service].ops_port(role)
        # Without certificates: loading them for each role would cost more than all the asking.
        with httpx2.Client(timeout=5, trust_env=False, verify=False) as client:

            def ready() -> bool:
                self._go_on()
                try:
                    return port_answers(port) and client.get(url).status_code == 200
                except httpx2.HTTPError:
                    return False

            self._children[service, role].await_condition(ready, within=within, what="/readyz said yes", every=0.15)

    def kill(self, service: str, role: str) -> None:
        """End one role as a crash would (kill -9)."""
        self._children[service, role].kill()

    def stop_role(self, service: str, role: str) -> bool:
        """SIGTERM to one role; True when it drained and ended by itself in time."""
        return self._children[service, role].stop(within=DRAIN_SECONDS)

    def restart(self, service: str, role: str) -> None:
        """Start a role again, after ending it in order if it still runs."""
        child = self._children.get((service, role))
        if child is not None and child.pid is not None:
            child.stop(within=DRAIN_SECONDS)
        self.start_role(service, role)

    def pid(self, service: str, role: str) -> int | None:
        """The process id of a role, or None when it does not run."""
        child = self._children.get((service, role))
        return None if child is None else child.pid

    def pause(self, service: str, role: str) -> None:
        """SIGSTOP to one role."""
        self._children[service, role].pause()

    def resume(self, service: str, role: str) -> None:
        """SIGCONT to one role."""
        self._children[service, role].resume()

    def write_client_settings(self) -> Path:
        """Write `cli.json` for the `baton` command: base URLs and the operator's key (mode 0600)."""
        settings: dict[str, object] = {
            name: {
                "url": self.url(name),
                "ops": self.ops_url(name),
                "worker_ops": self.ops_url(name, "worker"),
            }
            for name in self.services
        }
        settings["public"] = {
            name: self.public_url(name) for name, spec in self.services.items() if spec.public_port is not None
        }
        settings["databases"] = {name: self.database_url(name, owner=True) for name in self.services}
        settings["kafka"] = {"bootstrap_servers": self.bootstrap_servers, "topic_prefix": self.topic_prefix}
        settings["api_key"] = self.api_key
        path = self.home / "cli.json"
        write_private(path, json.dumps(settings, indent=2))
        return path

    # Steps

    def _describe_kafka(self, port: int, brokers: int) -> Cluster:
        if brokers > 1:
            return cluster(self.home / "kafka", n=brokers, sasl=self._sasl, run_directory=self._run)
        controller = port + 1 if port == KAFKA_PORT else None
        return Cluster(
            [
                single_broker(
                    self.home / "kafka",
                    port=port,
                    controller_port=controller,
                    sasl=self._sasl,
                    run_directory=self._run,
                    log=self._logs / "kafka.log",
                )
            ]
        )

    def _sweep(self) -> None:
        # What a killed run left behind, if its guard was not quicker. Services before their servers.
        files = sorted(self._run.glob("*.pid"), key=lambda path: path.name.startswith(("kafka", "postgres")))
        for path in files:
            end_leftover(path)

    def _start_databases(self) -> None:
        began = time.monotonic()
        self.postgres.start()
        self._say(f"PostgreSQL is ready ({time.monotonic() - began:.1f} s)")
        services = list(self.services.values())
        run_blocking(lambda: create_databases(self.postgres.admin_url, services, self.secrets))
        began = time.monotonic()
        self._side_by_side(*(partial(self._migrate, service) for service in services))
        self._say(f"databases are migrated ({time.monotonic() - began:.1f} s)")

    def _migrate(self, service: ServiceSpec) -> None:
        if run_blocking(
            lambda: is_migrated(self.database_url(service.name, owner=True), service.package, api_key=self.api_key)
        ):
            return
        child = self.start_role(service.name, "migrate", ready=None)
        del self._children[service.name, "migrate"]
        deadline = time.monotonic() + 300
        while child.returncode is None and time.monotonic() < deadline and not self._ending.is_set():
            time.sleep(0.03)
        code = child.returncode
        child.stop(within=1)
        if code != 0:
            raise LocalError(
                f"the migration of {service.name} failed ({code}); {child.log} ends with:\n{child.last_lines()}"
            )

    def _start_kafka(self) -> None:
        began = time.monotonic()
        ensure_jars(on_progress=self._download_goes_on)
        self.kafka.start()
        self._say(f"Kafka is ready ({time.monotonic() - began:.1f} s)")
        actions = run_blocking(self._apply_topics)
        self._say(f"topics are as the catalogue says ({actions} changes)")

    async def _apply_topics(self) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            return len(await apply_topics(admin, TOPICS.values(), prefix=self.topic_prefix))
        finally:
            await admin.close()

    def _download_goes_on(self, what: str, done: int, total: int) -> None:
        self._go_on()
        self._say(f"{what} ({done}/{total})")

    def _go_on(self) -> None:
        if self._ending.is_set():
            raise LocalError("asked to stop while starting")

    def _side_by_side(self, *steps: Callable[[], None]) -> None:
        """Run the steps at the same time; the first failure, or Ctrl-C, ends the others and is raised."""
        with ThreadPoolExecutor(len(steps)) as pool:
            try:
                for done in as_completed([pool.submit(step) for step in steps]):
                    done.result()
            except BaseException:
                self._ending.set()
                raise


@contextmanager
def running_stack(
    home: Path,
    *,
    services: Sequence[ServiceSpec] = SERVICES,
    brokers: int = 1,
    sasl: bool = False,
    fsync: bool = True,
    topic_prefix: str = "",
    env: Mapping[str, str] | None = None,
    say: Say = lambda _: None,
    remove: bool = False,
    servers_only: bool = False,
) -> Iterator[Stack]:
    """The whole system in a directory of its own on free ports, for as long as the block lasts.

    A home that exists is continued with its data, unless `remove` is given: then it is deleted afterwards.
    """
    postgres_port, kafka_port = free_ports(2)
    stack = Stack(
        home,
        services=on_free_ports(services),
        postgres_port=postgres_port,
        kafka_port=kafka_port,
        brokers=brokers,
        sasl=sasl,
        fsync=fsync,
        topic_prefix=topic_prefix,
        env=env,
        say=say,
    )
    try:
        stack.start(servers_only=servers_only)
        try:
            yield stack
        finally:
            stack.stop()
    finally:
        if remove:
            shutil.rmtree(home, ignore_errors=True)
