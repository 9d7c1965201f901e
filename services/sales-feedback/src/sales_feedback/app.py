"""The one composition of sales-feedback: what every role of it works with."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from baton import catalogue
from baton_kit.clock import Clock, SystemClock
from baton_kit.db import Database, open_database
from baton_kit.outbox import Outbox
from sales_feedback.crms.refusals import Refusals
from sales_feedback.settings import Settings


@dataclass(frozen=True, slots=True)
class App:
    """The parts of sales-feedback; `clock` is the only source of the present."""

    settings: Settings
    db: Database
    clock: Clock
    outbox: Outbox
    refusals: Refusals = field(default_factory=Refusals)


@contextlib.asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open the database; it is closed again at the end of the block."""
    db = open_database(settings.database, application_name="sales-feedback")
    try:
        yield App(
            settings=settings,
            db=db,
            clock=SystemClock(),
            outbox=Outbox(topic_of=catalogue.TOPIC_OF, source="/baton/sales-feedback"),
            refusals=Refusals(per_minute=settings.refusals_per_minute),
        )
    finally:
        await db.close()
