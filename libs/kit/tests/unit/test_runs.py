from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue
from hypothesis import given
from hypothesis import strategies as st

from baton_kit.apply import runs
from baton_kit.envelope import Received

AT = datetime(2026, 3, 2, tzinfo=UTC)


def received(*events: tuple[str, Message]) -> list[Received[Message]]:
    return [Received(str(n), body.DESCRIPTOR.full_name, key, body, AT) for n, (key, body) in enumerate(events)]


def ids(found: Sequence[Sequence[Received[Message]]]) -> list[list[str]]:
    return [[e.id for e in run] for run in found]


def test_types_that_share_a_handler_come_to_it_together_in_order() -> None:
    rank = {"google.protobuf.StringValue": 0, "google.protobuf.Int64Value": 0, "google.protobuf.BoolValue": 1}
    events = received(("a", StringValue()), ("a", Int64Value()), ("b", StringValue()), ("b", Int64Value()))
    assert ids(runs(events, rank=rank)) == [["0", "1", "2", "3"]]


def test_the_order_of_a_key_is_kept_across_handlers() -> None:
    rank = {"google.protobuf.StringValue": 0, "google.protobuf.BoolValue": 1}
    events = received(("a", BoolValue()), ("b", StringValue()), ("a", StringValue()), ("b", BoolValue()))
    assert ids(runs(events, rank=rank)) == [["1"], ["0"], ["2"], ["3"]]


TYPES = [StringValue, Int64Value, BoolValue]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(TYPES)), max_size=40),
    st.lists(st.integers(0, 2), min_size=3, max_size=3),
)
def test_runs_always_keep_the_order_per_key_and_lose_nothing(
    batch: list[tuple[str, type[Message]]], ranks: list[int]
) -> None:
    events = received(*((key, t()) for key, t in batch))
    rank = {t.DESCRIPTOR.full_name: n for t, n in zip(TYPES, ranks, strict=True)}
    found = runs(events, rank=rank)
    assert all(len({rank[e.type] for e in run}) == 1 for run in found)
    flat = [e for run in found for e in run]
    assert sorted(flat, key=lambda e: int(e.id)) == events
    for key in "abc":
        assert [e.id for e in flat if e.key == key] == [e.id for e in events if e.key == key]
