"""A real HTTP server on loopback that speaks the documented shapes, and the command run against it."""

import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from baton_cli.__main__ import main
from baton_cli.settings import SERVICES

OPERATOR = "bk_operator"


@dataclass(slots=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Stub:
    """`answers` maps `"GET /path"` to a value (200), to (status, value), or to (status, value, headers)."""

    url: str
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def to(self, request: str) -> list[Asked]:
        return [one for one in self.asked if f"{one.method} {one.path}" == request]


@dataclass(frozen=True, slots=True)
class Said:
    """How a run of the command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stands on standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


Baton = Callable[..., Said]


class _Handler(BaseHTTPRequestHandler):
    stub: Stub

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
        self.stub.asked.append(asked)
        missing = (404, {"title": "There is nothing here", "status": 404, "trace_id": "0" * 32})
        answer = self.stub.answers.get(f"{self.command} {parts.path}", missing)
        if callable(answer):
            answer = answer(asked)
        status, value, *more = answer if isinstance(answer, tuple) else (200, answer)
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in ({"content-type": "application/json"} | (more[0] if more else {})).items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that the server looks for

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    with _serve() as one:
        yield one


@contextmanager
def _serve(context: ssl.SSLContext | None = None) -> Iterator[Stub]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    stub = Stub(f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_address[1]}")
    handler.stub = stub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[Stub]]:
    """A stub for as long as the block lasts, over TLS with the context given."""
    return _serve


@pytest.fixture
def home(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose services are all the stub; nothing of the surroundings is heard."""
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BATON_HOME", str(tmp_path))
    file = tmp_path / "cli.json"
    file.write_text(
        json.dumps(
            {
                **{name: {"url": stub.url, "ops": stub.url, "worker_ops": stub.url} for name in SERVICES},
                "public": {"lead-intake": "http://127.0.0.1:8100"},
                "kafka": {"bootstrap_servers": "127.0.0.1:9"},
                "api_key": OPERATOR,
                "people": {"anna": {"api_key": "bk_anna", "department": "marketing"}},
            }
        )
    )
    file.chmod(0o600)
    return tmp_path


@pytest.fixture
def baton(home: Path, capsys: pytest.CaptureFixture[str]) -> Baton:
    """Run the command: `baton("report", "funnel", "--json")`."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
