"""Events on the wire: CloudEvents 1.0, Kafka protocol binding, binary mode, the value being the protobuf bytes.

Source: CloudEvents Kafka Protocol Binding 1.0.2, section 3.2 (binary content mode).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from baton_kit.ids import new_id

M = TypeVar("M", bound=Message, covariant=True)

Headers = list[tuple[str, bytes]]

CONTENT_TYPE = b"application/protobuf"
REPLAY_HEADER = "baton-replay"
_READ = frozenset({"ce_specversion", "ce_id", "ce_type", "ce_time", "content-type", "traceparent", REPLAY_HEADER})


@dataclass(frozen=True, slots=True)
class Event:
    """A fact to be published. `key` orders it (the lead's id); a `body` of None is a tombstone.

    `traceparent` is the request that caused it, where that is not the current span.
    """

    type: str
    key: str
    body: Message | None
    occurred_at: datetime
    id: str = field(default_factory=new_id)
    traceparent: str | None = None


def event(
    body: Message, *, key: str, occurred_at: datetime, id: str | None = None, traceparent: str | None = None
) -> Event:
    """Make an event of a message; its type is the message's full proto name."""
    return Event(body.DESCRIPTOR.full_name, key, body, occurred_at, id or new_id(), traceparent)


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """An event as a consumer gets it.

    `replay` says that it was published before and rewound; `tombstone` that the record had no value, so `body` is
    empty.
    """

    id: str
    type: str
    key: str
    body: M
    occurred_at: datetime
    topic: str = ""
    partition: int = 0
    offset: int = 0
    replay: bool = False
    tombstone: bool = False
    traceparent: str | None = None


class Undecodable(Exception):
    """The record is no event: a header is missing or wrong, or the bytes are not the message they claim to be."""


def rfc3339(at: datetime) -> str:
    """Return the time as RFC 3339 in UTC with `Z`."""
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat()[:-6] + "Z"


def encode_headers(
    *, id: str, type: str, source: str, key: str, occurred_at: datetime, traceparent: str | None, replay: bool
) -> Headers:
    """Return the Kafka headers of one event."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_type", type.encode()),
        ("ce_source", source.encode()),
        ("ce_subject", key.encode()),
        ("ce_time", rfc3339(occurred_at).encode()),
        ("ce_dataschema", f"/proto/{type}".encode()),
        ("ce_partitionkey", key.encode()),
        ("content-type", CONTENT_TYPE),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    if replay:
        headers.append((REPLAY_HEADER, b"true"))
    return headers


def type_of(headers: Sequence[tuple[str, bytes]]) -> str:
    """Return the event type without decoding the rest. Raises Undecodable."""
    for name, value in headers:
        if name == "ce_type":
            return _text(name, value)
    raise Undecodable("the header ce_type is missing")


def decode(
    *,
    headers: Sequence[tuple[str, bytes]],
    key: bytes | None,
    value: bytes | None,
    types: Mapping[str, type[Message]],
    topic: str,
    partition: int,
    offset: int,
) -> Received[Message]:
    """Return the event in a Kafka record. Raises Undecodable with a reason free of content."""
    # Other systems may add headers of any kind; only these are ours to judge.
    found = {name: _text(name, raw) for name, raw in headers if name in _READ}
    for name in ("ce_specversion", "ce_id", "ce_type", "ce_time"):
        if not found.get(name):
            raise Undecodable(f"the header {name} is missing")
    if found["ce_specversion"] != "1.0":
        raise Undecodable("ce_specversion is not 1.0")
    if value is not None and found.get("content-type") != CONTENT_TYPE.decode():
        raise Undecodable("content-type is not application/protobuf")
    if key is None:
        raise Undecodable("the record has no key")
    try:
        occurred_at = datetime.fromisoformat(found["ce_time"])
    except ValueError:
        raise Undecodable("ce_time is not a time") from None
    if occurred_at.tzinfo is None:
        raise Undecodable("ce_time has no zone")
    body = types[found["ce_type"]]()
    try:
        body.ParseFromString(value or b"")
    except DecodeError:
        raise Undecodable("the value is not the message its type names") from None
    return Received(
        id=found["ce_id"],
        type=found["ce_type"],
        key=_text("key", key),
        body=body,
        occurred_at=occurred_at,
        topic=topic,
        partition=partition,
        offset=offset,
        replay=REPLAY_HEADER in found,
        tombstone=value is None,
        traceparent=found.get("traceparent"),
    )


def _text(name: str, value: bytes | None) -> str:
    if value is None:
        raise Undecodable(f"the header {name} has no value")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Undecodable(f"{name} is not UTF-8") from None
    if "\x00" in text or len(text) > 500:
        raise Undecodable(f"{name} holds a NUL or is longer than 500 characters")
    return text
