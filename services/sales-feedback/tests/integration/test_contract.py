"""The service against the contracts of others: event examples, its API document, its migrations, its policies."""

import asyncio
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse
from sales_words import Sales

from baton import catalogue
from baton_kit.envelope import event
from baton_kit.migration import check
from baton_kit.policy import unprotected_routes
from baton_kit.testing import START, Server, database_of
from sales_feedback.api import create_api
from sales_feedback.handlers import SUBSCRIPTIONS

HERE = Path(__file__).parents[2]
EXAMPLES = HERE.parents[1] / "proto" / "examples"
HANDLED = [message.DESCRIPTOR.full_name for s in SUBSCRIPTIONS for message in s.handlers]


FOUND = [(name, path.stem, path.read_text()) for name in HANDLED for path in sorted((EXAMPLES / name).glob("*.json"))]


@pytest.mark.parametrize(("name", "which", "document"), FOUND, ids=[f"{name}-{which}" for name, which, _ in FOUND])
async def test_every_example_of_a_handled_event_is_applied(sales: Sales, name: str, which: str, document: str) -> None:
    body = Parse(document, catalogue.EVENTS[name](), ignore_unknown_fields=True)
    about = str(getattr(body, "lead_id", "") or body.account_id)  # type: ignore[attr-defined]
    await sales.harness.receive([event(body, key=about, occurred_at=START)])
    assert await sales.harness.fetch("SELECT * FROM parked") == []
    rows = await sales.harness.fetch(
        "SELECT lead_id AS about FROM handoff UNION ALL SELECT lead_id FROM contact "
        "UNION ALL SELECT lead_id FROM deal UNION ALL SELECT lead_id FROM imported_feedback "
        "UNION ALL SELECT $1 FROM merge_edge WHERE $1 IN (source, target) "
        "UNION ALL SELECT $1 FROM account_edge WHERE $1 IN (source, target) "
        "UNION ALL SELECT account_id FROM company_account "
        "UNION SELECT lead_id FROM lead_account UNION SELECT lead_id FROM erased_lead",
        about,
    )
    assert FOUND
    # A state of tomorrow is passed over.
    passed_over = which == "future" and name.endswith("Imported")
    assert [row["about"] for row in rows] == ([] if passed_over else [about])


def test_every_event_of_the_topics_is_handled_or_knowingly_ignored() -> None:
    for subscription in SUBSCRIPTIONS:
        for topic in subscription.topics:
            known = set(subscription.handlers) | subscription.ignores
            assert set(catalogue.TOPICS[topic].events) <= known


async def test_no_route_is_without_a_policy(sales: Sales) -> None:
    assert unprotected_routes(create_api(sales.app)) == []


async def test_without_a_key_every_route_answers_401(sales: Sales) -> None:
    for route, operations in create_api(sales.app).openapi()["paths"].items():
        for method in operations:
            path = route.replace("{", "").replace("}", "")
            answer = await sales.harness.api.request(method, path, headers={"Authorization": "Bearer wrong"}, json={})
            assert answer.status_code == 401, route


async def test_the_committed_api_document_is_current(sales: Sales) -> None:
    """Write it anew with `python -m sales_feedback.document > openapi.json`."""
    assert json.loads((HERE / "openapi.json").read_text()) == create_api(sales.app).openapi()


async def test_the_public_listener_serves_webhooks_only(sales: Sales) -> None:
    assert sales.harness.public is not None
    for path in ("/v1/handoffs", "/v1/ops/parked", "/openapi.json", "/", "/v1/webhooks/"):
        assert (await sales.harness.public.get(path)).status_code == 404
    assert (await sales.harness.public.get("/v1/webhooks/hubspot")).status_code == 405


async def test_the_tables_are_those_of_the_migrations(postgres_server: Server) -> None:
    async with database_of("sales_feedback", postgres_server) as url:
        await asyncio.to_thread(check, "sales_feedback", url=url)
