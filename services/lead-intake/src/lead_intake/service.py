"""What the service is made of, for the runtime and the tests."""

from __future__ import annotations

from types import MappingProxyType

from baton_kit.runtime import Service
from lead_intake.accounts.unite import unite_for_ever
from lead_intake.api import create_api
from lead_intake.app import App, open_app
from lead_intake.campaigns import restate as campaigns
from lead_intake.erasing.erase import forget_for_ever
from lead_intake.fetching import fetch, reconcile
from lead_intake.grouping import restate
from lead_intake.handlers import SUBSCRIPTIONS
from lead_intake.identity.shared import share_for_ever
from lead_intake.importing import look, run
from lead_intake.ledger import bodies, count, replay
from lead_intake.listener import create_public
from lead_intake.merging.propose import propose_for_ever
from lead_intake.settings import IntakeSettings
from lead_intake.tracking import stitch


async def keep_sources_fresh(app: App) -> None:
    """Read changed sources."""
    await app.sources.keep_fresh()


async def write_refusals(app: App) -> None:
    """Write what was turned away at the door."""
    await app.refusals.write_for_ever(app)


async def look_up(app: App) -> None:
    """Ask providers about the entries that they told of without their contents."""
    await fetch.fetch_for_ever(app)


async def tidy_lookups(app: App) -> None:
    """End lookups that waited too long."""
    await fetch.tidy_for_ever(app)


async def reconcile_sources(app: App) -> None:
    """Find the leads that the push missed."""
    await reconcile.reconcile_for_ever(app)


async def stitch_visits(app: App) -> None:
    """Give visits to the persons who were identified after them."""
    await stitch.stitch_for_ever(app)


async def forget_visits(app: App) -> None:
    """Delete the visits of those who were never identified."""
    await stitch.forget_for_ever(app)


async def restate_channels(app: App) -> None:
    """Group earlier touches by changed channel rules."""
    await restate.restate_for_ever(app)


async def match_campaigns(app: App) -> None:
    """Match earlier touches by changed campaigns."""
    await campaigns.restate_for_ever(app)


async def replay_receipts(app: App) -> None:
    """Run the replays that were asked for."""
    await replay.run_for_ever(app)


async def count_ledger(app: App) -> None:
    """Count the ledger for ever."""
    await count.count_for_ever(app)


async def empty_bodies(app: App) -> None:
    """Empty the raw bodies that have had their time."""
    await bodies.empty_for_ever(app)


SERVICE: Service[App] = Service(
    name="lead-intake",
    package="lead_intake",
    settings=IntakeSettings,
    open_app=open_app,
    create_api=create_api,
    create_public=create_public,
    worker_notes=MappingProxyType({"ledger": count.note}),
    subscriptions=SUBSCRIPTIONS,
    api_tasks=MappingProxyType({"sources": keep_sources_fresh, "refusals": write_refusals}),
    worker_tasks=MappingProxyType(
        {
            "fetch": look_up,
            "fetch.tidy": tidy_lookups,
            "reconcile": reconcile_sources,
            "stitch": stitch_visits,
            "stitch.tidy": forget_visits,
            "restate": restate_channels,
            "campaigns": match_campaigns,
            "proposals": propose_for_ever,
            "shared_keys": share_for_ever,
            "accounts": unite_for_ever,
            "replay": replay_receipts,
            "ledger": count_ledger,
            "bodies": empty_bodies,
            "forget": forget_for_ever,
            "imports": run.advance_for_ever,
            "imports_look": look.look_for_ever,
            "imports.forget": run.forget_for_ever,
        }
    ),
)
