"""The one composition of the service."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import FastAPI

from baton import catalogue
from baton_kit.api import create_fastapi
from baton_kit.clock import Clock, SystemClock
from baton_kit.db import Database, open_database
from baton_kit.erasure_log import create_router
from baton_kit.outbox import Outbox
from qualification.judges import Judges
from qualification.settings import Settings


@dataclass(frozen=True)
class App:
    """The parts of the service."""

    settings: Settings
    db: Database
    clock: Clock
    outbox: Outbox
    judges: Judges = field(default_factory=Judges)


@contextlib.asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open the service; it connects when first used."""
    db = open_database(settings.database, application_name="qualification")
    try:
        yield App(
            settings=settings,
            db=db,
            clock=SystemClock(),
            outbox=Outbox(topic_of=catalogue.TOPIC_OF, source="/baton/qualification"),
        )
    finally:
        await db.close()


def create_api(app: App) -> FastAPI:
    """Make the REST API."""
    from qualification.api import ROUTERS  # the routes need App
    from qualification.handlers import SUBSCRIPTION

    return create_fastapi(
        app,
        title="Baton qualification",
        version="1",
        description="The agreement of marketing and sales, and every decision made under it.",
        routers=[*ROUTERS, create_router()],
        subscriptions=[SUBSCRIPTION],
    )
