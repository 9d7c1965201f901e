"""`python -m baton_local up|down|status|run`: the whole system on this machine."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from baton_local.process import LocalError, port_answers

if TYPE_CHECKING:
    from baton_local.stack import Say, Stack

USAGE = """usage: python -m baton_local COMMAND

  up      start everything in the background and return when it is ready
  down    stop it in order
  status  say what runs
  run     start everything and stay in the foreground; Ctrl-C stops it

`up --servers-only` and `run --servers-only` leave the services out, as for `baton restore`.

State (data, logs, secrets) lies in .baton, or where BATON_HOME says. BATON_LOCAL_POSTGRES_PORT and
BATON_LOCAL_KAFKA_PORT choose other ports, BATON_LOCAL_FREE_PORTS=1 takes free ones for the services."""

SERVERS_ONLY = "--servers-only"
out = Console(stderr=True, highlight=False)


def home_directory() -> Path:
    """Where the stack of this working copy keeps its state: BATON_HOME, else .baton where we are."""
    return Path(os.environ.get("BATON_HOME") or ".baton").expanduser().absolute()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 when not, 2 for a command that does not exist."""
    words = sys.argv[1:] if arguments is None else arguments
    commands: dict[tuple[str, ...], Callable[[Path], int]] = {
        ("up",): up,
        ("up", SERVERS_ONLY): partial(up, servers_only=True),
        ("down",): down,
        ("status",): status,
        ("run",): run,
        ("run", SERVERS_ONLY): partial(run, servers_only=True),
    }
    command = commands.get(tuple(words))
    if command is None:
        out.print(USAGE, markup=False)
        return 0 if words in (["--help"], ["-h"], ["help"]) else 2
    try:
        return command(home_directory())
    except LocalError as error:
        out.print(f"baton: {error}", markup=False, style="red")
        return 1


def run(home: Path, *, servers_only: bool = False) -> int:
    """Hold the stack until a signal asks for its end."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _interrupt(stop))
    try:
        said = partial(out.print, markup=False)
        with own_stack(home, say=said, servers_only=servers_only) as stack:
            for name in () if servers_only else stack.services:
                out.print(f"  {name:<16}{stack.url(name)}", markup=False)
            stack.watch(stop)
    except KeyboardInterrupt:
        pass  # asked to end while still starting
    return 0


@contextlib.contextmanager
def own_stack(home: Path, *, say: "Say", servers_only: bool = False) -> "Iterator[Stack]":
    """The stack of this home on its usual ports, held alone for as long as the block lasts. Raises LocalError.

    `down` and `status` see it as one that `up` started.
    """
    from baton_local.services import SERVICES, on_free_ports
    from baton_local.stack import KAFKA_PORT, POSTGRES_PORT, Stack

    with _the_only_supervisor(home):
        free = os.environ.get("BATON_LOCAL_FREE_PORTS", "") not in ("", "0")
        stack = Stack(
            home,
            services=on_free_ports(SERVICES) if free else SERVICES,
            postgres_port=int(os.environ.get("BATON_LOCAL_POSTGRES_PORT") or POSTGRES_PORT),
            kafka_port=int(os.environ.get("BATON_LOCAL_KAFKA_PORT") or KAFKA_PORT),
            say=say,
        )
        ready = _ready_file(home)
        stack.start(servers_only=servers_only)
        try:
            ready.write_text(str(os.getpid()))
            yield stack
        finally:
            stack.stop()
            ready.unlink(missing_ok=True)


def up(home: Path, *, servers_only: bool = False) -> int:
    """Start the supervisor in the background, follow what it says, and return when everything is ready."""
    if _supervisor(home) is not None:
        out.print("it runs already; `make down` stops it")
        return 0
    log = home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    ready = _ready_file(home)
    ready.unlink(missing_ok=True)
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "baton_local", "run", *([SERVERS_ONLY] if servers_only else [])],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env={**os.environ, "BATON_HOME": str(home), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        )
    try:
        with log.open() as said:
            while True:
                ended = child.poll() is not None
                for line in said:
                    out.print(line.rstrip(), markup=False)
                if ended:
                    return child.returncode or 1
                if ready.exists():
                    child.returncode = 0  # it goes on without us
                    return 0
                time.sleep(0.1)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        return 1


def down(home: Path) -> int:
    """Stop the stack in order and return when it has ended."""
    supervisor = _supervisor(home)
    if supervisor is None:
        out.print("nothing runs")
        return 0
    out.print("stopping: the services drain first, this can take half a minute")
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + 90
    while _supervisor(home) is not None:
        if time.monotonic() > deadline:
            raise LocalError(f"process {supervisor} has not ended; see {home / 'logs' / 'supervisor.log'}")
        time.sleep(0.1)
    out.print("stopped")
    return 0


def status(home: Path) -> int:
    """Print what runs and what answers; 1 when the stack is not up."""
    from baton_local.services import ROLES, SERVICES
    from baton_local.stack import KAFKA_PORT, POSTGRES_PORT

    if _supervisor(home) is None:
        out.print("nothing runs; `make up` starts it")
        return 1
    table = Table("process", "pid", "port", "answers", box=None, header_style="bold")
    rows = [
        ("PostgreSQL", "postgres", int(os.environ.get("BATON_LOCAL_POSTGRES_PORT") or POSTGRES_PORT)),
        ("Kafka", "kafka-1", int(os.environ.get("BATON_LOCAL_KAFKA_PORT") or KAFKA_PORT)),
    ]
    rows += [(f"{s.name} {role}", f"{s.name}-{role}", s.ops_port(role)) for s in SERVICES for role in ROLES]
    for name, file, port in rows:
        try:
            pid = (home / "run" / f"{file}.pid").read_text().strip()
        except OSError:
            pid = "-"
        table.add_row(name, pid, str(port), "yes" if port_answers(port) else "no")
    Console().print(table)
    return 0 if _ready_file(home).exists() else 1


def _interrupt(stop: threading.Event) -> None:
    # While starting, nobody looks at the event: leave by an exception; while running, or again, by the event.
    first = not stop.is_set()
    stop.set()
    if first:
        raise KeyboardInterrupt


def _ready_file(home: Path) -> Path:
    return home / "run" / "ready"


def _lock_file(home: Path) -> Path:
    return home / "run" / "supervisor.lock"


@contextlib.contextmanager
def _the_only_supervisor(home: Path) -> Iterator[None]:
    """Hold the stack of this home alone. Raises LocalError when another process does."""
    _lock_file(home).parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(home).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError("a stack of this directory runs already: `make down` stops it") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _supervisor(home: Path) -> int | None:
    """The process that holds the stack of this home, or None."""
    try:
        with _lock_file(home).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(_lock_file(home).read_text() or 0) or None
    return None


if __name__ == "__main__":
    sys.exit(main())
