"""Any interleaving of open transactions, relay rounds and consumers keeps the four promises.

Nothing is lost, nothing takes effect twice, the order per key holds, and a foreign open transaction holds up nothing.
"""

import asyncio
from typing import Any

import asyncpg
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy.ext.asyncio import AsyncTransaction

from baton_kit.apply import Batch, apply_batches
from baton_kit.db import Tx, raw
from baton_kit.envelope import event
from baton_kit.relay import LeaseLost, acquire, publish_page
from baton_kit.rewind import rewind
from baton_kit.testing import START, FakeRecord, Server, open_harness
from toy.service import HEARD, SERVICE, SUBSCRIPTION

KEYS = ("a", "b", "c")


class Log:
    """A topic in memory whose producer may fail, lose an acknowledgement, or write a record twice."""

    def __init__(self) -> None:
        self.records: list[FakeRecord] = []
        self.mood: list[str] = []

    async def send(self, topic: str, *, value: bytes | None, key: bytes, headers: Any) -> Any:
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mood = self.mood.pop() if self.mood else "well"
        if topic != HEARD:
            found.set_result(None)
            return found
        if mood == "fail":
            # Like the client: what follows a failed record in its partition is not sent either.
            self.mood = ["fail"] * 1_000
        else:
            for _ in range(2 if mood == "twice" else 1):
                self.records.append(FakeRecord(len(self.records), key, value, headers))
        if mood in ("fail", "unheard"):
            found.set_exception(ConnectionError())
        else:
            found.set_result(None)
        return found


