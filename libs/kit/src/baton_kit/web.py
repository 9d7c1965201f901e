"""What every HTTP listener has: a trace, a request id, and a server that stops when the process says so."""

import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import structlog
import uvicorn
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import ASGIApp, Receive, Scope, Send

from baton_kit import telemetry
from baton_kit.ids import new_id

_LONGEST_ID = 128


class Traced:
    """Pure ASGI: continues the caller's trace, echoes `X-Request-Id`, answers with `traceparent`.

    A function-style middleware of the framework would cost more than the rest of the hot path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        parent = request_id = None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                parent = value.decode("latin-1")
            elif name == b"x-request-id":
                request_id = value.decode("latin-1")
        if (
            request_id is None
            or not request_id.isascii()
            or not request_id.isprintable()
            or len(request_id) > _LONGEST_ID
        ):
            request_id = new_id()

        with (
            telemetry.span(f"{scope['method']}", kind=SpanKind.SERVER, parent=parent) as span,
            structlog.contextvars.bound_contextvars(request_id=request_id),
        ):
            traceparent = telemetry.traceparent()
            extra = [(b"x-request-id", request_id.encode("latin-1"))]
            if traceparent:
                extra.append((b"traceparent", traceparent.encode()))

            async def send_with_ids(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", []), *extra]
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self.app(scope, receive, send_with_ids)
            # The pattern, not the path: a path may carry what a trace must not.
            route = getattr(scope.get("route"), "path", None)
            if route:
                span.update_name(f"{scope['method']} {route}")


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: `runtime` handles SIGTERM and SIGINT for the whole process."""
        yield


def server(app: ASGIApp, *, host: str, port: int, drain_seconds: int = 10) -> Server:
    """Make a server for one listener."""
    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=20,
            timeout_graceful_shutdown=drain_seconds,
            h11_max_incomplete_event_size=64 * 1024,
            backlog=2048,
        )
    )
