"""Start roles of services by forking a process that has imported them all: a restart costs no imports.

`python forks.py` is that process. It takes one JSON object a line, `{"start": …}` or `{"poll": pid}`, and answers with
one. A child runs `baton_kit.runtime.run` exactly as `python -m <package> <role>` does, in an environment of its own.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from baton_local.process import free_ports
from toy.running import Process

SERVICES = {
    "lead-intake": "lead_intake.service",
    "qualification": "qualification.service",
    "sales-feedback": "sales_feedback.service",
    "attribution": "attribution.app",
}


def serve() -> None:
    services = {name: importlib.import_module(module).SERVICE for name, module in SERVICES.items()}
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201
    ended: dict[int, int] = {}
    children: set[int] = set()
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            if order := asked.get("start"):
                pid = os.fork()
                if pid == 0:
                    _become(services[order["service"]], order)
                children.add(pid)
                answer = {"pid": pid}
            else:
                pid = asked["poll"]
                if pid not in ended:
                    found, status = os.waitpid(pid, os.WNOHANG)
                    if found:
                        ended[pid] = os.waitstatus_to_exitcode(status)
                        children.discard(pid)
                answer = {"returncode": ended.get(pid)}
            print(json.dumps(answer), flush=True)  # noqa: T201
    finally:
        # The tests are gone: whatever they left running goes as well.
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def _become(service: Any, order: Mapping[str, Any]) -> None:
    code = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(order["env"])
        # It reads at import which place is armed.
        importlib.reload(importlib.import_module("baton_kit.failpoint"))
        code = importlib.import_module("baton_kit.runtime").run(service, order["argv"])
    finally:
        sys.stdout.flush()
        os._exit(code)


class Nursery:
    """The forking process, as the tests see it."""

    def __init__(self) -> None:
        here = Path(__file__)
        env = {**os.environ, "PYTHONPATH": str(here.parents[2] / "libs" / "kit" / "tests")}
        self.popen = subprocess.Popen(
            [sys.executable, str(here)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        assert self._read() == {"ready": True}

    def start(self, service: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> "Child":
        order = {"service": service, "argv": list(argv), "env": dict(env), "log": str(log)}
        return Child(self, self.ask({"start": order})["pid"])

    def ask(self, question: Mapping[str, Any]) -> Any:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(question) + "\n")
        self.popen.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.popen.stdout is not None
        return json.loads(self.popen.stdout.readline())

    def close(self) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.wait(timeout=10)
        self.popen.stdout.close()


class Child:
    """What `Process` needs of a process that is another one's child."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.nursery.ask({"poll": self.pid})["returncode"]
        return self.returncode

    def send_signal(self, number: int) -> None:
        # It stays a zombie until it was polled: the number cannot have gone to another process.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        while self.poll() is None:
            signal.sigtimedwait([], 0.005)
        assert self.returncode is not None
        return self.returncode


class Role(Process):
    """One role of a service; `start` forks it, everything else is as with any other process."""

    def __init__(
        self, nursery: Nursery, service: str, argv: Sequence[str], env: Mapping[str, str], *, log: Path
    ) -> None:
        super().__init__(argv[0], env, log=log)
        self.nursery, self.service, self.argv = nursery, service, argv
        [self.public_port] = free_ports(1)

    def start(self, **extra: str) -> None:
        ports = {
            "BATON_HTTP__PORT": str(self.api_port),
            "BATON_HTTP__OPS_PORT": str(self.ops_port),
            "BATON_HTTP__PUBLIC_PORT": str(self.public_port),
        }
        env = {**self.env, **ports, **extra}
        self.popen = self.nursery.start(self.service, self.argv, env=env, log=self.log)  # type: ignore[assignment]


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    serve()
