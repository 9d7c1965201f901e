"""What the service is made of, for the runtime and the tests."""

from __future__ import annotations

from types import MappingProxyType

from baton_kit.runtime import Service
from lead_intake.api import create_api
from lead_intake.app import App, open_app
from lead_intake.importing import run
from lead_intake.public import create_public
from lead_intake.settings import IntakeSettings


async def keep_sources_fresh(app: App) -> None:
    """Read changed sources."""
    await app.sources.keep_fresh()


async def write_refusals(app: App) -> None:
    """Write what was turned away at the door."""
    await app.refusals.write_for_ever(app)


SERVICE: Service[App] = Service(
    name="lead-intake",
    package="lead_intake",
    settings=IntakeSettings,
    open_app=open_app,
    create_api=create_api,
    create_public=create_public,
    worker_tasks=MappingProxyType({"imports": run.advance_for_ever, "imports.forget": run.forget_for_ever}),
    api_tasks=MappingProxyType({"sources": keep_sources_fresh, "refusals": write_refusals}),
)
