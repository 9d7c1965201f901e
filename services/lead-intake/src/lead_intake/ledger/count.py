"""The conservation law, checked for ever: every entry that came ends somewhere, and no receipt gets lost.

Three readings keep it cheap. What is new is counted once, as soon as nobody can write it any more. What was changed or
removed since is counted again at once (triggers name its hour). And the whole ledger is gone through again, a little in
each round, so that what no trigger saw comes to light as well. Each round reads one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.ledger import store
from lead_intake.ledger.hours import HOUR, floor_id, hour_of, time_of
from lead_intake.ledger.store import Break, Counted, Span

if TYPE_CHECKING:
    from lead_intake.app import App

EVERY_S = 60.0
SETTLED_AFTER = timedelta(minutes=5)
"""A delivery is written within seconds of its id, and no transaction lives longer than one minute."""
MOST_HOURS = 48
"""Of a round, for each of the three readings."""
MOST_AGAIN = 50_000
"""Entries that a round goes through again at most, beyond its first hour."""
MOST_CHANGES = 10_000

BROKEN = Gauge("baton_ledger_breaks", "Places where the ledger does not add up; 0, or somebody must look", ["law"])
COUNTED_TO = Gauge("baton_ledger_counted_to_seconds", "Time up to which the ledger was counted, in Unix seconds")
ROUNDS = Counter("baton_ledger_rounds_total", "Rounds of counting", ["result"])
LAWS = ("sum", "missing", "leads")


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did; `more` when another one should follow at once."""

    counted_to: datetime | None
    hours: int
    breaks: tuple[Break, ...]
    more: bool


async def count_for_ever(app: App, *, every: float = EVERY_S) -> None:
    """Count in rounds; an outage is waited out."""
    while True:
        more = False
        try:
            more = (await count_round(app)).more
            ROUNDS.labels("done").inc()
        except Exception as error:
            if not is_outage(error):
                raise
            ROUNDS.labels("outage").inc()
            log.warning("ledger_not_counted", error=type(error).__name__)
        await asyncio.sleep(0.2 if more else every)


async def count_round(app: App) -> Round:
    """Count what is new, what was changed, and a piece of all the rest; say what does not add up."""
    async with app.db.begin() as tx:
        await store.one_snapshot(tx)
        if not await store.only_counter(tx):
            return Round(None, 0, (), more=False)
        known_breaks = {(b.source_id, b.hour, b.law) for b in await store.breaks(tx, limit=10_000)}
        reached = await store.mark(tx, "counted")
        to = app.clock.now() - SETTLED_AFTER

        # 1. What is new: added to its hour.
        spans, to = await _new_spans(tx, reached, to)
        new = await store.count_spans(tx, spans)
        failpoint("ledger.after_new")

        # 2. Hours that were changed, and the next ones in turn: counted as a whole, up to where we are.
        changed = await store.changes(tx, limit=MOST_CHANGES)
        touched = {hour for _, hour in changed if hour < to}
        due = sorted(touched)[:MOST_HOURS]
        dropped = [id for id, hour in changed if hour >= to or hour in due]
        turn, turned_to = await _turn(tx, to)
        hours = sorted({*due, *turn})
        whole = [(hour, floor_id(hour), floor_id(min(hour + HOUR, to))) for hour in hours]
        found = await store.count_spans(tx, whole)
        failpoint("ledger.after_whole")

        # 3. Judge. A count never falls: a receipt that is gone is a loss, even when its entries went with it.
        before = await store.stored_hours(tx, sorted({*hours, *(s[0] for s in spans)}))
        breaks, put = judged(hours, found, before, await store.leadless(tx, [*whole, *_whole_only(spans, hours)]))
        for key, counted in new.items():
            if key[1] in hours:
                continue  # the whole hour was counted, this piece with it
            if not counted.balanced:
                breaks.append(Break(*key, "sum", counted.entries, sum(counted.outcomes.values())))
            total = Counted()
            total.add(before.get(key, Counted()))
            total.add(counted)
            put[key] = total
        await store.put_hours(tx, put)
        await store.put_breaks(tx, hours, breaks)
        await store.delete_changes(tx, dropped)
        await store.set_mark(tx, "counted", to)
        await store.set_mark(tx, "gone_through", turned_to)
        standing = await store.breaks(tx, limit=10_000)
        failpoint("ledger.before_commit")
    _tell(standing, known_breaks)
    COUNTED_TO.set(to.timestamp())
    more = to < app.clock.now() - SETTLED_AFTER or len(touched) > len(due) or len(changed) == MOST_CHANGES
    return Round(to, len(hours) + len(spans), tuple(standing), more=more)


def judged(
    hours: Sequence[datetime],
    found: Mapping[tuple[str, datetime], Counted],
    before: Mapping[tuple[str, datetime], Counted],
    leadless: Mapping[tuple[str, datetime], int],
) -> tuple[list[Break], dict[tuple[str, datetime], Counted]]:
    """(what does not add up, what to write down) of hours that were counted as a whole. Pure.

    Where something is missing the older, higher count stays written, so that the alarm lasts until it is there again or
    a person says otherwise.
    """
    breaks = [Break(*key, "leads", 0, count) for key, count in leadless.items()]
    put: dict[tuple[str, datetime], Counted] = {}
    for key in {*found, *(k for k in before if k[1] in set(hours))}:
        counted, stood = found.get(key, Counted()), before.get(key, Counted())
        if not counted.balanced:
            breaks.append(Break(*key, "sum", counted.entries, sum(counted.outcomes.values())))
        if counted.receipts < stood.receipts:
            breaks.append(Break(*key, "missing", stood.receipts, counted.receipts))
        elif counted.entries < stood.entries:
            breaks.append(Break(*key, "missing", stood.entries, counted.entries))
        else:
            put[key] = counted
    return breaks, put


