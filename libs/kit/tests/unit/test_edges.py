"""The small parts at the edges: seal, cursors, bodies, words of errors, effective client settings."""

import asyncio
import base64
import io
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from asyncpg import InternalClientError
from starlette.requests import Request

from baton_kit import broker, telemetry
from baton_kit.consumer import _Seek
from baton_kit.outages import is_outage
from baton_kit.pages import decode_cursor, encode_cursor
from baton_kit.problems import Problem
from baton_kit.raw_body import BodyRefused, read_body
from baton_kit.seal import SealBroken, seal, unseal
from baton_kit.settings import KafkaSettings

KEY = bytes(range(32))
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")


async def test_the_producer_in_force_waits_for_all_replicas_and_is_idempotent() -> None:
    made = broker.producer(KAFKA, client_id="t")
    assert made._sender._acks == -1
    assert made._txn_manager is not None
    await broker.abandon(made)


async def test_the_consumer_in_force_never_commits_or_jumps_by_itself() -> None:
    made = broker.consumer(KAFKA, client_id="t", group="g", topics=["t"], listener=_Seek(None))  # type: ignore[arg-type]
    assert made._enable_auto_commit is False
    assert made._auto_offset_reset == "none"
    assert made._isolation_level == "read_committed"
    await made.stop()


def test_a_seal_opens_with_its_key_in_its_place_only() -> None:
    sealed = seal(KEY, b"secret", context="source:1")
    assert unseal(KEY, sealed, context="source:1") == b"secret"
    assert sealed != seal(KEY, b"secret", context="source:1")
    for key, found, context in [
        (bytes(32), sealed, "source:1"),
        (KEY, sealed, "source:2"),
        (KEY, sealed[:-1], "source:1"),
        (KEY, b"", "source:1"),
        (KEY, b"\x01abc", "source:1"),
    ]:
        with pytest.raises(SealBroken):
            unseal(key, found, context=context)


def test_a_cursor_gives_back_its_position() -> None:
    assert decode_cursor(encode_cursor("lead-1", 7), kinds=[str, int]) == ["lead-1", 7]
    assert decode_cursor(None, kinds=[str]) is None


@pytest.mark.parametrize(
    "cursor",
    ["", "é", "!!", encode_cursor("a"), encode_cursor(True), encode_cursor(1, 2), encode_cursor(2**63),
     base64.urlsafe_b64encode(b"[" * 300).decode(), encode_cursor("a\x00")],
)  # fmt: skip
def test_a_cursor_that_was_not_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        decode_cursor(cursor, kinds=[int])
    assert refused.value.status == 400


def request(parts: list[bytes], *, headers: dict[str, str] | None = None, stall: bool = False) -> Request:
    async def stream() -> AsyncIterator[dict[str, Any]]:
        for part in parts:
            yield {"type": "http.request", "body": part, "more_body": True}
        if stall:
            await asyncio.Event().wait()
        yield {"type": "http.request", "body": b"", "more_body": False}

    found = stream()
    raw = [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive=lambda: anext(found))


async def test_a_body_comes_back_byte_by_byte() -> None:
    assert await read_body(request([b"a\r\n", b"\x00b"])) == b"a\r\n\x00b"


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (request([b"x" * 6, b"x" * 5], headers={"content-length": "3"}), 413),
        (request([b"x"], stall=True), 408),
        (request([b"x"], headers={"content-encoding": "gzip"}), 415),
    ],
)
async def test_a_body_beyond_the_limits_is_refused(made: Request, status: int) -> None:
    with pytest.raises(BodyRefused) as refused:
        await read_body(made, limit=10, seconds=0.05)
    assert refused.value.status == status


def failure() -> BaseException:
    try:
        try:
            raise ValueError("anna@example.com")
        except ValueError as error:
            raise RuntimeError("call +49 30 1234") from error
    except RuntimeError as error:
        return ExceptionGroup("of anna@example.com", [error])


def test_what_is_logged_of_an_error_names_kind_and_place_and_no_person() -> None:
    found = telemetry.describe(failure())
    assert "RuntimeError" in found
    assert "ValueError" in found
    assert "test_edges.py" in found
    assert "anna" not in found
    assert "+49" not in found


def test_the_logs_of_libraries_lose_the_words_of_errors_too() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(telemetry._Wordless("%(message)s"))
    error = failure()
    handler.emit(logging.LogRecord("x", 40, "f", 1, "failed", None, (type(error), error, error.__traceback__)))
    assert "RuntimeError" in out.getvalue()
    assert "anna" not in out.getvalue()


LOST = RuntimeError("unable to perform operation on <TCPTransport closed=True 0x1>; the handler is closed")


BUSY = InternalClientError("cannot switch to state 12; another operation (2) is in progress")


@pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), OSError(), KafkaConnectionError(), LOST, BUSY])
def test_what_waiting_may_cure_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), RuntimeError("x")])
def test_a_fault_of_the_handler_is_none(error: Exception) -> None:
    assert not is_outage(error)


@pytest.mark.parametrize(
    ("state", "outage"),
    [("08006", True), ("40001", True), ("40P01", True), ("53300", True), ("57P01", True), ("55P03", True),
     ("25P03", True), ("25P04", True), ("42P01", True), ("22021", False), ("23505", False)],
)  # fmt: skip
def test_of_what_the_database_answers_only_data_and_constraints_stand_with_the_event(state: str, outage: bool) -> None:
    error = Exception()
    error.sqlstate = state  # type: ignore[attr-defined]
    assert is_outage(error) is outage


def test_a_request_without_a_trace_gets_one_that_nobody_samples() -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert telemetry.cause(given) == given
    for absent in (None, "", "00-0-0-01", "00-" + "0" * 32 + "-b7ad6b7169203331-01"):
        made = telemetry.parse_traceparent(telemetry.cause(absent))
        assert made is not None
        assert not made.trace_flags.sampled
    assert telemetry.cause(None) != telemetry.cause(None)
