"""Events that wait for a person: list, replay, skip them, and apply what an older version could not route."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from baton_kit import inbox
from baton_kit.apply import App, Subscription, handle
from baton_kit.db import Tx, raw
from baton_kit.envelope import Received, decode
from baton_kit.failpoint import failpoint
from baton_kit.outbox import unpack
from baton_kit.telemetry import log

_COLUMNS = (
    'id, consumer, topic, partition, "offset", key, event_id, type, reason, detail, raw_key, headers, value, parked_at'
)


@dataclass(frozen=True, slots=True)
class Parked:
    """One parked event, without its content."""

    id: int
    consumer: str
    topic: str
    partition: int
    offset: int
    key: str
    event_id: str | None
    type: str | None
    reason: str
    detail: str
    parked_at: datetime


async def list_parked(tx: Tx, *, after: int = 0, limit: int = 50) -> list[Parked]:
    """Return parked events in the order they were parked, those after the id given."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_COLUMNS} FROM parked WHERE id > $1 ORDER BY id LIMIT $2",  # noqa: S608 - fixed columns
        after,
        limit,
    )
    return [Parked(**{name: row[name] for name in Parked.__slots__}) for row in rows]


async def replay_key(tx: Tx, app: App, subscription: Subscription[App], key: str) -> int:
    """Apply all parked events of a key in their order, and free the key; returns how many were applied.

    All or nothing: when one fails again, the transaction goes back and everything stays parked.
    """
    group = subscription.group
    await inbox.lock_keys(tx, group, [key])
    connection = await raw(tx)
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM parked WHERE consumer = $1 AND key = $2 AND reason <> 'unrouted' ORDER BY id",  # noqa: S608
        group, key,
    )  # fmt: skip
    for row in rows:
        await handle(tx, app, subscription, [_event(row, subscription)])
        failpoint("replay.after_event")
    await _settle(tx, group, rows, outcome="applied")
    await connection.execute("DELETE FROM parked_key WHERE consumer = $1 AND key = $2", group, key)
    failpoint("replay.before_commit")
    return len(rows)


async def skip(tx: Tx, parked_id: int) -> Parked | None:
    """Give one parked event up, for ever, and free its key if nothing else of it waits; None if it is not there."""
    connection = await raw(tx)
    row = await connection.fetchrow("SELECT consumer, key FROM parked WHERE id = $1", parked_id)
    if row is None:
        return None
    await inbox.lock_keys(tx, row["consumer"], [row["key"]])
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM parked WHERE id = $1", parked_id)  # noqa: S608
    if not rows:
        return None
    await _settle(tx, row["consumer"], rows, outcome="skipped")
    await connection.execute(
        "DELETE FROM parked_key k WHERE consumer = $1 AND key = $2 AND NOT EXISTS "
        "(SELECT FROM parked p WHERE p.consumer = k.consumer AND p.key = k.key AND p.reason <> 'unrouted')",
        row["consumer"], row["key"],
    )  # fmt: skip
    return Parked(**{name: rows[0][name] for name in Parked.__slots__})


async def replay_unrouted(app: App, subscription: Subscription[App], *, page: int = 500) -> int:
    """Apply what an older version kept because it knew no handler for it; returns how many events were applied."""
    names = sorted(t.DESCRIPTOR.full_name for t in subscription.handlers)
    ignored = sorted(t.DESCRIPTOR.full_name for t in subscription.ignores)
    done = 0
    while True:
        async with app.db.begin() as tx:
            connection = await raw(tx)
            await connection.execute(
                "DELETE FROM parked WHERE consumer = $1 AND reason = 'unrouted' AND type = ANY($2::text[])",
                subscription.group, ignored,
            )  # fmt: skip
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM parked WHERE consumer = $1 AND reason = 'unrouted' "  # noqa: S608
                "AND type = ANY($2::text[]) ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED",
                subscription.group, names, page,
            )  # fmt: skip
            if not rows:
                return done
            await inbox.lock_keys(tx, subscription.group, sorted({row["key"] for row in rows}))
            await handle(tx, app, subscription, [_event(row, subscription) for row in rows])
            await _settle(tx, subscription.group, rows, outcome="applied")
        done += len(rows)
        log.info("unrouted_applied", consumer=subscription.group, events=len(rows))


async def _settle(tx: Tx, group: str, rows: Sequence[Any], *, outcome: str) -> None:
    connection = await raw(tx)
    await connection.execute("DELETE FROM parked WHERE id = ANY($1::bigint[])", [row["id"] for row in rows])
    await connection.execute(
        "UPDATE inbox SET outcome = $3 WHERE consumer = $1 AND event_id = ANY($2::text[])",
        group, [row["event_id"] for row in rows if row["event_id"]], outcome,
    )  # fmt: skip


def _event(row: Any, subscription: Subscription[Any]) -> Received[Message]:
    return decode(
        headers=unpack(row["headers"]),
        key=row["raw_key"],
        value=row["value"],
        types=subscription.types,
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
    )
