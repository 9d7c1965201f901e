"""What sales-feedback needs beside the settings of every service."""

from pydantic import AnyHttpUrl, Field

from baton_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of sales-feedback, `BATON_…` in the environment."""

    public_url: AnyHttpUrl | None = None
    """The address under which CRMs reach the public listener, without the path: HubSpot signs it. Without it, the
    listener's own address counts."""
    poll_seconds: float = Field(default=0.5, gt=0, le=60)
    """How often the worker looks for handoffs without a rep and for deals whose lead has come."""
    body_days: int = Field(default=30, ge=1, le=90)
    """How long raw bodies of CRM deliveries are kept; those that still wait, 90 days."""
    refusals_per_minute: int = Field(default=10, ge=0, le=1000)
    """How many refused deliveries a minute get a receipt; the others are only counted."""

    @property
    def called_at(self) -> str:
        """The address that CRMs call, without a slash at the end."""
        if self.public_url is not None:
            return str(self.public_url).rstrip("/")
        return f"http://{self.http.public_host or self.http.host}:{self.http.public_port or 80}"
