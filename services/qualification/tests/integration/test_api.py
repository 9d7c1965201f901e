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


async def test_a_decision_by_the_matrix_says_the_cell_and_the_line_in_place_of_a_threshold(
    qualification: Harness[App],
) -> None:
    h = qualification
    matrix = b"matrix: {fit: [40, 20, 10], engagement: [20, 10, 5], hand_over: [A4, B1]}"
    document = EXAMPLE.replace(b"threshold: 40", matrix, 1)
    assert document != EXAMPLE
    await activate(h, await people(h), document=document)
    await h.receive([created("l1", **{**GOOD, "employees": 1_000})])
    [decision] = (await h.api.get("/v1/leads/l1/decisions")).json()["items"]
    assert (decision["line"], decision["cell"], decision["threshold"]) == ("large-customers", "A4", 0)
    assert decision["outcome"] == "qualified"
    titles = [item["title"] for item in (await h.api.get("/v1/leads/l1/timeline")).json()["items"]]
    assert f"Scored {decision['score']} in cell A4: qualified" in titles


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


EXAMPLE = (REPOSITORY / "libs/agreement/examples/agreement.yaml").read_bytes()
YAML = {"Content-Type": "application/yaml"}


async def test_the_page_of_an_agreement_is_written_from_its_bytes(qualification: Harness[App]) -> None:
    h = qualification
    digest = (await h.api.post("/v1/agreements", content=EXAMPLE, headers=YAML)).json()["digest"]
    page = await h.api.get(f"/v1/agreements/{digest}/page?language=ru&page=sales")
    assert page.headers["content-type"].startswith("text/markdown")
    assert "Что обещает отдел продаж" in page.text
    assert "Что обещает маркетинг" not in page.text
    assert (await h.api.get(f"/v1/agreements/{digest[::-1]}/page")).status_code == 404


async def test_the_plan_says_how_many_leads_it_takes(qualification: Harness[App]) -> None:
    h = qualification
    digest = (await h.api.post("/v1/agreements", content=EXAMPLE, headers=YAML)).json()["digest"]
    rows = (await h.api.get(f"/v1/agreements/{digest}/plan?qualified=100&won=10")).json()
    assert [row["month"] for row in rows] == ["2027-01", "2027-02"]
    assert all(row["low"] < row["expected"] < row["high"] for row in rows)
    assert (await h.api.get(f"/v1/agreements/{digest}/plan?qualified=1&won=2")).status_code == 422


async def test_a_machine_may_not_propose_to_touch_a_fixed_duty_but_people_may(qualification: Harness[App]) -> None:
    h = qualification
    await activate(h, await people(h))
    changed = EXAMPLE.replace(b"attempts: 5, within: 14d", b"attempts: 4, within: 14d")
    refused = await h.api.post("/v1/agreements?made_by=machine", content=changed, headers=YAML)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/duties/0/attempts"]
    other = EXAMPLE.replace(b"threshold: 45", b"threshold: 46")
    assert (await h.api.post("/v1/agreements?made_by=machine", content=other, headers=YAML)).status_code == 201
    assert (await h.api.post("/v1/agreements", content=changed, headers=YAML)).status_code == 201


async def test_a_plan_in_csv_becomes_the_section_of_an_agreement(qualification: Harness[App]) -> None:
    h = qualification
    rows = await h.api.post("/v1/agreements/plan", content=b"month,product,deals\n2027-03,crm,4\n")
    assert rows.json() == [{"month": "2027-03", "product": "crm", "deals": 4}]
    refused = await h.api.post("/v1/agreements/plan", content=b"month,deals\n2027-03,many\n")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["line"] == 2
