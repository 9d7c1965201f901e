"""A webinar platform that sends Standard Webhooks 1.0: id, timestamp and body are signed, the id stays on retries.

Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64

from baton_demo.month import Submission, rfc3339
from baton_demo.payloads.wire import Door, Request, dumps, json_request, mac_base64


def request(submission: Submission, door: Door, *, now: float) -> Request:
    person, origin = submission.person, submission.origin
    data = {
        "email": person.email,
        "full_name": person.full_name,
        **submission.details,
        "language": person.language,
        "form_id": "handoff-live",
        "utm_source": origin.utm_source,
        "utm_medium": origin.utm_medium,
        "utm_campaign": origin.utm_campaign,
        "page_url": submission.page_url,
        "registered_at": rfc3339(submission.at),
    }
    if origin.click:
        data[origin.click] = submission.click_id
    raw = dumps({"type": "registration.attended", "timestamp": rfc3339(submission.at), "data": data})
    identity, sent_at = f"msg_{submission.id}", str(int(now))
    return json_request(
        door.url,
        raw,
        webhook_id=identity,
        webhook_timestamp=sent_at,
        webhook_signature=signature(door.secret, identity, sent_at, body=raw),
    )


def signature(secret: str, identity: str, sent_at: str, *, body: bytes) -> str:
    """What stands in `webhook-signature`; the secret is base64 after `whsec_`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + mac_base64(key, f"{identity}.{sent_at}.".encode() + body)
