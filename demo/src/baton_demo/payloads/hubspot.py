"""HubSpot workflow webhook: the enrolled contact in the old nested shape, signature v2 (plain SHA-256).

Source: knowledge.hubspot.com, workflow webhooks; HubSpot/hubspot-api-python utils/signature.py.
"""

import hashlib

from baton_demo.month import Submission
from baton_demo.payloads.wire import Door, Request, dumps, json_request

PORTAL_ID = 1234567
_PROPERTIES = {
    "phone": "phone",
    "company_name": "company",
    "job_title": "jobtitle",
    "employees": "numberofemployees",
    "country": "country",
}
_CLICKS = {"gclid": "hs_google_click_id", "fbclid": "hs_facebook_click_id"}


def request(submission: Submission, door: Door, *, now: float) -> Request:
    person, origin = submission.person, submission.origin
    properties = {
        "email": person.email,
        "firstname": person.first_name,
        "lastname": person.last_name,
        "page_url": submission.page_url,
        "referrer": origin.referrer,
        "utm_source": origin.utm_source,
        "utm_medium": origin.utm_medium,
        "utm_campaign": origin.utm_campaign,
        "lastmodifieddate": str(int(submission.at.timestamp() * 1000)),
    }
    if origin.click:
        properties[_CLICKS.get(origin.click, origin.click)] = submission.click_id
    properties |= {_PROPERTIES[name]: value for name, value in submission.details.items() if name in _PROPERTIES}
    body = {
        "vid": 51_000_000_000 + person.number,
        "portal-id": PORTAL_ID,
        "properties": {name: {"value": value} for name, value in properties.items() if value},
    }
    raw = dumps(body)
    return json_request(
        door.url,
        raw,
        X_HubSpot_Signature=signature_v2(door.secret, "POST", door.url, body=raw),
        X_HubSpot_Signature_Version="v2",
    )


def signature_v2(secret: str, method: str, uri: str, *, body: bytes) -> str:
    """What stands in `X-HubSpot-Signature`: no HMAC, the secret comes first."""
    return hashlib.sha256(f"{secret}{method}{uri}".encode() + body).hexdigest()
