"""The one composition of the service."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import FastAPI

from attribution.api import router
from attribution.command import rebuild_command
from attribution.handlers import SUBSCRIPTION
from attribution.settings import Settings
from baton import catalogue
from baton_kit.api import create_fastapi
from baton_kit.clock import Clock, SystemClock
from baton_kit.db import Database, open_database
from baton_kit.erasure_log import create_router
from baton_kit.outbox import Outbox
from baton_kit.runtime import Service


@dataclass(frozen=True, slots=True)
class App:
    """What the handlers and routes work with."""

    settings: Settings
    db: Database
    clock: Clock
    outbox: Outbox


@contextlib.asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open the service's parts, and close them at the end."""
    db = open_database(settings.database, application_name="attribution")
    try:
        yield App(settings, db, SystemClock(), Outbox(topic_of=catalogue.TOPIC_OF, source="/baton/attribution"))
    finally:
        await db.close()


def create_api(app: App) -> FastAPI:
    """Make the HTTP side."""
    return create_fastapi(
        app,
        title="Baton attribution",
        version="1.0.0",
        description="Which touches brought the money of closed deals, under several models side by side.",
        routers=[router, create_router()],
        subscriptions=[SUBSCRIPTION],
    )


SERVICE: Service[App] = Service(
    name="attribution",
    package="attribution",
    settings=Settings,
    open_app=open_app,
    create_api=create_api,
    subscriptions=(SUBSCRIPTION,),
    commands={"rebuild": rebuild_command},
)
