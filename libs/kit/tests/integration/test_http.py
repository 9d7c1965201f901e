import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from baton_kit.api import create_fastapi
from baton_kit.health import create_ops
from baton_kit.policy import Caller, requires, unprotected_routes
from baton_kit.testing import Harness, client
from toy.service import Toy


def test_every_route_of_the_kit_has_a_policy(toy: Harness[Toy]) -> None:
    assert unprotected_routes(toy.service.create_api(toy.app)) == []


def test_a_route_without_a_policy_is_named() -> None:
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    inner = APIRouter(prefix="/inner")

    @inner.get("/open")
    def answer_inside() -> str:
        return ""

    outer = APIRouter(prefix="/outer")
    outer.include_router(inner)
    api.include_router(outer)

    @api.get("/open")
    def answer() -> str:
        return ""

    @api.get("/closed")
    def closed(_: Caller = requires("x:read")) -> str:
        return ""

    assert unprotected_routes(api) == ["GET /outer/inner/open", "GET /open"]


async def test_who_has_no_key_or_not_the_scope_is_told_so(toy: Harness[Toy]) -> None:
    stranger = client(toy.service.create_api(toy.app))
    answer = await stranger.get("/v1/ops/parked")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    answer = await stranger.get("/v1/ops/parked", headers={"Authorization": "Bearer bk_wrong"})
    assert answer.status_code == 401
    key = await toy.key("ops:write")
    answer = await stranger.get("/v1/ops/parked", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert "ops:read" in answer.json()["detail"]
    await toy.fetch("UPDATE api_key SET revoked_at = now()")
    assert (await toy.api.get("/v1/ops/parked")).status_code == 401


async def test_a_key_cannot_give_more_than_it_has(toy: Harness[Toy]) -> None:
    key = await toy.key("ops:write")
    headers = {"Authorization": f"Bearer {key}"}
    answer = await toy.api.post("/v1/ops/keys", json={"name": "n", "scopes": ["*"]}, headers=headers)
    assert answer.status_code == 403
    answer = await toy.api.post("/v1/ops/keys", json={"name": "n", "scopes": ["ops:write"]}, headers=headers)
    assert answer.status_code == 201
    assert await toy.fetch("SELECT 1 FROM api_key WHERE position($1::bytea IN digest) > 0", b"bk_") == []


async def say(toy: Harness[Toy], word: str = "a", key: str | None = "k1") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await toy.api.post(f"/v1/words?word={word}", headers=headers)


async def test_a_repeated_write_gets_the_first_answer_and_acts_once(toy: Harness[Toy]) -> None:
    first, second = await say(toy), await say(toy)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json() == {"word": "a"}
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(await toy.outbox()) == 1


async def test_the_same_key_with_another_request_is_refused(toy: Harness[Toy]) -> None:
    await say(toy)
    assert (await say(toy, "b")).status_code == 422
    assert len(await toy.outbox()) == 1


async def test_a_write_without_a_key_is_refused(toy: Harness[Toy]) -> None:
    assert (await say(toy, key=None)).status_code == 400


async def test_keys_belong_to_their_caller_and_are_forgotten_after_their_time(toy: Harness[Toy]) -> None:
    await say(toy)
    other = await toy.key("words:write")
    headers = {"Authorization": f"Bearer {other}", "Idempotency-Key": "k1"}
    assert (await toy.api.post("/v1/words?word=b", headers=headers)).status_code == 201
    await toy.fetch("UPDATE idempotency_key SET created_at = now() - interval '73 hours'")
    from baton_kit.vitals import measure_once

    await measure_once(toy.db)
    assert "idempotency-replayed" not in (await say(toy)).headers


async def test_of_simultaneous_writes_with_one_key_one_acts(toy: Harness[Toy]) -> None:
    answers = await asyncio.gather(*(say(toy) for _ in range(6)))
    assert {a.status_code for a in answers} <= {201, 409}
    assert all("retry-after" in a.headers for a in answers if a.status_code == 409)
    assert len(await toy.outbox()) == 1


class Person(BaseModel):
    age: int
    born: int


router = APIRouter()


@router.post("/v1/people")
async def person(body: Person, since: int = 0, _: Caller = requires("x:write")) -> None:
    return None


@router.get("/v1/fault")
async def fault(_: Caller = requires("x:read")) -> None:
    raise KeyError("anna@example.com")


@router.get("/v1/outage")
async def outage(_: Caller = requires("x:read")) -> None:
    raise ConnectionRefusedError("anna@example.com")


@pytest.fixture
def api(toy: Harness[Toy]) -> httpx2.AsyncClient:
    made = create_fastapi(toy.app, title="t", version="1", description="d", routers=[router])
    return client(made, headers={"Authorization": f"Bearer {toy.operator_key}"})


async def test_a_refused_value_is_pointed_at_and_never_repeated(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/v1/people?since=anna@example.com", json={"age": "anna@example.com"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {e["pointer"] for e in answer.json()["errors"]} == {"/age", "/born", "#query/since"}
    assert "anna" not in answer.text


async def test_a_fault_is_a_problem_with_a_trace_and_without_its_words(
    api: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = await api.get("/v1/fault", headers={"X-Request-Id": "r-1"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "r-1"
    assert "anna" not in answer.text


async def test_an_outage_asks_to_come_again(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/v1/outage")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "anna" not in answer.text


async def test_an_unknown_path_is_a_problem(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("sent", ["x" * 129, "a b\x7f", ""])
async def test_a_request_id_that_is_none_is_replaced(api: httpx2.AsyncClient, sent: str) -> None:
    answer = await api.get("/v1/nothing", headers={"X-Request-Id": sent})
    assert len(answer.headers["x-request-id"]) == 36 or sent == ""


async def test_parked_events_are_listed_in_pages(toy: Harness[Toy]) -> None:
    await toy.fetch(
        'INSERT INTO parked (consumer, topic, partition, "offset", key, reason, headers) '
        "SELECT 'toy.count', 't', 0, n, 'k', 'poison', '' FROM generate_series(1, 5) AS n"
    )
    offsets, cursor = [], ""
    for _ in range(4):
        page = (await toy.api.get(f"/v1/ops/parked?limit=2{cursor}")).json()
        offsets += [p["offset"] for p in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert offsets == [1, 2, 3, 4, 5]
    assert (await toy.api.get("/v1/ops/parked?limit=201")).status_code == 422
    assert (await toy.api.get("/v1/ops/parked?cursor=x")).status_code == 400


async def test_the_relay_route_counts_what_waits_and_rewinds(toy: Harness[Toy]) -> None:
    await say(toy)
    lanes = (await toy.api.get("/v1/ops/relay")).json()
    assert {lane["lane"]: lane["waiting"] for lane in lanes} == {"live": 1, "bulk": 0}
    order = {"since": "2020-01-01T00:00:00Z"}
    assert (await toy.api.post("/v1/ops/relay/rewind?dry_run=true", json=order)).json() == {"events": 1}
    assert (await toy.api.post("/v1/ops/relay/rewind", json={"since": "2020-01-01T00:00:00"})).status_code == 422
    assert (await toy.api.post("/v1/ops/relay/rewind", json={**order, "lane": "none"})).status_code == 404


async def test_ready_names_what_is_wrong_and_live_does_not_ask(toy: Harness[Toy]) -> None:
    async def wrong() -> str | None:
        return "the cable is out"

    async def right() -> str | None:
        return None

    ops = client(create_ops({"kafka": wrong, "database": right}))
    assert (await ops.get("/livez")).status_code == 200
    answer = await ops.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "kafka\n")
    assert (await ops.get("/readyz?verbose")).json() == {"kafka": "the cable is out", "database": "ok"}
    assert (await client(create_ops({"database": right})).get("/readyz")).status_code == 200
    assert "baton_outbox_age_seconds" in (await ops.get("/metrics")).text
