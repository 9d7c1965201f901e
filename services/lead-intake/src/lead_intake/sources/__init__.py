"""The providers: one file each with the same small shape, and the one dict that names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from lead_intake.delivery import Incoming, Inquiry, Reply, Result, Source
from lead_intake.sources import (
    calendly,
    generic,
    google_ads,
    gravity_forms,
    hubspot,
    jotform,
    linkedin,
    meta,
    segment,
    standard_webhooks,
    tally,
    tiktok,
    tilda,
    typeform,
    unbounce,
    vk_lead_forms,
    webflow,
)


class Provider(Protocol):
    """What every provider's file offers; all functions are pure."""

    NEEDS_SECRET: bool
    """True where the provider always signs, so that a URL token alone is not enough."""

    def handshake(self, incoming: Incoming, source: Source) -> Reply | None:
        """The answer to what the provider asks before it sends anything, by GET or POST; None when it asks nothing.

        Asked before `verify`, of a source whose token (if it has one) is right. Stores nothing, never raises.
        """

    def verify(self, incoming: Incoming, source: Source, *, now: datetime) -> bool:
        """True when one of the source's secrets made this delivery. Constant time, raw bytes, never raises."""

    def parse(self, incoming: Incoming, source: Source) -> list[Inquiry]:
        """The entries in order, at least one. Raises `Unparsable` and nothing else."""

    def reply(self, result: Result) -> Reply:
        """The answer that this provider takes for success; quarantined is success, a repeat would not help."""

    def kept(self, incoming: Incoming) -> bytes:
        """The body as it is stored: the raw bytes, without a secret that the provider puts in it."""

    def secret_problem(self, secret: str) -> str:
        """What is wrong with a secret, or ""."""


PROVIDERS: Mapping[str, Provider] = {
    "generic": generic,
    "standard_webhooks": standard_webhooks,
    "google_ads": google_ads,
    "typeform": typeform,
    "tally": tally,
    "hubspot": hubspot,
    "jotform": jotform,
    "gravity_forms": gravity_forms,
    "webflow": webflow,
    "unbounce": unbounce,
    "calendly": calendly,
    "tilda": tilda,
    "vk_lead_forms": vk_lead_forms,
    "meta": meta,
    "linkedin": linkedin,
    "tiktok": tiktok,
    "segment": segment,
}

SETTINGS: Mapping[str, Mapping[str, re.Pattern[str]]] = {"vk_lead_forms": vk_lead_forms.SETTINGS}
"""What a provider needs to be told beside its secrets, with the form of each value."""

TOKEN_ALWAYS = frozenset({"tiktok", "segment"})
"""Whose signature cannot be relied on (or who have none): their address carries a token, whatever else proves them."""
