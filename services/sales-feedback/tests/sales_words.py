"""Short ways to say what a test of sales-feedback needs."""

import base64
import hashlib
import hmac
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.history_pb2 import DealImported, FeedbackImported
from baton.qualification.v1.qualification_pb2 import AgreementStamp, LeadQualified, RejectionReason, SlaTerms
from baton_kit.envelope import Event, Received, event
from baton_kit.testing import START, Harness
from sales_feedback.app import App

PUBLIC_URL = "https://hooks.example.org"
HUBSPOT_SECRET = "hs-client-secret-1"
PIPEDRIVE_SECRET = "baton:open sesame"
LONG_AGO = START - timedelta(days=400)
LEAD_HASH = "0123456789abcdef0123456789abcdef01234567"


def timestamp(at: datetime) -> Timestamp:
    result = Timestamp()
    result.FromDatetime(at)
    return result


def qualified(lead_id: str, *, cycle: int = 1, at: datetime = START, event_id: str | None = None) -> Event:
    body = LeadQualified(
        lead_id=lead_id,
        sequence=cycle,
        occurred_at=timestamp(at),
        cycle=cycle,
        decision_id=f"decision-{lead_id}-{cycle}",
        agreement=AgreementStamp(agreement_id="b2b", version=3, digest="ab" * 32, activation_seq=4),
        score=80,
        threshold=60,
        sla=SlaTerms(accept_within_seconds=14400, first_response_within_seconds=28800, attempts=4),
        rejection_reasons=[
            RejectionReason(code="too_small", family="fit"),
            RejectionReason(code="next_year", family="timing"),
        ],
    )
    return event(body, key=lead_id, occurred_at=at, id=event_id)


def contact(lead_id: str, *, sequence: int = 1, name: str = "Anna Petrova") -> Event:
    body = ContactChanged(lead_id=lead_id, sequence=sequence, full_name=name, emails=["anna@petrova.example"])
    return event(body, key=lead_id, occurred_at=START)


def forgotten(lead_id: str) -> Event:
    return Event(ContactChanged.DESCRIPTOR.full_name, lead_id, None, START)


def past_deal(id: str = "d1", *, state: str = "WON", told: int = 1, lead: str = "lead-1", **fields: Any) -> Event:
    at = LONG_AGO + timedelta(days=30)
    body = DealImported(
        lead_id=lead,
        sequence=told,
        occurred_at=timestamp(at),
        source_id="history",
        crm="hubspot",
        crm_deal_id=id,
        state=f"IMPORTED_DEAL_STATE_{state}",
        opened_at=timestamp(LONG_AGO),
        closed_at=None if state == "OPEN" else timestamp(at),
        **{"amount_minor": 100_000, "currency": "EUR", **fields},
    )
    return event(body, key=lead, occurred_at=at)


def past_answer(record: str = "r1", *, kind: str = "REJECTED") -> Event:
    body = FeedbackImported(
        lead_id="lead-1",
        sequence=1,
        occurred_at=timestamp(LONG_AGO),
        source_id="history",
        record_id=record,
        kind=f"IMPORTED_FEEDBACK_KIND_{kind}",
        reason="too_small",
        reason_family="fit",
    )
    return event(body, key="lead-1", occurred_at=LONG_AGO)


