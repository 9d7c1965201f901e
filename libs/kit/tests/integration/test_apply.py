from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from baton_kit.envelope import Event, event
from baton_kit.testing import START, Harness
from toy.service import Toy


def word(value: str, key: str = "lead-1") -> Event:
    return event(StringValue(value=value), key=key, occurred_at=START)


async def notes(toy: Harness[Toy]) -> list[str]:
    return [row["told"] for row in await toy.fetch("SELECT told FROM note ORDER BY key, n")]


async def test_a_batch_is_applied_in_order_and_tells_on(toy: Harness[Toy]) -> None:
    await toy.receive([word("a"), word("b"), word("c")])
    assert await notes(toy) == ["a", "b", "c"]
    assert [e.body.value for e in await toy.outbox()] == [1, 2, 3]


async def test_a_repeated_event_takes_effect_once(toy: Harness[Toy]) -> None:
    again = word("a")
    await toy.receive([again, again])
    await toy.receive([again])
    assert await notes(toy) == ["a"]


async def test_an_ignored_type_moves_the_position_only(toy: Harness[Toy]) -> None:
    await toy.receive([event(BytesValue(value=b"x"), key="lead-1", occurred_at=START), word("a")])
    assert await notes(toy) == ["a"]
    [row] = await toy.fetch("SELECT next_offset FROM consumer_offset")
    assert row["next_offset"] == 2


async def test_what_lies_before_the_position_is_passed_over(toy: Harness[Toy]) -> None:
    await toy.receive([word("a")])
    toy.offsets.clear()
    await toy.receive([word("never")])
    assert await notes(toy) == ["a"]


async def test_the_first_event_says_one(toy: Harness[Toy]) -> None:
    await toy.receive([word("a", key="lead-2")])
    [told] = await toy.outbox()
    assert (told.key, told.body, told.topic) == ("lead-2", Int64Value(value=1), "toy.told.v1")
