"""Read a request's raw bytes within limits of size and time, whatever its headers claim."""

import asyncio

from starlette.requests import ClientDisconnect, Request

LARGEST_BODY = 256 * 1024
SLOWEST_BODY = 10.0


class BodyRefused(Exception):
    """The body is too large (413), too slow (408), encoded (415), or its sender went away (400)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


async def read_body(request: Request, *, limit: int = LARGEST_BODY, seconds: float = SLOWEST_BODY) -> bytes:
    """Return the bytes exactly as they came, at most `limit` of them, within `seconds`. Raises BodyRefused.

    Content-Length is not believed. Encoded bodies are refused: no provider sends them, and a small one can unpack to
    gigabytes.
    """
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise BodyRefused(415, "content-encoding")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise BodyRefused(413, "too large")
                parts.append(part)
    except TimeoutError:
        raise BodyRefused(408, "too slow") from None
    except ClientDisconnect:
        raise BodyRefused(400, "sender went away") from None
    return b"".join(parts)
