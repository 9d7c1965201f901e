"""The command run in the process of the test, against the Kafka of the test run."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from baton_cli.__main__ import main


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


@pytest.fixture
def prefix() -> str:
    """Topics of a test's own."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
def baton(
    kafka_server: Any, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run the command as a person would, with a home that names the Kafka of the test run."""
    monkeypatch.delenv("BATON_HOME", raising=False)
    kafka = {"bootstrap_servers": kafka_server.bootstrap_servers, "topic_prefix": prefix}
    (tmp_path / "cli.json").write_text(json.dumps({"kafka": kafka}))

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = main(["--home", str(tmp_path), *words])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
