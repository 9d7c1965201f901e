"""The providers: one file each with the same small shape, and the one dict that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from lead_intake.delivery import Incoming, Inquiry, Reply, Result, Source
from lead_intake.sources import generic, google_ads, hubspot, linkedin, meta, standard_webhooks, tally, tiktok, typeform


class Provider(Protocol):
    """What every provider's file offers; all functions are pure."""

    NEEDS_SECRET: bool
    """True where the provider always signs, so that a URL token alone is not enough."""

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
    "meta": meta,
    "linkedin": linkedin,
    "tiktok": tiktok,
}

HANDSHAKES: Mapping[str, Callable[[Mapping[str, str], Source], Reply | None]] = {
    "meta": meta.handshake,
    "linkedin": linkedin.handshake,
}
"""Who asks by GET, before anything is sent, whether somebody of ours listens; None is no."""

TOKEN_ALWAYS = frozenset(name for name, provider in PROVIDERS.items() if getattr(provider, "NEEDS_TOKEN", False))
"""Whose signature cannot be relied on: their address carries a token, whatever else proves them."""
