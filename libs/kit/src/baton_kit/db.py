"""One PostgreSQL database a service, one visible transaction a request or batch."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from baton_kit.settings import DatabaseSettings

Tx = AsyncConnection
"""An open transaction. It is the first parameter of whatever touches the database; only `begin` commits."""


@dataclass(frozen=True, slots=True)
class Database:
    """The service's database: `async with db.begin() as tx` commits at the end of the block or rolls back."""

    engine: AsyncEngine

    def begin(self) -> AbstractAsyncContextManager[Tx]:
        """Open one transaction (READ COMMITTED)."""
        return self.engine.begin()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend asyncpg's own connection outside a transaction: each statement is one of its own, in one round trip."""
        async with self.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None  # noqa: S101 - it is connected
            yield driver

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def open_database(
    settings: DatabaseSettings, *, application_name: str, pool_size: int | None = None, pooled: bool = True
) -> Database:
    """Make the engine; it connects when first used. Every session carries time-outs, so that nothing waits for ever."""
    url = settings.url.get_secret_value().replace("postgresql://", "postgresql+asyncpg://", 1)
    connect_args = {
        "timeout": settings.connect_timeout_ms / 1000,
        "command_timeout": settings.statement_timeout_ms / 1000 + 1,
        "server_settings": {
            "application_name": application_name,
            "timezone": "UTC",
            "statement_timeout": str(settings.statement_timeout_ms),
            "lock_timeout": str(settings.lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(settings.transaction_timeout_ms),
            "transaction_timeout": str(settings.transaction_timeout_ms),
            # A row written by the hot path costs more in just-in-time compilation than it can ever win back.
            "jit": "off",
        },
    }
    if not pooled:
        return Database(create_async_engine(url, connect_args=connect_args, poolclass=NullPool))
    size = pool_size or settings.pool_size
    engine = create_async_engine(
        url,
        connect_args=connect_args,
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.connect_timeout_ms / 1000,
    )
    return Database(engine)


async def raw(tx: Tx) -> asyncpg.Connection:
    """Return asyncpg's own connection, inside the same transaction, for the few hottest statements of a `store.py`."""
    connection = (await tx.get_raw_connection()).driver_connection
    assert connection is not None  # noqa: S101 - the transaction is open
    if not connection.is_in_transaction():
        # SQLAlchemy opens the transaction with the first statement that it sends itself.
        await tx.exec_driver_sql("SELECT")
    return connection
