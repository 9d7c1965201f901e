"""Every SQL statement of the ledger beside the batch that writes it (`lead_intake.store`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from baton_kit.db import Direct, Tx, raw
from lead_intake.delivery import Outcome
from lead_intake.ledger.hours import floor_id

if TYPE_CHECKING:
    from lead_intake.entry import Delivery

OUTCOMES = tuple(outcome.value for outcome in Outcome)
Span = tuple[datetime, str, str]
"""An hour and the range of receipt ids of it that is meant: from the first to below the second."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it stands."""

    ordinal: int
    key: str
    outcome: str
    reason: str
    lead_id: str | None


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt with its entries, its body and the sealed part of its request."""

    id: str
    source_id: str
    received_at: datetime
    state: str
    reason: str
    content_type: str
    body: bytes | None
    sealed: bytes | None
    unproven: bool
    entries: tuple[StoredEntry, ...]


@dataclass(slots=True)
class Counted:
    """The ledger of one source over a span: receipts, the entries that they state, and the entries by outcome."""

    receipts: int = 0
    entries: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))

    @property
    def balanced(self) -> bool:
        """Whether every entry stated is there with an outcome."""
        return self.entries == sum(self.outcomes.values())

    def add(self, other: Counted) -> None:
        """Add another span's."""
        self.receipts += other.receipts
        self.entries += other.entries
        for name, count in other.outcomes.items():
            self.outcomes[name] = self.outcomes.get(name, 0) + count


async def one_snapshot(tx: Tx) -> None:
    """Let all that this transaction reads be of one moment. It must be the first statement."""
    await tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


# --- what a repair needs ---------------------------------------------------------------------------------------------


async def keep_requests(tx: Tx | Direct, deliveries: Sequence[Delivery]) -> None:
    """Keep the sealed requests of deliveries that somebody may have to repair; most have none."""
    rows = [(d.receipt_id, d.source_id, d.body is None, d.request) for d in deliveries if d.request is not None]
    if rows:
        await (await raw(tx)).execute(
            "INSERT INTO receipt_request (receipt_id, source_id, unproven, sealed, size) "
            "SELECT a, b, c, d, length(d) "
            "FROM unnest($1::uuid[], $2::text[], $3::bool[], $4::bytea[]) AS r (a, b, c, d)",
            *map(list, zip(*rows, strict=True)),
        )


