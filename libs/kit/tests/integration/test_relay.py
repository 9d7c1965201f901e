import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from baton_kit import relay, rewind, ring
from baton_kit.db import raw
from baton_kit.envelope import event
from baton_kit.outbox import LARGEST_EVENT, EventTooLarge, Lane
from baton_kit.relay import Cursor, LeaseLost, acquire, publish_page
from baton_kit.testing import START, Harness
from toy.service import Toy


class Tape:
    """A producer that writes down what it was sent; `fail_at` is the record whose acknowledgement is an error."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.sent: list[tuple[str, str, bool]] = []
        self.fail_at = fail_at
        self.hold: asyncio.Event | None = None
        self.two_sent = asyncio.Event()

    async def send(self, topic: str, *, value: bytes | None, key: bytes, headers: Any) -> Any:
        number = len(self.sent)
        found = dict(headers)
        self.sent.append((key.decode(), found["ce_id"].decode(), "baton-replay" in found))
        if len(self.sent) == 2:
            self.two_sent.set()

        async def acknowledge() -> None:
            if self.hold is not None:
                await self.hold.wait()
            if number == self.fail_at:
                raise ConnectionError

        return asyncio.ensure_future(acknowledge())

    @property
    def ids(self) -> list[str]:
        return [event_id for _, event_id, _ in self.sent]


async def append(toy: Harness[Toy], ids: Sequence[str], *, key: str = "k", lane: Lane = Lane.LIVE) -> None:
    async with toy.db.begin() as tx:
        events = [event(StringValue(value=i), key=key, occurred_at=START, id=i) for i in ids]
        await toy.app.outbox.append(tx, events, lane=lane)


async def take(toy: Harness[Toy], *, lane: str = "live", holder: str = "me") -> Cursor:
    async with toy.db.begin() as tx:
        found = await acquire(tx, lane, holder=holder)
    assert found is not None
    return found


async def drain(toy: Harness[Toy], cursor: Cursor, tape: Any, *, limit: int = 500) -> Cursor:
    while True:
        cursor, count = await publish_page(toy.db, tape, cursor, limit=limit)
        if count == 0 and cursor.snap_to is None:
            return cursor


@contextlib.asynccontextmanager
async def other(toy: Harness[Toy]) -> AsyncIterator[asyncpg.Connection]:
    url = toy.app.settings.database.url.get_secret_value()
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_an_event_above_the_limit_is_refused_before_it_could_block_the_relay(toy: Harness[Toy]) -> None:
    with pytest.raises(EventTooLarge):
        await append(toy, ["x" * (LARGEST_EVENT + 1)])
    await append(toy, ["x" * (LARGEST_EVENT - 10)])


async def test_lanes_lie_in_slots_of_their_own(toy: Harness[Toy]) -> None:
    await append(toy, ["a"])
    await append(toy, ["b"], lane=Lane.BULK)
    rows = await toy.fetch("SELECT slot, event_id FROM outbox ORDER BY id")
    assert [(r["slot"] < 10, r["event_id"]) for r in rows] == [(True, "a"), (False, "b")]
    tape = Tape()
    await drain(toy, await take(toy, lane="bulk"), tape)
    assert tape.ids == ["b"]


async def test_publishing_writes_nothing_to_the_outbox(toy: Harness[Toy]) -> None:
    await append(toy, ["a", "b"])
    before = await toy.fetch("SELECT ctid, xmin, * FROM outbox")
    await drain(toy, await take(toy), Tape())
    assert await toy.fetch("SELECT ctid, xmin, * FROM outbox") == before


async def test_a_row_that_commits_late_is_not_passed_over(toy: Harness[Toy]) -> None:
    tape = Tape()
    cursor = await take(toy)
    async with toy.db.begin() as late:
        await toy.app.outbox.append(late, [event(StringValue(), key="late", occurred_at=START, id="late")])
        await append(toy, ["early"])
        cursor = await drain(toy, cursor, tape)
        assert tape.ids == ["early"]
    await drain(toy, cursor, tape)
    assert tape.ids == ["early", "late"]


async def test_a_foreign_open_transaction_does_not_hold_up_what_committed(toy: Harness[Toy]) -> None:
    async with other(toy) as foreign, foreign.transaction():
        await foreign.execute("SELECT pg_current_xact_id()")
        tape = Tape()
        await append(toy, ["a"])
        cursor = await drain(toy, await take(toy), tape)
        await append(toy, ["b"])
        await drain(toy, cursor, tape)
        assert tape.ids == ["a", "b"]


async def test_the_order_of_ids_holds_against_the_order_of_transaction_ids(toy: Harness[Toy]) -> None:
    async with other(toy) as first:
        # The older transaction waits for its lead's lock and appends after the younger one.
        transaction = first.transaction()
        await transaction.start()
        await first.execute("SELECT pg_current_xact_id()")
        await append(toy, ["younger-transaction"])
        await first.execute(
            "INSERT INTO outbox (slot, shard, event_id, topic, key, headers, value) "
            "SELECT slot, shard, 'older-transaction', topic, key, replace(encode(headers, 'escape'), "
            "'younger', 'zzolder')::bytea, value FROM outbox"
        )
        await transaction.commit()
    tape = Tape()
    await drain(toy, await take(toy), tape, limit=1)
    assert tape.ids[0] == "younger-transaction"
    assert len(tape.ids) == 2


async def test_a_backlog_goes_out_in_pages_in_order_and_once(toy: Harness[Toy]) -> None:
    ids = [f"e{n:04d}" for n in range(2_000)]
    await append(toy, ids)
    tape = Tape()
    await drain(toy, await take(toy), tape, limit=150)
    assert tape.ids == ids


async def test_rows_that_commit_between_two_pages_belong_to_the_next_round(toy: Harness[Toy]) -> None:
    await append(toy, ["a", "b", "c"])
    tape = Tape()
    cursor, _ = await publish_page(toy.db, tape, await take(toy), limit=2)
    await append(toy, ["d"])
    await drain(toy, cursor, tape, limit=2)
    assert tape.ids == ["a", "b", "c", "d"]


async def test_a_transaction_open_at_the_beginning_of_a_round_goes_out_once_though_it_commits_within(
    toy: Harness[Toy],
) -> None:
    tape = Tape()
    cursor = await take(toy)
    async with toy.db.begin() as late:
        await (await raw(late)).execute("SELECT pg_current_xact_id()")
        await append(toy, ["a", "b", "c"])
        cursor, _ = await publish_page(toy.db, tape, cursor, limit=2)
        await toy.app.outbox.append(late, [event(StringValue(), key="late", occurred_at=START, id="late")])
    await drain(toy, cursor, tape, limit=2)
    assert tape.ids == ["a", "b", "c", "late"]


async def test_a_failed_acknowledgement_leaves_the_cursor_where_it_was(toy: Harness[Toy]) -> None:
    await append(toy, ["a", "b", "c"])
    cursor = await take(toy)
    with pytest.raises(ConnectionError):
        await publish_page(toy.db, Tape(fail_at=1), cursor, limit=500)
    [row] = await toy.fetch("SELECT snap_from::text, last_id FROM outbox_cursor WHERE lane = 'live'")
    assert (row["snap_from"], row["last_id"]) == (cursor.snap_from, 0)
    tape = Tape()
    await drain(toy, await take(toy), tape)
    assert tape.ids == ["a", "b", "c"]


async def test_the_cursor_waits_for_every_acknowledgement(toy: Harness[Toy]) -> None:
    await append(toy, ["a", "b"])
    tape = Tape()
    tape.hold = asyncio.Event()
    cursor = await take(toy)
    page = asyncio.create_task(publish_page(toy.db, tape, cursor, limit=500))
    await tape.two_sent.wait()
    [row] = await toy.fetch("SELECT snap_from::text FROM outbox_cursor WHERE lane = 'live'")
    assert row["snap_from"] == cursor.snap_from
    tape.hold.set()
    moved, count = await page
    assert (count, moved.snap_from != cursor.snap_from) == (2, True)


async def test_acknowledgements_that_never_come_are_an_outage(
    toy: Harness[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "ACKNOWLEDGED_WITHIN", 0.05)
    await append(toy, ["a"])
    tape = Tape()
    tape.hold = asyncio.Event()
    with pytest.raises(TimeoutError):
        await publish_page(toy.db, tape, await take(toy), limit=500)
    tape.hold.set()


async def test_one_holder_has_the_lease_until_it_runs_out(toy: Harness[Toy]) -> None:
    first = await take(toy, holder="first")
    async with toy.db.begin() as tx:
        assert await acquire(tx, "live", holder="second") is None
        await (await raw(tx)).execute("UPDATE outbox_cursor SET lease_until = clock_timestamp() - interval '1 s'")
    second = await take(toy, holder="second")
    assert second.epoch > first.epoch


async def test_a_holder_that_lost_its_lease_cannot_move_the_cursor(toy: Harness[Toy]) -> None:
    await append(toy, ["a"])
    old = await take(toy, holder="old")
    async with toy.db.begin() as tx:
        await (await raw(tx)).execute("UPDATE outbox_cursor SET lease_until = clock_timestamp() - interval '1 s'")
    await take(toy, holder="new")
    with pytest.raises(LeaseLost):
        await publish_page(toy.db, Tape(), old, limit=500)
    tape = Tape()
    await drain(toy, await take(toy, holder="new"), tape)
    assert tape.ids == ["a"]


async def back(toy: Harness[Toy], *, lane: str = "live") -> int:
    async with toy.db.begin() as tx:
        return await rewind.rewind(tx, lane=lane, since=START - timedelta(days=999))


async def test_a_rewind_sends_again_marked_and_passes_over_nothing_that_waits(toy: Harness[Toy]) -> None:
    await append(toy, ["a", "b"])
    await drain(toy, await take(toy), Tape())
    await append(toy, ["waits"])
    assert await back(toy) == 3
    tape = Tape()
    await drain(toy, await take(toy), tape)
    assert tape.sent == [("k", "a", True), ("k", "b", True), ("k", "waits", False)]


async def test_a_rewind_beside_a_foreign_open_transaction_goes_as_far_back(toy: Harness[Toy]) -> None:
    async with other(toy) as foreign, foreign.transaction():
        await foreign.execute("SELECT pg_current_xact_id()")
        await append(toy, ["a", "b"])
        await drain(toy, await take(toy), Tape())
        await back(toy)
        tape = Tape()
        cursor = await drain(toy, await take(toy), tape)
        assert tape.sent == [("k", "a", True), ("k", "b", True)]
        # What that transaction appends itself is still waited for.
        await foreign.execute(
            "INSERT INTO outbox (slot, shard, event_id, topic, key, headers, value) "
            "SELECT slot, shard, 'own', topic, key, headers, value FROM outbox WHERE event_id = 'b'"
        )
    await drain(toy, cursor, tape)
    assert len(tape.sent) == 3


async def test_a_second_rewind_before_the_first_is_through_still_knows_what_was_out(toy: Harness[Toy]) -> None:
    await append(toy, ["a", "b"])
    await drain(toy, await take(toy), Tape())
    await back(toy)
    await back(toy)
    tape = Tape()
    await drain(toy, await take(toy), tape)
    assert tape.sent == [("k", "a", True), ("k", "b", True)]


async def test_a_rewind_takes_the_lane_from_its_present_holder(toy: Harness[Toy]) -> None:
    await append(toy, ["a"])
    cursor = await drain(toy, await take(toy), Tape())
    await back(toy)
    await append(toy, ["b"])
    with pytest.raises(LeaseLost):
        await publish_page(toy.db, Tape(), cursor, limit=500)


@pytest.mark.parametrize("changed", ["system_identifier", "timeline"])
async def test_another_database_under_the_cursor_publishes_the_whole_ring_again(
    toy: Harness[Toy], changed: str
) -> None:
    await append(toy, ["out", "also-out"])
    await drain(toy, await take(toy), Tape())
    await append(toy, ["waits"])
    # As a restore leaves it: transaction ids of a future that this cluster has not reached, and a sequence behind.
    await toy.fetch(f"UPDATE outbox_cursor SET {changed} = 'another', lease_until = NULL, holder = NULL")
    await toy.fetch("SELECT setval('outbox_id_seq', 1)")
    tape = Tape()
    cursor = await drain(toy, await take(toy), tape)
    assert tape.sent == [("k", "out", True), ("k", "also-out", True), ("k", "waits", False)]
    await append(toy, ["after"])
    await drain(toy, cursor, tape)
    assert tape.ids[3:] == ["after"]
    [ids] = await toy.fetch("SELECT count(DISTINCT id) = count(*) AS unique FROM outbox")
    assert ids["unique"]


async def test_transaction_ids_of_a_future_are_reached_after_a_restore(toy: Harness[Toy]) -> None:
    await append(toy, ["a"])
    await toy.fetch("UPDATE outbox SET xid = '999999999999'")
    await toy.fetch("UPDATE outbox_cursor SET snap_from = '999999999990:999999999990:', system_identifier = 'another'")
    tape = Tape()
    await drain(toy, await take(toy), tape)
    assert tape.ids == ["a"]


async def test_the_ring_turns_and_goes_on_in_the_same_slot_when_the_next_is_full(toy: Harness[Toy]) -> None:
    assert not await ring.turn(toy.db, "live")
    assert await ring.turn(toy.db, "live", days=0)
    await append(toy, ["a"])
    [row] = await toy.fetch("SELECT slot FROM outbox")
    assert row["slot"] == 1
    await toy.fetch("UPDATE outbox_ring SET slot = 0 WHERE lane = 'live'")
    assert not await ring.turn(toy.db, "live", days=0)
    await append(toy, ["b"])
    assert {r["slot"] for r in await toy.fetch("SELECT slot FROM outbox")} == {0, 1}


async def aged(toy: Harness[Toy]) -> None:
    await append(toy, ["a"])
    await toy.fetch("UPDATE outbox SET appended_at = now() - interval '8 days'")
    await ring.turn(toy.db, "live", days=0)


async def test_a_slot_is_emptied_only_behind_the_cursor_and_beyond_the_window(toy: Harness[Toy]) -> None:
    await aged(toy)
    assert await ring.empty(toy.db, "live") == []
    await drain(toy, await take(toy), Tape())
    assert await ring.empty(toy.db, "live", replay_days=9) == []
    await back(toy)
    assert await ring.empty(toy.db, "live") == []
    await drain(toy, await take(toy), Tape())
    assert await ring.empty(toy.db, "live") == [0]
    assert await toy.fetch("SELECT 1 FROM outbox") == []


async def test_the_present_slot_is_never_emptied(toy: Harness[Toy]) -> None:
    await append(toy, ["a"])
    await toy.fetch("UPDATE outbox SET appended_at = now() - interval '8 days'")
    await drain(toy, await take(toy), Tape())
    assert await ring.empty(toy.db, "live") == []


async def test_a_writer_in_the_slot_is_not_held_up_for_longer_than_a_second(toy: Harness[Toy]) -> None:
    await aged(toy)
    await drain(toy, await take(toy), Tape())
    async with other(toy) as writer, writer.transaction():
        await writer.execute("LOCK TABLE outbox_s00 IN ROW EXCLUSIVE MODE")
        async with asyncio.timeout(4):
            assert await ring.empty(toy.db, "live") == []
    assert await ring.empty(toy.db, "live") == [0]
