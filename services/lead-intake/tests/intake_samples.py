"""Deliveries as the providers send them, signed as they sign."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SECRETS = {
    "generic": "generic-secret-1",
    "standard_webhooks": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "google_ads": "our-shared-key",
    "typeform": "tf-secret-1",
    "tally": "tally-secret-1",
    "hubspot": "hs-client-secret-1",
    "meta": "meta-app-secret-1",
    "linkedin": "li-client-secret-1",
    "tiktok": "tt-secret-1",
}
PUBLIC_URL = "http://127.0.0.1:8100"


@dataclass(frozen=True)
class Sent:
    """A request, ready to be sent."""

    body: bytes
    headers: dict[str, str]


def generic(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    return json.dumps({"submission_id": key, "email": email, "phone": phone, "name": "Anna Petrova"} | more).encode()


def standard_webhooks(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    data = {"email": email, "phone": phone, "name": "Anna Petrova"} | more
    return json.dumps({"type": "lead.created", "timestamp": "2026-01-05T08:00:00Z", "data": data}).encode()


def google_ads(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    columns = [("FULL_NAME", "Anna Petrova"), ("EMAIL", email), ("PHONE_NUMBER", phone), *more.items()]
    return json.dumps(
        {
            "lead_id": key,
            "form_id": 41234567890123,
            "campaign_id": 9007199254740993,
            "adgroup_id": 150123456789,
            "creative_id": 700123456789,
            "gcl_id": "Cj0KCQiA-TEST-gclid",
            "google_key": SECRETS["google_ads"],
            "is_test": False,
            "lead_submit_time": "2026-01-05T08:00:00Z",
            "user_column_data": [{"column_id": name, "string_value": value} for name, value in columns if value],
        }
    ).encode()


def typeform(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    answers: list[dict[str, Any]] = [
        {"type": "text", "text": "Anna Petrova", "field": {"id": "f1", "type": "short_text", "ref": "full_name"}},
    ]
    if email:
        answers.append({"type": "email", "email": email, "field": {"id": "f2", "type": "email", "ref": "mail_1"}})
    if phone:
        answers.append({"type": "phone_number", "phone_number": phone, "field": {"id": "f3", "ref": "fon"}})
    return json.dumps(
        {
            "event_id": f"event-{key}",
            "event_type": "form_response",
            "form_response": {
                "form_id": "aBcD12",
                "token": key,
                "submitted_at": "2026-01-05T08:00:00Z",
                "hidden": {"utm_source": "google", "utm_campaign": "spring", "gclid": "TEST-gclid"} | more,
                "definition": {"id": "aBcD12", "fields": [{"id": "f1", "ref": "full_name", "title": "Your name"}]},
                "answers": answers,
            },
        }
    ).encode()


def tally(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    fields: list[dict[str, Any]] = [
        {"key": "question_1a", "label": "Name", "type": "INPUT_TEXT", "value": "Anna Petrova"},
        {"key": "question_2b", "label": "Your address", "type": "INPUT_EMAIL", "value": email or None},
        {"key": "question_3c", "label": "Number", "type": "INPUT_PHONE_NUMBER", "value": phone or None},
        {
            "key": "question_4d",
            "label": "Plan",
            "type": "MULTIPLE_CHOICE",
            "value": ["opt-b"],
            "options": [{"id": "opt-a", "text": "Solo"}, {"id": "opt-b", "text": "Team"}],
        },
        {"key": "question_5e", "label": "utm_source", "type": "HIDDEN_FIELDS", "value": "google"},
    ]
    fields += [{"key": f"k{n}", "label": n, "type": "INPUT_TEXT", "value": v} for n, v in more.items()]
    data = {"responseId": key, "formId": "wAbCdE", "createdAt": "2026-01-05T08:00:00.000Z", "fields": fields}
    return json.dumps({"eventId": f"event-{key}", "eventType": "FORM_RESPONSE", "data": data}).encode()


def hubspot(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    told = {"email": email, "phone": phone, "firstname": "Anna", "lastmodifieddate": "1767600000000"} | more
    return json.dumps(
        {"vid": key, "portal-id": 1234567, "properties": {name: {"value": v} for name, v in told.items() if v}}
    ).encode()


def tiktok(key: str, email: str, phone: str = "", **more: Any) -> bytes:
    told = {"name": "Anna Petrova", "email": email, "phone_number": phone} | more
    entry = {
        "id": key,
        "page_id": "7511002233445566778",
        "create_time": 1767600000,
        "campaign_id": "1811002233445566",
        "adgroup_id": "1811002233445577",
        "ad_id": "1811002233445588",
        "changes": [{"field": name, "value": value} for name, value in told.items() if value],
    }
    return json.dumps({"object": 1, "time": 1767600005, "request_id": "2026", "entry": [entry]}).encode()


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


BODIES: dict[str, Callable[..., bytes]] = {
    "generic": generic,
    "standard_webhooks": standard_webhooks,
    "google_ads": google_ads,
    "typeform": typeform,
    "tally": tally,
    "hubspot": hubspot,
    "tiktok": tiktok,
}
"""The providers whose deliveries hold the lead; those of the others only name it."""


def signed(
    provider: str, body: bytes, *, now: datetime, path: str, key: str = "k", content_type: str = "application/json"
) -> Sent:
    """The headers that the provider would send with this body."""
    secret = SECRETS[provider]
    headers = {"content-type": content_type}

    def b64(key: bytes, message: bytes) -> str:
        return base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()

    if provider == "generic":
        headers["authorization"] = f"Bearer {secret}"
    elif provider == "standard_webhooks":
        at = str(int(now.timestamp()))
        raw = base64.b64decode(secret.removeprefix("whsec_"))
        headers |= {"webhook-id": key, "webhook-timestamp": at}
        headers["webhook-signature"] = "v1," + b64(raw, f"{key}.{at}.".encode() + body)
    elif provider == "typeform":
        headers["typeform-signature"] = "sha256=" + b64(secret.encode(), body)
    elif provider == "tally":
        headers["tally-signature"] = b64(secret.encode(), body)
    elif provider == "meta":
        headers["x-hub-signature-256"] = "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    elif provider == "linkedin":
        headers["x-li-signature"] = hmac.digest(secret.encode(), b"hmacsha256=" + body, hashlib.sha256).hex()
    elif provider == "tiktok":
        at = str(int(now.timestamp()))
        s = hmac.digest(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hex()
        headers["tiktok-signature"] = f"t={at},s={s}"
    elif provider == "hubspot":
        at = str(int(now.timestamp() * 1000))
        headers["x-hubspot-request-timestamp"] = at
        message = f"POST{PUBLIC_URL}{path}".encode() + body + at.encode()
        headers["x-hubspot-signature-v3"] = b64(secret.encode(), message)
    return Sent(body, headers)
