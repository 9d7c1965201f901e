"""Typeform: answers by field ref, UTM values and click ids as hidden fields, base64 HMAC behind `sha256=`.

Source: typeform.com/developers/webhooks.
"""

from typing import Any

from baton_demo.month import Submission, rfc3339
from baton_demo.payloads.wire import Door, Request, dumps, json_request, mac_base64

FORM_ID = "dEm0Rq12"
# ref, Typeform's field type, title, our detail
_FIELDS = (
    ("full_name", "short_text", "Your name", ""),
    ("email", "email", "Work e-mail", ""),
    ("phone", "phone_number", "Phone", "phone"),
    ("company", "short_text", "Company", "company_name"),
    ("job_title", "short_text", "Job title", "job_title"),
    ("company_size", "multiple_choice", "Company size", "employees"),
    ("timeline", "multiple_choice", "When do you want to start?", "timeline"),
    ("budget", "multiple_choice", "Budget a year", "budget"),
    ("product", "multiple_choice", "Product", "product"),
    ("consent", "legal", "May we write to you?", "consent_marketing"),
)


def request(submission: Submission, door: Door, *, now: float) -> Request:
    person, origin = submission.person, submission.origin
    given = {"full_name": person.full_name, "email": person.email} | {
        ref: submission.details[detail] for ref, _, _, detail in _FIELDS if detail in submission.details
    }
    hidden = {
        "utm_source": origin.utm_source,
        "utm_medium": origin.utm_medium,
        "utm_campaign": origin.utm_campaign,
        "page_url": submission.page_url,
        "referrer": origin.referrer,
    } | ({origin.click: submission.click_id} if origin.click else {})
    body = {
        "event_id": f"01DEMO{submission.id.replace('-', '').zfill(20)}",
        "event_type": "form_response",
        "form_response": {
            "form_id": FORM_ID,
            "token": f"tok-{submission.id}",
            "landed_at": rfc3339(submission.at),
            "submitted_at": rfc3339(submission.at),
            "hidden": {name: value for name, value in hidden.items() if value},
            "definition": {
                "id": FORM_ID,
                "title": "Demo request",
                "fields": [
                    {"id": f"f{index}", "ref": ref, "type": kind, "title": title}
                    for index, (ref, kind, title, _) in enumerate(_FIELDS)
                ],
            },
            "answers": [
                _answer(index, ref, kind, given[ref]) for index, (ref, kind, _, _) in enumerate(_FIELDS) if ref in given
            ],
        },
    }
    raw = dumps(body)
    return json_request(door.url, raw, Typeform_Signature=signature(door.secret, raw))


def signature(secret: str, body: bytes) -> str:
    """What stands in `Typeform-Signature`."""
    return f"sha256={mac_base64(secret, body)}"


def _answer(index: int, ref: str, kind: str, value: str) -> dict[str, Any]:
    names = {"short_text": "text", "email": "email", "phone_number": "phone_number"}
    field = {"id": f"f{index}", "type": kind, "ref": ref}
    if kind == "multiple_choice":
        return {"type": "choice", "choice": {"label": value}, "field": field}
    if kind == "legal":
        return {"type": "boolean", "boolean": value == "yes", "field": field}
    return {"type": names[kind], names[kind]: value, "field": field}
