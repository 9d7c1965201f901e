import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BoolValue, StringValue

from baton_kit import parked
from baton_kit.apply import Batch, PositionWentBack, Subscription, apply_batches
from baton_kit.envelope import Event, Received, event
from baton_kit.testing import START, FakeRecord, Harness, record
from toy.running import until
from toy.service import HEARD, SUBSCRIPTION, Toy


def word(value: str, key: str = "lead-1", id: str | None = None) -> Event:
    return event(StringValue(value=value), key=key, occurred_at=START, id=id)


def records(events: Sequence[Event], *, start: int = 0) -> list[FakeRecord]:
    return [record(e, offset=start + n) for n, e in enumerate(events)]


def without(found: FakeRecord, name: str) -> FakeRecord:
    return replace(found, headers=[pair for pair in found.headers if pair[0] != name])


async def apply(
    toy: Harness[Toy], batch: Sequence[FakeRecord], *, park: str | None = None, subscription: Any = SUBSCRIPTION
) -> int:
    async with toy.db.begin() as tx:
        return (await apply_batches(tx, toy.app, subscription, [Batch(HEARD, 0, batch)], park=park)).applied


async def notes(toy: Harness[Toy]) -> list[tuple[str, str]]:
    return [(r["key"], r["told"]) for r in await toy.fetch("SELECT key, told FROM note ORDER BY key, n")]


async def waiting(toy: Harness[Toy]) -> list[tuple[int, str]]:
    return [(r["offset"], r["reason"]) for r in await toy.fetch('SELECT "offset", reason FROM parked ORDER BY id')]


async def replay(toy: Harness[Toy], key: str = "lead-1", subscription: Any = SUBSCRIPTION) -> int:
    async with toy.db.begin() as tx:
        return await parked.replay_key(tx, toy.app, subscription, key)


POISONS = {
    "no id": lambda r: without(r, "ce_id"),
    "no time": lambda r: without(r, "ce_time"),
    "no type": lambda r: without(r, "ce_type"),
    "wrong version": lambda r: replace(without(r, "ce_specversion"), headers=[*r.headers, ("ce_specversion", b"2.0")]),
    "header without a value": lambda r: replace(r, headers=[*without(r, "ce_id").headers, ("ce_id", None)]),
    "NUL in the id": lambda r: replace(r, headers=[*without(r, "ce_id").headers, ("ce_id", b"a\x00b")]),
    "id not UTF-8": lambda r: replace(r, headers=[*without(r, "ce_id").headers, ("ce_id", b"\xff")]),
    "no message": lambda r: replace(r, value=b"\xff\xff\xff"),
    "no headers": lambda r: replace(r, headers=[]),
}


@pytest.mark.parametrize("kind", POISONS)
async def test_poison_is_parked_at_once_and_blocks_its_own_key_only(toy: Harness[Toy], kind: str) -> None:
    batch = records([word("a"), word("bad"), word("b"), word("c", "lead-2")])
    batch[1] = POISONS[kind](batch[1])
    await apply(toy, batch)
    assert await waiting(toy) == [(1, "poison"), (2, "blocked")]
    assert await notes(toy) == [("lead-1", "a"), ("lead-2", "c")]
    assert "bad" not in str(await toy.fetch("SELECT detail FROM parked"))


async def test_a_record_without_a_key_is_parked(toy: Harness[Toy]) -> None:
    await apply(toy, [replace(records([word("a")])[0], key=None)])
    assert await waiting(toy) == [(0, "poison")]


async def test_headers_of_others_are_not_judged(toy: Harness[Toy]) -> None:
    [found] = records([word("a")])
    await apply(toy, [replace(found, headers=[*found.headers, ("theirs", b"\xff\x00" * 600), ("empty", None)])])
    assert await notes(toy) == [("lead-1", "a")]


async def test_two_unreadable_records_with_ids_that_look_alike_are_both_written_down(toy: Harness[Toy]) -> None:
    batch = records([word("a", id="x" * 600 + "1"), word("b", "lead-2", id="x" * 600 + "2")])
    await apply(toy, batch)
    assert await waiting(toy) == [(0, "poison"), (1, "poison")]