class Machine(RuleBasedStateMachine):
    """Three writers with transactions of their own, one foreign transaction, two relays, two consumers."""

    server: Server
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.do(self._open())

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def _open(self) -> None:
        self.context = open_harness(SERVICE, self.server)
        self.toy = await self.context.__aenter__()
        self.log = Log()
        self.writers: dict[str, tuple[Tx, AsyncTransaction, list[str]]] = {}
        self.foreign: asyncpg.Connection | None = None
        self.committed: list[tuple[str, str]] = []
        self.number = 0
        self.cursors: dict[str, Any] = {}

    def teardown(self) -> None:
        self.do(self._close())

    async def _close(self) -> None:
        if self.foreign is not None:
            await self.foreign.close()
        for key in list(self.writers):
            await self._end(key, commit=True)
        # Whatever happened: once all is quiet, everything is there once, in order.
        self.log.mood = []
        await self._settle("one")
        noted = [(r["key"], r["told"]) for r in await self.toy.fetch("SELECT key, told FROM note ORDER BY key, n")]
        for key in KEYS:
            assert [t for k, t in noted if k == key] == [t for k, t in self.committed if k == key]
        assert len(noted) == len(self.committed)
        await self.context.__aexit__(None, None, None)

    async def _settle(self, holder: str) -> None:
        await self.toy.fetch("UPDATE outbox_cursor SET lease_until = NULL, holder = NULL")
        self.cursors.pop(holder, None)
        for _ in range(200):
            cursor = await self._page(holder, limit=3)
            if cursor is not None and cursor.snap_to is None and not self.sent:
                break
        await self._consume(0, len(self.log.records))

    # Writers: the lead's lock is a row lock in life; here a key has one open writer at a time.

    @rule(key=st.sampled_from(KEYS), words=st.integers(1, 3))
    def write(self, key: str, words: int) -> None:
        self.do(self._write(key, words))

    async def _write(self, key: str, words: int) -> None:
        if key not in self.writers:
            tx = await self.toy.db.engine.connect()
            self.writers[key] = (tx, await tx.begin(), [])
            # The transaction id is drawn before the append, as by a first write elsewhere.
            await (await raw(tx)).execute("SELECT pg_current_xact_id()")
        tx, _, told = self.writers[key]
        for _ in range(words):
            self.number += 1
            told.append(f"w{self.number:04d}")
            await self.toy.app.outbox.append(tx, [event(StringValue(value=told[-1]), key=key, occurred_at=START)])

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), commit=st.booleans())
    def end(self, data: st.DataObject, commit: bool) -> None:
        self.do(self._end(data.draw(st.sampled_from(sorted(self.writers))), commit=commit))

    async def _end(self, key: str, *, commit: bool) -> None:
        tx, transaction, told = self.writers.pop(key)
        if commit:
            await transaction.commit()
            self.committed += [(key, t) for t in told]
        else:
            await transaction.rollback()
        await tx.close()

    @rule()
    def a_foreign_transaction_begins_or_ends(self) -> None:
        self.do(self._foreign())

    async def _foreign(self) -> None:
        if self.foreign is None:
            self.foreign = await asyncpg.connect(self.toy.app.settings.database.url.get_secret_value())
            await self.foreign.execute("BEGIN; SELECT pg_current_xact_id()")
        else:
            await self.foreign.close()
            self.foreign = None

    # Relays

    @rule(
        holder=st.sampled_from(["one", "two"]),
        limit=st.integers(1, 4),
        mood=st.lists(st.sampled_from(["well", "well", "well", "fail", "unheard", "twice"]), max_size=4),
        run_out=st.booleans(),
    )
    def publish(self, holder: str, limit: int, mood: list[str], run_out: bool) -> None:
        self.log.mood = mood
        self.do(self._page(holder, limit=limit, run_out=run_out))

    async def _page(self, holder: str, *, limit: int, run_out: bool = False) -> Any:
        self.sent = 0
        if run_out:
            await self.toy.fetch("UPDATE outbox_cursor SET lease_until = clock_timestamp() - interval '1 s'")
        if holder not in self.cursors:
            async with self.toy.db.begin() as tx:
                found = await acquire(tx, "live", holder=holder)
            if found is None:
                return None
            self.cursors[holder] = found
        try:
            # A holder that was paused keeps its old cursor, and must fail with it.
            self.cursors[holder], self.sent = await publish_page(
                self.toy.db, self.log, self.cursors[holder], limit=limit
            )
        except (LeaseLost, ConnectionError):
            del self.cursors[holder]
            self.sent = 1
            return None
        return self.cursors[holder]

    @rule()
    def rewind_everything(self) -> None:
        self.do(self._rewind())

    async def _rewind(self) -> None:
        async with self.toy.db.begin() as tx:
            await rewind(tx, lane="live", since=START.replace(year=2020))

    # Consumers: a zombie offers records from before the position as well.

    @rule(back=st.integers(0, 5), size=st.integers(1, 8))
    def consume(self, back: int, size: int) -> None:
        self.do(self._consume(back, size))

    async def _consume(self, back: int, size: int) -> None:
        rows = await self.toy.fetch("SELECT next_offset FROM consumer_offset")
        start = rows[0]["next_offset"] if rows else 0
        batch = self.log.records[max(0, start - back) : start + size]
        if batch:
            async with self.toy.db.begin() as tx:
                await apply_batches(tx, self.toy.app, SUBSCRIPTION, [Batch(HEARD, 0, batch)])

    @rule()
    def nothing_committed_waits_for_an_open_transaction(self) -> None:
        self.log.mood = []
        self.do(self._settle("one"))
        noted = self.do(self.toy.fetch("SELECT told FROM note"))
        assert {t for _, t in self.committed} == {r["told"] for r in noted}

    @invariant()
    def the_order_per_key_holds_and_nothing_is_there_twice(self) -> None:
        noted = self.do(self.toy.fetch("SELECT key, n, told FROM note ORDER BY key, n"))
        for key in KEYS:
            found = [r["told"] for r in noted if r["key"] == key]
            expected = [t for k, t in self.committed if k == key]
            assert found == expected[: len(found)]


def test_any_interleaving_keeps_the_promises(postgres_server: Server) -> None:
    loop = asyncio.new_event_loop()

    class Bound(Machine):
        pass

    Bound.server, Bound.loop = postgres_server, loop
    try:
        run_state_machine_as_test(
            Bound,
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.close()
