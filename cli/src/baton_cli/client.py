"""Calls to the services. Whatever goes wrong becomes one readable message that says what to do."""

import functools
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import typer

from baton_cli import settings as cli_settings
from baton_cli.output import Failed, clean, items_of
from baton_cli.settings import SERVICES, Settings, variable

TIMEOUT = httpx2.Timeout(30, connect=3)


def settings_of(ctx: typer.Context) -> Settings:
    """The settings of this call of the command."""
    home: Path | None = ctx.find_root().params.get("home")
    return cli_settings.load(home)


@functools.cache
def trust() -> ssl.SSLContext:
    """The certificates the command trusts. Reading them takes longer than a call, so they are read once."""
    return httpx2.create_ssl_context(trust_env=False)


def part(text: str) -> str:
    """A value made safe to stand in a path."""
    return quote(text, safe="")


def call(
    settings: Settings,
    service: str,
    request: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: object = None,
    content: tuple[bytes, str] | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    missing_ok: bool = False,
) -> Any:
    """Send one request (`"GET /v1/leads"`) and return the JSON of its answer.

    `content` is a raw body with its content type; `key` stands in for the settings' API key; `idempotency_key` makes a
    write safe to repeat. With `missing_ok` a 404
    is None. Raises Failed for anything that is not a 2xx with JSON.
    """
    method, _, path = request.partition(" ")
    answer = _send(
        settings, service, method, path, params=params, body=body, content=content, key=key, once=idempotency_key,
        headers=headers,
    )  # fmt: skip
    if answer.status_code == 404 and missing_ok:
        return None
    if not answer.is_success:
        raise refused(service, answer)
    try:
        return answer.json()
    except ValueError:
        raise Failed(
            f"{service} answered {answer.status_code} with {_media(answer)} instead of JSON",
            f"Is {settings.urls[service]} really the API of {service}? A proxy may stand in between.",
        ) from None


def fetch_bytes(settings: Settings, service: str, path: str) -> bytes:
    """The raw bytes of a GET. Raises Failed."""
    answer = _send(settings, service, "GET", path)
    if not answer.is_success:
        raise refused(service, answer)
    return bytes(answer.content)


def pages(settings: Settings, service: str, path: str, *, limit: int, **params: Any) -> list[dict[str, Any]]:
    """The items of a list, page after page, at most `limit`."""
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        query = {"limit": min(200, limit - len(found)), "cursor": cursor, **params}
        answer = call(settings, service, f"GET {path}", params={k: v for k, v in query.items() if v is not None})
        found += items_of(answer)
        cursor = answer.get("next_cursor") if isinstance(answer, dict) else None
        if cursor is None:
            break
    return found[:limit]


def chosen_services(service: str | None) -> tuple[str, ...]:
    """The services a command is about: the named one, or all. An unknown name is wrong usage."""
    if service is None:
        return SERVICES
    if service not in SERVICES:
        raise typer.BadParameter(f"{service} is none of {', '.join(SERVICES)}", param_hint="--service")
    return (service,)


def _send(
    settings: Settings,
    service: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: object = None,
    content: tuple[bytes, str] | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    once: str | None = None,
) -> httpx2.Response:
    url = settings.urls[service] + path
    headers = {"accept": "application/json", **(headers or {})}
    if token := key or settings.api_key:
        headers["authorization"] = f"Bearer {token}"
    if once is not None:
        headers["idempotency-key"] = once
    raw = None
    if content is not None:
        raw, headers["content-type"] = content
    elif body is not None:
        raw, headers["content-type"] = json.dumps(body).encode(), "application/json"
    try:
        # The addresses are our own: a proxy of the surroundings does not lead to them.
        with httpx2.Client(timeout=TIMEOUT, trust_env=False, verify=trust()) as client:
            return client.request(method, url, params=params, content=raw, headers=headers)
    except httpx2.TimeoutException:
        raise Failed(
            f"{service} did not answer in time at {settings.urls[service]}",
            "It may be overloaded or cut off from its database: `baton doctor` says which.",
        ) from None
    except (httpx2.RequestError, httpx2.InvalidURL, ValueError) as error:
        raise Failed(
            f"{service} cannot be reached at {settings.urls[service]} ({reason_of(error)})",
            f"Is it running? `make up` starts the local stack; another address goes into cli.json or "
            f"{variable(service, 'URL')}. `baton doctor` checks everything.",
        ) from None


def reason_of(error: BaseException) -> str:
    """The innermost plain reason of a failed connection."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return clean(error) or type(error).__name__


def refused(service: str, answer: httpx2.Response) -> Failed:
    """Turn an answer that is no success into a message: problem details (RFC 9457), or what came instead."""
    advice = []
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        message = f"{service} answered {answer.status_code} with {_media(answer)}"
        advice.append("That is no answer of Baton's: a proxy may stand in between.")
        return Failed(message, *advice)
    title = clean(problem.get("title") or answer.reason_phrase)
    message = f"{service}: {title} ({answer.status_code})"
    advice.append(clean(problem.get("detail")))
    for error in problem.get("errors") or []:
        if isinstance(error, dict):
            places = [error.get("pointer"), f"line {error['line']}" if error.get("line") else None]
            place = ", ".join(clean(p) for p in places if p)
            advice.append(f"  {place or '(document)'}: {clean(error.get('detail'))}")
    if answer.status_code == 401:
        advice.append("Set BATON_API_KEY, or `api_key` in cli.json. `baton config show` says which key is used.")
    if answer.status_code in (429, 503) and (seconds := answer.headers.get("retry-after")):
        advice.append(f"Try again in {clean(seconds)} s.")
    if trace := problem.get("trace_id") or answer.headers.get("x-request-id"):
        advice.append(f"trace id: {clean(trace)}")
    return Failed(message, *advice)


def _media(answer: httpx2.Response) -> str:
    return clean(answer.headers.get("content-type", "no content type").split(";")[0])
