"""The public door: a plain ASGI route, since the framework would cost more than all its checks.

An unknown source, a wrong token and a bad signature get the same bytes. Whatever comes in, the answer is one of a
closed list; nothing of the request is ever repeated in it, but the challenge of a provider that proved itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from functools import lru_cache

from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from baton_kit import telemetry
from baton_kit.failpoint import failpoint
from baton_kit.telemetry import log
from lead_intake import form_page, spam
from lead_intake.app import App
from lead_intake.carry_on import with_origin
from lead_intake.delivery import Incoming, Outcome, Reply, Source, Unparsable
from lead_intake.door import DECOY, token_fits, verified
from lead_intake.entry import Delivery, delivery_of, unreadable
from lead_intake.group_commit import Busy
from lead_intake.ledger.request import sealed_request
from lead_intake.reading import query_of
from lead_intake.sources import PROVIDERS

LARGEST_BODY = 256 * 1024
SLOWEST_BODY_S = 10.0

ANSWERED = Counter("baton_intake_answers_total", "Answers of the public listener", ["status"])


def problem(status: int, title: str, detail: str, **headers: str) -> Reply:
    """An answer of the closed list; header names have `_` for `-`."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    return Reply(
        status,
        body,
        "application/problem+json",
        tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
    )


READY = Reply(200, b"{}")
NOT_ACCEPTED = problem(
    401, "Not accepted", "Check the address and the secret.", www_authenticate='Signature realm="baton"'
)
TOO_LARGE = problem(413, "The body is too large", "At most 262144 bytes are taken.", connection="close")
TOO_SLOW = problem(408, "The body came too slowly", "Send it within ten seconds.", connection="close")
ENCODED = problem(415, "Encoded bodies are not taken", "Send the body without Content-Encoding.")
METHOD = problem(405, "Only POST carries deliveries", "Use POST.", allow="POST, GET, HEAD")
NOT_GREETED = problem(403, "Not accepted", "Check the address and the verify token.")
BUSY = problem(503, "Not stored", "Nothing was acknowledged. Send it again.", retry_after="1")
FAULT = problem(503, "Not stored", "The fault is ours. Send it again.", retry_after="30")

_ASKS = frozenset({"hub.mode", "hub.challenge", "challengeCode"})
"""What a provider asks by GET before it sends anything."""


class Refused(Exception):
    """The request ends here, with this reply."""

    def __init__(self, reply: Reply, reason: str, *, incoming: Incoming | None = None) -> None:
        super().__init__(reason)
        self.reply, self.reason, self.incoming = reply, reason, incoming


class Webhooks:
    """`POST /v1/webhooks/{source}` and `…/{source}/{token}`."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._traced = app.settings.otlp_endpoint is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the 2xx leaves after the commit."""
        await send_reply(await self.answer(scope, receive), send, head=scope["method"] == "HEAD")

    async def answer(self, scope: Scope, receive: Receive) -> Reply:
        """The answer to one request, whatever happens."""
        source = self.app.sources.get(scope["path_params"]["source"])
        try:
            reply = await self._answer(scope, receive, source)
        except Refused as refused:
            self.app.refusals.add(source, reason=refused.reason, at=self.app.clock.now(), incoming=refused.incoming)
            reply = refused.reply
        except Busy:
            reply = BUSY
        except Exception as error:
            # Never a 500 and never a lost delivery: the sender comes again.
            # The traceback may quote the body, so only the place of the fault is named.
            log.error("delivery_failed", error=type(error).__name__, place=place(error))
            reply = FAULT
        answered(reply.status).inc()
        return reply

    async def _answer(self, scope: Scope, receive: Receive, source: Source | None) -> Reply:
        method = scope["method"]
        if method not in ("POST", "GET", "HEAD"):
            return METHOD
        if method != "POST" and not scope["query_string"]:
            return READY  # the same for every address: it only says that somebody listens
        if not self.app.sources.loaded:
            await load_sources(self.app)
            source = self.app.sources.get(scope["path_params"]["source"])
        headers = headers_of(scope)
        if method != "POST":
            question = self._incoming(scope, headers, b"")
            if (answer := _handshake(question, source)) is not None:
                return answer
            if _ASKS & query_of(question).keys():
                raise Refused(NOT_GREETED, "handshake")
            return READY
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise Refused(ENCODED, "content_encoding")
        body = await body_of(receive)
        failpoint("intake.received")
        incoming = self._incoming(scope, headers, body)
        if (asked := _handshake(incoming, source)) is not None:
            return asked

        # 1. Who sends this? The raw bytes decide, before anything is read from them.
        provider = PROVIDERS[source.provider if source else DECOY.provider]
        if not verified(provider, incoming, source):
            raise Refused(NOT_ACCEPTED, "signature" if source else "unknown_source", incoming=incoming)
        assert source is not None  # noqa: S101 - `verified` refuses without one

        # 2. What does it say? What cannot be read is kept and answered like success: a repeat would not help.
        kept = provider.kept(incoming)
        try:
            inquiries = provider.parse(incoming, source)
            if any(inquiry.continues for inquiry in inquiries):
                inquiries = await with_origin(self.app, source, inquiries)
            cause = (telemetry.traceparent() if self._traced else None) or telemetry.cause(headers.get("traceparent"))
            delivery = delivery_of(incoming, source, inquiries, body=kept, traceparent=cause)
            delivery = self.app.rates.judged(delivery, source)
        except Unparsable as error:
            delivery = unreadable(incoming, source, reason=error.reason, body=kept)
        except Busy:
            raise
        except Exception as error:
            # A fault of ours on this body: it is kept until the fault is mended, and blocks nobody.
            log.error("delivery_not_understood", error=type(error).__name__, place=place(error))
            delivery = unreadable(incoming, source, reason="fault", body=kept)

        # 3. The answer waits for the commit of its batch.
        delivery = repairable(self.app, delivery, incoming)
        result = await self.app.commits.submit(self.app, delivery)
        return provider.reply(spam.told(delivery, result))

    def _incoming(self, scope: Scope, headers: dict[str, str], body: bytes) -> Incoming:
        return Incoming(
            method=scope["method"],
            url=url_of(self.app.settings.public_url, scope),
            headers=headers,
            body=body,
            token=scope["path_params"].get("token", ""),
            received_at=self.app.clock.now(),
        )


