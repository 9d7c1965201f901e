"""The secrets of one local stack: made once, kept in a file that only its owner reads."""

import base64
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from baton_local.process import LocalError


@dataclass(frozen=True, slots=True)
class Secrets:
    """Everything secret of a stack.

    Passwords by service of the owner role (migrations) and of the app role, the sealing key (base64), the
    operator's key for every API, the password of the Kafka account.
    """

    postgres: str
    owners: Mapping[str, str]
    apps: Mapping[str, str]
    seal_key: str
    api_key: str
    kafka: str


def load_or_create(path: Path, services: Iterable[str]) -> Secrets:
    """Read the secrets and make those that are missing; what is there stays: the data depend on it."""
    known: dict[str, Any] = {}
    if path.exists():
        try:
            known = json.loads(path.read_text())
        except ValueError as error:
            raise LocalError(f"{path} is damaged: restore it, or `make clean` to begin anew without data") from error
    names = list(services)
    made = Secrets(
        postgres=known.get("postgres") or secrets.token_urlsafe(24),
        owners={name: secrets.token_urlsafe(24) for name in names} | known.get("owners", {}),
        apps={name: secrets.token_urlsafe(24) for name in names} | known.get("apps", {}),
        seal_key=known.get("seal_key") or base64.b64encode(secrets.token_bytes(32)).decode(),
        api_key=known.get("api_key") or f"baton_{secrets.token_urlsafe(32)}",
        kafka=known.get("kafka") or secrets.token_urlsafe(24),
    )
    if asdict(made) != known:
        write_private(path, json.dumps(asdict(made), indent=2))
    return made


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)
