"""Segment and RudderStack: what their libraries tell of visitors, one call or a batch of them.

Source: Segment's HTTP API and Spec (common fields, identify, page, track, screen, group, alias): `type`, `messageId`,
`anonymousId`, `userId`, `timestamp`, `sentAt`, `context.page`, `context.campaign`, `traits`. RudderStack
sends the same. The write key is the token of the source's address: every browser knows it, and it proves nothing but
the source.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from lead_intake import mapping, normalise
from lead_intake.channels import site_of
from lead_intake.delivery import Incoming, Inquiry, Reply, Result, Source, Unparsable, Visit
from lead_intake.reading import json_of
from lead_intake.sources.generic import verify
from lead_intake.sources.plain import MAX_ENTRIES, kept_without, no_handshake

__all__ = ["NEEDS_SECRET", "handshake", "kept", "parse", "reply", "secret_problem", "verify"]

NEEDS_SECRET = False
handshake = no_handshake

LARGEST_EVENT = 32 * 1024
"""Bytes; Segment's own limit."""
KINDS = frozenset({"identify", "track", "page", "screen", "group", "alias"})

_TRAITS = {
    "email": "email",
    "phone": "phone",
    "name": "full_name",
    "firstName": "first_name",
    "lastName": "last_name",
    "title": "job_title",
    "website": "website",
    "industry": "industry",
    "employees": "employees",
}
_CAMPAIGN = {"source": "utm_source", "medium": "utm_medium", "name": "utm_campaign", "id": "campaign_id"}
_BOT = re.compile(r"bot\b|bot/|crawl|spider|slurp|headless|lighthouse|phantomjs")
_ACTION = re.compile(r"[A-Za-z]+(?:[ _-]+[A-Za-z]+){0,5}")
_SUCCESS = Reply(200, b'{"success": true}')


def is_bot(user_agent: str) -> bool:
    """Whether what opened the page calls itself a robot."""
    return bool(_BOT.search(user_agent[:500].lower()))


def parse(incoming: Incoming, source: Source) -> list[Inquiry]:
    # Browsers name text/plain, which needs no permission to be sent to another site.
    body = json_of(incoming.body, charset="")
    if not isinstance(body, dict):
        raise Unparsable("not_an_object")
    calls = body["batch"] if isinstance(body.get("batch"), list) else [body]
    if not calls:
        raise Unparsable("no_fields")
    if len(calls) > MAX_ENTRIES:
        raise Unparsable("too_many_entries")
    whole = body if "batch" in body else {}
    large = [len(incoming.body) > LARGEST_EVENT and len(json.dumps(call)) > LARGEST_EVENT for call in calls]
    named = urlsplit(incoming.url).path.rpartition("/")[2]
    return [
        Inquiry("", {}, refused="too_large") if too_large else _call(call, whole, incoming=incoming, named=named)
        for call, too_large in zip(calls, large, strict=True)
    ]


def _call(call: Any, whole: Mapping[str, Any], *, incoming: Incoming, named: str) -> Inquiry:
    if not isinstance(call, dict):
        return Inquiry("", {}, quarantined="not_an_object")
    kind = mapping.as_text(call.get("type")) or _SHORT.get(named, named)
    if kind not in KINDS:
        # A body that is read again without its address: the fields tell the calls apart.
        kind = "track" if call.get("event") else "identify" if "traits" in call else "page"
    key = mapping.as_text(call.get("messageId"))
    if kind == "group":
        return Inquiry(key, {}, refused="no_touch")
    about = {**_object(whole.get("context")), **_object(call.get("context"))}
    if is_bot(mapping.as_text(about.get("userAgent"))):
        return Inquiry(key, {}, refused="bot")
    user = mapping.as_text(call.get("userId"))
    fields = _person(call, about) if kind == "identify" else {}
    if anonymous := mapping.as_text(call.get("anonymousId")) or _previous(call, kind):
        fields["anonymous_id"] = anonymous
    if "@" in user and (address := normalise.email(user)):
        # Where the site's id of a person is the address, it is one; as an id it is kept so that nobody can read it.
        if kind == "identify":
            fields.setdefault("email", address)
        user = hashlib.sha256(address.lower().encode("utf-8", "surrogatepass")).hexdigest()[:32]
    page = _object(about.get("page"))
    fields |= _origin(call, about, page, kind=kind)
    within = _within(page, fields, kind=kind)
    action = _action(call) if kind == "track" else ""
    visit = Visit(touch=kind in ("page", "screen", "track"), within=within, action=action, user_id=user)
    told = {name: value for name, value in fields.items() if value}
    return Inquiry(key, told, occurred_at=_time(call, whole, received_at=incoming.received_at), visit=visit)