async def unproven_kept(tx: Tx, source_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(count, bytes) of the unproven requests that are kept, by source."""
    rows = await (await raw(tx)).fetch(
        "SELECT source_id, count(*), sum(size) FROM receipt_request WHERE unproven AND source_id = ANY($1::text[]) "
        "GROUP BY 1",
        source_ids,
    )
    return {r[0]: (int(r[1]), int(r[2])) for r in rows}


async def lock_receipt(tx: Tx, lock: int) -> None:
    """Let one replay of a receipt follow the other, in a statement of its own: the next one sees what the first did."""
    await (await raw(tx)).execute("SELECT pg_advisory_xact_lock($1)", lock)


async def stored_receipt(tx: Tx, id: str) -> StoredReceipt | None:
    """A receipt with all that is kept of it."""
    connection = await raw(tx)
    row = await connection.fetchrow(
        """
        SELECT r.id::text, r.source_id, r.received_at, r.state, r.reason, r.content_type, r.body, q.sealed,
               coalesce(q.unproven, false)
        FROM receipt r LEFT JOIN receipt_request q ON q.receipt_id = r.id WHERE r.id = $1::uuid
        """,
        id,
    )
    if row is None:
        return None
    entries = await connection.fetch(
        "SELECT ordinal, key, outcome, reason, lead_id::text FROM receipt_entry WHERE receipt_id = $1::uuid "
        "ORDER BY ordinal",
        id,
    )
    return StoredReceipt(
        id=row[0],
        source_id=row[1],
        received_at=row[2],
        state=row[3],
        reason=row[4],
        content_type=row[5],
        body=row[6],
        sealed=row[7],
        unproven=row[8],
        entries=tuple(StoredEntry(*e) for e in entries),
    )


async def take_out(tx: Tx, id: str, ordinals: Sequence[int]) -> None:
    """Remove a receipt's row and these entries, to be written anew in the same transaction."""
    connection = await raw(tx)
    await connection.execute(
        "DELETE FROM receipt_entry WHERE receipt_id = $1::uuid AND ordinal = ANY($2::smallint[])", id, ordinals
    )
    await connection.execute("DELETE FROM receipt WHERE id = $1::uuid", id)


async def entries_of(tx: Tx, id: str) -> tuple[StoredEntry, ...]:
    """The entries of a receipt in order."""
    rows = await (await raw(tx)).fetch(
        "SELECT ordinal, key, outcome, reason, lead_id::text FROM receipt_entry WHERE receipt_id = $1::uuid "
        "ORDER BY ordinal",
        id,
    )
    return tuple(StoredEntry(*r) for r in rows)


async def update_receipt(tx: Tx, id: str, *, state: str, reason: str, entries: int, drop_body: bool) -> None:
    """Say how a receipt stands after a replay; `drop_body` where its time is over."""
    await (await raw(tx)).execute(
        "UPDATE receipt SET state = $2, reason = $3, entries = $4, body = CASE WHEN $5 THEN NULL ELSE body END "
        "WHERE id = $1::uuid",
        id, state, reason, entries, drop_body,
    )  # fmt: skip


async def update_reason(tx: Tx, id: str, *, reason: str, ordinals: Sequence[int]) -> None:
    """Say why a receipt still waits."""
    connection = await raw(tx)
    await connection.execute("UPDATE receipt SET reason = $2 WHERE id = $1::uuid AND reason <> $2", id, reason)
    await connection.execute(
        "UPDATE receipt_entry SET reason = $2 WHERE receipt_id = $1::uuid AND ordinal = ANY($3::smallint[]) "
        "AND reason <> $2",
        id, reason, ordinals,
    )  # fmt: skip


async def forget_request(tx: Tx, id: str) -> None:
    """Drop the sealed request of a receipt that needs no repair any more."""
    await (await raw(tx)).execute("DELETE FROM receipt_request WHERE receipt_id = $1::uuid", id)


# --- lists -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are meant. What is None does not matter; the times are those of the receipts."""

    outcome: str | None = None
    reason: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def low(self) -> str | None:
        """The lowest receipt id meant."""
        return floor_id(self.since) if self.since else None

    @property
    def high(self) -> str | None:
        """The id that every receipt meant is below."""
        return floor_id(self.until) if self.until else None


# One statement a combination of what rarely occurs together would be quicker still; the planner sees the values.
_MEANT = """
($1::text IS NULL OR e.outcome = $1) AND ($2::text IS NULL OR e.reason = $2) AND ($3::text IS NULL OR e.source_id = $3)
AND ($4::uuid IS NULL OR e.receipt_id >= $4::uuid) AND ($5::uuid IS NULL OR e.receipt_id < $5::uuid)
"""


def _meant(wanted: Wanted) -> tuple[str | None, ...]:
    return wanted.outcome, wanted.reason, wanted.source, wanted.low, wanted.high


async def list_entries(
    tx: Tx, wanted: Wanted, *, before: tuple[str, int] | None, limit: int
) -> list[Mapping[str, Any]]:
    """Entries, newest receipt first, in their order within it."""
    connection = await raw(tx)
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    return list(
        await connection.fetch(
            f"""
            SELECT e.receipt_id::text, e.ordinal, e.source_id, e.key, e.outcome, e.reason, e.lead_id::text,
                   e.first_receipt_id::text, r.received_at
            FROM receipt_entry e JOIN receipt r ON r.id = e.receipt_id
            WHERE {_MEANT}
              AND ($6::uuid IS NULL OR e.receipt_id < $6::uuid OR (e.receipt_id = $6::uuid AND e.ordinal > $7))
            ORDER BY e.receipt_id DESC, e.ordinal LIMIT $8
            """,  # noqa: S608 - a constant
            *_meant(wanted), before[0] if before else None, before[1] if before else 0, limit,
        )
    )  # fmt: skip


async def count_reasons(tx: Tx, wanted: Wanted) -> list[Mapping[str, Any]]:
    """(source_id, outcome, reason, count, oldest receipt, newest receipt) of the entries that became no lead."""
    connection = await raw(tx)
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    return list(
        await connection.fetch(
            f"""
            SELECT e.source_id, e.outcome, e.reason, count(*) AS count, min(e.receipt_id::text) AS oldest,
                   max(e.receipt_id::text) AS newest
            FROM receipt_entry e
            WHERE e.outcome IN ('refused', 'quarantined', 'pending', 'test') AND {_MEANT}
            GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3
            """,  # noqa: S608 - a constant
            *_meant(wanted),
        )
    )


# --- replays of many -------------------------------------------------------------------------------------------------

# What may be settled yet; tests only where they are asked for by name.
_OPEN = """
(e.outcome = 'quarantined' OR e.outcome = 'refused' AND e.reason = 'signature' OR e.outcome = 'test' AND $1 = 'test')
"""
_REPAIRABLE = f"""
FROM (SELECT DISTINCT e.receipt_id FROM receipt_entry e
      WHERE {_OPEN} AND {_MEANT}) AS m
JOIN receipt r ON r.id = m.receipt_id LEFT JOIN receipt_request q ON q.receipt_id = r.id
WHERE (r.body IS NOT NULL OR q.unproven)
"""  # noqa: S608 - a constant


async def count_repairable(tx: Tx, wanted: Wanted) -> tuple[int, int, str | None]:
    """How many receipts a replay would take, how many of those meant have no body left, and the last id."""
    connection = await raw(tx)
    row = await connection.fetchrow(
        f"SELECT count(*), max(r.id::text) {_REPAIRABLE}",
        *_meant(wanted),
    )
    meant = await connection.fetchval(
        f"SELECT count(DISTINCT e.receipt_id) FROM receipt_entry e "  # noqa: S608 - a constant
        f"WHERE {_OPEN} AND {_MEANT}",
        *_meant(wanted),
    )
    return int(row[0]), int(meant) - int(row[0]), row[1]


async def repairable(tx: Tx, wanted: Wanted, *, after: str | None, until: str, limit: int) -> list[str]:
    """The next receipts that a replay takes, in the order of their ids."""
    rows = await (await raw(tx)).fetch(
        f"SELECT r.id::text {_REPAIRABLE} AND ($6::uuid IS NULL OR r.id > $6::uuid) AND r.id <= $7::uuid "
        "ORDER BY r.id LIMIT $8",
        *_meant(wanted), after, until, limit,
    )  # fmt: skip
    return [r[0] for r in rows]


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay of many receipts and how far it has come."""

    id: str
    state: str
    wanted: Wanted
    release: bool
    total: int
    done: int
    settled: int
    waiting: int
    failed: int
    last_receipt: str | None
    until_receipt: str
    requested_at: datetime
    moved_at: datetime


_REPLAY = (
    "id::text, state, wanted::text, release, total, done, settled, waiting, failed, last_receipt::text, "
    "until_receipt::text, requested_at, moved_at"
)


def _replay_of(row: Any) -> Replay:
    found = json.loads(row["wanted"])
    for name in ("since", "until"):
        if found.get(name):
            found[name] = datetime.fromisoformat(found[name])
    return Replay(row[0], row[1], Wanted(**found), *tuple(row)[3:])


async def insert_replay(
    tx: Tx, wanted: Wanted, *, id: str, release: bool, total: int, until: str, at: datetime
) -> Replay:
    """Ask for a replay; the worker runs it."""
    told = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name in Wanted.__slots__
        if (value := getattr(wanted, name)) is not None
    }
    await (await raw(tx)).execute(
        "INSERT INTO replay (id, state, wanted, release, total, done, settled, waiting, failed, until_receipt, "
        "requested_at, moved_at) VALUES ($1::uuid, $7, $2::text::jsonb, $3, $4, 0, 0, 0, 0, $5::uuid, $6, $6)",
        id, json.dumps(told), release, total, until, at, "running" if total else "done",
    )  # fmt: skip
    return Replay(id, "running" if total else "done", wanted, release, total, 0, 0, 0, 0, None, until, at, at)


async def replay(tx: Tx, id: str) -> Replay | None:
    """A replay."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_REPLAY} FROM replay WHERE id = $1::uuid", id)  # noqa: S608
    return None if row is None else _replay_of(row)


