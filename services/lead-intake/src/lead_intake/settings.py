"""Settings of the service."""

from __future__ import annotations

from baton_kit.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """`public_url` is the address that providers call (scheme and host): HubSpot signs it."""

    public_url: str = "http://127.0.0.1:8100"
