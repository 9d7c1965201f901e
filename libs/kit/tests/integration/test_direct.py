import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from baton_kit.db import DirectConnections, first, raw
from baton_kit.testing import Harness
from toy.service import Toy


@pytest.fixture
async def direct(toy: Harness[Toy]) -> AsyncIterator[DirectConnections]:
    await toy.fetch("CREATE TABLE noted (n integer PRIMARY KEY)")
    connections = DirectConnections(toy.db)
    yield connections
    await connections.close()


async def until(asked: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(10):
        while not await asked():  # noqa: ASYNC110 - PostgreSQL knows, no event tells
            await asyncio.sleep(0.005)


async def noted(toy: Harness[Toy]) -> list[int]:
    return [row["n"] for row in await toy.fetch("SELECT n FROM noted ORDER BY n")]


async def test_what_a_block_wrote_is_there_after_it_and_not_before(
    toy: Harness[Toy], direct: DirectConnections
) -> None:
    async with direct.begin() as tx:
        await first(tx, "INSERT INTO noted VALUES (1)")
        await (await raw(tx)).execute("INSERT INTO noted VALUES ($1)", 2)
        assert await noted(toy) == []
    assert await noted(toy) == [1, 2]


async def test_an_error_undoes_the_whole_block_and_the_connection_goes_on(
    toy: Harness[Toy], direct: DirectConnections
) -> None:
    async def backend_then(failing: str) -> int:
        async with direct.begin() as tx:
            await first(tx, "INSERT INTO noted VALUES (1)")
            backend: int = await (await raw(tx)).fetchval("SELECT pg_backend_pid()")
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await (await raw(tx)).execute(failing)
                return backend
            raise ZeroDivisionError(backend)

    with pytest.raises(ZeroDivisionError) as failed:
        await backend_then("SELECT 1 / 0")
    assert await noted(toy) == []
    assert await backend_then("SELECT 1") == failed.value.args[0]
    assert await noted(toy) == [1]


async def test_a_failed_statement_that_nobody_heard_of_is_no_commit(
    toy: Harness[Toy], direct: DirectConnections
) -> None:
    async def heedless() -> None:
        async with direct.begin() as tx:
            await first(tx, "INSERT INTO noted VALUES (1)")
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await (await raw(tx)).execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await heedless()
    assert await noted(toy) == []


async def test_the_statement_after_the_first_sees_what_was_committed_while_the_first_waited(
    toy: Harness[Toy], direct: DirectConnections
) -> None:
    async def reader() -> int:
        async with direct.begin() as tx:
            await first(tx, "SELECT pg_advisory_xact_lock(7)")
            count: int = await (await raw(tx)).fetchval("SELECT count(*) FROM noted")
            return count

    async with direct.begin() as tx:
        await first(tx, "SELECT pg_advisory_xact_lock(7)")
        waiting = asyncio.create_task(reader())
        await until(lambda: toy.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        await (await raw(tx)).execute("INSERT INTO noted VALUES (1)")
    assert await waiting == 1


async def test_a_cancelled_block_leaves_nothing_behind(toy: Harness[Toy], direct: DirectConnections) -> None:
    async def hang() -> None:
        async with direct.begin() as tx:
            await first(tx, "INSERT INTO noted VALUES (1)")
            await (await raw(tx)).execute("SELECT pg_sleep(60)")

    hanging = asyncio.create_task(hang())
    await until(lambda: toy.fetch("SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    async with direct.begin() as tx:
        await first(tx, "INSERT INTO noted VALUES (1)")  # waits for the key until the other transaction is gone
    assert await noted(toy) == [1]


async def test_a_connection_that_the_server_ended_is_replaced(toy: Harness[Toy], direct: DirectConnections) -> None:
    async with direct.begin() as tx:
        backend = await (await raw(tx)).fetchval("SELECT pg_backend_pid()")
        gone = tx.connection
    await toy.fetch(f"SELECT pg_terminate_backend({backend}, 5000)")
    await until(lambda: asyncio.sleep(0, gone.is_closed()))
    async with direct.begin() as tx:
        await first(tx, "INSERT INTO noted VALUES (1)")
    assert await noted(toy) == [1]
