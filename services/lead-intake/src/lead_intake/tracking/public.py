"""Segment's HTTP tracking API on the public listener: `/v1/{identify,track,page,screen,group,alias,batch}`.

Browsers call it from the user's own sites, so that it answers to every origin; it takes no cookie. Source: Segment's
HTTP API (write key by Basic authentication or in the body, 32 KB a call, 500 KB a batch, 400 for what is larger or no
JSON, 200 `{"success": true}` else).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from baton_kit import telemetry
from baton_kit.failpoint import failpoint
from baton_kit.telemetry import log
from lead_intake.delivery import Incoming, Reply, Source, Unparsable
from lead_intake.entry import Delivery, delivery_of, unreadable
from lead_intake.group_commit import Busy
from lead_intake.public import (
    BUSY,
    ENCODED,
    FAULT,
    METHOD,
    NOT_ACCEPTED,
    READY,
    Refused,
    answered,
    body_of,
    headers_of,
    load_sources,
    place,
    problem,
    repairable,
    send_reply,
    url_of,
)
from lead_intake.reading import json_of
from lead_intake.sources import PROVIDERS, segment
from lead_intake.sources.plain import MAX_ENTRIES
from lead_intake.tracking.rate import Rates

if TYPE_CHECKING:
    from lead_intake.app import App

PROVIDER = "segment"
PATHS = ("identify", "track", "page", "screen", "group", "alias", "batch", "import", "i", "t", "p", "s", "g", "a", "b")
"""Segment's names; its browser library uses the first letters."""
LARGEST_CALL = segment.LARGEST_EVENT
LARGEST_BATCH = 500 * 1024
MOST_CALLS = 2_500

_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-type, anonymousid, idempotency-key, traceparent"),
    (b"access-control-max-age", b"86400"),
)
ALLOWED = Reply(204)
TOO_LARGE = problem(400, "The call is too large", "At most 32 KB a call, 500 KB a batch.", connection="close")
NOT_JSON = problem(400, "The call cannot be read", "Send one JSON object.")
TOO_MANY = problem(429, "Too many calls", "Send them again a little later.", retry_after="5")


class Tracking:
    """One call or a batch. The answer leaves after the commit; a repeat is known by its `messageId`."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.rates = Rates(app.settings.tracking_a_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, to whatever site asks."""
        reply = ALLOWED
        if scope["method"] != "OPTIONS":
            reply = await self._answer(scope, receive)
            answered(reply.status).inc()
        open_to_all = Reply(reply.status, reply.body, reply.content_type, (*reply.headers, *_CORS))
        await send_reply(open_to_all, send, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        app: App = self.app
        source: Source | None = None
        try:
            if scope["method"] in ("GET", "HEAD"):
                return READY
            if scope["method"] != "POST":
                return METHOD
            headers = headers_of(scope)
            if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
                raise Refused(ENCODED, "content_encoding")
            call = scope["path"].rpartition("/")[2]
            batch = call in ("batch", "import", "b")
            body = await body_of(receive, largest=LARGEST_BATCH if batch else LARGEST_CALL, too_large=TOO_LARGE)
            failpoint("tracking.received")
            if not app.sources.loaded:
                await load_sources(app)

            # 1. Which source is it? The key stands in the header or, from a browser, in the body.
            told = _json(body)
            key = _basic(headers.get("authorization", "")) or _text(told, "writeKey")
            source = app.sources.by_token(PROVIDER, key)
            if source is None:
                raise Refused(NOT_ACCEPTED, "unknown_source")
            if segment.is_bot(headers.get("user-agent", "")):
                app.refusals.add(source, reason="bot", at=app.clock.now())
                return segment.reply_success()
            calls = told["batch"] if batch and isinstance(told.get("batch"), list) else [told]
            if len(calls) > MOST_CALLS:
                raise Refused(TOO_LARGE, "too_many_entries")
            if not self.rates.admits(source.id, len(calls), now=asyncio.get_running_loop().time()):
                raise Refused(TOO_MANY, "rate")

            # 2. A large batch is several deliveries: each is stored as a whole, and a repeat finds what was.
            incoming = Incoming("POST", url_of(app.settings.public_url, scope), headers, body, "", app.clock.now())
            cause = telemetry.cause(headers.get("traceparent"))
            parts = [incoming] if len(calls) <= MAX_ENTRIES else _parts(incoming, told, calls)
            try:
                waiting = [app.commits.submit(app, _delivery(app, part, source, cause=cause)) for part in parts]
                for settled in waiting:
                    await settled
            except Busy:
                self.rates.give_back(source.id, len(calls))
                raise
            return segment.reply_success()
        except Refused as refused:
            app.refusals.add(source, reason=refused.reason, at=app.clock.now())
            return refused.reply
        except Busy:
            return BUSY
        except Exception as error:
            log.error("delivery_failed", error=type(error).__name__, place=place(error))
            return FAULT


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json_of(body, charset="")
    except Unparsable:
        raise Refused(NOT_JSON, "not_json") from None
    if not isinstance(told, dict):
        raise Refused(NOT_JSON, "not_an_object")
    return told


def _delivery(app: App, part: Incoming, source: Source, *, cause: str | None) -> Delivery:
    provider = PROVIDERS[PROVIDER]
    kept = provider.kept(part)
    try:
        delivery = delivery_of(part, source, provider.parse(part, source), body=kept, traceparent=cause)
    except Unparsable as error:
        delivery = unreadable(part, source, reason=error.reason, body=kept)
    return repairable(app, delivery, part)


def _parts(incoming: Incoming, told: dict[str, Any], calls: list[Any]) -> list[Incoming]:
    whole = {name: value for name, value in told.items() if name not in ("batch", "writeKey")}
    return [
        Incoming(
            incoming.method, incoming.url, incoming.headers,
            json.dumps({**whole, "batch": calls[start : start + MAX_ENTRIES]}).encode("utf-8", "surrogatepass"),
            incoming.token, incoming.received_at,
        )
        for start in range(0, len(calls), MAX_ENTRIES)
    ]  # fmt: skip


def _basic(header: str) -> str:
    """The user name of Basic authentication: the write key, with an empty password."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip()[:2_000], validate=True).decode("utf-8").partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    return value[:500] if isinstance(value, str) else ""