async def replays(tx: Tx, *, before: str | None, limit: int) -> list[Replay]:
    """Replays, newest first."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_REPLAY} FROM replay WHERE $1::uuid IS NULL OR id < $1::uuid ORDER BY replay.id DESC LIMIT $2",  # noqa: S608
        before, limit,
    )  # fmt: skip
    return [_replay_of(r) for r in rows]


async def claim_replay(tx: Tx, *, id: str | None = None) -> Replay | None:
    """Hold the oldest running replay that nobody else holds, until the transaction ends."""
    row = await (await raw(tx)).fetchrow(
        f"SELECT {_REPLAY} FROM replay WHERE state = 'running' AND ($1::uuid IS NULL OR id = $1::uuid) "  # noqa: S608
        "ORDER BY replay.id LIMIT 1 FOR UPDATE SKIP LOCKED",
        id,
    )
    return None if row is None else _replay_of(row)


async def move_replay(
    tx: Tx, id: str, *, last: str | None, at: datetime, settled: int = 0, waiting: int = 0, failed: int = 0
) -> None:
    """Note one more receipt, or with `last` None that there is none left."""
    connection = await raw(tx)
    if last is None:
        await connection.execute("UPDATE replay SET state = 'done', moved_at = $2 WHERE id = $1::uuid", id, at)
        return
    await connection.execute(
        "UPDATE replay SET done = done + 1, settled = settled + $3, waiting = waiting + $4, failed = failed + $5, "
        "last_receipt = $2::uuid, moved_at = $6 WHERE id = $1::uuid",
        id, last, settled, waiting, failed, at,
    )  # fmt: skip


# --- the sums --------------------------------------------------------------------------------------------------------


async def count_spans(tx: Tx, spans: Sequence[Span]) -> dict[tuple[str, datetime], Counted]:
    """Count the ledger by source and hour over these ranges of ids."""
    if not spans:
        return {}
    rows = await (await raw(tx)).fetch(
        """
        WITH span AS (SELECT * FROM unnest($1::timestamptz[], $2::uuid[], $3::uuid[]) AS s (hour, low, high))
        SELECT s.hour, e.source_id, e.outcome, e.count, 0 AS receipts FROM span s, LATERAL (
            SELECT source_id, outcome, count(*) FROM receipt_entry WHERE receipt_id >= s.low AND receipt_id < s.high
            GROUP BY 1, 2) AS e
        UNION ALL
        SELECT s.hour, r.source_id, 'entries', r.entries, r.receipts FROM span s, LATERAL (
            SELECT source_id, sum(entries)::bigint AS entries, count(*) AS receipts FROM receipt
            WHERE id >= s.low AND id < s.high GROUP BY 1) AS r
        """,
        [s[0] for s in spans],
        [s[1] for s in spans],
        [s[2] for s in spans],
    )
    found: dict[tuple[str, datetime], Counted] = {}
    for hour, source_id, outcome, count, receipts in rows:
        counted = found.setdefault((source_id, hour), Counted())
        if outcome == "entries":
            counted.entries, counted.receipts = counted.entries + int(count), counted.receipts + int(receipts)
        else:
            counted.outcomes[outcome] = counted.outcomes.get(outcome, 0) + int(count)
    return found


async def leadless(tx: Tx, spans: Sequence[Span]) -> dict[tuple[str, datetime], int]:
    """Entries that say that they made or met a lead which is not there, by source and hour."""
    if not spans:
        return {}
    rows = await (await raw(tx)).fetch(
        """
        SELECT e.source_id, s.hour, e.count
        FROM unnest($1::timestamptz[], $2::uuid[], $3::uuid[]) AS s (hour, low, high), LATERAL (
            SELECT source_id, count(*) FROM receipt_entry e
            WHERE e.receipt_id >= s.low AND e.receipt_id < s.high
              AND e.outcome IN ('created', 'matched', 'touch_only', 'updated')
              -- A scalar subquery, so that leads are looked up one by one and never read as a whole.
              AND (SELECT true FROM lead l WHERE l.id = e.lead_id) IS NULL
            GROUP BY 1) AS e
        """,
        [s[0] for s in spans],
        [s[1] for s in spans],
        [s[2] for s in spans],
    )
    return {(r[0], r[1]): int(r[2]) for r in rows}


async def mark(tx: Tx, name: str) -> datetime | None:
    """How far a piece of steady work has come."""
    found: datetime | None = await (await raw(tx)).fetchval("SELECT reached FROM ledger_mark WHERE name = $1", name)
    return found


async def set_mark(tx: Tx, name: str, reached: datetime) -> None:
    """Say how far it has come."""
    await (await raw(tx)).execute(
        "INSERT INTO ledger_mark (name, reached, at) VALUES ($1, $2, clock_timestamp()) "
        "ON CONFLICT (name) DO UPDATE SET reached = excluded.reached, at = excluded.at",
        name, reached,
    )  # fmt: skip


async def marks(tx: Tx) -> dict[str, tuple[datetime, datetime]]:
    """(reached, at) of each piece of steady work."""
    rows = await (await raw(tx)).fetch("SELECT name, reached, at FROM ledger_mark")
    return {r[0]: (r[1], r[2]) for r in rows}


async def only_counter(tx: Tx) -> bool:
    """Be the only one who counts until the transaction ends; False when another does."""
    return bool(await (await raw(tx)).fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended('ledger', 0))"))


async def first_receipt_from(tx: Tx, id: str) -> str | None:
    """The lowest receipt id that is not below `id`."""
    found: str | None = await (await raw(tx)).fetchval(
        "SELECT r.id::text FROM receipt r WHERE r.id >= $1::uuid ORDER BY r.id LIMIT 1", id
    )
    return found


async def changes(tx: Tx, *, limit: int) -> list[tuple[int, datetime]]:
    """(id, hour) of what was changed or removed since it was counted."""
    rows = await (await raw(tx)).fetch("SELECT id, hour FROM ledger_change ORDER BY id LIMIT $1", limit)
    return [(r[0], r[1]) for r in rows]


async def changed_hours(tx: Tx, *, below: datetime) -> list[datetime]:
    """Hours below a moment in which something was changed since they were counted."""
    rows = await (await raw(tx)).fetch(
        "SELECT DISTINCT hour FROM ledger_change WHERE hour < $1 ORDER BY hour LIMIT 1000", below
    )
    return [r[0] for r in rows]


async def delete_changes(tx: Tx, ids: Sequence[int]) -> None:
    """Take the changes off that were counted."""
    if ids:
        await (await raw(tx)).execute("DELETE FROM ledger_change WHERE id = ANY($1::bigint[])", ids)


_TOTALS = ", ".join(("receipts", "entries", *OUTCOMES))


def _counted(row: Any, start: int) -> Counted:
    values = [int(v) for v in tuple(row)[start:]]
    return Counted(values[0], values[1], dict(zip(OUTCOMES, values[2:], strict=True)))


async def stored_hours(tx: Tx, hours: Sequence[datetime]) -> dict[tuple[str, datetime], Counted]:
    """What was counted for these hours, by source."""
    rows = await (await raw(tx)).fetch(
        f"SELECT source_id, hour, {_TOTALS} FROM ledger_hour WHERE hour = ANY($1::timestamptz[])",  # noqa: S608
        hours,
    )
    return {(r[0], r[1]): _counted(r, 2) for r in rows}


async def hour_after(tx: Tx, hour: datetime) -> tuple[datetime | None, int]:
    """The next hour that was counted, with its entries."""
    row = await (await raw(tx)).fetchrow(
        "SELECT hour, sum(entries)::bigint FROM ledger_hour "
        "WHERE hour = (SELECT min(hour) FROM ledger_hour WHERE hour > $1) GROUP BY 1",
        hour,
    )
    return (row[0], int(row[1])) if row else (None, 0)


async def put_hours(tx: Tx, found: Mapping[tuple[str, datetime], Counted]) -> None:
    """Write what was counted."""
    if not found:
        return
    names = ("receipts", "entries", *OUTCOMES)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names)
    places = ", ".join(f"${n}::bigint[]" for n in range(3, 3 + len(names)))
    columns: list[list[Any]] = [[s for s, _ in found], [h for _, h in found]]
    columns += [[c.receipts for c in found.values()], [c.entries for c in found.values()]]
    columns += [[c.outcomes.get(name, 0) for c in found.values()] for name in OUTCOMES]
    await (await raw(tx)).execute(
        f"INSERT INTO ledger_hour (source_id, hour, {_TOTALS}) "  # noqa: S608 - names of columns
        f"SELECT * FROM unnest($1::text[], $2::timestamptz[], {places}) "
        f"ON CONFLICT (source_id, hour) DO UPDATE SET {updates}",
        *columns,
    )


async def totals_but(tx: Tx, hours: Sequence[datetime]) -> dict[str, Counted]:
    """The sums over all counted hours but these, by source."""
    sums = ", ".join(f"sum({name})::bigint" for name in ("receipts", "entries", *OUTCOMES))
    rows = await (await raw(tx)).fetch(
        f"SELECT source_id, {sums} FROM ledger_hour "  # noqa: S608 - names of columns
        "WHERE hour <> ALL($1::timestamptz[]) GROUP BY 1",
        hours,
    )
    return {r[0]: _counted(r, 1) for r in rows}


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the ledger does not add up."""

    source_id: str
    hour: datetime
    law: str
    expected: int
    found: int
    found_at: datetime | None = None


