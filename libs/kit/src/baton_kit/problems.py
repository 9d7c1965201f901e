"""Errors for people and programs: RFC 9457 problem details that never repeat the refused value."""

import json
from collections.abc import Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from baton_kit import telemetry
from baton_kit.outages import is_outage
from baton_kit.telemetry import log

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """Raise it anywhere in a request. `detail` says what is possible now; `errors` point at places (JSON Pointer)."""

    def __init__(
        self,
        status: int,
        title: str,
        *,
        detail: str = "",
        type: str = "about:blank",
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.detail, self.type = status, title, detail, type
        self.errors, self.headers = list(errors), dict(headers or {})


def problem_response(problem: Problem, *, instance: str | None = None) -> Response:
    """Return the problem as an HTTP answer."""
    body: dict[str, object] = {"type": problem.type, "title": problem.title, "status": problem.status}
    if problem.detail:
        body["detail"] = problem.detail
    if instance:
        body["instance"] = instance
    if problem.errors:
        body["errors"] = problem.errors
    if trace_id := telemetry.trace_id():
        body["trace_id"] = trace_id
    return Response(json.dumps(body), status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def outage_problem() -> Problem:
    """Return what is answered while the database is away: nothing was accepted, ask again."""
    return Problem(
        503,
        "The service cannot reach its database",
        detail="Nothing was changed. Try again.",
        headers={"Retry-After": "1"},
    )


def add_problem_handlers(api: FastAPI) -> None:
    """Answer every error of the app as a problem."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101 - registered for this type only
        return problem_response(error, instance=request.url.path)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
        title = HTTPStatus(error.status_code).phrase
        headers = dict(error.headers or {})
        return problem_response(Problem(error.status_code, title, headers=headers), instance=request.url.path)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
        errors = [{"pointer": _pointer(e["loc"]), "detail": str(e["msg"])} for e in error.errors()]
        detail = "Correct the fields named in `errors` and send the request again."
        return problem_response(
            Problem(422, "The request is not valid", detail=detail, errors=errors), instance=request.url.path
        )

    api.add_exception_handler(Problem, on_problem)
    api.add_exception_handler(HTTPException, on_http)
    api.add_exception_handler(RequestValidationError, on_invalid)
    # Not a handler for Exception: the framework runs those outside of the trace and raises the error once more.
    api.add_middleware(Answered)


class Answered:
    """Pure ASGI: an error that nothing else answered becomes a problem, 503 for an outage and 500 for a fault."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def send_and_note(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await _unexpected(scope, error)(scope, receive, send)


def _unexpected(scope: Scope, error: Exception) -> Response:
    if is_outage(error):
        log.warning("request_met_outage", path=_route(scope), error=type(error).__name__)
        return problem_response(outage_problem(), instance=scope["path"])
    log.error("request_failed", path=_route(scope), error=type(error).__name__, exc_info=error)
    detail = "The fault is ours. Report it with the trace id."
    return problem_response(Problem(500, "Unexpected error", detail=detail), instance=scope["path"])


def _pointer(location: Sequence[str | int]) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in location]
    place, rest = parts[0], parts[1:]
    if place == "body":
        return "/" + "/".join(rest) if rest else ""
    return f"#{place}/" + "/".join(rest)


def _route(scope: Scope) -> str:
    # The pattern, not the path: paths may carry what a log must not.
    return getattr(scope.get("route"), "path", "unknown")
