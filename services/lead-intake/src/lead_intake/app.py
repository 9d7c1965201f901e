"""The one composition of the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from baton import catalogue
from baton_kit.clock import Clock, SystemClock
from baton_kit.db import Database, open_database
from baton_kit.outbox import Outbox
from lead_intake.group_commit import GroupCommit
from lead_intake.refusals import Refusals
from lead_intake.settings import IntakeSettings
from lead_intake.source_cache import SourceCache
from lead_intake.spam import Rates

AT_ONCE = 3
"""Lookups that are written at a time: they may wait for each other's leads, and must not take every connection."""


@dataclass(frozen=True, slots=True)
class App:
    """What every part of the service is given."""

    settings: IntakeSettings
    db: Database
    clock: Clock
    outbox: Outbox
    sources: SourceCache
    commits: GroupCommit
    refusals: Refusals
    rates: Rates
    settling: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


@contextlib.asynccontextmanager
async def open_app(settings: IntakeSettings) -> AsyncIterator[App]:
    """Open the service; what waits for a commit is written before it closes."""
    db = open_database(settings.database, application_name="lead-intake")
    app = App(
        settings=settings,
        db=db,
        clock=SystemClock(),
        outbox=Outbox(topic_of=catalogue.TOPIC_OF, source="/baton/lead-intake"),
        sources=SourceCache(db, key=settings.seal_key_bytes),
        commits=GroupCommit(),
        refusals=Refusals(),
        rates=Rates(),
    )
    try:
        yield app
    finally:
        await app.commits.close()
        await app.refusals.write(app)
        await db.close()
