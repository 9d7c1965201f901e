"""One PostgreSQL database a service, one visible transaction a request or batch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from baton_kit.settings import DatabaseSettings

Tx = AsyncConnection
"""An open transaction. It is the first parameter of whatever touches the database; only `begin` commits."""


_ROLL_BACK_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Database:
    """The service's database: `async with db.begin() as tx` commits at the end of the block or rolls back."""

    engine: AsyncEngine
    connect_args: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def begin(self) -> AbstractAsyncContextManager[Tx]:
        """Open one transaction (READ COMMITTED)."""
        return self.engine.begin()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend asyncpg's own connection outside a transaction: each statement is one of its own, in one round trip."""
        async with self.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None  # noqa: S101 - it is connected
            try:
                yield driver
            except BaseException:
                # The pool sees no error of asyncpg's own, and would lend a dead connection for ever.
                await connection.invalidate()
                raise

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


@dataclass(slots=True)
class Direct:
    """A transaction on a bare asyncpg connection, for a path where SQLAlchemy would cost more than the statements.

    `raw` takes it like a `Tx`. It begins with its first statement, in the same message where that is `first`'s.
    """

    connection: asyncpg.Connection
    begun: bool = False


class DirectConnections:
    """Connections to the same database, with the same time-outs, that stay open between their transactions.

    It opens as many as there are callers at one time: whoever calls sets the limit.
    """

    def __init__(self, db: Database) -> None:
        self._url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connect_args = db.connect_args
        self._idle: list[asyncpg.Connection] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Direct]:
        """Open one transaction (READ COMMITTED): committed at the end of the block, rolled back by an error.

        An error of the commit leaves its outcome unknown, as everywhere.
        """
        tx = Direct(await self._connection())
        try:
            yield tx
            if tx.begun and (ended := await tx.connection.execute("COMMIT")) != "COMMIT":
                # PostgreSQL answers so, and not with an error, when a statement had failed before.
                raise asyncpg.InFailedSQLTransactionError(f"the transaction ended with {ended}")
        except BaseException:
            await self._roll_back(tx)
            raise
        self._idle.append(tx.connection)

    async def close(self) -> None:
        """Close every connection that is not in use."""
        while self._idle:
            await self._idle.pop().close()

    async def _connection(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await asyncpg.connect(self._url, **self._connect_args)

    async def _roll_back(self, tx: Direct) -> None:
        # asyncpg first ends the statement under way, if the block was cancelled or took too long.
        rolled_back = False
        try:
            with contextlib.suppress(Exception):  # what went wrong before is the error to tell of
                async with asyncio.timeout(_ROLL_BACK_WITHIN_S):
                    await tx.connection.execute("ROLLBACK")
                rolled_back = True
        finally:
            if rolled_back:
                self._idle.append(tx.connection)
            else:
                tx.connection.terminate()


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
        return Database(create_async_engine(url, connect_args=connect_args, poolclass=NullPool), connect_args)
    size = pool_size or settings.pool_size
    engine = create_async_engine(
        url,
        connect_args=connect_args,
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.connect_timeout_ms / 1000,
    )
    return Database(engine, connect_args)


async def raw(tx: Tx | Direct) -> asyncpg.Connection:
    """Return asyncpg's own connection, inside the same transaction, for the few hottest statements of a `store.py`."""
    if isinstance(tx, Direct):
        if not tx.begun:
            tx.begun = True
            await tx.connection.execute("BEGIN")
        return tx.connection
    connection = (await tx.get_raw_connection()).driver_connection
    assert connection is not None  # noqa: S101 - the transaction is open
    if not connection.is_in_transaction():
        # SQLAlchemy opens the transaction with the first statement that it sends itself.
        await tx.exec_driver_sql("SELECT")
    return connection


async def first(tx: Tx | Direct, statement: str) -> None:
    """Run a statement without parameters; a `Direct` that has not begun sends its BEGIN in the same message.

    It is a statement of its own all the same: the next one has a new snapshot.
    """
    if isinstance(tx, Direct) and not tx.begun:
        tx.begun = True
        await tx.connection.execute(f"BEGIN; {statement}")
    else:
        await (await raw(tx)).execute(statement)


_COPY_FROM = 50
"""Rows from which COPY pays for its second round trip."""


async def insert_rows(tx: Tx | Direct, table: str, records: Sequence[Sequence[Any]], *, columns: Sequence[str]) -> None:
    """Insert rows whose values stand in the order of `columns`: few in one round trip, many by COPY.

    Raises asyncpg's UniqueViolationError where one is there already. Table and columns are the caller's own words.
    """
    connection = await raw(tx)
    if len(records) >= _COPY_FROM:
        # Half of the time of an INSERT of arrays, here and in PostgreSQL: asyncpg looks at each element of an array.
        await connection.copy_records_to_table(table, records=records, columns=list(columns))
    elif records:
        values = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})",  # noqa: S608 - fixed words
            records,
        )
