"""Settings of the service."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from baton_kit.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """`public_url` is the address that providers call (scheme and host): HubSpot signs it.

    Raw bodies are kept `body_days`; what waits for a repair until it is settled, at most `waiting_body_days`; requests
    whose sender was not proven `unproven_body_days`.

    `provider_urls` puts another address in the place of a provider's own (`{"meta": "http://127.0.0.1:9"}`), for tests:
    access tokens go there, so that it must be this machine unless `provider_urls_anywhere` says otherwise.

    Visits of somebody who is never identified are kept `anonymous_days`. A tracking source may send
    `tracking_a_second` events in the long run, and ten times as many at once.
    An address or number that comes with more than `shared_key_names` names within `shared_key_days` is shared.
    A deal or answer of an export waits `import_wait_days` for the lead that it names.
    """

    public_url: str = "http://127.0.0.1:8100"
    body_days: int = Field(default=30, ge=1, le=90)
    waiting_body_days: int = Field(default=90, ge=1, le=90)
    unproven_body_days: int = Field(default=7, ge=1, le=90)
    erasure_sweep_hours: float = Field(default=25, ge=0, le=720)
    """How long after an erasure its tombstone is written once more: longer than the contact topic's compaction lag."""
    erasure_poll_seconds: float = Field(default=30, gt=0, le=3600)
    """How often the worker looks for erasures to finish or to sweep."""
    provider_urls: Mapping[str, str] = Field(default_factory=dict)
    provider_urls_anywhere: bool = False
    fetch_age_limit_hours: int = Field(default=168, ge=1, le=24 * 60)
    anonymous_days: int = Field(default=90, ge=1, le=730)
    tracking_a_second: int = Field(default=200, ge=1, le=100_000)
    fetches_at_once: int = Field(default=16, ge=1, le=200)
    shared_key_names: int = Field(default=3, ge=1, le=1_000)
    shared_key_days: int = Field(default=30, ge=1, le=3_650)
    import_max_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    """The largest export that is taken in."""
    import_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    import_wait_days: int = Field(default=30, ge=1, le=365)
    """How often the worker looks for exports that were handed in."""

    @model_validator(mode="after")
    def _provider_urls_stay_here(self) -> IntakeSettings:
        for name, url in self.provider_urls.items():
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"provider_urls: {name} needs an address that begins with http:// or https://")
            if not self.provider_urls_anywhere and not _loopback(parts.hostname):
                raise ValueError(
                    f"provider_urls: {name} is not on this machine; set provider_urls_anywhere if it may be"
                )
        return self


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
