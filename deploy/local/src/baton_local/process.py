"""Start, watch and end the programs of the local stack, also those that an earlier run left behind."""

import contextlib
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil


class LocalError(RuntimeError):
    """Something on this machine keeps the stack from running; the text says in one line what to do."""


class Child:
    """One program with its log and its pid file; it never outlives `stop` or `kill`.

    The pid file is what lets another process (the guard, `down`, the next start) end the program when the one
    that started it is gone.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        pid_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.pid_file = pid_file
        self.env = env
        self.cwd = cwd
        self.user = user
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs or before it was started."""
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        """Start the program in a session of its own, so that Ctrl-C on the terminal reaches only us."""
        end_leftover(self.pid_file)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.env is None else dict(self.env),
                cwd=self.cwd,
                start_new_session=True,
                **({} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}),  # type: ignore[call-overload]
            )
        self.pid_file.write_text(f"{self._popen.pid}\n")

    def send(self, number: int) -> None:
        """Send a signal; nothing happens when the program is gone."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(number)

    def stop(self, *, by: int = signal.SIGTERM, within: float = 30) -> bool:
        """Ask the program to end and wait; True when it ended by itself in time, else it is killed."""
        self.send(signal.SIGCONT)  # a paused program does not hear anything else
        self.send(by)
        gone = self._wait(within)
        if not gone:
            self.kill()
        self.pid_file.unlink(missing_ok=True)
        return gone

    def kill(self) -> None:
        """End the program and its children at once, as a crash would, and wait until all are gone."""
        if self._popen is None:
            return
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.wait()
        _wait_gone(family, within=10)
        self.pid_file.unlink(missing_ok=True)

    def release(self) -> None:
        """Let the program outlive this process; from now on only its pid file ends it."""
        if self._popen is not None:
            self._popen.returncode = 0  # else Python warns about a child that still runs

    def pause(self) -> None:
        """Stop the program and its children where they are (SIGSTOP)."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Let a paused program go on (SIGCONT)."""
        for process in reversed(self._family()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def await_condition(self, ready: Callable[[], bool], *, within: float, what: str, every: float = 0.03) -> None:
        """Wait until `ready` holds. Raises LocalError with the last log lines when it ends before."""
        deadline = time.monotonic() + within
        while not ready():
            if self.returncode is not None:
                raise LocalError(
                    f"{self.name} ended with code {self.returncode} before {what}; "
                    f"its log {self.log} ends with:\n{self.last_lines()}"
                )
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{self.name} is not there: {what} did not happen within {within:.0f} s; "
                    f"its log {self.log} ends with:\n{self.last_lines()}"
                )
            time.sleep(every)

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, for messages."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16_384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._popen.pid) if self._popen is not None else None
            return [] if parent is None else [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _wait(self, seconds: float) -> bool:
        if self._popen is None:
            return True
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def end_leftover(pid_file: Path) -> None:
    """End the program of this pid file if an earlier run left it behind; afterwards the file is gone.

    A file older than the process with that id belongs to another, earlier process: that one is left alone.
    """
    try:
        process = psutil.Process(int(pid_file.read_text()))
        if process.create_time() <= pid_file.stat().st_mtime + 1:
            family = [process, *process.children(recursive=True)]
            process.send_signal(signal.SIGINT if "postgres" in process.name() else signal.SIGTERM)
            for survivor in _wait_gone(family, within=15):
                with contextlib.suppress(psutil.NoSuchProcess):
                    survivor.kill()
            _wait_gone(family, within=5)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        pass
    pid_file.unlink(missing_ok=True)


def _wait_gone(processes: Sequence[psutil.Process], *, within: float) -> list[psutil.Process]:
    """Wait until all have ended and return those that have not.

    A zombie counts as ended: whether its parent collects it is not ours to wait for.
    """
    deadline = time.monotonic() + within
    while True:
        alive = [process for process in processes if _runs(process)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


_GUARD = """
while kill -0 "$1" 2>/dev/null; do [ -d "$2" ] || exit 0; sleep 1; done
pids=$(cat "$2"/*.pid 2>/dev/null)
[ -z "$pids" ] || { kill -INT $pids; sleep 5; kill -KILL $pids; } 2>/dev/null
[ -z "$3" ] || rm -rf "$3"
"""


def guard(run_directory: Path, *, remove: Path | None = None, owner: int | None = None) -> int:
    """Start a watcher that ends every program of `run_directory` (its pid files) when the owner is gone.

    So that a `kill -9` of the supervisor or of a test run leaves no server behind. `remove` is deleted then.
    The watcher ends when the directory disappears. Returns its process id.
    """
    run_directory.mkdir(parents=True, exist_ok=True)
    sh = shutil.which("sh") or "/bin/sh"
    process = subprocess.Popen(
        [
            sh,
            "-c",
            _GUARD,
            "guard",
            str(owner or os.getpid()),
            str(run_directory),
            str(remove or run_directory),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    # The watcher is meant to outlive us: without this, Python warns about a child that still runs.
    process.returncode = 0
    return process.pid


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now, below the range that outgoing connections use.

    Each is this process's for a while: neither another call here nor one in another process of the same user is given
    it before the server it was asked for has come to listen on it.
    """
    found: list[int] = []
    chance = random.SystemRandom()
    for _ in range(20_000):
        if _claim(port := chance.randrange(20_000, 32_000)):
            found.append(port)
        if len(found) == count:
            return found
    raise LocalError(f"no {count} free ports between 20000 and 32000 on 127.0.0.1")


_claims: dict[int, None] = {}
_CLAIMS_KEPT = 2_000


@functools.cache
def _claims_file() -> int:
    """One byte a port; a lock on it is the claim, which ends with the process however it ends."""
    path = Path(tempfile.gettempdir()) / f"baton-ports-{os.getuid()}"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _claim(port: int) -> bool:
    if port in _claims:
        return False
    file = _claims_file()
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    if not port_is_free(port):
        fcntl.lockf(file, fcntl.LOCK_UN, 1, port)
        return False
    _claims[port] = None
    if len(_claims) > _CLAIMS_KEPT:
        oldest = next(iter(_claims))
        del _claims[oldest]
        fcntl.lockf(file, fcntl.LOCK_UN, 1, oldest)
    return True


def port_is_free(port: int) -> bool:
    """True when a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_port(port: int, *, name: str, setting: str) -> None:
    """Raise LocalError with the remedy when the port is taken."""
    if not port_is_free(port):
        raise LocalError(
            f"port {port} for {name} is taken: stop what listens there (another stack? `make down`) "
            f"or choose another with {setting}"
        )


def port_answers(port: int) -> bool:
    """True when a loopback port accepts a connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
