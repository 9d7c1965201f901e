"""Settings of the service."""

from __future__ import annotations

from pydantic import Field

from baton_kit.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """`public_url` is the address that providers call (scheme and host): HubSpot signs it."""

    public_url: str = "http://127.0.0.1:8100"
    import_max_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    """The largest export that is taken in."""
    import_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often the worker looks for exports that were handed in."""
