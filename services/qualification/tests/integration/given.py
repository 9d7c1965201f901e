"""What tests begin with: people, agreements, leads, touches, answers."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from baton.lead.v1 import lead_pb2
from baton.sales.v1 import sales_pb2
from baton_kit.envelope import Event, event
from baton_kit.testing import START, Harness
from qualification.app import App

EXAMPLE = (Path(__file__).parents[4] / "libs/agreement/examples/agreement.yaml").read_bytes()
GOOD: dict[str, Any] = {
    "has_email": True,
    "email_kind": "business",
    "country": "DE",
    "employees": 250,
    "job_level": "director",
}
"""10 + 5 + 15 + 15 points of fit under the example: at the threshold of 45."""
WEAK: dict[str, Any] = {"has_email": True, "email_kind": "business", "country": "DE", "employees": 10}


def new_id() -> str:
    return str(uuid.uuid4())


def _at(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def created(
    lead_id: str,
    *,
    at: datetime = START,
    sequence: int = 1,
    test: bool = False,
    imported: bool = False,
    **features: Any,
) -> Event:
    body = lead_pb2.LeadCreated(
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=_at(at),
        features=lead_pb2.LeadFeatures(tables_version=1, **features),
        test=test,
        imported=imported,
    )
    return event(body, key=lead_id, occurred_at=at)


def updated(lead_id: str, *, sequence: int, at: datetime = START, imported: bool = False, **features: Any) -> Event:
    body = lead_pb2.LeadUpdated(
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=_at(at),
        features=lead_pb2.LeadFeatures(tables_version=1, **features),
        imported=imported,
    )
    return event(body, key=lead_id, occurred_at=at)


def touched(
    lead_id: str,
    *,
    at: datetime = START,
    kind: str = "visit",
    page: str = "/",
    sequence: int = 2,
    features: dict[str, Any] | None = None,
    id: str | None = None,
    **fields: Any,
) -> Event:
    body = lead_pb2.TouchRecorded(
        touch_id=id or new_id(),
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=_at(at),
        kind=lead_pb2.TouchKind.Value(f"TOUCH_KIND_{kind.upper()}"),
        page=page,
        features=lead_pb2.LeadFeatures(**features) if features is not None else None,
        **fields,
    )
    return event(body, key=lead_id, occurred_at=at)


def answered(
    lead_id: str,
    kind: str,
    *,
    at: datetime = START,
    cycle: int = 1,
    return_at: datetime | None = None,
    reason: str = "not_now",
    sequence: int = 2,
    imported: bool = False,
    rep_id: str = "",
) -> Event:
    body = sales_pb2.SalesFeedback(
        feedback_id=new_id(),
        lead_id=lead_id,
        handoff_id="handoff-1",
        sequence=sequence,
        occurred_at=_at(at),
        cycle=cycle,
        kind=sales_pb2.FeedbackKind.Value(f"FEEDBACK_KIND_{kind.upper()}"),
        reason=reason,
        reason_family="timing",
        return_at=_at(return_at) if return_at else None,
        imported=imported,
        rep_id=rep_id,
    )
    return event(body, key=lead_id, occurred_at=at)


def closed(lead_id: str, outcome: str, *, deal_id: str | None = None, sequence: int = 1, at: datetime = START) -> Event:
    body = sales_pb2.DealClosed(
        deal_id=deal_id or f"deal-{lead_id}",
        lead_id=lead_id,
        sequence=sequence,
        occurred_at=_at(at),
        closed_at=_at(at),
        outcome=sales_pb2.DealOutcome.Value(f"DEAL_OUTCOME_{outcome.upper()}"),
    )
    return event(body, key=lead_id, occurred_at=at)


HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class People:
    """Headers of two who sign."""

    anna: dict[str, str]
    boris: dict[str, str]


async def people(h: Harness[App]) -> People:
    async def add(id: str, department: str) -> dict[str, str]:
        answer = await h.api.post("/v1/people", json={"id": id, "name": id.title(), "department": department})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['api_key']}"}

    return People(await add("anna", "marketing"), await add("boris", "sales"))


async def propose(h: Harness[App], document: bytes = EXAMPLE) -> str:
    answer = await h.api.post("/v1/agreements", content=document, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["digest"])


async def sign(h: Harness[App], digest: str, who: dict[str, str], *, said: str | None = None) -> Any:
    return await h.api.post(f"/v1/agreements/{digest}/signatures", json={"digest": said or digest}, headers=who)


async def activate(h: Harness[App], who: People, document: bytes = EXAMPLE) -> str:
    digest = await propose(h, document)
    for headers in (who.anna, who.boris):
        answer = await sign(h, digest, headers)
        assert answer.status_code == 201, answer.text
    return digest
