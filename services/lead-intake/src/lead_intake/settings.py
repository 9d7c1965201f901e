"""Settings of the service."""

from __future__ import annotations

from pydantic import Field

from baton_kit.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """`public_url` is the address that providers call (scheme and host): HubSpot signs it.

    An address or number that comes with more than `shared_key_names` names within `shared_key_days` is shared.
    """

    public_url: str = "http://127.0.0.1:8100"
    shared_key_names: int = Field(default=3, ge=1, le=1_000)
    shared_key_days: int = Field(default=30, ge=1, le=3_650)
