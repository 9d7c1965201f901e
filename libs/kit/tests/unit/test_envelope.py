from datetime import UTC, datetime

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.base import Format
from cloudevents.core.v1.event import CloudEvent
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from baton_kit.envelope import decode, encode_headers, event, rfc3339
from baton_kit.outbox import pack, packed_headers, unpack

AT = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)


class Bytes(Format):  # type: ignore[misc]
    """The SDK formats JSON only; binary mode leaves the bytes of the value as they are."""

    def read(self, event_factory, data):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def write(self, event):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def write_data(self, data, datacontenttype):  # type: ignore[no-untyped-def]
        return data

    def read_data(self, data, datacontenttype):  # type: ignore[no-untyped-def]
        return data

    def get_content_type(self) -> str:
        return "application/protobuf"


def headers(*, key: str = "lead-1", replay: bool = False) -> list[tuple[str, bytes]]:
    return encode_headers(
        id="0199-id",
        type="google.protobuf.StringValue",
        source="/toy",
        key=key,
        occurred_at=AT,
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        replay=replay,
    )


def test_the_cloudevents_sdk_reads_what_the_kit_writes() -> None:
    value = StringValue(value="hello").SerializeToString()
    found = from_binary(KafkaMessage(headers=dict(headers()), key=b"lead-1", value=value), Bytes(), CloudEvent)
    assert found.get_specversion() == "1.0"
    assert (found.get_id(), found.get_type()) == ("0199-id", "google.protobuf.StringValue")
    assert (found.get_source(), found.get_subject()) == ("/toy", "lead-1")
    assert found.get_time() == AT
    assert found.get_datacontenttype() == "application/protobuf"
    assert found.get_dataschema() == "/proto/google.protobuf.StringValue"
    assert found.get_extension("partitionkey") == "lead-1"
    assert found.get_data() == value


def test_the_kit_reads_what_the_cloudevents_sdk_writes() -> None:
    sent = CloudEvent(
        {
            "id": "theirs",
            "type": "google.protobuf.StringValue",
            "source": "/theirs",
            "specversion": "1.0",
            "time": AT.astimezone(tz=None),
            "datacontenttype": "application/protobuf",
            "partitionkey": "lead-9",
        },
        StringValue(value="hello").SerializeToString(),
    )
    message = to_binary(sent, Bytes())
    key = message.key.encode() if isinstance(message.key, str) else message.key
    found = decode(
        headers=list(message.headers.items()),
        key=key,
        value=message.value,
        types={"google.protobuf.StringValue": StringValue},
        topic="t",
        partition=1,
        offset=2,
    )
    assert (found.id, found.key, found.body, found.occurred_at) == ("theirs", "lead-9", StringValue(value="hello"), AT)
    assert (found.replay, found.tombstone) == (False, False)


def test_a_replay_is_marked_and_a_tombstone_has_no_body() -> None:
    found = decode(
        headers=headers(replay=True),
        key=b"lead-1",
        value=None,
        types={"google.protobuf.StringValue": StringValue},
        topic="t",
        partition=0,
        offset=0,
    )
    assert (found.replay, found.tombstone, found.body) == (True, True, StringValue())


@given(st.lists(st.tuples(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), st.binary())))
def test_headers_survive_the_table(pairs: list[tuple[str, bytes]]) -> None:
    assert unpack(pack(pairs)) == pairs


@given(
    id=st.text(min_size=1),
    key=st.text(min_size=1),
    at=st.datetimes(timezones=st.timezones()),
    traceparent=st.none() | st.text(),
)
def test_headers_packed_in_one_go_are_the_same_bytes(id: str, key: str, at: datetime, traceparent: str | None) -> None:
    body = StringValue()
    packed = packed_headers(event(body, key=key, occurred_at=at, id=id), source="/toy", traceparent=traceparent)
    assert packed == pack(
        encode_headers(
            id=id,
            type=body.DESCRIPTOR.full_name,
            source="/toy",
            key=key,
            occurred_at=at,
            traceparent=traceparent,
            replay=False,
        )
    )


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_on_the_wire_is_read_back_as_the_same_time(at: datetime) -> None:
    assert rfc3339(at).endswith("Z")
    assert datetime.fromisoformat(rfc3339(at)) == at.astimezone(UTC)
