"""Settings of the service: those of every service, and how often leads are looked at whose points fade."""

from pydantic import Field

from baton_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of qualification."""

    due_poll_seconds: float = Field(default=5.0, gt=0, le=3_600)
    due_chunk: int = Field(default=500, ge=1, le=1_000)
