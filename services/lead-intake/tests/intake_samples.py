"""Deliveries as the providers send them, signed as they sign: the examples of `intake_providers` in short form."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from intake_providers import PUBLIC_URL, SAMPLES

__all__ = ["BODIES", "PUBLIC_URL", "SECRETS", "Sent", "signed"]

SECRETS = {name: sample.secret for name, sample in SAMPLES.items() if sample.secret}
BODIES: dict[str, Callable[..., bytes]] = {name: SAMPLES[name].body for name in SECRETS if not SAMPLES[name].names_only}
"""Of the providers that prove themselves by a secret and send the lead itself."""


@dataclass(frozen=True)
class Sent:
    """A request, ready to be sent."""

    body: bytes
    headers: dict[str, str]


def signed(provider: str, body: bytes, *, now: datetime, path: str, key: str = "k", content_type: str = "") -> Sent:
    """The headers that the provider would send with this body."""
    headers = SAMPLES[provider].headers(body, now=now, path=path, key=key)
    return Sent(body, headers | ({"content-type": content_type} if content_type else {}))