@dataclass(frozen=True, slots=True)
class Standing:
    """The sums of all sources as one snapshot has them."""

    sums: Mapping[str, Counted]
    breaks: tuple[Break, ...]
    counted_to: datetime | None
    gone_through: datetime | None


async def standing(tx: Tx) -> Standing:
    """The ledger of each source at one moment: what was counted, what was changed since, and what is new."""
    await store.one_snapshot(tx)
    marks = await store.marks(tx)
    reached = marks["counted"][0] if "counted" in marks else None
    changed = await store.changed_hours(tx, below=reached) if reached else []
    sums = await store.totals_but(tx, changed)
    spans: list[Span] = []
    if reached:
        spans = [(hour, floor_id(hour), floor_id(min(hour + HOUR, reached))) for hour in changed]
    rest = reached or datetime.fromtimestamp(0, tz=UTC)
    spans.append((rest, floor_id(rest), "ffffffff-ffff-ffff-ffff-ffffffffffff"))
    for (source_id, _), counted in (await store.count_spans(tx, spans)).items():
        sums.setdefault(source_id, Counted()).add(counted)
    turned = marks["gone_through"][1] if "gone_through" in marks else None
    return Standing(sums, tuple(await store.breaks(tx)), reached, turned)


async def note(app: App) -> str:
    """How the ledger stands, in one line, for `/readyz?verbose`."""
    async with app.db.begin() as tx:
        broken = await store.breaks(tx)
        reached = await store.mark(tx, "counted")
    if broken:
        b = broken[0]
        return (
            f"does not add up in {len(broken)} places, first: source {b.source_id}, hour {b.hour:%Y-%m-%dT%H}Z, "
            f"law {b.law}, expected {b.expected}, found {b.found}; see `baton receipts balance`"
        )
    return f"agrees up to {reached:%Y-%m-%dT%H:%M:%SZ}" if reached else "not counted yet"


async def accept(tx: Tx, source_id: str, hour: datetime) -> Counted:
    """Take what is there for all there is: a person knows why receipts are missing, and the alarm ends."""
    span = (hour, floor_id(hour), floor_id(hour + HOUR))
    reached = await store.mark(tx, "counted")
    if reached is not None and reached < hour + HOUR:
        span = (hour, floor_id(hour), floor_id(reached))
    counted = (await store.count_spans(tx, [span])).get((source_id, hour), Counted())
    await store.put_hours(tx, {(source_id, hour): counted})
    await store.delete_break(tx, source_id=source_id, hour=hour, law="missing")
    log.warning("ledger_accepted", source=source_id, hour=hour.isoformat(), entries=counted.entries)
    return counted


async def _new_spans(tx: Tx, reached: datetime | None, to: datetime) -> tuple[list[Span], datetime]:
    """The pieces of hours from where the count stands up to `to`, at most so many that hold something."""
    spans: list[Span] = []
    at = reached or datetime.fromtimestamp(0, tz=UTC)
    if at >= to:
        return [], at
    while len(spans) < MOST_HOURS:
        first = await store.first_receipt_from(tx, floor_id(at))
        if first is None or time_of(first) >= to:
            return spans, to
        at = max(at, hour_of(time_of(first)))
        end = min(hour_of(at) + HOUR, to)
        spans.append((hour_of(at), floor_id(at), floor_id(end)))
        at = end
    return spans, at


async def _turn(tx: Tx, to: datetime) -> tuple[list[datetime], datetime]:
    """The next hours that hold receipts or were counted, and where the turn stands; after the last it begins again."""
    start = datetime.fromtimestamp(0, tz=UTC)
    at = await store.mark(tx, "gone_through") or start
    chosen: list[datetime] = []
    size = 0
    while len(chosen) < MOST_HOURS:
        hour, entries = await _hour_after(tx, at)
        if hour is None or hour >= to:
            return chosen, start
        size += entries
        if chosen and size > MOST_AGAIN:
            break
        chosen.append(hour)
        at = hour
    return chosen, at


async def _hour_after(tx: Tx, at: datetime) -> tuple[datetime | None, int]:
    counted, entries = await store.hour_after(tx, at)
    first = await store.first_receipt_from(tx, floor_id(hour_of(at) + HOUR))
    came = hour_of(time_of(first)) if first else None
    if came is not None and (counted is None or came < counted):
        return came, 0  # it came later than its hour was counted
    return counted, entries


def _whole_only(spans: Sequence[Span], hours: Sequence[datetime]) -> list[Span]:
    return [span for span in spans if span[0] not in hours]


def _tell(standing: Sequence[Break], known: set[tuple[str, datetime, str]]) -> None:
    for law in LAWS:
        BROKEN.labels(law).set(sum(b.law == law for b in standing))
    for b in standing:
        if (b.source_id, b.hour, b.law) not in known:
            log.error(
                "ledger_broken",
                source=b.source_id,
                hour=b.hour.isoformat(),
                law=b.law,
                expected=b.expected,
                found=b.found,
            )
