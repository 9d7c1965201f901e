"""LinkedIn's Lead Sync API: one form response with its form, and the responses of an owner.

Source: learn.microsoft.com, marketing/lead-sync/leadsync; paths of forms and of the finder after running integrations.
Rest.li wants the parentheses and colons of a structure as they are, and those of a URN inside of it escaped.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from lead_intake import mapping
from lead_intake.delivery import Inquiry
from lead_intake.fetching.calls import (
    Answer,
    Api,
    Impossible,
    Malformed,
    NotThere,
    Throttled,
    refuse_by_status,
    retry_after,
)
from lead_intake.fetching.job import Job
from lead_intake.fetching.notice import Notice
from lead_intake.normalise import timestamp
from lead_intake.sources.linkedin import created_key, form_of

HOST = "https://api.linkedin.com"
VERSION = "202610"
PAGE = 100
MOST_FORMS = 500

_PREDEFINED: Mapping[str, str] = {
    "FIRST_NAME": "first_name",
    "LAST_NAME": "last_name",
    "EMAIL": "email",
    "WORK_EMAIL": "email",
    "PHONE_NUMBER": "phone",
    "WORK_PHONE_NUMBER": "phone",
    "COMPANY_NAME": "company_name",
    "COMPANY_SIZE": "employees",
    "INDUSTRY": "industry",
    "JOB_TITLE": "job_title",
    "COUNTRY": "country",
    "COUNTRY_REGION": "country",
}

_forms: dict[tuple[str, str], dict[str, Any]] = {}
"""Forms by source and versioned name: a version never changes, so that each is read once a process."""


def judge(answer: Answer) -> timedelta | None:
    """Nothing to rest for: LinkedIn tells of its limits by 429 only. Raises CallFailed for its errors."""
    if answer.status == 429:
        # The limits are by day: without a time of its own, waiting minutes is not enough.
        raise Throttled("throttled", wait=retry_after(answer) or timedelta(minutes=15))
    refuse_by_status(answer)
    return None


async def lead(api: Api, job: Job) -> Inquiry:
    """The form response behind a notification, read with the form it answers. Raises CallFailed."""
    path = f"/rest/leadFormResponses/{quote(job.lookup_id, safe='')}"
    try:
        found = (await api.get(path, headers=_headers(api))).object()
    except NotThere:
        raise NotThere("lead_not_found") from None
    versioned = mapping.as_text(found.get("versionedLeadGenFormUrn"))
    form_id = form_of(versioned) or job.form_id
    form = await _form(api, versioned or form_id, form_id) if form_id else {}
    return inquiry_of(found, form, job, api)


def inquiry_of(found: Mapping[str, Any], form: Mapping[str, Any], job: Job, api: Api) -> Inquiry:
    """What the response says. Consent is given where every box of the form is accepted.

    A mapping may name `questions.<id>`, `hidden.<name>` and `consents.<id>`.
    """
    response = found.get("formResponse")
    answers = response.get("answers") if isinstance(response, dict) else None
    if not isinstance(response, dict) or not isinstance(answers, list):
        raise Malformed("form_response")
    questions = _questions(form)
    told: dict[str, str] = {}
    named: list[tuple[str, str]] = []
    predefined: list[tuple[str, str]] = []
    for answer in answers[:500]:
        if not isinstance(answer, dict):
            continue
        question_id = mapping.as_text(answer.get("questionId"))
        question = questions.get(question_id, {})
        value = _answered(answer.get("answerDetails"), question)
        told[f"questions.{question_id}"] = value
        predefined.append((mapping.as_text(question.get("predefinedField")), value))
        named += [(mapping.as_text(question.get("name")), value), (_text(question.get("question")), value)]
    for hidden in _list(form, "hiddenFields") + _list(_object(form, "content"), "hiddenFields"):
        name, value = mapping.as_text(hidden.get("name")), mapping.as_text(hidden.get("value"))
        told[f"hidden.{name}"] = value
        named.append((name, value))
    accepted = {
        mapping.as_text(consent.get("consentId")): consent.get("accepted") is True
        for consent in _list(response, "consentResponses")
    }
    told |= {f"consents.{id}": "true" if yes else "false" for id, yes in accepted.items()}

    source = api.source
    fields = mapping.fields_by_path(told, source.mapping)
    for field, value in predefined:
        if field in _PREDEFINED and value:
            fields.setdefault(_PREDEFINED[field], value)
    mapping.fields_by_name(named, fields)
    if accepted:
        fields.setdefault("consent_marketing", "true" if all(accepted.values()) else "false")
    sponsored = _object(_object(found, "leadMetadata"), "sponsoredLeadMetadata")
    entity = _object(found, "associatedEntity")
    for value, ours in (
        (form_of(mapping.as_text(found.get("versionedLeadGenFormUrn"))) or job.form_id, "form_id"),
        (mapping.as_text(sponsored.get("campaign")).rpartition(":")[2], "campaign_id"),
        (
            mapping.as_text(entity.get("associatedCreative")).rpartition(":")[2] or job.about.get("creative", ""),
            "ad_id",
        ),
    ):
        if value:
            fields.setdefault(ours, value)
    fields.setdefault("utm_source", "linkedin")
    kind = mapping.as_text(found.get("leadType")) or job.about.get("lead_type", "")
    fields.setdefault("utm_medium", "paid_social" if kind == "SPONSORED" else "social")
    fields.pop("id", None)
    return Inquiry(
        job.key,
        fields,
        mapping.answers_of(told, source.mapping),
        occurred_at=timestamp(found.get("submittedAt")) or job.occurred_at,
        test=found.get("testLead") is True,
    )


async def listed(api: Api, *, since: datetime, until: datetime, forms: Sequence[str]) -> AsyncIterator[list[Notice]]:
    """The responses of every owner and kind since then, page by page. Raises CallFailed."""
    between = f"(start:{int(since.timestamp() * 1000)},end:{int(until.timestamp() * 1000)})"
    for owner in api.listed_setting("owners"):
        kind = "organization" if ":organization:" in owner else "sponsoredAccount"
        for lead_type in api.listed_setting("lead_types") or ["SPONSORED"]:
            start = 0
            while True:
                query = (
                    f"q=owner&owner=({kind}:{quote(owner, safe='')})&leadType=(leadType:{quote(lead_type, safe='')})"
                    f"&limitedToTestLeads=false&submittedAtTimeRange={between}&count={PAGE}&start={start}"
                )
                found = (await api.get("/rest/leadFormResponses", headers=_headers(api), query=query)).object()
                elements = found.get("elements")
                if not isinstance(elements, list):
                    raise Malformed("elements")
                yield [notice for one in elements if (notice := _notice(one)) is not None]
                start += len(elements)
                total = _object(found, "paging").get("total")
                if len(elements) < PAGE if not isinstance(total, int) else (not elements or start >= total):
                    break


def bodies(notices: Sequence[Notice]) -> list[bytes]:
    """The requests in which the push would have told of these leads: one each."""
    return [json.dumps(notice.value).encode() for notice in notices]


def _notice(found: Any) -> Notice | None:
    if not isinstance(found, dict):
        return None
    id, at = mapping.as_text(found.get("id")), timestamp(found.get("submittedAt"))
    if not id or at is None:
        return None
    urn = id if id.startswith("urn:") else f"urn:li:leadGenFormResponse:{id}"
    versioned = mapping.as_text(found.get("versionedLeadGenFormUrn"))
    value = {
        "type": "LEAD_ACTION",
        "leadAction": "CREATED",
        "leadGenFormResponse": urn,
        "leadGenForm": versioned,
        "leadType": mapping.as_text(found.get("leadType")),
        "occurredAt": int(at.timestamp() * 1000),
    }
    return Notice(created_key(urn), form_of(versioned), at, value)


async def _form(api: Api, versioned: str, form_id: str) -> dict[str, Any]:
    known = _forms.get((api.source.id, versioned))
    if known is not None:
        return known
    try:
        form = (await api.get(f"/rest/leadForms/{quote(form_id, safe='')}", headers=_headers(api))).object()
    except NotThere:
        raise Impossible("form_not_found") from None
    if len(_forms) >= MOST_FORMS:
        _forms.clear()
    _forms[api.source.id, versioned] = form
    return form


def _headers(api: Api) -> dict[str, str]:
    return {
        "authorization": f"Bearer {api.token()}",
        "linkedin-version": api.setting("api_version", VERSION),
        "x-restli-protocol-version": "2.0.0",
    }


def _questions(form: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {mapping.as_text(one.get("questionId")): one for one in _list(_object(form, "content"), "questions")}


def _answered(details: Any, question: Mapping[str, Any]) -> str:
    if not isinstance(details, dict):
        return ""
    text = details.get("textQuestionAnswer")
    if isinstance(text, dict):
        return mapping.as_text(text.get("answer"))
    choice = _object(details, "multipleChoiceAnswer")
    options = choice.get("options")
    kinds = _object(question, "questionDetails")
    labels = {
        mapping.as_text(option.get("id")): _text(option.get("text"))
        for option in _list(_object(kinds, "multipleChoiceQuestionDetails"), "options")
    }
    chosen = [mapping.as_text(option) for option in options[:50]] if isinstance(options, list) else []
    return ", ".join(labels.get(id) or id for id in chosen)


def _text(localized: Any) -> str:
    texts = _object(localized, "localized") if isinstance(localized, dict) else {}
    return next((text for text in texts.values() if isinstance(text, str)), "")


def _object(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _list(holder: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = holder.get(name)
    return [one for one in found[:500] if isinstance(one, dict)] if isinstance(found, list) else []
