"""Few rows and many rows go different ways into a table, and come out alike."""

from datetime import UTC, datetime

import asyncpg
import pytest

from baton_kit.db import insert_rows
from baton_kit.testing import Harness
from toy.service import Toy

COLUMNS = ("n", "word", "at", "marks")
AT = datetime(2026, 11, 25, tzinfo=UTC)


def rows(count: int) -> list[tuple[int, str, datetime | None, list[str]]]:
    return [(n, f"wörd\t\\N {n}", AT if n % 2 else None, [f"m{n}", '"']) for n in range(count)]


@pytest.fixture
async def table(toy: Harness[Toy]) -> None:
    await toy.fetch("CREATE TABLE kept (n integer PRIMARY KEY, word text, at timestamptz, marks text[])")


@pytest.mark.parametrize("count", [0, 1, 49, 50, 120])
@pytest.mark.usefixtures("table")
async def test_every_row_is_there_as_it_was_given(toy: Harness[Toy], count: int) -> None:
    async with toy.db.begin() as tx:
        await insert_rows(tx, "kept", rows(count), columns=COLUMNS)
    assert [tuple(row) for row in await toy.fetch("SELECT * FROM kept ORDER BY n")] == rows(count)


@pytest.mark.parametrize("count", [3, 80])
@pytest.mark.usefixtures("table")
async def test_a_row_that_is_there_already_undoes_all_of_them(toy: Harness[Toy], count: int) -> None:
    await toy.fetch("INSERT INTO kept (n) VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with toy.db.begin() as tx:
            await insert_rows(tx, "kept", rows(count), columns=COLUMNS)
    assert [row["n"] for row in await toy.fetch("SELECT n FROM kept")] == [1]
