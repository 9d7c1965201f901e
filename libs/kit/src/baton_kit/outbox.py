"""Write events beside the state they tell of, in one transaction; the relay carries them to Kafka."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from baton_kit import telemetry
from baton_kit.db import Direct, Tx, raw
from baton_kit.envelope import CONTENT_TYPE, Event, Headers, rfc3339
from baton_kit.failpoint import failpoint
from baton_kit.migration import SHARDS

LARGEST_EVENT = 900_000
"""Bytes of a value; Kafka's own limit is 1 MiB, and one row above it would block the relay for ever."""

_APPEND = """
INSERT INTO outbox (slot, shard, event_id, topic, key, headers, value)
SELECT (SELECT slot FROM outbox_ring WHERE lane = $1), e.*
FROM unnest($2::smallint[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[]) AS e
"""


class Lane(StrEnum):
    """Live events and bulk ones (imports, re-evaluations) travel apart, so that bulk never delays live."""

    LIVE = "live"
    BULK = "bulk"


class EventTooLarge(ValueError):
    """The event is above LARGEST_EVENT; whoever took the input must refuse it there."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """Where a service's events go: `topic_of` maps an event type to its topic, `source` is the CloudEvents source."""

    topic_of: Mapping[str, str]
    source: str

    async def append(self, tx: Tx | Direct, events: Sequence[Event], *, lane: Lane = Lane.LIVE) -> None:
        """Write the events in the caller's transaction, in the order given; they reach Kafka if and only if it commits.

        Call it after the locks on the events' leads are taken: the order of ids is the order on the topic.
        Raises EventTooLarge, and KeyError for a type that has no topic.
        """
        if not events:
            return
        here, causes = telemetry.traceparent(), telemetry.CAUSES.get()
        shards, ids, topics, keys, headers, values = [], [], [], [], [], []
        for e in events:
            value = None if e.body is None else e.body.SerializeToString(deterministic=True)
            if value is not None and len(value) > LARGEST_EVENT:
                raise EventTooLarge(f"{e.type} has {len(value)} bytes; at most {LARGEST_EVENT} are taken")
            shards.append(shard_of(e.key))
            ids.append(e.id)
            topics.append(self.topic_of[e.type])
            keys.append(e.key)
            headers.append(
                packed_headers(e, source=self.source, traceparent=e.traceparent or causes.get(e.key) or here)
            )
            values.append(value)
        failpoint("outbox.before_append")
        await (await raw(tx)).execute(_APPEND, lane.value, shards, ids, topics, keys, headers, values)
        failpoint("outbox.after_append")
        telemetry.OUTBOX_APPENDED.inc(len(events))


def shard_of(key: str) -> int:
    """Return the shard of a key: stored with the row, so that it never changes."""
    return zlib.crc32(key.encode()) % SHARDS


def packed_headers(e: Event, *, source: str, traceparent: str | None) -> bytes:
    """Return what `pack` makes of `encode_headers`, with the parts that are the same in many events encoded once."""
    before_id, before_key, after_key, last = _constant_headers(e.type, source)
    key = e.key.encode()
    parts = [
        before_id,
        _pair(b"ce_id\x00", e.id.encode()),
        before_key,
        _pair(b"ce_subject\x00", key),
        _packed_time(e.occurred_at),
        after_key,
        _pair(b"ce_partitionkey\x00", key),
        last,
    ]
    if traceparent:
        parts.append(_pair(b"traceparent\x00", traceparent.encode()))
    return b"".join(parts)


@lru_cache(maxsize=256)
def _constant_headers(type: str, source: str) -> tuple[bytes, bytes, bytes, bytes]:
    return (
        pack([("ce_specversion", b"1.0")]),
        pack([("ce_type", type.encode()), ("ce_source", source.encode())]),
        pack([("ce_dataschema", f"/proto/{type}".encode())]),
        pack([("content-type", CONTENT_TYPE)]),
    )


@lru_cache(maxsize=256)
def _packed_time(at: datetime) -> bytes:
    return pack([("ce_time", rfc3339(at).encode())])  # the events of one delivery share their time


def _pair(name: bytes, value: bytes) -> bytes:
    return (len(name) + len(value)).to_bytes(4, "big") + name + value


def pack(headers: Headers) -> bytes:
    """Return headers as bytes for a table: name, NUL, value, with a 4-byte length before each pair."""
    parts = []
    for name, value in headers:
        pair = name.encode() + b"\x00" + value
        parts.append(len(pair).to_bytes(4, "big") + pair)
    return b"".join(parts)


def unpack(packed: bytes) -> Headers:
    """Return what `pack` was given."""
    headers: Headers = []
    at = 0
    while at < len(packed):
        length = int.from_bytes(packed[at : at + 4], "big")
        name, _, value = packed[at + 4 : at + 4 + length].partition(b"\x00")
        headers.append((name.decode(), value))
        at += 4 + length
    return headers
