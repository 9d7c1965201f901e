"""Where the system runs, and what the demo remembers of it between two runs."""

import asyncio
import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from baton_local.services import ROLES
from baton_local.stack import Stack
from baton_local.stack_secrets import write_private

SERVICES = ("lead-intake", "qualification", "sales-feedback", "attribution")


class Unexpected(Exception):
    """A service answered what the play does not go on with."""


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses of a running stack, and the operator's key."""

    home: Path
    api: Mapping[str, str]
    public: Mapping[str, str]
    metrics: Mapping[str, tuple[str, ...]]
    bootstrap_servers: str
    topic_prefix: str
    api_key: str

    @classmethod
    def of(cls, stack: Stack) -> "Place":
        """Where this stack runs."""
        return cls(
            home=stack.home,
            api={name: stack.url(name) for name in SERVICES},
            public={name: stack.public_url(name) for name in ("lead-intake", "sales-feedback")},
            metrics={name: tuple(f"{stack.ops_url(name, role)}/metrics" for role in ROLES) for name in SERVICES},
            bootstrap_servers=stack.bootstrap_servers,
            topic_prefix=stack.topic_prefix,
            api_key=stack.api_key,
        )


@dataclass(slots=True)
class Memory:
    """What stays from run to run, in `demo.json` of the stack's home (mode 0600).

    `until` and `closing_at` are fixed by the first run, so that a repeated one sends the same bytes. `played` says
    that nothing is left to send.
    """

    seed: int
    leads: int
    until: str
    secrets: dict[str, str] = field(default_factory=dict)
    doors: dict[str, str] = field(default_factory=dict)
    people: dict[str, dict[str, str]] = field(default_factory=dict)
    closing_at: str = ""
    played: bool = False

    def secret(self, name: str, *, whsec: bool = False) -> str:
        """The secret of that name, made when it is first asked for."""
        if name not in self.secrets:
            raw = secrets.token_bytes(32)
            self.secrets[name] = f"whsec_{base64.b64encode(raw).decode()}" if whsec else raw.hex()
        return self.secrets[name]


def recall(home: Path) -> Memory | None:
    """What an earlier run left, or None."""
    try:
        return Memory(**json.loads((home / "demo.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remember(home: Path, memory: Memory) -> None:
    """Keep it for the next run."""
    write_private(home / "demo.json", json.dumps(asdict(memory), indent=2))


def add_people(home: Path, memory: Memory) -> None:
    """Tell the `baton` command who may sign (`baton agreement sign --as anna`)."""
    path = home / "cli.json"
    settings = json.loads(path.read_text())
    settings["people"] = {
        person: {"api_key": kept["api_key"], "department": kept["department"]} for person, kept in memory.people.items()
    }
    write_private(path, json.dumps(settings, indent=2))


class Client:
    """Calls the services as the operator; anything but the statuses expected is Unexpected."""

    def __init__(self, place: Place, http: httpx2.AsyncClient) -> None:
        self.place = place
        self.http = http

    async def get(self, service: str, path: str, **params: Any) -> Any:
        """The JSON of a GET."""
        answer = await self.http.get(
            self.place.api[service] + path, params=params, headers={"Authorization": f"Bearer {self.place.api_key}"}
        )
        return self._json(answer, (200,))

    async def post(
        self,
        service: str,
        path: str,
        body: Any = None,
        *,
        key: str = "",
        api_key: str = "",
        content: bytes | None = None,
        accept: tuple[int, ...] = (200, 201),
    ) -> Any:
        """The JSON of a POST. `key` is its Idempotency-Key; `content` is sent as YAML in place of `body`."""
        headers = {"Authorization": f"Bearer {api_key or self.place.api_key}"}
        if key:
            headers["Idempotency-Key"] = key
        if content is not None:
            headers["Content-Type"] = "application/yaml"
        url = self.place.api[service] + path
        while True:
            if content is not None:
                answer = await self.http.post(url, content=content, headers=headers)
            else:
                answer = await self.http.post(url, json=body, headers=headers)
            if answer.status_code != 503:
                return self._json(answer, accept)
            await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))

    async def pages(self, service: str, path: str, **params: Any) -> list[Any]:
        """All items of a list."""
        items: list[Any] = []
        page = await self.get(service, path, limit=200, **params)
        items += page["items"]
        while page.get("next_cursor"):
            page = await self.get(service, path, limit=200, cursor=page["next_cursor"], **params)
            items += page["items"]
        return items

    def _json(self, answer: httpx2.Response, accept: tuple[int, ...]) -> Any:
        if answer.status_code not in accept:
            asked = f"{answer.request.method} {answer.request.url}"
            raise Unexpected(f"{asked} answered {answer.status_code}: {answer.text[:600]}")
        return answer.json() if answer.content else None