async def put_breaks(tx: Tx, hours: Sequence[datetime], found: Sequence[Break]) -> None:
    """Say which laws are broken in these hours; those that hold again are taken off."""
    connection = await raw(tx)
    await connection.execute(
        """
        DELETE FROM ledger_break b WHERE b.hour = ANY($1::timestamptz[]) AND NOT EXISTS (
            SELECT FROM unnest($2::text[], $3::timestamptz[], $4::text[]) AS f (source_id, hour, law)
            WHERE f.source_id = b.source_id AND f.hour = b.hour AND f.law = b.law)
        """,
        hours,
        [b.source_id for b in found],
        [b.hour for b in found],
        [b.law for b in found],
    )
    if found:
        await connection.execute(
            """
            INSERT INTO ledger_break (source_id, hour, law, expected, found, found_at)
            SELECT *, clock_timestamp()
            FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bigint[], $5::bigint[])
            ON CONFLICT (source_id, hour, law) DO UPDATE SET expected = excluded.expected, found = excluded.found
            """,
            [b.source_id for b in found],
            [b.hour for b in found],
            [b.law for b in found],
            [b.expected for b in found],
            [b.found for b in found],
        )


async def delete_break(tx: Tx, *, source_id: str, hour: datetime, law: str) -> None:
    """Take one alarm off."""
    await (await raw(tx)).execute(
        "DELETE FROM ledger_break WHERE source_id = $1 AND hour = $2 AND law = $3", source_id, hour, law
    )


