"""One call to a provider: fixed host, time-outs, no redirects, a bounded body, and every failure by its remedy."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from lead_intake.delivery import Source
from lead_intake.settings import IntakeSettings

CONNECT_S = 3.0
READ_S = 10.0
WHOLE_S = 20.0
LARGEST = 2 * 1024 * 1024
LONGEST_PAUSE = timedelta(hours=6)


class CallFailed(Exception):
    """A call that brought no lead. `reason` is a code of a closed list; nothing of the answer is repeated in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unavailable(CallFailed):
    """It may work later: network, time-out, 5xx."""


class Malformed(CallFailed):
    """The answer cannot be read."""


class Throttled(CallFailed):
    """Too many calls: `wait` as the provider says, or None."""

    def __init__(self, reason: str, *, wait: timedelta | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class TokenRefused(CallFailed):
    """The token is missing, expired, revoked, or may not do this: a person has to act."""


class NotThere(CallFailed):
    """The provider does not know the lead (or says so to whoever may not see it)."""


class Impossible(CallFailed):
    """It will never work as it stands."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, whole numbers exact. Raises Malformed."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Malformed("not_json") from None

    def object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Malformed."""
        found = self.json()
        if not isinstance(found, dict):
            raise Malformed("not_an_object")
        return found


class Api:
    """A source's access to its provider for one piece of work; `rest` is the longest pause that an answer asked for."""

    def __init__(
        self, http: httpx2.AsyncClient, source: Source, *, base: str, judge: Callable[[Answer], timedelta | None]
    ) -> None:
        self.source = source
        self.rest = timedelta()
        self.calls = 0
        self._http, self._base, self._judge = http, base.rstrip("/"), judge

    def setting(self, name: str, default: str = "") -> str:
        """A setting of the source."""
        return str(self.source.settings.get(name, default)).strip()

    def listed_setting(self, name: str) -> list[str]:
        """A setting that holds several values, divided by commas."""
        return [part.strip() for part in self.setting(name).split(",") if part.strip()]

    def token(self) -> str:
        """The access token. Raises TokenRefused where none was given."""
        token = self.source.credentials.get("access_token", "")
        if not token:
            raise TokenRefused("no_token")
        return token

    async def get(self, path: str, *, headers: Mapping[str, str], query: str = "", largest: int = LARGEST) -> Answer:
        """GET; `query` is encoded already, `largest` is in bytes. Raises CallFailed."""
        return await self._call("GET", path, headers=headers, query=query, largest=largest)

    async def post(self, path: str, *, headers: Mapping[str, str], body: object) -> Answer:
        """POST of JSON. Raises CallFailed."""
        content = json.dumps(body).encode()
        return await self._call("POST", path, headers={**headers, "content-type": "application/json"}, content=content)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: str = "",
        content: bytes | None = None,
        largest: int = LARGEST,
    ) -> Answer:
        self.calls += 1
        url = f"{self._base}{path}" + (f"?{query}" if query else "")
        try:
            async with (
                asyncio.timeout(WHOLE_S),
                self._http.stream(method, url, headers={**headers, "accept": "*/*"}, content=content) as response,
            ):
                parts = bytearray()
                async for part in response.aiter_bytes():
                    parts += part
                    if len(parts) > largest:
                        raise Impossible("answer_too_large")
                answer = Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(parts))
        except (TimeoutError, httpx2.TimeoutException):
            raise Unavailable("timeout") from None
        except (httpx2.RequestError, httpx2.InvalidURL):
            # The text of the error could repeat the address.
            raise Unavailable("network") from None
        if 300 <= answer.status < 400:
            raise Unavailable("redirected")
        rest = self._judge(answer)
        if rest is not None:
            self.rest = max(self.rest, min(rest, LONGEST_PAUSE))
        return answer


@contextlib.asynccontextmanager
async def open_http(settings: IntakeSettings) -> AsyncIterator[httpx2.AsyncClient]:
    """The client of a worker. A proxy of the surroundings is used, but not on the way to this machine."""
    async with httpx2.AsyncClient(
        timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
        follow_redirects=False,
        trust_env=not settings.provider_urls,
        headers={"user-agent": "baton-lead-intake"},
    ) as http:
        yield http


def retry_after(answer: Answer, *, now: datetime | None = None) -> timedelta | None:
    """What `Retry-After` says, in seconds or as a date; None where it says nothing."""
    told = answer.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit() and len(told) < 8:
        return min(timedelta(seconds=int(told)), LONGEST_PAUSE)
    try:
        at = email.utils.parsedate_to_datetime(told)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(at - (now or datetime.now(UTC)), timedelta()), LONGEST_PAUSE)


def refuse_by_status(answer: Answer) -> None:
    """Raise what the status alone says; a 2xx passes."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 401:
        raise TokenRefused("unauthorized")
    if status == 403:
        raise TokenRefused("forbidden")
    if status in (404, 410):
        raise NotThere("not_found")
    if status == 429:
        raise Throttled("throttled", wait=retry_after(answer))
    if status >= 500 or status in (408, 425):
        raise Unavailable(f"http_{status}")
    raise Impossible(f"http_{status}")
