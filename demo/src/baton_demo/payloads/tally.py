"""Tally: fields with labels and types, choices as option ids, `Tally-Signature` in base64 over the raw body.

Source: tally.so/help/webhooks.
"""

from typing import Any

from baton_demo.month import Submission, rfc3339
from baton_demo.payloads.wire import Door, Request, dumps, json_request, mac_base64

FORM_ID = "wNews1"
_LANGUAGES = {"de": "opt-de", "en": "opt-en", "ru": "opt-ru", "es": "opt-es"}


def request(submission: Submission, door: Door, *, now: float) -> Request:
    person, origin = submission.person, submission.origin
    at = rfc3339(submission.at).replace("Z", ".000Z")
    hidden = {
        "utm_source": origin.utm_source,
        "utm_medium": origin.utm_medium,
        "utm_campaign": origin.utm_campaign,
        "page_url": submission.page_url,
        "referrer": origin.referrer,
    } | ({origin.click: submission.click_id} if origin.click else {})
    fields: list[dict[str, Any]] = [
        {"key": "question_1a", "label": "First name", "type": "INPUT_TEXT", "value": person.first_name},
        {"key": "question_2b", "label": "Email", "type": "INPUT_EMAIL", "value": person.email},
        {
            "key": "question_3c",
            "label": "Language",
            "type": "DROPDOWN",
            "value": [_LANGUAGES[person.language]],
            "options": [{"id": option, "text": code} for code, option in _LANGUAGES.items()],
        },
        {"key": "question_4d", "label": "Newsletter", "type": "CHECKBOXES", "value": True},
    ]
    fields += [
        {"key": f"question_5_{name}", "label": name, "type": "HIDDEN_FIELDS", "value": value or None}
        for name, value in hidden.items()
    ]
    body = {
        "eventId": f"ev-{submission.id}",
        "eventType": "FORM_RESPONSE",
        "createdAt": at,
        "data": {
            "responseId": f"r{submission.id}",
            "submissionId": f"r{submission.id}",
            "respondentId": f"p{person.number}",
            "formId": FORM_ID,
            "formName": "Newsletter",
            "createdAt": at,
            "fields": fields,
        },
    }
    raw = dumps(body)
    return json_request(door.url, raw, Tally_Signature=signature(door.secret, raw))


def signature(secret: str, body: bytes) -> str:
    """What stands in `Tally-Signature`."""
    return mac_base64(secret, body)
