"""Group commit: requests wait for the commit of the batch that their delivery went into.

Flushers take whatever waits, without a timer, so that nothing is delayed while there is little to do and everything
is shared when there is much. What cannot be taken or settled in time is `Busy`: the sender repeats it, and finds the
receipt if it was written after all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from baton_kit.db import Direct, DirectConnections
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.delivery import Result
from lead_intake.entry import Delivery
from lead_intake.receive import quarantine, receive

if TYPE_CHECKING:
    from lead_intake.app import App

FLUSHERS = 2
ENOUGH_FOR_ANOTHER = 48
MOST_WAITING = 2_000
MOST_WAITING_BYTES = 32 * 1024 * 1024
MOST_DELIVERIES = 200
MOST_ENTRIES = 330
"""Of a batch: at most six locks each, three of them for a company, below the 2,000 that a transaction may hold."""
PATIENCE_S = 0.8
"""A sender hears of an outage within a second."""

BATCHES = Histogram("baton_intake_batch_deliveries", "Deliveries a commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
WAITING = Gauge("baton_intake_waiting", "Deliveries that wait for a commit")
REPEATED = Counter("baton_intake_batches_repeated_total", "Batches that were repeated one by one after an error")
BUSY = Counter("baton_intake_busy_total", "Deliveries that were asked to come again", ["why"])


class Busy(Exception):
    """The delivery was not acknowledged; the sender should repeat it in a second or so."""


@dataclass(slots=True)
class Waiting:
    """One delivery and the request that waits for it."""

    delivery: Delivery
    settled: asyncio.Future[Result]
    since: float


class GroupCommit:
    """The queue before the ledger and the flushers behind it. It starts with the first delivery."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._unsettled: deque[Waiting] = deque()
        self._bytes = 0
        self._flushing = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: DirectConnections | None = None
        self._closing = False

    def submit(self, app: App, delivery: Delivery) -> asyncio.Future[Result]:
        """Queue a delivery; the future holds its result after the commit. Raises Busy when the queue is full.

        Whoever awaits the future may go away: the delivery is written all the same.
        """
        size = len(delivery.body or b"")
        if self._closing or len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            BUSY.labels("full").inc()
            raise Busy
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._flush_for_ever(app)) for _ in range(FLUSHERS)]
            self._tasks.append(asyncio.create_task(self._expire_for_ever()))
        item = Waiting(delivery, asyncio.get_running_loop().create_future(), monotonic())
        self._bytes += size
        self._waiting.append(item)
        self._unsettled.append(item)
        self._wake.set()
        return item.settled

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._closing = True
        deadline = monotonic() + 10
        while self._unsettled and monotonic() < deadline:
            self._drop_settled()
            await asyncio.sleep(0.005)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._connections is not None:
            await self._connections.close()

    def _begin(self, app: App) -> AbstractAsyncContextManager[Direct]:
        # One connection a flusher, without SQLAlchemy, whose begin and commit cost more than all the statements.
        if self._connections is None:
            self._connections = DirectConnections(app.db)
        return self._connections.begin()

    async def _flush_for_ever(self, app: App) -> None:
        while True:
            # Beside a commit under way a second one is worth its round trips only for many.
            while len(self._waiting) < (ENOUGH_FOR_ANOTHER if self._flushing else 1):
                self._wake.clear()
                await self._wake.wait()
            batch = self._take()
            if not batch:
                continue
            BATCHES.observe(len(batch))
            self._flushing += 1
            try:
                await self._flush(app, batch)
            except Exception as error:
                # The outcome may be unknown: whoever waits hears 503 and comes again.
                log.warning("batch_not_written", deliveries=len(batch), error=type(error).__name__)
                for item in batch:
                    _fail(item, "outage" if is_outage(error) else "fault")
                await asyncio.sleep(0.05)
            finally:
                self._flushing -= 1
                self._wake.set()

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        entries = 0
        while self._waiting and len(batch) < MOST_DELIVERIES:
            item = self._waiting[0]
            entries += len(item.delivery.entries)
            if batch and entries > MOST_ENTRIES:
                break
            self._waiting.popleft()
            self._bytes -= len(item.delivery.body or b"")
            # Told to come again already; a sender that merely hung up is served to the end.
            if not item.settled.done() or item.settled.cancelled():
                batch.append(item)
        WAITING.set(len(self._waiting))
        return batch

    async def _flush(self, app: App, batch: Sequence[Waiting]) -> None:
        try:
            await self._write(app, batch)
        except Exception as error:
            if is_outage(error):
                raise
            # SQLSTATE 22 or 23, or a fault of ours: only the one that causes it may suffer.
            REPEATED.inc()
            log.warning("batch_repeated_one_by_one", deliveries=len(batch), error=type(error).__name__)
            for item in batch:
                await self._write_alone(app, item)

    async def _write_alone(self, app: App, item: Waiting) -> None:
        try:
            await self._write(app, [item])
        except Exception as error:
            if is_outage(error):
                raise
            log.error("delivery_not_storable", receipt=item.delivery.receipt_id, error=type(error).__name__)
            async with self._begin(app) as tx:
                result = await quarantine(tx, item.delivery, reason="not_storable")
            _settle(item, result)

    async def _write(self, app: App, batch: Sequence[Waiting]) -> None:
        failpoint("intake.before_begin")
        async with self._begin(app) as tx:
            results = await receive(tx, app, [item.delivery for item in batch])
        failpoint("intake.after_commit")
        for item, result in zip(batch, results, strict=True):
            _settle(item, result)

    async def _expire_for_ever(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self._drop_settled()
            too_old = monotonic() - PATIENCE_S
            for item in self._unsettled:
                if item.since > too_old:
                    break
                _fail(item, "slow")

    def _drop_settled(self) -> None:
        while self._unsettled and self._unsettled[0].settled.done():
            self._unsettled.popleft()


def _settle(item: Waiting, result: Result) -> None:
    if not item.settled.done():
        item.settled.set_result(result)


def _fail(item: Waiting, why: str) -> None:
    if not item.settled.done():
        BUSY.labels(why).inc()
        item.settled.set_exception(Busy())
        item.settled.exception()  # nobody may be left to fetch it