async def test_later_events_of_a_blocked_key_wait_in_order_and_are_replayed_in_it(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("first")]), park="a reason")
    await apply(toy, records([word("second"), word("other", "lead-2")], start=1))
    await apply(toy, records([word("third")], start=3))
    assert await waiting(toy) == [(0, "handler"), (1, "blocked"), (3, "blocked")]
    assert await replay(toy) == 3
    assert await notes(toy) == [("lead-1", "first"), ("lead-1", "second"), ("lead-1", "third"), ("lead-2", "other")]
    assert await toy.fetch("SELECT 1 FROM parked_key") == []
    assert {r["outcome"] for r in await toy.fetch("SELECT outcome FROM inbox")} == {"applied"}
    await apply(toy, records([word("fourth")], start=4))
    assert ("lead-1", "fourth") in await notes(toy)


async def test_a_replay_that_fails_leaves_everything_parked(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("first")]), park="a reason")
    await apply(toy, records([word("bug")], start=1))
    with pytest.raises(KeyError):
        await replay(toy)
    assert await waiting(toy) == [(0, "handler"), (1, "blocked")]
    assert await notes(toy) == []


async def test_a_skipped_event_frees_its_key_once_nothing_of_it_waits(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("bad")]), park="a reason")
    await apply(toy, records([word("good")], start=1))
    ids = [r["id"] for r in await toy.fetch("SELECT id FROM parked ORDER BY id")]
    async with toy.db.begin() as tx:
        assert await parked.skip(tx, ids[0]) is not None
    assert len(await toy.fetch("SELECT 1 FROM parked_key")) == 1
    assert await replay(toy) == 1
    assert await notes(toy) == [("lead-1", "good")]
    async with toy.db.begin() as tx:
        assert await parked.skip(tx, ids[0]) is None
    [skipped] = await toy.fetch("SELECT event_id FROM inbox WHERE outcome = 'skipped'")
    await apply(toy, records([word("bad", id=skipped["event_id"])], start=2))
    assert await notes(toy) == [("lead-1", "good")]


async def test_an_event_sent_twice_in_one_batch_behind_a_parked_one_is_replayed_once(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("first")]), park="a reason")
    twice = word("second")
    await apply(toy, records([twice, twice], start=1))
    await apply(toy, records([twice], start=3))
    assert await waiting(toy) == [(0, "handler"), (1, "blocked")]
    assert await replay(toy) == 2
    assert await notes(toy) == [("lead-1", "first"), ("lead-1", "second")]


async def test_an_event_applied_before_poison_is_not_parked_when_it_comes_again_behind_it(toy: Harness[Toy]) -> None:
    good = word("good")
    batch = records([good, word("bad"), good])
    batch[1] = replace(batch[1], value=b"\xff")
    await apply(toy, batch)
    assert await waiting(toy) == [(1, "poison")]
    assert await notes(toy) == [("lead-1", "good")]


def truth(key: str) -> Event:
    return event(BoolValue(value=True), key=key, occurred_at=START)


async def noted(tx: Any, app: Toy, events: Sequence[Received[BoolValue]]) -> None:
    from baton_kit.db import raw

    for e in events:
        if e.key == "bug":
            raise KeyError("anna@example.com")
        await (await raw(tx)).execute(
            "INSERT INTO note SELECT $1, count(*) + 1, 'truth' || count(*) FROM note WHERE key = $1", e.key
        )


NEWER: Subscription[Toy] = Subscription(
    group=SUBSCRIPTION.group, topics=(HEARD,), handlers={**SUBSCRIPTION.handlers, BoolValue: noted}
)


async def test_an_unrouted_event_blocks_nothing_and_is_applied_by_a_version_that_knows_it(toy: Harness[Toy]) -> None:
    await apply(toy, records([truth("lead-1"), word("a"), truth("lead-2")]))
    assert await waiting(toy) == [(0, "unrouted"), (2, "unrouted")]
    assert await notes(toy) == [("lead-1", "a")]
    assert await parked.replay_unrouted(toy.app, SUBSCRIPTION) == 0
    assert await parked.replay_unrouted(toy.app, NEWER, page=1) == 2
    assert await notes(toy) == [("lead-1", "a"), ("lead-1", "truth1"), ("lead-2", "truth0")]
    assert await waiting(toy) == []


