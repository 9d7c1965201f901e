"""Meta's Graph API: one lead, and the leads of a form.

Source: developers.facebook.com, docs/marketing-api/guides/lead-ads/retrieving, docs/graph-api/overview/rate-limiting.
Paging goes by the `after` cursor, never by the address in `paging.next`, which repeats the token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from lead_intake import mapping
from lead_intake.delivery import Inquiry
from lead_intake.fetching.calls import (
    Answer,
    Api,
    Impossible,
    Malformed,
    NotThere,
    Throttled,
    TokenRefused,
    Unavailable,
    refuse_by_status,
    retry_after,
)
from lead_intake.fetching.job import Job
from lead_intake.fetching.notice import Notice
from lead_intake.normalise import timestamp

HOST = "https://graph.facebook.com"
VERSION = "v25.0"
FIELDS = (
    "id,created_time,ad_id,ad_name,adset_id,adset_name,campaign_id,campaign_name,form_id,is_organic,platform,"
    "field_data,custom_disclaimer_responses"
)
PAGE = 100
NEARLY_USED_UP = 90
"""Percent of an allowance: beyond, Meta begins to refuse, and the rest is left to the pushes' own lookups."""

_NAMES: Mapping[str, str] = {
    "full_name": "full_name",
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "email",
    "work_email": "email",
    "phone_number": "phone",
    "work_phone_number": "phone",
    "company_name": "company_name",
    "job_title": "job_title",
    "country": "country",
    "website": "website",
}
_THROTTLES = frozenset({4, 17, 32, 341, 368, 613}) | frozenset(range(80_000, 80_015))
_TOKENS = frozenset({10, 102, 190}) | frozenset(range(200, 300))
_INVENTED = re.compile(r"0|(\d)\1{7,}")
_DUMMY = "<test lead: dummy data"


def judge(answer: Answer) -> timedelta | None:
    """How long to rest after this answer. Raises CallFailed for Graph API errors."""
    if 200 <= answer.status < 300:
        return _rest(answer)
    error = _error(answer)
    code, subcode = error.get("code"), error.get("error_subcode")
    if code in _THROTTLES or answer.status == 429:
        raise Throttled("throttled", wait=retry_after(answer) or _regained(answer))
    if code in _TOKENS:
        raise TokenRefused(
            "permission_missing" if code != 190 and code != 102 else _TOKEN_REASONS.get(subcode, "token")
        )
    if code in (1, 2) or error.get("is_transient") is True:
        raise Unavailable("provider_fault")
    if code == 100 and subcode == 33:
        raise NotThere("lead_not_found")
    if code == 100:
        raise Impossible("request_refused")
    refuse_by_status(answer)
    return None


async def lead(api: Api, job: Job) -> Inquiry:
    """The lead behind a notification. Raises CallFailed."""
    try:
        answer = await api.get(
            f"/{_version(api)}/{_id(job.lookup_id)}", headers=_headers(api), query=_query(api, FIELDS)
        )
    except NotThere:
        if invented(job):
            return Inquiry(job.key, {}, occurred_at=job.occurred_at, test=True)
        raise
    return inquiry_of(answer.object(), job, api)


def invented(job: Job) -> bool:
    """Whether the notification carries the ids that the dashboard's test button makes up (0, or one digit repeated)."""
    return any(_INVENTED.fullmatch(job.about.get(name, "")) for name in ("entry_id", "page_id"))


def inquiry_of(found: Mapping[str, Any], job: Job, api: Api) -> Inquiry:
    """What the lead says. Consent is told by the disclaimers: given where every box is ticked."""
    data = found.get("field_data")
    if not isinstance(data, list):
        raise Malformed("field_data")
    flat: dict[str, Any] = {}
    for one in data[:500]:
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            flat[one["name"]] = mapping.as_text(one.get("values"))
    boxes = found.get("custom_disclaimer_responses")
    ticked = {
        str(box.get("checkbox_key", "")): mapping.as_text(box.get("is_checked")).lower() in ("1", "true")
        for box in (boxes if isinstance(boxes, list) else [])
        if isinstance(box, dict)
    }
    told = flat | {f"disclaimers.{key}": "true" if yes else "false" for key, yes in ticked.items()}
    source = api.source
    fields = mapping.fields_by_path(told, source.mapping)
    for name, value in flat.items():
        ours = _NAMES.get(name, "")
        if ours and value:
            fields.setdefault(ours, value)
    mapping.fields_by_name(((name, value) for name, value in flat.items() if name not in _NAMES), fields)
    if ticked:
        fields.setdefault("consent_marketing", "true" if all(ticked.values()) else "false")
    for theirs, ours in (
        ("form_id", "form_id"), ("campaign_id", "campaign_id"), ("adset_id", "adgroup_id"), ("ad_id", "ad_id"),
        ("campaign_name", "utm_campaign"),
    ):  # fmt: skip
        if value := mapping.as_text(found.get(theirs)):
            fields.setdefault(ours, value)
    fields.setdefault("form_id", job.form_id)
    fields.setdefault("utm_source", "instagram" if found.get("platform") == "ig" else "facebook")
    fields.setdefault("utm_medium", "social" if found.get("is_organic") is True else "paid_social")
    fields.pop("id", None)
    return Inquiry(
        job.key,
        fields,
        mapping.answers_of(told, source.mapping),
        occurred_at=timestamp(found.get("created_time")) or job.occurred_at,
        test=any(isinstance(value, str) and value.startswith(_DUMMY) for value in flat.values()),
    )