def repairable(app: App, delivery: Delivery, incoming: Incoming) -> Delivery:
    """The delivery, with its request where a part of it may have to be read again."""
    if all(entry.outcome is not Outcome.QUARANTINED for entry in delivery.entries):
        return delivery
    key = app.settings.seal_key_bytes
    sealed = sealed_request(key, incoming, receipt_id=delivery.receipt_id, with_body=False)
    return dataclasses.replace(delivery, request=sealed)


async def load_sources(app: App) -> None:
    """Read the sources for the first time. Raises `Busy` where the database is away."""
    try:
        async with asyncio.timeout(0.8):
            await app.sources.refresh()
    except Exception as error:
        log.warning("sources_not_loaded", error=type(error).__name__)
        raise Busy from error


class FormPage:
    """`/v1/forms/{source}/{token}`: the form for the phone, for those who have the token of a source that offers it."""

    def __init__(self, webhooks: Webhooks) -> None:
        self.webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the form, or take what was written into it the way of every delivery."""
        app, method = self.webhooks.app, scope["method"]
        lang = form_page.language(scope["query_string"].decode("latin-1"), headers_of(scope).get("accept-language", ""))
        source = app.sources.get(scope["path_params"]["source"])
        if method == "POST":
            reply = await self.webhooks.answer(scope, receive)
            if source is not None and _offers_form(source):
                path = scope.get("raw_path") or scope["path"].encode()
                reply = form_page.after(reply, source, lang=lang, path=path)
        elif method not in ("GET", "HEAD"):
            reply = METHOD
        elif not app.sources.loaded:
            reply = BUSY
        elif source is None or not _offers_form(source) or not token_fits(scope["path_params"]["token"], source):
            reply = NOT_ACCEPTED
        else:
            page = form_page.sent if scope["query_string"].startswith(b"sent=") else form_page.form
            reply = page(source, lang)
        await send_reply(reply, send, head=method == "HEAD")


def _offers_form(source: Source) -> bool:
    return source.settings.get("form_page") == "on" and bool(source.token_digest)


def _handshake(incoming: Incoming, source: Source | None) -> Reply | None:
    asked = None if source is None else PROVIDERS[source.provider].handshake(incoming, source)
    # The token is looked at only when something was asked: most deliveries ask nothing.
    return asked if asked and source and token_fits(incoming.token, source) else None


async def body_of(receive: Receive, *, largest: int = LARGEST_BODY, too_large: Reply = TOO_LARGE) -> bytes:
    """The bytes as they came, within limits of size and time; Content-Length is not believed."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SLOWEST_BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(TOO_SLOW, "sender_went_away")
                part = message.get("body", b"")
                size += len(part)
                if size > largest:
                    raise Refused(too_large, "too_large")
                parts.append(part)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Refused(TOO_SLOW, "too_slow") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers, names in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def url_of(public_url: str, scope: Scope) -> str:
    """The address as the sender knows it."""
    path = (scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return f"{public_url.rstrip('/')}{path}?{query}" if query else f"{public_url.rstrip('/')}{path}"


async def send_reply(reply: Reply, send: Send, *, head: bool) -> None:
    """Send an answer, without its body for HEAD."""
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})


@lru_cache(maxsize=16)
def answered(status: int) -> Counter:
    """The counter of answers with this status."""
    return ANSWERED.labels(str(status))


def place(error: Exception) -> str:
    """Where in our code an error came from, without a word of what it said."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno}" if frame else ""
