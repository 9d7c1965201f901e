"""Pipedrive webhooks v2: one change of one deal with the deal as it stands after it, HTTP Basic, no signature.

Source: Pipedrive's guide to webhooks v2.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton_demo.month import rfc3339
from baton_demo.payloads.wire import Request, dumps, json_request

COMPANY_ID = "998877"
LEAD_FIELD = "5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5f6071829"


@dataclass(frozen=True, slots=True)
class DealState:
    """A deal as Pipedrive has it after a change. `value` is in whole and decimal units of `currency`."""

    deal_id: int
    title: str
    status: str
    value: float
    currency: str
    lead_id: str
    owner_id: int
    stage_id: int
    added_at: datetime
    lost_reason: str | None = None


def request(
    after: DealState, *, action: str, previous: dict[str, Any] | None, at: datetime, url: str, secret: str
) -> Request:
    """The delivery of one change; `secret` is `user:password`."""
    done = rfc3339(at)
    body = {
        "meta": {
            "action": action,
            "entity": "deal",
            "company_id": COMPANY_ID,
            "correlation_id": f"demo-{after.deal_id}-{after.status}",
            "entity_id": str(after.deal_id),
            "id": f"demo-{after.deal_id}-{action}-{after.status}",
            "is_bulk_edit": False,
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "type": "general",
            "user_id": str(after.owner_id),
            "version": "2.0",
            "webhook_id": "55",
            "webhook_owner_id": "11",
            "change_source": "app",
            "attempt": 1,
            "host": "taktwerk.pipedrive.com",
            "permitted_user_ids": ["11", "12"],
        },
        "data": {
            "id": after.deal_id,
            "title": after.title,
            "status": after.status,
            "value": after.value,
            "currency": after.currency,
            "stage_id": after.stage_id,
            "pipeline_id": 1,
            "owner_id": after.owner_id,
            "add_time": rfc3339(after.added_at),
            "won_time": done if after.status == "won" else None,
            "lost_time": done if after.status == "lost" else None,
            "lost_reason": after.lost_reason,
            "custom_fields": {LEAD_FIELD: {"type": "varchar", "value": after.lead_id}},
        },
        "previous": previous,
    }
    return json_request(url, dumps(body), Authorization=basic(secret))


def basic(credentials: str) -> str:
    """What stands in `Authorization`."""
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"
