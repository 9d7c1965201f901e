"""The internal listener: `/livez`, `/readyz`, `/metrics`."""

import json
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[str | None]]
"""Answers None when all is well, else what is wrong and what to do, in one line."""
Note = Callable[[], Awaitable[str]]
"""Says in one line how something stands that readiness does not hang on."""


def create_ops(checks: Mapping[str, Check], *, notes: Mapping[str, Note] | None = None) -> Starlette:
    """Make the internal app. Ready means that every check passes; live means that the loop still runs.

    `notes` are shown with `?verbose` below `notes` and change no status: an alarm that a restart cannot cure must not
    take the process out of service.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        found = {name: await check() for name, check in checks.items()}
        wrong = {name: reason for name, reason in found.items() if reason is not None}
        status = 503 if wrong else 200
        if "verbose" in request.query_params:
            told: dict[str, object] = {name: reason or "ok" for name, reason in found.items()}
            if notes and not wrong:
                told["notes"] = {name: await note() for name, note in notes.items()}
            body = json.dumps(told, indent=1)
            return Response(body + "\n", status_code=status, media_type="application/json")
        return PlainTextResponse("ok\n" if not wrong else ", ".join(sorted(wrong)) + "\n", status_code=status)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
