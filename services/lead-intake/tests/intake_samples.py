"""Deliveries as the providers send them, signed as they sign: the examples of `intake_providers` in short form."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from intake_providers import PUBLIC_URL, SAMPLES

__all__ = ["BODIES", "PUBLIC_URL", "SECRETS", "Sent", "signed"]

SECRETS = {name: sample.secret for name, sample in SAMPLES.items() if sample.secret}
BODIES: dict[str, Callable[..., bytes]] = {name: SAMPLES[name].body for name in SECRETS if not SAMPLES[name].names_only}
"""Of the providers that prove themselves by a secret and send the lead itself."""


@dataclass(frozen=True)
class Sent:
    """A request, ready to be sent."""

    body: bytes
    headers: dict[str, str]


def signed(provider: str, body: bytes, *, now: datetime, path: str, key: str = "k", content_type: str = "") -> Sent:
    """The headers that the provider would send with this body."""
    headers = SAMPLES[provider].headers(body, now=now, path=path, key=key)
    return Sent(body, headers | ({"content-type": content_type} if content_type else {}))


def meta(*lead_ids: str, page_id: str = "104882771900001", **more: Any) -> bytes:
    value = {"page_id": page_id, "form_id": "733300112233445", "created_time": 1772438400} | more
    changes = [{"field": "leadgen", "value": {"leadgen_id": id} | value} for id in lead_ids]
    # As Meta sends it: what is not ASCII stands escaped, and that is what it signs.
    return json.dumps({"object": "page", "entry": [{"id": page_id, "time": 1772438405, "changes": changes}]}).encode()


def linkedin(response: str, action: str = "CREATED", **more: Any) -> bytes:
    return json.dumps(
        {
            "type": "LEAD_ACTION",
            "leadGenFormResponse": f"urn:li:leadGenFormResponse:{response}",
            "leadGenForm": "urn:li:versionedLeadGenForm:(urn:li:leadGenForm:112233,1)",
            "owner": {"sponsoredAccount": "urn:li:sponsoredAccount:508812345"},
            "associatedEntity": {"sponsoredCreative": "urn:li:sponsoredCreative:330044551"},
            "leadType": "SPONSORED",
            "leadAction": action,
            "occurredAt": 1772438400123,
        }
        | more
    ).encode()


def hubspot_events(*events: dict[str, Any]) -> bytes:
    told = {"eventId": 1, "subscriptionId": 445566, "portalId": 1234567, "appId": 778899, "attemptNumber": 0}
    base = told | {"occurredAt": 1772438400123, "objectId": 332507367156, "subscriptionType": "contact.creation"}
    return json.dumps([base | event for event in events]).encode()