@dataclass(slots=True)
class Sales:
    """The harness with the words of sales."""

    harness: Harness[App]
    keys: itertools.count = field(default_factory=itertools.count)

    @property
    def app(self) -> App:
        return self.harness.app

    async def rep(self, *ids: str) -> None:
        for id_ in ids:
            answer = await self.harness.api.post("/v1/reps", json={"id": id_, "name": id_.title()})
            assert answer.status_code == 201, answer.text

    async def given(self, lead_id: str, *, cycle: int = 1) -> dict[str, Any]:
        await self.harness.receive([qualified(lead_id, cycle=cycle)])
        return await self.latest(lead_id)

    async def latest(self, lead_id: str) -> dict[str, Any]:
        answer = await self.harness.api.get("/v1/handoffs", params={"lead_id": lead_id})
        return answer.json()["items"][0]

    async def post(self, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Any:
        key = key or f"key-{next(self.keys)}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.harness.api.post(path, json=body or {}, headers={"Idempotency-Key": key, **named})

    async def told(self) -> list[str]:
        """The new events as short texts."""
        return [_short(e) for e in await self.harness.new_events()]

    async def hubspot(self) -> None:
        body = {
            "id": "hubspot",
            "kind": "hubspot",
            "secrets": [HUBSPOT_SECRET],
            "mapping": {
                "currency": "EUR",
                "pipelines": {
                    "default": {"closedwon": "won", "closedlost": "lost"},
                    "77": {"901": "won", "902": "lost"},
                },
                "lost_reasons": {"Too expensive": "price"},
            },
        }
        answer = await self.harness.api.post("/v1/crms", json=body)
        assert answer.status_code == 201, answer.text

    async def pipedrive(self) -> None:
        body = {
            "id": "pipedrive",
            "kind": "pipedrive",
            "secrets": [PIPEDRIVE_SECRET],
            "mapping": {"lead_id_property": LEAD_HASH, "lost_reasons": {"Too expensive": "price"}},
        }
        answer = await self.harness.api.post("/v1/crms", json=body)
        assert answer.status_code == 201, answer.text

    async def hubspot_says(self, *events: dict[str, Any]) -> int:
        return await self.hubspot_sends(json.dumps(list(events)).encode())

    async def hubspot_sends(self, body: bytes, *, secret: str = HUBSPOT_SECRET, path: str = "hubspot") -> int:
        assert self.harness.public is not None
        self.harness.clock.advance(timedelta(milliseconds=1))
        answer = await self.harness.public.post(
            f"/v1/webhooks/{path}",
            content=body,
            headers=sign(body, f"{PUBLIC_URL}/v1/webhooks/{path}", self.harness.clock.now(), secret=secret),
        )
        return int(answer.status_code)

    async def pipedrive_says(self, document: Any) -> int:
        return await self.pipedrive_sends(json.dumps(document).encode())

    async def pipedrive_sends(self, body: bytes) -> int:
        assert self.harness.public is not None
        self.harness.clock.advance(timedelta(milliseconds=1))
        basic = base64.b64encode(PIPEDRIVE_SECRET.encode()).decode()
        answer = await self.harness.public.post(
            "/v1/webhooks/pipedrive", content=body, headers={"Authorization": f"Basic {basic}"}
        )
        return int(answer.status_code)

    async def receipts(self) -> list[tuple[str, str | None]]:
        """State and reason of every receipt, the oldest first."""
        rows = await self.harness.fetch("SELECT state, reason FROM crm_receipt ORDER BY received_at, id")
        return [(row["state"], row["reason"]) for row in rows]


def sign(body: bytes, uri: str, at: datetime, *, secret: str = HUBSPOT_SECRET) -> dict[str, str]:
    moment = str(int(at.timestamp() * 1000))
    digest = hmac.digest(secret.encode(), b"POST" + uri.encode() + body + moment.encode(), hashlib.sha256)
    return {
        "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
        "X-HubSpot-Request-Timestamp": moment,
        "Content-Type": "application/json",
    }


def changed(
    name: str, value: str, *, deal: int = 332507367156, at: int = 0, event_id: int | None = None
) -> dict[str, Any]:
    """A HubSpot property change `at` seconds before or after a quarter of an hour before the start."""
    moment = START - timedelta(minutes=15) + timedelta(seconds=at)
    return {
        "eventId": event_id if event_id is not None else abs(hash((name, value, deal, at))) % 10**9,
        "subscriptionId": 445566,
        "portalId": 1234567,
        "appId": 778899,
        "occurredAt": int(moment.timestamp() * 1000),
        "subscriptionType": "deal.propertyChange",
        "attemptNumber": 0,
        "objectId": deal,
        "propertyName": name,
        "propertyValue": value,
        "changeSource": "CRM_UI",
    }


def pipedrive_deal(
    status: str,
    *,
    lead_id: str | None,
    at: int = 0,
    id: str = "",
    value: Any = 4800,
    currency: str = "EUR",
    lost_reason: str | None = None,
    attempt: int = 1,
) -> dict[str, Any]:
    moment = (START - timedelta(minutes=15) + timedelta(seconds=at)).isoformat().replace("+00:00", "Z")
    return {
        "meta": {
            "action": "change",
            "entity": "deal",
            "company_id": "998877",
            "entity_id": "4321",
            "id": id or f"d2c7f1f0-{status}-{at}",
            "timestamp": moment,
            "version": "2.0",
            "attempt": attempt,
        },
        "data": {
            "id": 4321,
            "title": "Petrova Labs",
            "status": status,
            "value": value,
            "currency": currency,
            "stage_id": 6,
            "pipeline_id": 1,
            "lost_reason": lost_reason,
            "won_time": moment if status == "won" else None,
            "lost_time": moment if status == "lost" else None,
            "custom_fields": {LEAD_HASH: {"type": "varchar", "value": lead_id} if lead_id else None},
        },
        "previous": {"status": "open"},
    }


def _short(e: Received[Any]) -> str:
    body, name = e.body, e.type.rpartition(".")[2]
    match name:
        case "HandoffChanged":
            state = type(body).DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[body.state].name
            return f"handoff {state.removeprefix('HANDOFF_STATE_').lower()} {body.sequence}"
        case "SalesFeedback":
            kind = type(body).DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[body.kind].name
            return f"feedback {kind.removeprefix('FEEDBACK_KIND_').lower()} {body.sequence}"
        case "DealClosed":
            outcome = type(body).DESCRIPTOR.fields_by_name["outcome"].enum_type.values_by_number[body.outcome].name
            return f"deal {outcome.removeprefix('DEAL_OUTCOME_').lower()} {body.amount_minor} {body.currency}".strip()
    return name


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]  # year, month, day, …
