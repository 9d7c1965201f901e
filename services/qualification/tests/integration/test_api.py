import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf import json_format

from baton.catalogue import EVENTS, TOPIC_OF
from baton_kit import migration
from baton_kit.envelope import event
from baton_kit.policy import unprotected_routes
from baton_kit.testing import START, Harness, Server, database_of
from qualification.app import App, create_api
from qualification.handlers import SUBSCRIPTION

from .given import GOOD, WEAK, activate, answered, created, people, touched

HERE = Path(__file__).parents[2]
REPOSITORY = HERE.parents[1]


async def test_no_route_is_without_a_policy(qualification: Harness[App]) -> None:
    assert unprotected_routes(create_api(qualification.app)) == []


async def test_the_committed_openapi_document_is_current(qualification: Harness[App]) -> None:
    current = json.loads(json.dumps(create_api(qualification.app).openapi()))
    assert json.loads((HERE / "openapi.json").read_text()) == current


async def test_the_migrations_make_the_tables_of_the_code(postgres_server: Server) -> None:
    async with database_of("qualification", postgres_server) as url:
        await asyncio.to_thread(migration.check, "qualification", url=url)
        await asyncio.to_thread(migration.migrate, "qualification", url=url)


async def test_a_key_without_the_scope_is_refused(qualification: Harness[App]) -> None:
    h = qualification
    headers = {"Authorization": f"Bearer {await h.key('leads:read')}"}
    assert (await h.api.get("/v1/agreements", headers=headers)).status_code == 403
    assert (await h.api.get("/v1/agreements", headers={"Authorization": ""})).status_code == 401


async def test_the_timeline_tells_decisions_and_the_handoff(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h))
    await h.receive([created("l1", **WEAK)])
    h.clock.advance(timedelta(minutes=5))
    await h.receive([touched("l1", kind="form", form_id="demo", features=GOOD, sequence=5)])
    timeline = (await h.api.get("/v1/leads/l1/timeline")).json()
    assert [(i["kind"], i["title"]) for i in timeline["items"]] == [
        ("decision", "Scored 15 of 45: below threshold"),
        ("decision", "Scored 80 of 45: qualified"),
        ("qualified", "Handed over to sales"),
    ]
    detail = timeline["items"][1]["detail"]
    assert sum(c["points"] for c in detail["contributions"]) == detail["score"] == 80
    assert timeline["as_of"].endswith("Z")
    assert (await h.api.get("/v1/leads/unknown/timeline")).status_code == 404


async def test_the_decisions_of_a_lead_come_in_pages_the_newest_first(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h))
    await h.receive([created("l1", **WEAK)])
    for n in range(3):
        await h.receive([touched("l1", kind="form", at=START - timedelta(days=40 + n))])
    first = (await h.api.get("/v1/leads/l1/decisions?limit=2")).json()
    rest = (await h.api.get(f"/v1/leads/l1/decisions?limit=2&cursor={first['next_cursor']}")).json()
    sequences = [d["sequence"] for d in first["items"] + rest["items"]]
    assert sequences == sorted(sequences, reverse=True)
    assert len(set(sequences)) == len(sequences) >= 3
    one = first["items"][0]
    assert (await h.api.get(f"/v1/decisions/{one['decision_id']}")).json() == one
    assert (await h.api.get("/v1/leads/nobody/decisions")).status_code == 404
    assert (await h.api.get("/v1/decisions/none")).status_code == 404


async def test_the_report_counts_outcomes_and_rules_with_what_sales_answered(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h))
    await h.receive(
        [created("good", **GOOD), created("weak", **WEAK), created("none"), created("test", test=True, **GOOD)]
    )
    await h.receive([answered("good", "accepted"), answered("good", "rejected", sequence=3)])
    report = (await h.api.get("/v1/reports/decisions")).json()
    assert report["by_outcome"] == {"qualified": 1, "below_threshold": 1, "gated": 1, "test": 1}
    assert (report["decisions"], report["qualified"]) == (3, 1)
    rules = {r["rule"]: r for r in report["by_rule"]}
    assert rules["business-mail"] == {
        "rule": "business-mail", "leads": 2, "qualified": 1, "accepted": 1, "rejected": 1, "recycled": 0,
    }  # fmt: skip
    assert rules["reachable-gate"]["leads"] == 1


@pytest.mark.parametrize("message", [*SUBSCRIPTION.handlers], ids=lambda m: m.__name__)
async def test_every_example_of_what_is_routed_is_handled(qualification: Harness[App], message: type) -> None:
    h = qualification
    await activate(h, await people(h))
    name = message.DESCRIPTOR.full_name  # type: ignore[attr-defined]
    paths = sorted((REPOSITORY / "proto/examples" / name).glob("*.json"))
    assert paths
    for path in paths:
        body = json_format.Parse(path.read_text(), message())
        await h.receive([event(body, key=getattr(body, "lead_id", "") or "none", occurred_at=START)])
    golden = sorted((REPOSITORY / "proto/examples" / name).glob("*.bin"))
    for path in golden:
        body = message.FromString(path.read_bytes())  # type: ignore[attr-defined]
        await h.receive([event(body, key=getattr(body, "lead_id", "") or "none", occurred_at=START)])


def test_each_type_of_its_topics_is_handled_or_knowingly_ignored() -> None:
    arriving = {EVENTS[name] for name, topic in TOPIC_OF.items() if topic in SUBSCRIPTION.topics}
    assert arriving == set(SUBSCRIPTION.handlers) | SUBSCRIPTION.ignores