async def test_an_unrouted_event_that_fails_is_parked_and_the_others_are_applied(toy: Harness[Toy]) -> None:
    batch = records([truth("lead-1"), truth("bug"), truth("poison"), truth("lead-2"), truth("bug")])
    batch[2] = replace(batch[2], value=b"\xff")
    await apply(toy, batch)
    assert await parked.replay_unrouted(toy.app, NEWER) == 2
    assert [key for key, _ in await notes(toy)] == ["lead-1", "lead-2"]
    assert await waiting(toy) == [(1, "handler"), (2, "poison"), (4, "blocked")]
    assert "anna" not in str(await toy.fetch("SELECT detail FROM parked"))


async def test_two_members_apply_what_was_unrouted_once(toy: Harness[Toy]) -> None:
    await apply(toy, records([truth(f"lead-{n % 3}") for n in range(30)]))
    done = await asyncio.gather(*(parked.replay_unrouted(toy.app, NEWER, page=4) for _ in range(3)))
    assert sum(done) == 30
    assert len(await notes(toy)) == 30


async def test_two_members_with_the_same_records_apply_them_once(toy: Harness[Toy]) -> None:
    batch = records([word(f"w{n}") for n in range(20)])
    done = await asyncio.gather(*(apply(toy, batch[: 5 * n]) for n in (4, 3, 2, 1, 4)))
    assert sum(done) == 20
    assert [told for _, told in await notes(toy)] == [f"w{n}" for n in range(20)]


async def locked(toy: Harness[Toy]) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await toy.fetch(query))


async def test_a_zombie_waits_for_the_position_and_never_moves_it_back(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("first")]))
    batch = records([word(f"w{n}") for n in range(10)], start=1)
    async with toy.db.begin() as tx:
        await apply_batches(tx, toy.app, SUBSCRIPTION, [Batch(HEARD, 0, batch)])
        zombie = asyncio.create_task(apply(toy, batch[:5]))

        await until(lambda: locked(toy), what="the zombie waited")
    assert await zombie == 0
    [row] = await toy.fetch("SELECT next_offset FROM consumer_offset")
    assert row["next_offset"] == 11


async def waits_or_ends(toy: Harness[Toy], task: "asyncio.Task[int]") -> bool:
    return task.done() or await locked(toy)


async def test_a_worker_waits_for_a_replay_of_the_key_instead_of_parking_behind_nothing(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("w0")]), park="a reason")
    async with toy.db.begin() as tx:
        await parked.replay_key(tx, toy.app, SUBSCRIPTION, "lead-1")
        worker = asyncio.create_task(apply(toy, records([word("w1")], start=1)))
        await until(lambda: locked(toy), what="the worker waited")
    await worker
    assert await waiting(toy) == []
    assert [told for _, told in await notes(toy)] == ["w0", "w1"]


async def test_what_was_unrouted_waits_for_a_worker_on_its_key_and_queues_behind_what_that_parks(
    toy: Harness[Toy],
) -> None:
    await apply(toy, records([truth("lead-1")]))
    async with toy.db.begin() as tx:
        batch = records([word("bad")], start=1)
        await apply_batches(tx, toy.app, NEWER, [Batch(HEARD, 0, batch)], park="a reason")
        replaying = asyncio.create_task(parked.replay_unrouted(toy.app, NEWER))
        await until(lambda: waits_or_ends(toy, replaying), what="the replay came to the key")
        assert not replaying.done()
    assert await replaying == 0
    assert await waiting(toy) == [(0, "blocked"), (1, "handler")]
    assert await notes(toy) == []


async def test_a_worker_waits_for_what_was_unrouted_on_its_key(toy: Harness[Toy]) -> None:
    await apply(toy, records([truth("lead-1"), truth("lead-1")]))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(tx: Any, app: Toy, events: Sequence[Received[BoolValue]]) -> None:
        await noted(tx, app, events)
        begun.set()
        await go_on.wait()

    slow: Subscription[Toy] = replace(NEWER, handlers={**SUBSCRIPTION.handlers, BoolValue: slowly})
    replaying = asyncio.create_task(parked.replay_unrouted(toy.app, slow))
    await asyncio.wait_for(begun.wait(), 10)
    working = asyncio.create_task(apply(toy, records([word("later")], start=2), subscription=NEWER))
    await until(lambda: waits_or_ends(toy, working), what="the worker came to the key")
    assert not working.done()
    go_on.set()
    assert (await replaying, await working) == (2, 1)
    assert [told for _, told in await notes(toy)] == ["truth0", "truth1", "later"]


