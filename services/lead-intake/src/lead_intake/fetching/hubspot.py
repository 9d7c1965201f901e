"""HubSpot's CRM API: the contact behind an event.

Source: developers.hubspot.com, crm/v3/objects/contacts; limits after its "usage guidelines" (429, `Retry-After`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from lead_intake import mapping
from lead_intake.delivery import Inquiry
from lead_intake.fetching.calls import Answer, Api, Malformed, NotThere, Throttled, refuse_by_status, retry_after
from lead_intake.fetching.job import Job

HOST = "https://api.hubapi.com"
PROPERTIES = (
    "email", "firstname", "lastname", "phone", "mobilephone", "company", "jobtitle", "country", "website",
    "hs_language", "numberofemployees", "industry", "hs_google_click_id", "hs_facebook_click_id",
    "associatedcompanyid",
)  # fmt: skip
FEWEST_LEFT = 10


def judge(answer: Answer) -> timedelta | None:
    """How long to rest after this answer. Raises CallFailed for HubSpot's errors."""
    if answer.status == 429:
        raise Throttled("throttled", wait=retry_after(answer) or _window(answer) or timedelta(seconds=10))
    refuse_by_status(answer)
    left = answer.headers.get("x-hubspot-ratelimit-remaining", "")
    if left.isascii() and left.isdigit() and int(left) < FEWEST_LEFT:
        return _window(answer) or timedelta(seconds=10)
    return None


async def lead(api: Api, job: Job) -> Inquiry:
    """The contact as it stands. Raises CallFailed."""
    wanted = dict.fromkeys([*PROPERTIES, *_mapped(api.source.mapping)])
    path = f"/crm/v3/objects/contacts/{quote(job.lookup_id, safe='')}"
    headers = {"authorization": f"Bearer {api.token()}"}
    try:
        found = (await api.get(path, headers=headers, query=urlencode({"properties": ",".join(wanted)}))).object()
    except NotThere:
        raise NotThere("contact_not_found") from None
    properties = found.get("properties")
    if not isinstance(properties, dict):
        raise Malformed("properties")
    flat = {name: mapping.as_text(value) for name, value in properties.items()}
    fields = mapping.fields_by_path(flat, api.source.mapping)
    mapping.fields_by_name(((name, value) for name, value in flat.items() if value), fields)
    # The contact's own times and ids are not those of the inquiry.
    for name in ("id", "occurred_at", "test"):
        fields.pop(name, None)
    answers = mapping.answers_of(flat, api.source.mapping)
    update = job.about.get("tells") == "update"
    return Inquiry(job.key, fields, answers, occurred_at=job.occurred_at, update=update)


def _mapped(declared: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for field, paths in declared.items():
        if field == "answers":
            names += [str(rule["path"]) for rule in paths.values()]
        else:
            names += [paths] if isinstance(paths, str) else [str(path) for path in paths]
    return names[:100]


def _window(answer: Answer) -> timedelta | None:
    told = answer.headers.get("x-hubspot-ratelimit-interval-milliseconds", "")
    return timedelta(milliseconds=int(told)) if told.isascii() and told.isdigit() and len(told) < 9 else None
