"""Google Ads lead forms: one lead a request, proved by the shared `google_key` in the body.

The key is cut out before the body is stored. Success is exactly 200 with `{}`.
Source: developers.google.com/google-ads/webhook/docs (overview, implementation, FAQ).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Reply, Result, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import json_object
from lead_intake.sources.plain import any_same, kept_without, no_handshake, no_secret_problem

NEEDS_SECRET = True
handshake = no_handshake
secret_problem = no_secret_problem

_COLUMNS = {
    "FULL_NAME": "full_name",
    "FIRST_NAME": "first_name",
    "LAST_NAME": "last_name",
    "WORK_EMAIL": "email",
    "EMAIL": "email",
    "WORK_PHONE": "phone",
    "PHONE_NUMBER": "phone",
    "PHONE_NUMBER_VERIFIED": "phone",
    "COMPANY_NAME": "company_name",
    "JOB_TITLE": "job_title",
    "COUNTRY": "country",
}


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    try:
        key = json_object(incoming).get("google_key")
    except Unparsable:
        return False
    return any_same(key if isinstance(key, str) else "", source.secrets)


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    lead = json_object(incoming)
    columns = lead.get("user_column_data", [])
    if not isinstance(columns, list):
        raise Unparsable("user_column_data")
    flat: dict[str, Any] = {}
    for column in columns[:200]:
        if isinstance(column, dict) and isinstance(column.get("column_id"), str):
            flat[column["column_id"]] = column.get("string_value")
    fields = mapping.fields_by_path(flat, source.mapping)
    for column_id, field in _COLUMNS.items():  # in this order: the address at work says more than the private one
        value = flat.get(column_id)
        if field not in fields and isinstance(value, str) and value:
            fields[field] = value
    mapping.fields_by_name(((name, v) for name, v in flat.items() if name not in _COLUMNS), fields)
    for name, ours in (
        ("form_id", "form_id"),
        ("campaign_id", "campaign_id"),
        ("adgroup_id", "adgroup_id"),
        ("creative_id", "ad_id"),
        ("gcl_id", "gclid"),
    ):
        if value := mapping.as_text(lead.get(name)):
            fields[ours] = value
    return [
        Inquiry(
            key=mapping.as_text(lead.get("lead_id")),
            fields=fields,
            answers=mapping.answers_of(flat, source.mapping),
            occurred_at=timestamp(lead.get("lead_submit_time")),
            test=lead.get("is_test") is True,
        )
    ]


def reply(result: Result) -> Reply:
    return Reply(200, b"{}")


def kept(incoming: Incoming) -> bytes:
    return kept_without(incoming, "google_key")