async def test_worker_and_replay_never_work_a_key_at_the_same_time(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("w0")]), park="a reason")
    for n in range(1, 12):
        await asyncio.gather(replay(toy), apply(toy, records([word(f"w{n}")], start=n)))
    await replay(toy)
    assert [told for _, told in await notes(toy)] == [f"w{n}" for n in range(12)]


async def test_a_database_that_went_back_is_not_passed_over(toy: Harness[Toy]) -> None:
    await apply(toy, records([word("a"), word("b")]))
    await toy.fetch("UPDATE consumer_offset SET next_offset = 1")
    with pytest.raises(PositionWentBack):
        async with toy.db.begin() as tx:
            await apply_batches(tx, toy.app, SUBSCRIPTION, [Batch(HEARD, 0, records([word("c")], start=2), known=2)])
    assert [told for _, told in await notes(toy)] == ["a", "b"]


async def apply_several(toy: Harness[Toy], *batches: Batch) -> int:
    async with toy.db.begin() as tx:
        return (await apply_batches(tx, toy.app, SUBSCRIPTION, batches)).applied


async def test_several_partitions_are_applied_and_moved_together(toy: Harness[Toy]) -> None:
    first = Batch(HEARD, 1, records([word("a", "lead-1"), word("b", "lead-1")], start=7))
    second = Batch(HEARD, 0, records([word("c", "lead-2")]))
    assert await apply_several(toy, first, second) == 3
    rows = await toy.fetch("SELECT partition, next_offset FROM consumer_offset ORDER BY partition")
    assert [tuple(r) for r in rows] == [(0, 1), (1, 9)]
    assert await apply_several(toy, second, first) == 0


async def test_each_partition_skips_only_what_it_did_before(toy: Harness[Toy]) -> None:
    done = records([word("a", "lead-1")])
    await apply(toy, done)
    again = Batch(HEARD, 0, [*done, *records([word("b", "lead-1")], start=1)])
    # The same offset of another partition is another event.
    assert await apply_several(toy, again, Batch(HEARD, 1, records([word("c", "lead-2")]))) == 2
    assert await notes(toy) == [("lead-1", "a"), ("lead-1", "b"), ("lead-2", "c")]


async def test_an_event_behind_a_poison_of_its_key_in_another_partition_waits(toy: Harness[Toy]) -> None:
    poison = without(records([word("bad", "lead-1")], start=5)[0], "ce_id")
    other = records([word("behind", "lead-1"), word("free", "lead-2")])
    await apply_several(toy, Batch(HEARD, 0, [poison]), Batch(HEARD, 1, other))
    assert await waiting(toy) == [(5, "poison"), (0, "blocked")]
    assert await notes(toy) == [("lead-2", "free")]


async def test_an_event_that_comes_by_two_partitions_takes_effect_once(toy: Harness[Toy]) -> None:
    twice = word("a", id="one")
    assert await apply_several(toy, Batch(HEARD, 0, records([twice])), Batch(HEARD, 1, records([twice], start=3))) == 1
    assert await notes(toy) == [("lead-1", "a")]


async def test_one_partition_that_went_back_keeps_all_of_the_batch_back(toy: Harness[Toy]) -> None:
    with pytest.raises(PositionWentBack):
        await apply_several(
            toy,
            Batch(HEARD, 0, records([word("a", "lead-1")])),
            Batch(HEARD, 1, records([word("b", "lead-2")], start=4), known=4),
        )
    assert await notes(toy) == []
    assert await toy.fetch("SELECT 1 FROM consumer_offset") == []


async def test_two_members_that_begin_the_same_partitions_in_other_orders_never_lock_each_other_out(
    toy: Harness[Toy],
) -> None:
    for n in range(10):
        mine = [Batch(HEARD, p, records([word(f"{n}.{p}", f"lead-{p}")], start=n)) for p in range(4)]
        await asyncio.gather(apply_several(toy, *mine), apply_several(toy, *reversed(mine)))
    rows = await toy.fetch("SELECT next_offset FROM consumer_offset")
    assert [r["next_offset"] for r in rows] == [10] * 4
    assert len(await notes(toy)) == 40
