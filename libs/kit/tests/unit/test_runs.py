from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue

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
