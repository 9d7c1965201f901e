"""TikTok's Business API: one lead, and the exports of a form's leads.

Errors come with status 200 and a `code`. An export is a task: it is ordered, asked for until it is done, and downloaded
as CSV (zipped when it is large) with times in UTC. Leads of some regions lie apart and need `x-lead-region`.
Source: running integrations; TikTok publishes these pages behind a login only.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
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
from lead_intake.sources.tiktok import inquiry_of

HOST = "https://business-api.tiktok.com"
API = "/open_api/v1.3"
MOST_POLLS = 15
POLL_S = 2.0
PAGE = 100
LARGEST_EXPORT = 12 * 1024 * 1024
"""TikTok zips what is larger than ten megabytes."""

_TOKENS = frozenset({40001, 40102, 40104, 40105})
_THROTTLES = frozenset({40100, 40132, 40133})
_ABOUT = frozenset({
    "lead_id", "created_time", "create_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "form_id", "form_name", "page_id", "page_name", "is_test",
})  # fmt: skip


def judge(answer: Answer) -> timedelta | None:
    """Nothing to rest for. Raises CallFailed for TikTok's errors."""
    refuse_by_status(answer)
    if answer.body.lstrip()[:1] != b"{":
        return None  # a download
    code = answer.object().get("code", 0)
    if code == 0:
        return None
    if code in _TOKENS:
        raise TokenRefused("token" if code != 40001 else "permission_missing")
    if code in _THROTTLES:
        raise Throttled("throttled", wait=retry_after(answer))
    if code == 40002:
        raise Impossible("request_refused")
    raise Unavailable("provider_fault")


async def lead(api: Api, job: Job) -> Inquiry:
    """The lead behind a notification that came without answers. Raises CallFailed."""
    query = {
        "advertiser_id": _advertiser(api),
        "lead_id": job.lookup_id,
        "lead_source": job.about.get("lead_source", "INSTANT_FORM"),
    }
    if job.form_id:
        query["page_id"] = job.form_id
    found = (await api.get(f"{API}/lead/get/", headers=_headers(api), query=urlencode(query))).object()
    data = found.get("data")
    if not isinstance(data, dict):
        raise Malformed("data")
    told, about = data.get("lead_data"), data.get("meta_data")
    if not isinstance(told, dict):
        raise NotThere("lead_not_found")
    about = about if isinstance(about, dict) else {}
    at = _time(about.get("create_time")) or job.occurred_at
    return inquiry_of(job.key, told.items(), {"form_id": job.form_id} | about, source=api.source, at=at)


async def listed(api: Api, *, since: datetime, until: datetime, forms: Sequence[str]) -> AsyncIterator[list[Notice]]:
    """The leads of every known form since then, from an export each. Raises CallFailed."""
    regions = api.listed_setting("lead_regions") or [""]
    for form_id in filter(None, dict.fromkeys([*forms, *api.listed_setting("page_ids")])):
        for region in regions:
            notices = [n for n in _rows(await _export(api, form_id, region), form_id) if n.occurred_at >= since]
            for start in range(0, len(notices), PAGE):
                yield notices[start : start + PAGE]


def bodies(notices: Sequence[Notice]) -> list[bytes]:
    """The request in which the push would have told of these leads."""
    return [json.dumps({"object": 1, "entry": [notice.value for notice in notices]}).encode()]


async def _export(api: Api, form_id: str, region: str) -> bytes:
    headers = _headers(api) | ({"x-lead-region": region} if region else {})
    order = {"advertiser_id": _advertiser(api), "page_id": form_id}
    task = await _task(api, headers, order)
    task_id = mapping.as_text(task.get("task_id"))
    if not task_id:
        raise Malformed("task_id")
    for _ in range(MOST_POLLS):
        status = mapping.as_text(task.get("status")).upper()
        if status in ("SUCCEED", "SUCCESS"):
            break
        if status in ("FAILED", "FAIL"):
            raise Unavailable("export_failed")
        await asyncio.sleep(POLL_S)
        task = await _task(api, headers, {"advertiser_id": order["advertiser_id"], "task_id": task_id})
    else:
        raise Unavailable("export_slow")
    query = urlencode({"advertiser_id": order["advertiser_id"], "task_id": task_id})
    return (await api.get(f"{API}/page/lead/task/download/", headers=headers, query=query, largest=LARGEST_EXPORT)).body


async def _task(api: Api, headers: Mapping[str, str], order: Mapping[str, str]) -> dict[str, Any]:
    data = (await api.post(f"{API}/page/lead/task/", headers=headers, body=order)).object().get("data")
    if not isinstance(data, dict):
        raise Malformed("data")
    return data


def _rows(export: bytes, form_id: str) -> list[Notice]:
    text = _csv(export)
    if not text.strip():
        return []  # a form nobody has sent, or a region that holds none
    rows = csv.reader(io.StringIO(text))
    try:
        header = next(rows)
        names = [name.strip().lower().replace(" ", "_") for name in header]
        if "lead_id" not in names:
            raise Malformed("export")
        return [notice for row in rows if (notice := _notice(dict(_columns(header, names, row)), form_id)) is not None]
    except csv.Error:
        raise Malformed("export") from None


def _columns(header: Sequence[str], names: Sequence[str], row: Sequence[str]) -> list[tuple[str, str]]:
    met: set[str] = set()
    columns = []
    for label, name, value in zip(header, names, row, strict=False):
        # A question that is called like one of the fixed columns comes after it.
        fixed = name in _ABOUT and name not in met
        met.add(name)
        columns.append((name if fixed else label.strip(), value.strip().lstrip("'")))
    return columns


def _notice(row: dict[str, str], form_id: str) -> Notice | None:
    lead_id = row.get("lead_id", "")
    at = _time(row.get("created_time") or row.get("create_time"))
    if not lead_id or at is None:
        return None
    value: dict[str, Any] = {
        "id": lead_id,
        "page_id": row.get("form_id") or row.get("page_id") or form_id,
        "create_time": int(at.timestamp()),
        "changes": [{"field": name, "value": text} for name, text in row.items() if name not in _ABOUT],
    }
    about = ("campaign_id", "campaign_name", "adgroup_id", "ad_id", "is_test")
    value |= {name: row[name] for name in about if row.get(name)}
    return Notice(lead_id, str(value["page_id"]), at, value)


def _csv(export: bytes) -> str:
    if export[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(export)) as archive:
                inside = next((info for info in archive.infolist() if info.filename.lower().endswith(".csv")), None)
                if inside is None:
                    raise Malformed("export")
                with archive.open(inside) as file:
                    export = file.read(LARGEST_EXPORT * 4 + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
            raise Malformed("export") from None
        if len(export) > LARGEST_EXPORT * 4:
            raise Impossible("answer_too_large")
    try:
        return export.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("export") from None


def _time(told: Any) -> datetime | None:
    text = mapping.as_text(told).strip()
    at = timestamp(text) if text else None
    return at.astimezone(UTC) if at else None


def _advertiser(api: Api) -> str:
    advertiser = api.setting("advertiser_id")
    if not advertiser:
        raise TokenRefused("no_advertiser_id")
    return advertiser


def _headers(api: Api) -> dict[str, str]:
    return {"access-token": api.token()}