_SHORT = {"i": "identify", "t": "track", "p": "page", "s": "screen", "g": "group", "a": "alias"}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _previous(call: Mapping[str, Any], kind: str) -> str:
    return mapping.as_text(call.get("previousId")) if kind == "alias" else ""


def _person(call: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, str]:
    # RudderStack's libraries put the traits into the context.
    traits = {**_object(about.get("traits")), **_object(call.get("traits"))}
    found = {ours: mapping.as_text(traits.get(theirs)) for theirs, ours in _TRAITS.items()}
    company = traits.get("company")
    found["company_name"] = mapping.as_text(company.get("name") if isinstance(company, dict) else company)
    address = _object(traits.get("address"))
    found["country"] = mapping.as_text(address.get("country"))
    found["language"] = mapping.as_text(about.get("locale"))
    return {name: value for name, value in found.items() if value}


def _origin(call: Mapping[str, Any], about: Mapping[str, Any], page: Mapping[str, Any], *, kind: str) -> dict[str, str]:
    properties = _object(call.get("properties")) if kind in ("page", "screen") else {}
    campaign = _object(about.get("campaign"))
    found = {ours: mapping.as_text(campaign.get(theirs)) for theirs, ours in _CAMPAIGN.items()}
    found["page_url"] = _address(properties) or _address(page)
    found["referrer"] = mapping.as_text(properties.get("referrer")) or mapping.as_text(page.get("referrer"))
    clicked = _object(about.get("referrer"))  # Segment's `context.referrer`: what brought the visitor
    if not found["referrer"]:
        found["referrer"] = mapping.as_text(clicked.get("url"))
    return {name: value for name, value in found.items() if value}


def _address(page: Mapping[str, Any]) -> str:
    url, search = mapping.as_text(page.get("url")), mapping.as_text(page.get("search"))
    if url and search and "?" not in url:
        url = url.partition("#")[0] + (search if search.startswith("?") else f"?{search}")
    return url or mapping.as_text(page.get("path"))


_ORIGINS = re.compile(rf"[?&](?:utm_[a-z]+|{'|'.join(mapping.CLICK_IDS)})=")


def _within(page: Mapping[str, Any], fields: Mapping[str, str], *, kind: str) -> bool:
    """Whether the call belongs to a visit that another call began.

    A visit begins with a page that tells of an origin, or that no page of the same site led to. What is done on a page
    repeats the page's own origin; only a server, which knows of no page, tells of an action by itself.
    """
    if kind not in ("page", "screen"):
        return bool(page)
    address, referrer = fields.get("page_url", ""), fields.get("referrer", "")
    if any(fields.get(name) for name in _CAMPAIGN.values()) or _ORIGINS.search(address):
        return False
    own = site_of(address)
    return bool(own.domain) and site_of(referrer).domain == own.domain


def _action(call: Mapping[str, Any]) -> str:
    """The event's name as a code, where it is one of a plan; a name with digits or more could be anybody's data."""
    name = mapping.as_text(call.get("event")).strip()
    return re.sub(r"[ _-]+", "_", name.lower())[:40] if len(name) <= 40 and _ACTION.fullmatch(name) else ""


def _time(call: Mapping[str, Any], whole: Mapping[str, Any], *, received_at: datetime) -> datetime | None:
    """When it happened by our clock: the sender's own clock says how long before the sending that was."""
    happened = normalise.timestamp(call.get("originalTimestamp")) or normalise.timestamp(call.get("timestamp"))
    sent = normalise.timestamp(call.get("sentAt")) or normalise.timestamp(whole.get("sentAt"))
    if happened is None or sent is None:
        return happened
    try:
        return received_at - (sent - happened) if sent >= happened else received_at
    except OverflowError:
        return None


def reply(result: Result) -> Reply:
    return _SUCCESS


def reply_success() -> Reply:
    """What Segment answers to whatever it took."""
    return _SUCCESS


def kept(incoming: Incoming) -> bytes:
    return kept_without(incoming, "writeKey")


def secret_problem(secret: str) -> str:
    return "Segment's libraries sign nothing: give no secret, the source's token is the write key"
