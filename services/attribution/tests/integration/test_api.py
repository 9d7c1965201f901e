"""The HTTP side: who may, what is refused, and what a report and a timeline say."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from attribution_stories import CLOSE, closed, touched

from attribution.app import App
from baton_kit.policy import unprotected_routes
from baton_kit.testing import Harness

DOCUMENT = Path(__file__).parents[2] / "openapi.json"


def application(attribution: Harness[App]) -> object:
    return attribution.service.create_api(attribution.app)


async def test_every_route_has_a_policy(attribution: Harness[App]) -> None:
    assert unprotected_routes(application(attribution)) == []  # type: ignore[arg-type]  # a FastAPI


async def test_the_committed_document_is_current(attribution: Harness[App]) -> None:
    document = application(attribution).openapi()  # type: ignore[attr-defined]  # a FastAPI
    assert json.loads(DOCUMENT.read_text()) == document


@pytest.mark.parametrize(
    ("path", "scope"),
    [("/v1/reports/attribution", "reports:read"), ("/v1/reports/funnel", "reports:read")],
)
async def test_a_report_needs_its_scope(attribution: Harness[App], path: str, scope: str) -> None:
    for given, status in ((await attribution.key("leads:read"), 403), (await attribution.key(scope), 200)):
        answer = await attribution.api.get(path, headers={"Authorization": f"Bearer {given}"})
        assert answer.status_code == status
    assert (await attribution.api.get(path, headers={"Authorization": ""})).status_code == 401


async def test_a_rebuild_needs_the_operators_scope(attribution: Harness[App]) -> None:
    headers = {"Authorization": f"Bearer {await attribution.key('reports:read')}"}
    assert (await attribution.api.post("/v1/rebuild", json={}, headers=headers)).status_code == 403


async def test_several_models_stand_side_by_side_and_each_sums_to_the_total(attribution: Harness[App]) -> None:
    await attribution.receive(
        [
            touched("lead-1", id="t1", channel="paid_search", before_close=timedelta(days=9)),
            touched("lead-1", id="t2", channel="email"),
            touched("lead-1", id="t3", channel="email", before_close=timedelta(days=2)),
            closed("lead-1", deal="d1", amount=101),
            closed("lead-1", deal="d2", amount=100, at=CLOSE + timedelta(days=1)),
        ]
    )
    models = ["last", "linear", "first"]
    report = (await attribution.api.get("/v1/reports/attribution", params={"model": models})).json()
    assert report["models"] == models
    assert report["model"] is None
    assert list(dict.fromkeys(row["model"] for row in report["rows"])) == models
    assert report["totals"] == [{"currency": "EUR", "total_minor": 201, "deals": 2}]
    assert report["total_minor"] == 201
    for model in models:
        assert sum(row["credit_minor"] for row in report["rows"] if row["model"] == model) == 201
        assert sum(row["share"] for row in report["rows"] if row["model"] == model) == pytest.approx(1, abs=1e-5)
    linear = {row["key"]: row["deals"] for row in report["rows"] if row["model"] == "linear"}
    assert linear == {"email": 2, "paid_search": 2}
    assert report["as_of"].endswith("Z")
    assert report["parameters"] == {"lookback_days": 90, "half_life_hours": 168}


async def test_from_and_to_are_days_of_the_close_and_both_included(attribution: Harness[App]) -> None:
    await attribution.receive(
        [closed("lead-1", deal=f"d{n}", amount=10**n, at=CLOSE + timedelta(days=n)) for n in range(4)]
    )
    days = {
        "from": (CLOSE + timedelta(days=1)).date().isoformat(),
        "to": (CLOSE + timedelta(days=2)).date().isoformat(),
    }
    assert (await attribution.api.get("/v1/reports/attribution", params=days)).json()["total_minor"] == 110


async def test_an_empty_report_is_empty(attribution: Harness[App]) -> None:
    report = (await attribution.api.get("/v1/reports/attribution", params={"model": "position"})).json()
    assert (report["rows"], report["totals"], report["total_minor"]) == ([], [], None)


@pytest.mark.parametrize(
    "query", ["model=markov", "by=person", "from=yesterday", "currency=euro", "from=2026-02-02&to=2026-02-01"]
)
async def test_what_makes_no_sense_is_refused_with_a_problem(attribution: Harness[App], query: str) -> None:
    answer = await attribution.api.get(f"/v1/reports/attribution?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "yesterday" not in answer.text


@pytest.mark.parametrize("parameters", [{"lookback_days": 0, "half_life_hours": 1}, {"half_life_hours": 168}])
async def test_parameters_without_meaning_change_nothing(attribution: Harness[App], parameters: dict[str, int]) -> None:
    answer = await attribution.api.post("/v1/rebuild", json={"parameters": parameters})
    assert answer.status_code == 422
    assert len(await attribution.fetch("SELECT * FROM generation")) == 1


async def test_the_timeline_shows_the_credits_of_the_leads_deals(attribution: Harness[App]) -> None:
    await attribution.receive(
        [
            touched("lead-1", id="t1", channel="paid_search", campaign="spring", before_close=timedelta(days=9)),
            touched("lead-1", id="t2", channel="email"),
            closed("lead-1", deal="d1", amount=101),
            closed("lead-1", deal="d2", outcome="LOST"),
            closed("lead-2", deal="d3"),
        ]
    )
    timeline = (await attribution.api.get("/v1/leads/lead-1/timeline")).json()
    [item] = timeline["items"]
    assert (item["service"], item["kind"], item["title"]) == (
        "attribution",
        "credit",
        "Won deal credited to 2 touches",
    )
    assert item["at"] == "2026-03-01T12:00:00Z"
    assert item["detail"]["deal_id"] == "d1"
    assert [(t["touch_id"], t["credit_minor"]["linear"]) for t in item["detail"]["touches"]] == [
        ("t2", 51),
        ("t1", 50),
    ]


@pytest.mark.parametrize("lead", ["nobody", "%00", "x%00y", "%F0%9F%98%80", "'; DROP TABLE touch"])
async def test_an_unknown_lead_has_no_timeline(attribution: Harness[App], lead: str) -> None:
    answer = await attribution.api.get(f"/v1/leads/{lead}/timeline")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
