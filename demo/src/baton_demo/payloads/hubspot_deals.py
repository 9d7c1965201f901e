"""HubSpot deal webhooks: an array of property changes, signature v3 over method, address, body and time.

Source: developers.hubspot.com, webhooks and request validation; hubspot-api-python utils/signature.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton_demo.payloads.wire import Request, dumps, json_request, mac_base64

PORTAL_ID = 1234567


@dataclass(frozen=True, slots=True)
class Change:
    """One property of one deal, changed at one time. An empty property: the deal was created."""

    event_id: int
    deal_id: int
    at: datetime
    property_name: str = ""
    value: str = ""


def request(changes: Sequence[Change], *, url: str, secret: str, now: float) -> Request:
    """One delivery of up to 100 changes."""
    raw = dumps([_event(change) for change in changes])
    sent_at = str(int(now * 1000))
    return json_request(
        url,
        raw,
        X_HubSpot_Signature_v3=signature_v3(secret, "POST", url, body=raw, sent_at=sent_at),
        X_HubSpot_Request_Timestamp=sent_at,
    )


def signature_v3(secret: str, method: str, uri: str, *, body: bytes, sent_at: str) -> str:
    """What stands in `X-HubSpot-Signature-v3`; `sent_at` is in milliseconds."""
    return mac_base64(secret, f"{method}{uri}".encode() + body + sent_at.encode())


def _event(change: Change) -> dict[str, Any]:
    event: dict[str, Any] = {
        "eventId": change.event_id,
        "subscriptionId": 445566,
        "portalId": PORTAL_ID,
        "appId": 778899,
        "occurredAt": int(change.at.timestamp() * 1000),
        "attemptNumber": 0,
        "objectId": change.deal_id,
        "changeSource": "CRM_UI",
    }
    if not change.property_name:
        return event | {"subscriptionType": "deal.creation", "changeFlag": "CREATED"}
    return event | {
        "subscriptionType": "deal.propertyChange",
        "propertyName": change.property_name,
        "propertyValue": change.value,
        "sourceId": "userId:901",
    }
