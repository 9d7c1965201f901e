"""The providers that are asked, by one dict, and what a source of each may set."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import httpx2

from lead_intake.delivery import Inquiry, Source
from lead_intake.fetching import hubspot, linkedin, meta, tiktok
from lead_intake.fetching.calls import Answer, Api
from lead_intake.fetching.job import Job
from lead_intake.fetching.notice import Notice
from lead_intake.settings import IntakeSettings


class Asked(Protocol):
    """What the file of a provider offers whose leads have to be asked for."""

    HOST: str

    def judge(self, answer: Answer) -> timedelta | None:
        """How long to rest after this answer. Raises CallFailed when it brings nothing."""

    async def lead(self, api: Api, job: Job) -> Inquiry:
        """What the lead says. Raises CallFailed."""


class Listing(Asked, Protocol):
    """What it offers besides when the provider lists its leads."""

    def listed(
        self, api: Api, *, since: datetime, until: datetime, forms: Sequence[str]
    ) -> AsyncIterator[list[Notice]]:
        """The leads made since then, page by page. Raises CallFailed."""

    def bodies(self, notices: Sequence[Notice]) -> list[bytes]:
        """The requests in which the push would have told of these leads."""


ASKED: Mapping[str, Asked] = {"meta": meta, "linkedin": linkedin, "tiktok": tiktok, "hubspot": hubspot}
SOMETIMES_ASKED = frozenset({"hubspot"})
"""Their forms and workflows send whole leads: a source that only has those needs no token."""
LISTING: Mapping[str, Listing] = {"meta": meta, "linkedin": linkedin, "tiktok": tiktok}
RECONCILE_MINUTES: Mapping[str, int] = {"meta": 15, "linkedin": 15, "tiktok": 60}
CALLS_A_MINUTE = 300

CREDENTIALS: Mapping[str, frozenset[str]] = {
    "meta": frozenset({"access_token", "verify_token"}),
    "linkedin": frozenset({"access_token"}),
    "tiktok": frozenset({"access_token"}),
    "hubspot": frozenset({"access_token"}),
}
"""What can be sealed for a source beside the secrets that prove its deliveries."""

_IDS = re.compile(r"[A-Za-z0-9:_.-]{1,120}(\s*,\s*[A-Za-z0-9:_.-]{1,120}){0,99}")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")
_ANY: Mapping[str, re.Pattern[str]] = {"fetch_per_minute": _NUMBER}
_LISTS: Mapping[str, re.Pattern[str]] = {"reconcile": re.compile(r"on|off"), "reconcile_minutes": _NUMBER}
SETTINGS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "meta": {
        **_ANY,
        **_LISTS,
        "page_ids": _IDS,
        "form_ids": _IDS,
        "api_version": re.compile(r"v\d{1,3}\.\d"),
        "appsecret_proof": re.compile(r"true|false"),
    },
    "linkedin": {
        **_ANY,
        **_LISTS,
        "owners": _IDS,
        "lead_types": _IDS,
        "api_version": re.compile(r"20\d{4}"),
    },
    "tiktok": {**_ANY, **_LISTS, "advertiser_id": re.compile(r"\d{1,30}"), "page_ids": _IDS, "lead_regions": _IDS},
    "hubspot": {**_ANY, "inquiry_properties": _IDS, "update_properties": _IDS},
}
"""The settings that a source of the provider may have, and what each looks like."""


def api_of(http: httpx2.AsyncClient, source: Source, *, settings: IntakeSettings) -> Api:
    """A source's access to its provider."""
    asked = ASKED[source.provider]
    return Api(http, source, base=settings.provider_urls.get(source.provider, asked.HOST), judge=asked.judge)


def per_minute(source: Source) -> float:
    """Calls that a source may make in a minute."""
    return float(source.settings.get("fetch_per_minute", CALLS_A_MINUTE))


def interval(source: Source) -> timedelta | None:
    """How often a source is compared with its provider's list; None where it is not."""
    if source.provider not in LISTING or source.settings.get("reconcile", "on") == "off":
        return None
    return timedelta(minutes=int(source.settings.get("reconcile_minutes", RECONCILE_MINUTES[source.provider])))