async def breaks(tx: Tx, *, limit: int = 100) -> list[Break]:
    """Where the ledger does not add up."""
    rows = await (await raw(tx)).fetch(
        "SELECT source_id, hour, law, expected, found, found_at FROM ledger_break ORDER BY hour, source_id LIMIT $1",
        limit,
    )
    return [Break(*r) for r in rows]


# --- bodies ----------------------------------------------------------------------------------------------------------


async def empty_bodies(tx: Tx, *, states: Sequence[str], after: str, high: str, limit: int) -> str | None:
    """Empty the bodies of the next receipts in a range of ids; the last id seen when more may follow, else None."""
    rows = await (await raw(tx)).fetch(
        """
        WITH next AS (SELECT id FROM receipt WHERE id > $2::uuid AND id < $3::uuid AND state = ANY($1::text[])
                      ORDER BY id LIMIT $4),
        emptied AS (UPDATE receipt r SET body = NULL FROM next n WHERE r.id = n.id AND r.body IS NOT NULL),
        forgotten AS (DELETE FROM receipt_request q USING next n WHERE q.receipt_id = n.id)
        SELECT next.id::text FROM next ORDER BY next.id
        """,
        states, after, high, limit,
    )  # fmt: skip
    return rows[-1][0] if len(rows) == limit else None


