"""What happens to a batch of records inside one transaction: the policy of the consumer, without the loop around it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from baton_kit import inbox, telemetry
from baton_kit.clock import Clock
from baton_kit.db import Database, Tx
from baton_kit.envelope import Received, Undecodable, decode, type_of
from baton_kit.failpoint import failpoint
from baton_kit.inbox import Parking
from baton_kit.outbox import Outbox, pack
from baton_kit.settings import ServiceSettings


class KitApp(Protocol):
    """What the kit needs of a service's `App`."""

    @property
    def settings(self) -> ServiceSettings:
        """The settings it was opened with."""

    @property
    def db(self) -> Database:
        """The service's database."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def outbox(self) -> Outbox:
        """Where its events go."""


App = TypeVar("App", bound=KitApp)
Handler = Callable[[Tx, App, Sequence[Received[Any]]], Awaitable[None]]
Handlers = Mapping[type[Message], Handler[App]]


class Record(Protocol):
    """What the kit reads of a Kafka record."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers."""


@dataclass(frozen=True, slots=True)
class Subscription(Generic[App]):
    """One consumer of a service: `group` is `<service>.<purpose>`.

    A type in neither `handlers` nor `ignores` is kept as unrouted, and applied by the first version that handles it.
    """

    group: str
    topics: tuple[str, ...]
    handlers: Handlers[App]
    ignores: frozenset[type[Message]] = frozenset()
    largest_batch: int = 500
    gather_seconds: float = 0.0
    """Rest between two batches that were not full: fewer and larger ones, where nobody waits for the result."""
    types: Mapping[str, type[Message]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the types by their full proto names."""
        known = [*self.handlers, *self.ignores]
        object.__setattr__(self, "types", {t.DESCRIPTOR.full_name: t for t in known})


class PositionWentBack(Exception):
    """The database stands before what this member has applied: it was restored, or an older copy was promoted."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a batch: how many events took effect, and how many were parked of themselves."""

    applied: int
    parked: int


@dataclass(frozen=True, slots=True)
class Sorted:
    """A batch sorted by what is to become of it."""

    events: list[Received[Message]]
    parkings: list[Parking]
    ignored: list[int]
    """The offsets of what is knowingly ignored."""

    def since(self, offset: int) -> "Sorted":
        """What of it is not done yet."""
        return Sorted(
            [e for e in self.events if e.offset >= offset],
            [p for p in self.parkings if p.offset >= offset],
            [at for at in self.ignored if at >= offset],
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in the order of their offsets.

    `known` is the position that the caller read or wrote last, if it knows one.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    known: int | None = None


async def apply_batches(
    tx: Tx, app: App, subscription: Subscription[App], batches: Sequence[Batch], *, park: str | None = None
) -> Done:
    """Apply the records of some partitions, all of them or none, in the caller's transaction.

    Each event takes effect at most once (inbox), none is passed over: what cannot be applied is parked in this
    transaction. `park` parks the (single) record for that reason instead of handling it. Raises PositionWentBack when
    the database stands before what a caller knows: applying on would pass over what it lost.
    """
    group = subscription.group
    # 1. Positions and keys are held: whoever else held a partition has committed, and what it did is skipped here.
    offered = [sort(subscription, b.records, topic=b.topic, partition=b.partition) for b in batches]
    keys = sorted({e.key for s in offered for e in s.events} | {p.key for s in offered for p in s.parkings})
    positions = await inbox.hold(tx, group, [(b.topic, b.partition) for b in batches], keys=keys)
    fresh: list[tuple[Batch, list[Record]]] = []
    found: list[Sorted] = []
    for batch, sorted_out in zip(batches, offered, strict=True):
        start = positions[batch.topic, batch.partition]
        if batch.known is not None and start < batch.known:
            raise PositionWentBack
        if records := [r for r in batch.records if r.offset >= start]:
            fresh.append((batch, records))
            found.append(sorted_out.since(start))
    if not fresh:
        return Done(0, 0)
    failpoint("consumer.after_position")

    # 2. Only a new statement sees which keys wait behind an earlier event of theirs.
    blocked = await inbox.blocked_keys(tx, group, keys)
    events: list[Received[Message]] = []
    parkings: list[list[Parking]] = []
    seen: set[str] = set()
    for (_, records), each in zip(fresh, found, strict=True):
        handled, parked = divide(each, blocked, records={r.offset: r for r in records}, park=park)
        handled, parked = first_of_each(handled, parked, seen=seen)
        events += handled
        parkings.append(parked)
        # Another partition's events of the key come behind what waits here.
        blocked |= {p.key for p in parked if p.reason != "unrouted"}
    failpoint("consumer.before_claim")

    # 3. One claim for all; what was claimed before is a duplicate and drops out.
    outcomes = {
        p.event_id: "unrouted" if p.reason == "unrouted" else "parked"
        for parked in parkings
        for p in parked
        if p.event_id
    }
    outcomes |= {e.id: "applied" for e in events}
    won = await inbox.claim(tx, group, outcomes)
    events = [e for e in events if e.id in won]
    parkings = [[p for p in parked if p.event_id is None or p.event_id in won] for parked in parkings]
    for (batch, _), parked in zip(fresh, parkings, strict=True):
        await inbox.park(tx, group, topic=batch.topic, partition=batch.partition, parkings=parked)
    failpoint("consumer.after_claim")

    # 4. The effects, and the positions behind them.
    await handle(tx, app, subscription, events)
    failpoint("consumer.after_effects")
    await inbox.move_positions(tx, group, {(b.topic, b.partition): r[-1].offset + 1 for b, r in fresh})
    failpoint("consumer.before_commit")
    waiting = [p for parked in parkings for p in parked]
    _count(group, applied=len(events), parked=len(waiting), ignored=sum(len(s.ignored) for s in found),
           all=sum(len(records) for _, records in fresh))  # fmt: skip
    return Done(len(events), sum(p.reason in ("poison", "handler") for p in waiting))


async def handle(tx: Tx, app: App, subscription: Subscription[App], events: Sequence[Received[Message]]) -> None:
    """Give the events to their handlers, whole runs at a time, the order per key kept."""
    if not events:
        return
    causes: dict[str, str] = {}
    for e in events:
        if e.traceparent and e.traceparent.endswith("1"):
            with telemetry.span(f"apply {e.type}", kind=SpanKind.CONSUMER, parent=e.traceparent) as opened:
                opened.set_attribute("messaging.consumer.group.name", subscription.group)
                causes[e.key] = telemetry.traceparent() or e.traceparent
        elif e.traceparent:
            causes[e.key] = e.traceparent
    token = telemetry.CAUSES.set(causes)
    try:
        for run in runs(events, rank=_ranks(subscription)):
            await subscription.handlers[type(run[0].body)](tx, app, run)
    finally:
        telemetry.CAUSES.reset(token)


def _ranks(subscription: Subscription[App]) -> dict[str, int]:
    """Number the handlers: types that share one are given to it together, so that it can work once per key."""
    order = list(dict.fromkeys(subscription.handlers.values()))
    return {t.DESCRIPTOR.full_name: order.index(handler) for t, handler in subscription.handlers.items()}


def runs(events: Sequence[Received[Message]], *, rank: Mapping[str, int]) -> list[list[Received[Message]]]:
    """Group a batch into runs of one rank (a handler), as few as the order per key allows; low ranks come first."""
    layer_of: dict[str, tuple[int, int]] = {}
    layers: list[dict[int, list[Received[Message]]]] = []
    for e in events:
        mine = rank[e.type]
        layer, last = layer_of.get(e.key, (0, mine))
        if last != mine:
            layer += 1
        layer_of[e.key] = (layer, mine)
        while len(layers) <= layer:
            layers.append({})
        layers[layer].setdefault(mine, []).append(e)
    return [found[mine] for found in layers for mine in sorted(found)]


def sort(subscription: Subscription[App], records: Sequence[Record], *, topic: str, partition: int) -> Sorted:
    """Decode what is handled; name what is poison, unrouted or knowingly ignored."""
    ignored_names = {t.DESCRIPTOR.full_name for t in subscription.ignores}
    events: list[Received[Message]] = []
    parkings: list[Parking] = []
    ignored: list[int] = []
    for record in records:
        try:
            name = type_of(record.headers)
            if name in ignored_names:
                ignored.append(record.offset)
                continue
            if name not in subscription.types:
                parkings.append(parking(record, reason="unrouted", detail="no handler knows this type", type=name))
                continue
            events.append(
                decode(
                    headers=record.headers,
                    key=record.key,
                    value=record.value,
                    types=subscription.types,
                    topic=topic,
                    partition=partition,
                    offset=record.offset,
                )
            )
        except Undecodable as error:
            parkings.append(parking(record, reason="poison", detail=str(error)))
    return Sorted(events, parkings, ignored)


def divide(
    found: Sorted, blocked: set[str], *, records: Mapping[int, Record], park: str | None
) -> tuple[list[Received[Message]], list[Parking]]:
    """Take out of the batch what must wait behind a parked event of its own key, earlier ones of it included."""
    stop: dict[str, int] = dict.fromkeys(blocked, -1)
    for p in found.parkings:
        if p.reason != "unrouted":
            stop[p.key] = min(p.offset, stop.get(p.key, p.offset))
    events: list[Received[Message]] = []
    parkings = list(found.parkings)
    for e in found.events:
        if stop.get(e.key, e.offset) < e.offset:
            parkings.append(
                parking(
                    records[e.offset],
                    reason="blocked",
                    detail="behind a parked event of this key",
                    type=e.type,
                )
            )
        elif park is not None:
            parkings.append(parking(records[e.offset], reason="handler", detail=park, type=e.type))
        else:
            events.append(e)
    return events, parkings


def parking(record: Record, *, reason: str, detail: str, type: str | None = None) -> Parking:
    """Describe a record for the `parked` table, whatever state its headers are in."""
    found = dict(record.headers)
    return Parking(
        offset=record.offset,
        key=(record.key or b"").decode(errors="replace").replace("\x00", "\ufffd")[:500],
        event_id=_id(found.get("ce_id")),
        type=type or _readable(found.get("ce_type")),
        reason=reason,
        detail=detail[:500],
        raw_key=record.key,
        headers=pack([(name, bytes(value or b"")) for name, value in record.headers]),
        value=record.value,
    )


def _id(value: bytes | None) -> str | None:
    # An id that had to be cut or mended may equal another's: none is safer than one that swallows a record.
    text = _readable(value)
    return text if text is not None and text.encode() == value else None


def _readable(value: bytes | None) -> str | None:
    text = (value or b"").decode(errors="replace").replace("\x00", "\ufffd")[:500]
    return text or None


def first_of_each(
    events: Sequence[Received[Message]], parkings: Sequence[Parking], *, seen: set[str]
) -> tuple[list[Received[Message]], list[Parking]]:
    """Keep the first record of each event id, be it applied or parked: the relay may have sent it twice.

    `seen` are the ids of what was kept before; it is added to.
    """
    first: dict[str, int] = {}
    for offset, event_id in [(e.offset, e.id) for e in events] + [(p.offset, p.event_id) for p in parkings]:
        if event_id is not None and event_id not in seen:
            first[event_id] = min(offset, first.get(event_id, offset))
    seen.update(first)
    return (
        [e for e in events if first.get(e.id) == e.offset],
        [p for p in parkings if p.event_id is None or first.get(p.event_id) == p.offset],
    )


def _count(group: str, *, applied: int, parked: int, ignored: int, all: int) -> None:
    consumed = telemetry.CONSUMED
    consumed.labels(group, "applied").inc(applied)
    consumed.labels(group, "parked").inc(parked)
    consumed.labels(group, "ignored").inc(ignored)
    consumed.labels(group, "duplicate").inc(all - applied - parked - ignored)
