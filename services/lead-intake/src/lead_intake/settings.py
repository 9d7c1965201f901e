"""Settings of the service."""

from __future__ import annotations

from pydantic import Field

from baton_kit.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """`public_url` is the address that providers call (scheme and host): HubSpot signs it.

    Raw bodies are kept `body_days`; what waits for a repair until it is settled, at most `waiting_body_days`; requests
    whose sender was not proven `unproven_body_days`.
    """

    public_url: str = "http://127.0.0.1:8100"
    body_days: int = Field(default=30, ge=1, le=90)
    waiting_body_days: int = Field(default=90, ge=1, le=90)
    unproven_body_days: int = Field(default=7, ge=1, le=90)
