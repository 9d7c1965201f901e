"""Tilda: a urlencoded form, nothing signed, `ok` expected within five seconds.

On adding the address Tilda sends `test=test` and wants 200. `tranid` is the key. Names are the owner's, capitalised
ones the default. Where the form's UTM fields are off, they are looked for in the cookie that Tilda may send along.
Source: help.tilda.cc, forms/webhook.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from lead_intake import mapping
from lead_intake.delivery import Incoming, Inquiry, Reply, Result, Source, Unparsable
from lead_intake.normalise import timestamp
from lead_intake.reading import data_of
from lead_intake.sources.generic import verify
from lead_intake.sources.plain import kept, no_handshake, no_secret_problem

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake
secret_problem = no_secret_problem

_COOKIE = re.compile(r"TILDAUTM=([^;\s]{1,2000})")
_COOKIE_PAIR = re.compile(r"(utm_source|utm_medium|utm_campaign)=([^|&;]{1,200})")


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    form = data_of(incoming)
    if not isinstance(form, dict):
        raise Unparsable("not_an_object")
    if form.get("test") == "test" and len(form) == 1:
        return [Inquiry("", {}, test=True)]
    fields = mapping.fields_by_path(form, source.mapping)
    if form_id := mapping.as_text(form.get("formid")):
        fields.setdefault("form_id", form_id)
    mapping.fields_by_name(((name, v) for name, v in form.items() if name not in ("formid", "COOKIES")), fields)
    for name, value in _cookie(mapping.as_text(form.get("COOKIES"))):
        fields.setdefault(name, value)
    fields.pop("id", None)
    return [
        Inquiry(
            key=mapping.as_text(form.get("tranid")),
            fields=fields,
            answers=mapping.answers_of(form, source.mapping),
            occurred_at=timestamp(fields.pop("occurred_at", "")),
            test=form.get("test") == "test",
        )
    ]


def reply(result: Result) -> Reply:
    return Reply(200, b"ok", "text/plain")


def _cookie(cookies: str) -> list[tuple[str, str]]:
    found = _COOKIE.search(cookies[:8_000])
    return [(n, unquote(v)) for n, v in _COOKIE_PAIR.findall(unquote(found.group(1)))] if found else []
