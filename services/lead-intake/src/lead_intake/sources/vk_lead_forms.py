"""VK lead forms (Callback API of a community): proved by `secret` in the body, answered with exactly `ok`.

Before it sends anything VK asks `{"type": "confirmation", "group_id": …}` and wants the string that it shows in the
settings of the community. What is not answered with `ok` comes again, and `remove` would delete the server. The secret
is cut out of what is stored. Source: SevereCloud/vksdk (callback, events).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Reply, Result, Source, Unparsable
from lead_intake.reading import json_object
from lead_intake.sources.plain import any_same, kept_without, no_secret_problem

NEEDS_SECRET = True
SETTINGS: Final[Mapping[str, re.Pattern[str]]] = {
    "group_id": re.compile(r"[0-9]{1,20}"),
    "confirmation": re.compile(r"[A-Za-z0-9]{4,64}"),
}
secret_problem = no_secret_problem


def handshake(incoming: Incoming, source: Source) -> Reply | None:
    answer, group_id = source.settings.get("confirmation"), source.settings.get("group_id")
    if not answer or not group_id or incoming.method != "POST" or b"confirmation" not in incoming.body:
        return None
    try:
        asked = json_object(incoming)
    except Unparsable:
        return None
    if asked.get("type") != "confirmation" or mapping.as_text(asked.get("group_id")) != group_id:
        return None
    return Reply(200, answer.encode(), "text/plain")


def verify(incoming: Incoming, source: Source, *, now: datetime) -> bool:
    try:
        event = json_object(incoming)
    except Unparsable:
        return False
    given = event.get("secret")
    of_group = source.settings.get("group_id", "") in ("", mapping.as_text(event.get("group_id")))
    return any_same(given if isinstance(given, str) else "", source.secrets) and of_group


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    event = json_object(incoming)
    event_id = mapping.as_text(event.get("event_id"))
    if event.get("type") != "lead_forms_new":
        return [Inquiry(event_id, {}, refused="not_a_lead")]
    lead = event.get("object")
    answers = lead.get("answers") if isinstance(lead, dict) else None
    if not isinstance(lead, dict) or not isinstance(answers, list):
        raise Unparsable("no_fields")
    flat: dict[str, Any] = {}
    labels: list[tuple[str, Any]] = []
    for answer in answers[:500]:
        if isinstance(answer, dict):
            key, question = mapping.as_text(answer.get("key")), mapping.as_text(answer.get("question"))
            flat[question] = flat[key] = answer.get("answer")
            # The question is the owner's wording and counts only where the key says nothing.
            labels.append((key if mapping.field_of(key) else question, answer.get("answer")))
    fields = mapping.fields_by_path(flat, source.mapping)
    mapping.fields_by_name(labels, fields)
    for name in ("form_id", "ad_id"):
        if value := mapping.as_text(lead.get(name)):
            fields[name] = value
    fields.pop("id", None)
    fields.pop("occurred_at", None)
    parts = [mapping.as_text(lead.get(name)) for name in ("group_id", "form_id", "lead_id")]
    # The lead's own ids hold where VK sends it under another event id, too.
    key = ":".join(parts) if all(parts) else event_id
    return [Inquiry(key, fields, mapping.answers_of(flat, source.mapping))]


def reply(result: Result) -> Reply:
    return Reply(200, b"ok", "text/plain")


def kept(incoming: Incoming) -> bytes:
    return kept_without(incoming, "secret")
