"""What tests of imports say: exports, layouts, handing in and working through."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.importing.run import advance

LEADS: dict[str, Any] = {
    "kind": "leads",
    "crm": "hubspot",
    "default_region": "DE",
    "columns": {
        "id": "Record ID",
        "email": "Email",
        "phone": "Phone",
        "full_name": "Name",
        "occurred_at": {"column": "Created", "formats": ["%d.%m.%Y", "iso"]},
        "campaign_id": "Campaign",
    },
}
TOUCHES: dict[str, Any] = {
    "kind": "touches",
    "crm": "hubspot",
    "columns": {
        "lead_id": "Contact",
        "kind": {"column": "Type", "values": {"Click": "ad_click"}, "default": "visit"},
        "occurred_at": {"column": "When", "formats": ["iso"]},
        "utm_source": "Source",
    },
}
DEALS: dict[str, Any] = {
    "kind": "deals",
    "crm": "hubspot",
    "currency": "EUR",
    "columns": {
        "id": "Deal ID",
        "lead_id": "Contact",
        "state": {"column": "Stage", "values": {"Closed won": "won", "Closed lost": "lost"}, "default": "open"},
        "amount": "Amount",
        "opened_at": {"column": "Opened", "formats": ["iso"]},
        "closed_at": {"column": "Closed", "formats": ["iso"]},
    },
}
FEEDBACK: dict[str, Any] = {
    "kind": "feedback",
    "crm": "hubspot",
    "columns": {
        "lead_id": "Contact",
        "kind": "Result",
        "reason": "Reason",
        "occurred_at": {"column": "When", "formats": ["iso"]},
    },
}
CAMPAIGNS: dict[str, Any] = {
    "kind": "campaigns",
    "crm": "hubspot",
    "columns": {"id": "ID", "utm_source": "Source", "utm_medium": "Medium", "utm_campaign": "Name"},
}


def csv(header: str, *rows: str) -> bytes:
    return "\n".join([header, *rows]).encode()


def leads(count: int, *, first: int = 1) -> bytes:
    return csv(
        "Record ID,Email,Phone,Name,Created,Campaign",
        *(f"{n},p{n}@example.com,+4915{n:08},Person {n},{n % 28 + 1:02}.03.2024," for n in range(first, first + count)),
    )


async def opened(
    h: Harness[App], layout: dict[str, Any], data: bytes, *, source: str = "history", **more: Any
) -> dict[str, Any]:
    body = {"source": source, "size": len(data), "digest": hashlib.sha256(data).hexdigest(), "layout": layout, **more}
    answer = await h.api.post("/v1/imports", json=body)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


async def handed_in(h: Harness[App], layout: dict[str, Any], data: bytes, **more: Any) -> str:
    one = await opened(h, layout, data, **more)
    if one["state"] == "receiving":
        answer = await h.api.post(f"/v1/imports/{one['id']}/content?offset={one['received']}", content=data)
        assert answer.status_code == 200, answer.text
    return str(one["id"])


async def imported(h: Harness[App], layout: dict[str, Any], data: bytes, *, most: int = 1_000, **more: Any) -> Any:
    """Hand an export in and work everything through; the import as it ended."""
    id = await handed_in(h, layout, data, **more)
    while await advance(h.app, most=most) is not None:
        pass
    return await shown(h, id)


async def shown(h: Harness[App], id: str) -> dict[str, Any]:
    return dict((await h.api.get(f"/v1/imports/{id}")).json())


async def errors(h: Harness[App], id: str) -> list[tuple[int, str, str]]:
    answer = await h.api.get(f"/v1/imports/{id}/errors?limit=200")
    return [(e["row"], e["column"], e["code"]) for e in answer.json()["items"]]


def jsonl(*objects: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(one, ensure_ascii=False) for one in objects).encode()


TABLES: Sequence[str] = ("identity_key", "lead", "contact", "touch", "receipt_entry", "outbox", "import_campaign")
