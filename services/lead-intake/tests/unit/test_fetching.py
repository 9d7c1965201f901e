"""The pure rules of lookups, and the published vectors of the providers that are looked up."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_intake.delivery import Incoming, Source
from lead_intake.fetching import linkedin, meta, tiktok
from lead_intake.fetching.calls import (
    Answer,
    CallFailed,
    Impossible,
    NotThere,
    Throttled,
    TokenRefused,
    Unavailable,
    retry_after,
)
from lead_intake.fetching.fetch import LONGEST_PAUSE, pause_of
from lead_intake.fetching.job import FIRST_WAIT_S, LONGEST_WAIT_S, Allowance, wait_of
from lead_intake.sources import PROVIDERS

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)

VECTORS = [
    (
        "meta", "meta-app-secret-1",
        rb'{"object":"page","entry":[{"id":"104882771900001","time":1767600005,"changes":[{"field":"leadgen","value":'
        rb'{"leadgen_id":"9870011223344556","page_id":"104882771900001","form_id":"733300112233445","ad_id":'
        rb'"120210987650010","adgroup_id":"120210987650010","created_time":1767600000,"note":"caf\u00e9"}}]}]}',
        {"x-hub-signature-256": "sha256=e256af0c18dcf0d6a2321fb831b856236119642655427937a1c6bb5754c31f01"},
    ),
    (
        "linkedin", "li-client-secret-1",
        b'{"type":"LEAD_ACTION","leadGenFormResponse":"urn:li:leadGenFormResponse:7c1d-9","leadAction":"CREATED",'
        b'"occurredAt":1767600000123}',
        {"x-li-signature": "1014947fb20d5aef780c4032e472f07a55bae1d7e53a313c270e2ef1610b9bbd"},
    ),
    (
        "tiktok", "tt-secret-1", b'{"object":1,"time":1767600000,"entry":[]}',
        {"tiktok-signature": "t=1767600000,s=cced3b007814722af80296ce4e2888fe64619392db7a31d63189ab9ceee2fbd8"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "secret", "body", "headers"), VECTORS, ids=[v[0] for v in VECTORS])
def test_a_published_vector_verifies_and_no_other(
    provider: str, secret: str, body: bytes, headers: dict[str, str]
) -> None:
    arrived = Incoming("POST", "", headers, body, "", NOW)
    source = Source(provider, provider, secrets=("an-older-secret", secret), token_digest=b"x")
    assert PROVIDERS[provider].verify(arrived, source, now=NOW)
    read_and_written = json.dumps(json.loads(body), ensure_ascii=False).encode()
    for changed in (body[:-1] + b" }", read_and_written):
        assert not PROVIDERS[provider].verify(dataclasses.replace(arrived, body=changed), source, now=NOW)
    [(name, value)] = headers.items()
    for wrong in ("", "sha256=", "t=1,s=é", value[:-1], "x" + value):
        strange = dataclasses.replace(arrived, headers={name: wrong})
        assert not PROVIDERS[provider].verify(strange, source, now=NOW), wrong


def test_tiktok_without_a_signature_needs_the_token_in_its_address() -> None:
    arrived = Incoming("POST", "", {}, b"{}", "", NOW)
    assert not PROVIDERS["tiktok"].verify(arrived, Source("t", "tiktok", secrets=("tt-secret-1",)), now=NOW)


@given(attempt=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_wait_always_grows_to_an_hour_and_no_further(attempt: int, jitter: float) -> None:
    wait = wait_of(attempt, jitter=jitter).total_seconds()
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt, 20))
    assert longest / 2 <= wait <= longest


@given(
    per_minute=st.floats(1, 6_000),
    steps=st.lists(st.tuples(st.floats(-60, 600), st.integers(0, 50)), max_size=40),
)
def test_no_order_of_calls_ever_gets_more_than_rate_and_burst(
    per_minute: float, steps: list[tuple[float, int]]
) -> None:
    bucket, now, made = Allowance(20.0, NOW), NOW, 0
    latest = NOW
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        latest = max(latest, now)
        bucket = bucket.refilled(per_minute=per_minute, burst=20, now=now)
        calls = max(0, min(wanted, int(bucket.left)))
        bucket = bucket.less(calls)
        made += calls
        assert made <= 20 + per_minute / 60 * (latest - NOW).total_seconds() + 1e-6


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("120", timedelta(seconds=120)),
        ("0", timedelta()),
        ("Mon, 05 Jan 2026 08:02:00 GMT", timedelta(minutes=2)),
        ("Mon, 05 Jan 2026 07:00:00 GMT", timedelta()),
        ("9999999", timedelta(hours=6)),
        ("99999999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(told: str, expected: timedelta | None) -> None:
    assert retry_after(Answer(429, {"retry-after": told}, b""), now=NOW) == expected


def test_pauses_double_and_end_at_an_hour() -> None:
    assert [pause_of(n, wait=None).total_seconds() for n in (1, 2, 3)] == [30, 60, 120]
    assert pause_of(1_000, wait=None) == LONGEST_PAUSE
    assert pause_of(3, wait=timedelta(minutes=7)) == timedelta(minutes=7)
    assert pause_of(3, wait=timedelta()) == timedelta(seconds=1)


def graph(code: int, subcode: int | None = None) -> Answer:
    error = {"code": code} | ({} if subcode is None else {"error_subcode": subcode})
    return Answer(400, {}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("judge", "answer", "kind", "reason"),
    [
        (meta.judge, graph(190, 463), TokenRefused, "token_expired"),
        (meta.judge, graph(190), TokenRefused, "token"),
        (meta.judge, graph(200), TokenRefused, "permission_missing"),
        (meta.judge, graph(10), TokenRefused, "permission_missing"),
        (meta.judge, graph(80005), Throttled, "throttled"),
        (meta.judge, graph(613), Throttled, "throttled"),
        (meta.judge, graph(100, 33), NotThere, "lead_not_found"),
        (meta.judge, graph(100), Impossible, "request_refused"),
        (meta.judge, graph(2), Unavailable, "provider_fault"),
        (meta.judge, Answer(500, {}, b"<html>"), Unavailable, "http_500"),
        (meta.judge, Answer(400, {}, b"[]"), Impossible, "http_400"),
        (linkedin.judge, Answer(401, {}, b""), TokenRefused, "unauthorized"),
        (linkedin.judge, Answer(403, {}, b""), TokenRefused, "forbidden"),
        (linkedin.judge, Answer(404, {}, b""), NotThere, "not_found"),
        (linkedin.judge, Answer(429, {}, b""), Throttled, "throttled"),
        (tiktok.judge, Answer(200, {}, b'{"code":40105}'), TokenRefused, "token"),
        (tiktok.judge, Answer(200, {}, b'{"code":40100}'), Throttled, "throttled"),
        (tiktok.judge, Answer(200, {}, b'{"code":40002}'), Impossible, "request_refused"),
        (tiktok.judge, Answer(200, {}, b'{"code":50000}'), Unavailable, "provider_fault"),
    ],
)
def test_every_failure_is_told_by_its_remedy(
    judge: object, answer: Answer, kind: type[CallFailed], reason: str
) -> None:
    with pytest.raises(kind) as raised:
        judge(answer)  # type: ignore[operator]  # the providers' own functions
    assert raised.value.reason == reason


@given(
    usage=st.dictionaries(
        st.sampled_from(["call_count", "total_time", "estimated_time_to_regain_access"]),
        st.one_of(st.integers(-5, 200), st.text(max_size=3), st.none(), st.lists(st.integers(), max_size=2)),
    )
)
def test_any_usage_header_is_survived(usage: dict[str, object]) -> None:
    headers = {
        "x-app-usage": json.dumps(usage),
        "x-business-use-case-usage": json.dumps({"1": [usage], "2": usage, "3": [None]}),
    }
    rest = meta.judge(Answer(200, headers, b"{}"))
    used = [v for k, v in usage.items() if k != "estimated_time_to_regain_access" and isinstance(v, int)]
    assert (rest is not None) is bool(used and max(used) >= meta.NEARLY_USED_UP)
