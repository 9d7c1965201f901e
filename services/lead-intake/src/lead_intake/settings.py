"""Settings of the service."""

from __future__ import annotations

from pydantic import Field

from baton_kit.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """`public_url` is the address that providers call (scheme and host): HubSpot signs it."""

    public_url: str = "http://127.0.0.1:8100"
    erasure_sweep_hours: float = Field(default=25, ge=0, le=720)
    """How long after an erasure its tombstone is written once more: longer than the contact topic's compaction lag."""
    erasure_poll_seconds: float = Field(default=30, gt=0, le=3600)
    """How often the worker looks for erasures to finish or to sweep."""
