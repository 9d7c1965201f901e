"""The loop between Kafka and the handlers: poll, apply what came in one transaction, wait out what fails.

Exactly three outcomes of an error. Poison is parked at once. A handler's error is repeated with back-off while its
partition rests, then parked. An outage never counts and never parks: it is waited out for ever, unready.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from baton_kit import broker, inbox, parked, telemetry
from baton_kit.apply import App, Batch, PositionWentBack, Record, Subscription, apply_batches
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable, is_outage
from baton_kit.telemetry import log

HANDLER_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each repeat of an event whose handler failed; then it is parked."""
OUTAGE_PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0)
TOO_MANY, WINDOW_MINUTES = 20, 10
"""More parkings than this in so many minutes are a bad deploy, not bad events."""
STARTS_WITHIN_SESSIONS = 3.0
"""A group waits for lost members for one session, then for the others to come back: no longer than this."""
NO_PROGRESS_SECONDS = 30.0
DISPLAY_SECONDS = 5.0


class NoProgress(Exception):
    """Events wait, nothing is wrong, and nothing moves: the client is stuck and must be made anew."""


@dataclass(slots=True)
class Backlog:
    """What was polled from one partition and is not applied yet; the partition rests until it is.

    It is worked together with the others; `apart` from them after a failure, `one_by_one` after a failure of its own.
    """

    records: list[Any]
    apart: bool = False
    one_by_one: bool = False
    failures: int = 0
    outages: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class Consumer(Generic[App]):
    """One member of a subscription's group. `run` ends only by cancellation or by a client that stays stuck."""

    app: App
    subscription: Subscription[App]
    client_id: str = "baton"
    healthy: bool = False
    reason: str = "starting"
    away: bool = False
    applied: int = 0
    full: bool = False
    """The last poll brought all that a batch may hold: more waits."""
    moved_at: float = 0.0
    backlogs: dict[TopicPartition, Backlog] = field(default_factory=dict)
    outside_log: dict[TopicPartition, int] = field(default_factory=dict)
    known: dict[TopicPartition, int | None] = field(default_factory=dict)
    """The position of each partition that this member read or wrote last; None before the first one is written."""

    async def run(self) -> None:
        """Consume. A stuck client is made anew; stuck three times in a row without progress, the process ends."""
        stuck = 0
        while True:
            before = self.applied
            try:
                await self._wait_while_too_many_parked()
                await parked.replay_unrouted(self.app, self.subscription)
                await self._consume()
            except NoProgress:
                stuck = 1 if self.applied > before else stuck + 1
                log.error("consumer_stuck", consumer=self.subscription.group, times=stuck)
                if stuck >= 3:
                    raise
            except Exception as error:
                if not is_outage(error):
                    raise
                self._unhealthy(type(error).__name__)
                await asyncio.sleep(_jittered(0.5))

    async def _wait_while_too_many_parked(self) -> None:
        while True:
            async with self.app.db.begin() as tx:
                recent = await inbox.recent_parkings(tx, self.subscription.group, minutes=WINDOW_MINUTES)
            if recent <= TOO_MANY:
                return
            self._unhealthy(f"{recent} events were parked within {WINDOW_MINUTES} minutes; replay or skip them")
            await asyncio.sleep(2)

    async def _consume(self) -> None:
        settings = self.app.settings.kafka
        group = self.subscription.group
        listener = _Seek(self)
        client = broker.consumer(
            settings,
            client_id=self.client_id,
            group=settings.topic_prefix + group,
            topics=[settings.topic_prefix + topic for topic in self.subscription.topics],
            listener=listener,
        )
        listener.client = client
        self.backlogs.clear()
        self.outside_log.clear()
        self.known.clear()
        loop = asyncio.get_running_loop()
        displayed = self.moved_at = loop.time()
        try:
            async with asyncio.timeout(STARTS_WITHIN_SESSIONS * settings.session_timeout_ms / 1000):
                # The client waits for ever for partitions once its own task for metadata has died of a lost connection.
                await client.start()
            while True:
                try:
                    await self._step(client)
                except OffsetOutOfRangeError as error:
                    await self._outside_log(client, error)
                except NoOffsetForPartitionError as error:
                    await seek(self, client, [error.args[0]])
                if loop.time() - displayed > DISPLAY_SECONDS:
                    displayed = loop.time()
                    await self._look_again(client)
                    await self._display(client)
        finally:
            await _stopped(client)

    async def _step(self, client: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        if self.subscription.gather_seconds and not self.full:
            await _rest(self.subscription.gather_seconds)
        wait_ms = 20 if self.backlogs else 250
        polled = await client.getmany(timeout_ms=wait_ms, max_records=self.subscription.largest_batch)
        failpoint("consumer.after_poll")
        self.full = sum(len(records) for records in polled.values()) >= self.subscription.largest_batch
        if not self.backlogs and not self.outside_log and not self.away:
            self.healthy, self.reason = True, ""
        for tp, records in polled.items():
            if tp not in self.known:
                # The client began at Kafka's own position, before it was told ours.
                await seek(self, client, [tp])
                continue
            self.backlogs[tp] = Backlog(records)
            self.moved_at = loop.time()
        due = {tp: backlog for tp, backlog in self.backlogs.items() if loop.time() >= backlog.not_before}
        if together := {tp: backlog for tp, backlog in due.items() if not backlog.apart}:
            await self._work_together(client, together)
        for tp, backlog in due.items():
            if backlog.apart and self.backlogs.get(tp) is backlog:
                await self._work_apart(client, tp, backlog)

    async def _work_together(self, client: AIOKafkaConsumer, together: dict[TopicPartition, Backlog]) -> None:
        """Apply the backlogs in one transaction: a batch of one event costs nearly as much as one of fifty."""
        try:
            await self._apply({tp: backlog.records for tp, backlog in together.items()})
        except Exception as error:
            for tp, backlog in together.items():
                if is_outage(error):
                    self._wait_out(backlog, error)
                    self._let_go(client, tp, backlog, finished=False)
                else:
                    # Everything went back; apart, only the partition that causes it suffers.
                    backlog.apart, backlog.one_by_one = True, len(together) == 1
            return
        failpoint("consumer.after_commit")
        for tp, backlog in together.items():
            self._let_go(client, tp, backlog, finished=True)

    async def _work_apart(self, client: AIOKafkaConsumer, tp: TopicPartition, backlog: Backlog) -> None:
        try:
            finished = await self._work(tp, backlog)
        except PositionWentBack:
            log.error("database_went_back", consumer=self.subscription.group, topic=tp.topic, partition=tp.partition)
            await seek(self, client, [tp])
            finished = True
        self._let_go(client, tp, backlog, finished=finished)

    def _let_go(self, client: AIOKafkaConsumer, tp: TopicPartition, backlog: Backlog, *, finished: bool) -> None:
        """Let the partition rest if something of its backlog is left, and go on if nothing is."""
        # A partition that was revoked meanwhile has no backlog any more and is not ours to hold or to let go.
        mine = self.backlogs.get(tp) is backlog
        if finished:
            if mine:
                del self.backlogs[tp]
                _resume(client, tp)
            self.moved_at = asyncio.get_running_loop().time()
        elif mine:
            # Only now: a pause round each batch would leave the partition out of the fetch under way, and its next
            # event would wait until that one ends.
            _pause(client, tp)

    def _wait_out(self, backlog: Backlog, error: Exception) -> None:
        # What failed may have been committed, or undone by a restore: the position decides.
        pause = OUTAGE_PAUSES[min(backlog.outages, len(OUTAGE_PAUSES) - 1)]
        backlog.outages += 1
        backlog.not_before = asyncio.get_running_loop().time() + _jittered(pause)
        telemetry.RETRIES.labels(self.subscription.group, "outage").inc()
        self._unhealthy(type(error).__name__)

    async def _work(self, tp: TopicPartition, backlog: Backlog) -> bool:
        """Apply the backlog as far as it goes; True when nothing of it is left."""
        group = self.subscription.group
        while backlog.records:
            records = backlog.records[:1] if backlog.one_by_one else backlog.records
            try:
                await self._apply({tp: records})
            except PositionWentBack:
                raise
            except Exception as error:
                if is_outage(error):
                    self._wait_out(backlog, error)
                    return False
                if not backlog.one_by_one:
                    # The whole batch went back; one by one, only the bad event stands out.
                    backlog.one_by_one = True
                    continue
                if isinstance(error, Unprocessable) or backlog.failures >= len(HANDLER_PAUSES):
                    await self._park(tp, records, error)
                else:
                    log.warning("event_failed", consumer=group, topic=tp.topic, partition=tp.partition,
                                offset=records[0].offset, error=type(error).__name__)  # fmt: skip
                    telemetry.RETRIES.labels(group, "handler").inc()
                    pause = _jittered(HANDLER_PAUSES[backlog.failures])
                    backlog.not_before = asyncio.get_running_loop().time() + pause
                    backlog.failures += 1
                    return False
            backlog.failures = backlog.outages = 0
            backlog.records = backlog.records[len(records) :]
            failpoint("consumer.after_commit")
        return True

    async def _apply(self, polled: Mapping[TopicPartition, Sequence[Record]], *, park: str | None = None) -> None:
        batches = [
            Batch(self._plain(tp.topic), tp.partition, records, self.known.get(tp)) for tp, records in polled.items()
        ]
        with telemetry.BATCH_SECONDS.labels(self.subscription.group).time():
            async with self.app.db.begin() as tx:
                done = await apply_batches(tx, self.app, self.subscription, batches, park=park)
        for tp, records in polled.items():
            if tp in self.known:
                self.known[tp] = max(records[-1].offset + 1, self.known[tp] or 0)
        self.applied += done.applied
        if done.parked:
            await self._wait_while_too_many_parked()

    async def _park(self, tp: TopicPartition, records: Sequence[Record], error: Exception) -> None:
        # Of a foreign error only its kind is written down: its text may hold a person's data.
        reason = str(error) if isinstance(error, Unprocessable) else type(error).__name__
        await self._apply({tp: records}, park=reason)
        log.error("event_parked", consumer=self.subscription.group, topic=tp.topic, partition=tp.partition,
                  offset=records[0].offset, reason=reason, exc_info=error)  # fmt: skip

    async def _outside_log(self, client: AIOKafkaConsumer, error: OffsetOutOfRangeError) -> None:
        """Alarm and wait for a person when the log does not hold the position; a first start begins anywhere."""
        async with self.app.db.begin() as tx:
            known = await inbox.positions(tx, self.subscription.group)
        for tp, offset in error.args[0].items():
            if (self._plain(tp.topic), tp.partition) not in known:
                first = (await client.beginning_offsets([tp]))[tp]
                client.seek(tp, first)
                continue
            self.outside_log[tp] = offset
            _pause(client, tp)
            self._unhealthy(f"{tp.topic}[{tp.partition}]: the position {offset} lies outside the log")
            log.error("position_outside_log", consumer=self.subscription.group, topic=tp.topic,
                      partition=tp.partition, position=offset)  # fmt: skip

    async def _display(self, client: AIOKafkaConsumer) -> None:
        """Show positions and lag, and judge by them whether anything moves."""
        now = asyncio.get_running_loop().time()
        offsets, lagging = {}, False
        mine = [tp for tp in client.assignment() if tp in self.known and tp not in self.outside_log]
        try:
            async with asyncio.timeout(DISPLAY_SECONDS):
                # Asked of the brokers: what a stuck client last saw of the log would say that nothing waits.
                ends = await client.end_offsets(mine)
                for tp in mine:
                    offsets[tp] = position = await client.position(tp)
                    waiting = len(self.backlogs[tp].records) if tp in self.backlogs else 0
                    telemetry.LAG.labels(self.subscription.group, self._plain(tp.topic), tp.partition).set(
                        max(0, ends[tp] - position + waiting)
                    )
                    lagging = lagging or ends[tp] > position
                if offsets:
                    await client.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            # For display only: a rebalance in between is normal, the next one shows it.
            log.debug("display_commit_failed", consumer=self.subscription.group)
        except (KafkaError, TimeoutError) as error:
            # An outage is no stuck client: it is waited out for ever.
            self.moved_at = now
            self.away = True
            self._unhealthy(f"Kafka does not answer ({type(error).__name__})")
            return
        self.away = False
        if not lagging or self.backlogs:
            self.moved_at = now
        if now - self.moved_at > NO_PROGRESS_SECONDS:
            raise NoProgress

    async def _look_again(self, client: AIOKafkaConsumer) -> None:
        """Go on where a person has moved a position that lay outside the log, or where a database has gone back.

        A batch notices the latter by itself; a partition that brings none would wait for its next event to hear of it.
        """
        if not self.known:
            return
        async with self.app.db.begin() as tx:
            known = await inbox.positions(tx, self.subscription.group)
        back = [
            tp
            for tp, position in self.known.items()
            if position is not None
            and tp not in self.backlogs
            and tp not in self.outside_log
            and known.get((self._plain(tp.topic), tp.partition), 0) < position
        ]
        if back:
            log.error("database_went_back", consumer=self.subscription.group, partitions=len(back))
            await seek(self, client, back)
        for tp, stuck_at in list(self.outside_log.items()):
            moved_to = known.get((self._plain(tp.topic), tp.partition))
            if moved_to is not None and moved_to != stuck_at:
                del self.outside_log[tp]
                client.seek(tp, moved_to)
                self.known[tp] = moved_to
                _resume(client, tp)

    def _unhealthy(self, reason: str) -> None:
        if self.healthy or self.reason != reason:
            log.warning("consumer_waits", consumer=self.subscription.group, reason=reason)
        self.healthy, self.reason = False, reason

    def _plain(self, topic: str) -> str:
        return topic.removeprefix(self.app.settings.kafka.topic_prefix)


class _Seek(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, member: Consumer[Any]) -> None:
        self.member = member
        self.client: AIOKafkaConsumer | None = None

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for tp in revoked:
            self.member.known.pop(tp, None)
            self.member.backlogs.pop(tp, None)
            self.member.outside_log.pop(tp, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if self.client is not None:
            await seek(self.member, self.client, list(assigned))


async def seek(member: Consumer[App], client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
    """Set the partitions to the positions of the service's own database, waiting for it as long as it is away."""
    while True:
        try:
            async with member.app.db.begin() as tx:
                known = await inbox.positions(tx, member.subscription.group)
            break
        except Exception as error:
            if not is_outage(error):
                raise
            member._unhealthy(type(error).__name__)
            await asyncio.sleep(_jittered(0.5))
    for tp in partitions:
        position = known.get((member._plain(tp.topic), tp.partition))
        try:
            client.seek(tp, position or 0)
        except IllegalStateError:
            continue  # taken away again meanwhile
        member.known[tp] = position


def _pause(client: AIOKafkaConsumer, tp: TopicPartition) -> None:
    if tp in client.assignment():
        client.pause(tp)


def _resume(client: AIOKafkaConsumer, tp: TopicPartition) -> None:
    if tp in client.assignment():
        client.resume(tp)


async def _stopped(client: AIOKafkaConsumer) -> None:
    """Leave the group; while Kafka is away that is left to the session's time-out."""
    try:
        async with asyncio.timeout(3):
            await client.stop()
        return
    except Exception as error:
        # Of a client that is given up nothing matters any more: what it read is in the database or is read again.
        log.debug("consumer_stop_failed", error=type(error).__name__)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(3):
            await client._client.close()


async def _rest(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.7, 1.3)  # noqa: S311 - spreads load, hides nothing
