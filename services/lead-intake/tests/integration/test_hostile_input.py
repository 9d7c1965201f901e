"""The hostile inputs that were measured, against every provider through the real door."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from intake_providers import SAMPLES, Sample
from intake_samples import SECRETS

from baton_kit.testing import Harness
from lead_intake.app import App

MARK = "hostile.person"
"""Stands in every body; it may be in none of the answers."""


def corpus(sample: Sample) -> Iterator[tuple[str, bytes, str]]:
    """(what it is, body, content type)"""
    own, content_type = sample.body("hostile-key", f"{MARK}@example.com", "+34600112299"), sample.codec.content_type
    yield "the provider's own with NUL", own.replace(b"Anna", b"An\x00na"), content_type
    yield "the provider's own, cut short", own[: len(own) // 2], content_type
    yield "the provider's own in Latin-1", own.replace(b"Anna", b"Ann\xe9"), content_type
    if content_type == "application/json":
        good = own
    else:
        good = json.dumps({"email": f"{MARK}@example.com", "name": "Anna", "submission_id": "hostile-key"}).encode()
    as_json, as_form = "application/json", "application/x-www-form-urlencoded"
    # So that what follows is read, not refused.
    google = b"".join(b'"%s":"%s",' % (name, SECRETS["google_ads"].encode()) for name in (b"google_key", b"secret"))
    yield "NUL in a name", good.replace(b"Anna", b"An\\u0000na"), as_json
    yield "NUL in the key", good.replace(b"hostile-key", b"hostile\\u0000key"), as_json
    yield "lone surrogates", good.replace(b"Anna", b"\\ud800Anna\\udfff"), as_json
    yield "lone surrogate in the key", good.replace(b"hostile-key", b"hostile-\\ud800"), as_json
    yield "right-to-left and zero-width", good.replace(b"Anna", b"\\u202eAnna\\u200b"), as_json
    yield "formula", good.replace(b"Anna", b"=cmd|' /C calc'!A0"), as_json
    yield "NaN", b"{" + google + b'"data":{"email":NaN}}', as_json
    yield "Infinity", good[:-1] + b',"x":-Infinity}', as_json
    yield "number of 5000 digits", good[:-1] + b',"x":' + b"9" * 5_000 + b"}", as_json
    yield "number of 4000 digits", good[:-1] + b',"occurred_at":' + b"9" * 4_000 + b"}", as_json
    yield "deep nesting", b"{" + google + b'"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", as_json
    yield "bottomless nesting", b"[" * 100_000, as_json
    yield "deep objects", b"{" + google + b'"a":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, as_json
    yield "duplicate keys", good[:-1] + b"," + good[1:], as_json
    yield "10,000 fields", json.dumps(json.loads(good) | {f"f{n}": 1 for n in range(10_000)}).encode(), as_json
    yield "a long text", good.replace(b"Anna", b"A" * 150_000, 1), as_json
    yield "not JSON", b"<xml>" + MARK.encode() + b"</xml>", as_json
    yield "broken JSON", good[:-5], as_json
    yield "nothing", b"", as_json
    yield "null", b"null", as_json
    yield "a number", b"42", as_json
    yield "an empty array", b"[]", as_json
    yield "an array of arrays", b"[[[]],[],[{}]]", as_json
    yield "1000 records", json.dumps([{"email": f"{MARK}@example.com"}] * 1_000).encode(), as_json
    yield "every value an object", json.dumps({k: {"x": [{}]} for k in json.loads(good)}).encode(), as_json
    yield "every value a list", json.dumps({k: [1, None, {}, []] for k in json.loads(good)}).encode(), as_json
    yield "every value null", json.dumps(dict.fromkeys(json.loads(good))).encode(), as_json
    yield "a byte order mark", b"\xef\xbb\xbf" + good, as_json
    yield "UTF-16", good.decode().encode("utf-16"), as_json
    yield "Latin-1 bytes", good.replace(b"Anna", b"Ann\xe9"), as_json
    yield "a charset that lies", good, "application/json; charset=utf-7"
    yield "an unknown content type", good, "application/octet-stream"
    yield "a content type of rubbish", good, 'a;b=c;;;="\\'
    yield "JSON as a form", good, as_form
    yield "a bracket flood", b"&".join(b"a" + b"[x]" * 50 + b"=1" for _ in range(500)), as_form
    yield "unclosed brackets", b"a[=1&a[b=2&[c]=3&a]=4&a[][][]=5&email=" + MARK.encode() + b"@example.com", as_form
    yield "10,000 pairs", b"&".join(b"f%d=1" % n for n in range(10_000)), as_form
    yield "percent rubbish", b"email=%ZZ%00%ff%fe&name=%", as_form
    yield "a form in another charset", b"email=a%E9", f"{as_form}; charset=windows-1251"
    yield "multipart without boundary", good, "multipart/form-data"
    yield (
        "multipart that never ends",
        b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\nx',
        ("multipart/form-data; boundary=b"),
    )
    yield "multipart of rubbish", good, "multipart/form-data; boundary=b"
    yield (
        "multipart with 2000 parts",
        (
            b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(2_000))
            + b"--b--"
        ),
        "multipart/form-data; boundary=b",
    )
    yield (
        "multipart with endless headers",
        (b"--b\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--b--"),
        "multipart/form-data; boundary=b",
    )


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
async def test_nothing_hostile_breaks_the_door_or_the_ledger(intake: Harness[App], sample: Sample) -> None:
    assert intake.public is not None
    proof_in_body = sample.proof == "secret in the body"
    body = {
        "id": "hostile", "provider": sample.provider, "secrets": [sample.secret] if sample.secret else [],
        "default_region": "ES", "settings": dict(sample.settings), "mapping": dict(sample.mapping),
    }  # fmt: skip
    added = await intake.api.post("/v1/sources", json=body)
    assert added.status_code == 201
    path = added.json()["webhook_url"]

    async def send(body: bytes, content_type: str) -> Any:
        assert intake.public is not None
        headers = sample.headers(body, now=intake.clock.now(), path=path, key=uuid.uuid4().hex)
        return await intake.public.post(path, content=body, headers=headers | {"content-type": content_type})

    sent = 0
    for name, hostile, content_type in corpus(sample):
        answer = await send(hostile, content_type)
        sent += 1
        # Where the proof is in the body, what cannot be read cannot be proved.
        allowed = {*sample.statuses, 401} if proof_in_body else set(sample.statuses)
        assert answer.status_code in allowed, (name, answer.text)
        assert MARK not in answer.text, name
        next_good = await send(sample.body(f"good-{sent}", f"good{sent}@example.com"), sample.codec.content_type)
        assert next_good.status_code == 200, name
    await intake.app.refusals.write(intake.app)
    balance = (await intake.api.get("/v1/receipts/balance")).json()
    assert balance["balanced"] is True
    [ledger] = balance["items"]
    [receipts] = await intake.fetch("SELECT count(*) AS n FROM receipt")
    # One receipt a delivery: only refusals at the door beyond twenty a minute go without.
    assert receipts["n"] == 2 * sent or (proof_in_body and receipts["n"] >= sent + 20)
    assert ledger["pending" if sample.names_only else "created"] >= sent
    assert "not_storable" not in {r["reason"] for r in await intake.fetch("SELECT reason FROM receipt_entry")}


@pytest.fixture
async def door(intake: Harness[App]) -> Any:
    """Speaks ASGI to the public listener, one message at a time."""
    from lead_intake.listener import create_public

    public = create_public(intake.app)
    body = {"id": "tally", "provider": "tally", "secrets": [SECRETS["tally"]]}
    assert (await intake.api.post("/v1/sources", json=body)).status_code == 201

    async def speak(messages: list[dict[str, Any]], headers: list[tuple[bytes, bytes]], method: str = "POST") -> int:
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await asyncio.Event().wait()  # a sender that says no more
            raise AssertionError

        async def send(message: Any) -> None:
            answers.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": "/v1/webhooks/tally",
            "raw_path": b"/v1/webhooks/tally",
            "query_string": b"",
            "headers": headers,
        }
        await public(scope, receive, send)
        return int(answers[0]["status"])

    return speak


async def test_a_body_is_cut_off_at_its_limit_whatever_its_length_claims(door: Any) -> None:
    parts = [{"type": "http.request", "body": b"x" * 65_536, "more_body": True} for _ in range(100)]
    assert await door(parts, [(b"content-length", b"10")]) == 413
    assert len(parts) >= 95, "reading goes on after the limit"


async def test_a_sender_that_stops_in_the_middle_is_let_go(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lead_intake.public.SLOWEST_BODY_S", 0.05)
    assert await door([{"type": "http.request", "body": b"{", "more_body": True}], []) == 408
    assert await door([], []) == 408


async def test_an_encoded_body_is_not_unpacked(door: Any) -> None:
    assert await door([{"type": "http.request", "body": b"\x1f\x8b"}], [(b"content-encoding", b"gzip")]) == 415


async def test_other_methods_are_answered_without_a_word_about_the_source(door: Any) -> None:
    assert [await door([], [], method) for method in ("GET", "HEAD", "DELETE")] == [200, 200, 405]


async def test_headers_that_are_no_ascii_are_only_a_bad_signature(door: Any) -> None:
    body = [{"type": "http.request", "body": b"{}"}]
    assert await door(body, [(b"tally-signature", b"\xff\xfe\xe9")]) == 401
