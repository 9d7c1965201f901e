"""Senders without a standard: the form of the own site (urlencoded, secret address) and a partner's portal (JSON).

The portal signs the raw body with HMAC-SHA256 in hex, as many home-made senders do.
"""

from urllib.parse import urlencode

from baton_demo.month import Submission, rfc3339
from baton_demo.payloads.wire import Door, Request, dumps, json_request, mac

SIGNATURE_HEADER = "X-Portal-Signature"


def request(submission: Submission, door: Door, *, now: float) -> Request:
    return _portal(submission, door) if submission.source == "partner-portal" else _site(submission, door)


def _site(submission: Submission, door: Door) -> Request:
    person, details = submission.person, submission.details
    fields = {
        "entry_id": submission.id,
        "submitted": rfc3339(submission.at),
        "your-name": person.full_name,
        "your-email": person.email,
        "your-phone": details.get("phone", ""),
        "company": details.get("company_name", ""),
        "size": details.get("employees", ""),
        "message": details.get("message", ""),
        "newsletter": details.get("consent_marketing", ""),
        "page_url": submission.page_url,
        "referrer": submission.origin.referrer,
        "utm[source]": submission.origin.utm_source,
        "utm[medium]": submission.origin.utm_medium,
        "utm[campaign]": submission.origin.utm_campaign,
    }
    if submission.origin.click:
        fields[submission.origin.click] = submission.click_id
    body = urlencode({name: value for name, value in fields.items() if value})
    return Request(door.url, {"Content-Type": "application/x-www-form-urlencoded"}, body.encode())


SITE_MAPPING = {
    "id": "entry_id",
    "occurred_at": "submitted",
    "full_name": "your-name",
    "email": "your-email",
    "phone": "your-phone",
    "employees": "size",
    "consent_marketing": "newsletter",
    "utm_source": "utm.source",
    "utm_medium": "utm.medium",
    "utm_campaign": "utm.campaign",
}


def _portal(submission: Submission, door: Door) -> Request:
    person, details = submission.person, submission.details
    body = {
        "referral": {"number": submission.id, "made_at": rfc3339(submission.at), "note": details.get("message", "")},
        "contact": {
            "name": person.full_name,
            "email": person.email,
            "phone": details.get("phone", ""),
            "position": details.get("job_title", ""),
        },
        "firm": {
            "name": details.get("company_name", ""),
            "country": details.get("country", ""),
            "staff": details.get("employees", ""),
        },
        "need": {"start": details.get("timeline", ""), "budget": details.get("budget", "")},
        "utm_source": submission.origin.utm_source,
        "utm_medium": submission.origin.utm_medium,
        "utm_campaign": submission.origin.utm_campaign,
    }
    raw = dumps(body)
    return json_request(door.url, raw, **{SIGNATURE_HEADER: mac(door.secret, raw).hex()})


PORTAL_MAPPING = {
    "id": "referral.number",
    "occurred_at": "referral.made_at",
    "message": "referral.note",
    "full_name": "contact.name",
    "email": "contact.email",
    "phone": "contact.phone",
    "job_title": "contact.position",
    "company_name": "firm.name",
    "country": "firm.country",
    "employees": "firm.staff",
    "timeline": "need.start",
    "budget": "need.budget",
}