async def listed(api: Api, *, since: datetime, until: datetime, forms: Sequence[str]) -> AsyncIterator[list[Notice]]:
    """The leads of every known form since then, page by page. Raises CallFailed."""
    known = dict.fromkeys([*forms, *api.listed_setting("form_ids")])
    for page_id in api.listed_setting("page_ids"):
        async for page in _pages(api, f"/{_version(api)}/{_id(page_id)}/leadgen_forms", fields="id,status"):
            known |= dict.fromkeys(mapping.as_text(form.get("id")) for form in page)
    newer = [{"field": "time_created", "operator": "GREATER_THAN", "value": int(since.timestamp())}]
    for form_id in filter(None, known):
        path = f"/{_version(api)}/{_id(form_id)}/leads"
        fields = "id,created_time,form_id,ad_id,adset_id"
        async for page in _pages(api, path, fields=fields, filtering=json.dumps(newer)):
            yield [notice for found in page if (notice := _notice(found, form_id)) is not None]


def bodies(notices: Sequence[Notice]) -> list[bytes]:
    """The requests in which the push would have told of these leads."""
    changes = [{"field": "leadgen", "value": notice.value} for notice in notices]
    return [json.dumps({"object": "page", "entry": [{"id": "listed", "changes": changes}]}).encode()]


def _notice(found: Mapping[str, Any], form_id: str) -> Notice | None:
    lead_id, at = mapping.as_text(found.get("id")), timestamp(found.get("created_time"))
    if not lead_id or at is None:
        return None
    value = {"leadgen_id": lead_id, "form_id": form_id, "created_time": int(at.timestamp())}
    return Notice(lead_id, form_id, at, value)


async def _pages(api: Api, path: str, *, fields: str, **more: str) -> AsyncIterator[list[dict[str, Any]]]:
    after = ""
    while True:
        cursor = {"after": after} if after else {}
        query = _query(api, fields, limit=str(PAGE), **more, **cursor)
        found = (await api.get(path, headers=_headers(api), query=query)).object()
        data = found.get("data")
        if not isinstance(data, list):
            raise Malformed("data")
        yield [one for one in data if isinstance(one, dict)]
        paging = found.get("paging")
        if not isinstance(paging, dict) or "next" not in paging:
            return
        cursors = paging.get("cursors")
        following = mapping.as_text(cursors.get("after")) if isinstance(cursors, dict) else ""
        if not following or following == after:
            raise Malformed("paging")
        after = following


def _headers(api: Api) -> dict[str, str]:
    return {"authorization": f"Bearer {api.token()}"}


def _query(api: Api, fields: str, **more: str) -> str:
    query = {"fields": fields, **more}
    if api.setting("appsecret_proof") == "true" and api.source.secrets:
        secret = api.source.secrets[-1].encode()
        query["appsecret_proof"] = hmac.new(secret, api.token().encode(), hashlib.sha256).hexdigest()
    return urlencode(query)


def _version(api: Api) -> str:
    return api.setting("api_version", VERSION)


def _id(told: str) -> str:
    # It stands in a path: nothing but what an id is made of.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", told):
        raise Impossible("id_not_usable")
    return told


def _error(answer: Answer) -> dict[str, Any]:
    try:
        found = answer.json()
    except Malformed:
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


_TOKEN_REASONS: Mapping[Any, str] = {
    458: "app_removed",
    459: "user_must_log_in",
    460: "password_changed",
    463: "token_expired",
    467: "token",
    492: "role_missing",
}


def _usages(answer: Answer) -> list[dict[str, Any]]:
    usages = [_json(answer.headers.get(name, "")) for name in ("x-app-usage", "x-page-usage")]
    for each in _json(answer.headers.get("x-business-use-case-usage", "")).values():
        usages += [one for one in each if isinstance(one, dict)] if isinstance(each, list) else []
    return usages


def _rest(answer: Answer) -> timedelta | None:
    used = [
        usage[name]
        for usage in _usages(answer)
        for name in ("call_count", "total_time", "total_cputime")
        if isinstance(usage.get(name), int | float)
    ]
    if not used or max(used) < NEARLY_USED_UP:
        return None
    return _regained(answer) or timedelta(minutes=5)


def _regained(answer: Answer) -> timedelta | None:
    minutes = [
        usage["estimated_time_to_regain_access"]
        for usage in _usages(answer)
        if isinstance(usage.get("estimated_time_to_regain_access"), int | float)
    ]
    return timedelta(minutes=max(minutes)) if minutes and max(minutes) > 0 else None


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
