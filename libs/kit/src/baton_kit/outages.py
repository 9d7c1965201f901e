"""Tell an outage of the infrastructure, which is waited out for ever, from an error that stands with the event."""

import asyncpg
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

PARKABLE = ("22", "23")
"""SQLSTATE classes that the data of one event can cause: data exception, integrity constraint violation."""


class Unprocessable(Exception):
    """A handler's verdict: this event can never be applied. `args[0]` is the reason, free of personal data."""


def sqlstate(error: BaseException) -> str | None:
    """Return the five characters PostgreSQL answered with, through SQLAlchemy's wrapping or without it."""
    found = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(found, "sqlstate", None)
    return state if isinstance(state, str) and state else None


def is_outage(error: BaseException) -> bool:
    """Say whether waiting may cure this. Of what PostgreSQL answers, only classes 22 and 23 stand with the event."""
    state = sqlstate(error)
    if state is not None:
        return not state.startswith(PARKABLE)
    if isinstance(error, RuntimeError) and "the handler is closed" in str(error):
        # uvloop's word for a write on a connection that was just lost, where asyncio's own loop raises an OSError.
        return True
    if isinstance(error, asyncpg.InternalClientError):
        # A connection that broke in the middle of a statement and was lent again: another one cures it.
        return True
    return isinstance(
        error,
        InterfaceError | DBAPIError | PoolTimeout | asyncpg.InterfaceError | KafkaError | OSError | TimeoutError,
    )