# --- against the provider's own count --------------------------------------------------------------------------------


async def touches_by_day(tx: Tx, *, source: str, since: date, until: date, zone: str) -> dict[tuple[date, str], int]:
    """Touches of a source by day (in `zone`, by the time that the provider names) and form."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT (occurred_at AT TIME ZONE $4)::date, form_id, count(*) FROM touch
        WHERE source_id = $1 AND occurred_at >= ($2::date::timestamp AT TIME ZONE $4)
          AND occurred_at < (($3::date + 1)::timestamp AT TIME ZONE $4)
        GROUP BY 1, 2
        """,
        source, since, until, zone,
    )  # fmt: skip
    return {(r[0], r[1]): int(r[2]) for r in rows}


async def apart_by_day(tx: Tx, *, source: str, since: date, until: date, zone: str) -> dict[date, dict[str, int]]:
    """Entries of a source that became no touch, by the day on which they came and by outcome."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT (r.received_at AT TIME ZONE $4)::date, e.outcome, count(*)
        FROM receipt_entry e JOIN receipt r ON r.id = e.receipt_id
        WHERE e.outcome IN ('duplicate', 'refused', 'quarantined', 'pending', 'test') AND e.source_id = $1
          AND e.receipt_id >= $5::uuid AND e.receipt_id < $6::uuid
          AND (r.received_at AT TIME ZONE $4)::date BETWEEN $2 AND $3
        GROUP BY 1, 2
        """,
        source, since, until, zone,
        floor_id(_midnight(since) - timedelta(days=2)), floor_id(_midnight(until) + timedelta(days=3)),
    )  # fmt: skip
    found: dict[date, dict[str, int]] = {}
    for day, outcome, count in rows:
        found.setdefault(day, {})[outcome] = int(count)
    return found


async def zone_known(tx: Tx, zone: str) -> bool:
    """Whether the database knows a time zone."""
    return bool(await (await raw(tx)).fetchval("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1)", zone))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
