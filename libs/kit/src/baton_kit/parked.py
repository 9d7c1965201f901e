"""Events that wait for a person: list, replay, skip them, and apply what an older version could not route."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from baton_kit import inbox
from baton_kit.apply import App, Subscription, handle
from baton_kit.db import Tx, raw
from baton_kit.envelope import Received, Undecodable, decode
from baton_kit.failpoint import failpoint
from baton_kit.outages import Unprocessable, is_outage
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
    """Apply what an older version kept because it knew no handler for it; returns how many events were applied.

    One member of the group at a time, so that the order per key holds. What cannot be applied stays parked, with its
    reason, and blocks its key from then on.
    """
    names = sorted(t.DESCRIPTOR.full_name for t in subscription.handlers)
    ignored = sorted(t.DESCRIPTOR.full_name for t in subscription.ignores)
    done = 0
    while True:
        try:
            applied = await _replay_page(app, subscription, names, ignored, page=page)
        except Exception as error:
            if is_outage(error):
                raise
            # One by one, only the bad event stands out.
            applied = await _replay_page(app, subscription, names, ignored, page=1, park_failing=True)
        if applied is None:
            return done
        done += applied


async def _replay_page(
    app: App,
    subscription: Subscription[App],
    names: list[str],
    ignored: list[str],
    *,
    page: int,
    park_failing: bool = False,
) -> int | None:
    group = subscription.group
    async with app.db.begin() as tx:
        connection = await raw(tx)
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1 || chr(31) || 'unrouted', 13))", group
        )
        await connection.execute(
            "DELETE FROM parked WHERE consumer = $1 AND reason = 'unrouted' AND type = ANY($2::text[])", group, ignored
        )
        found = await connection.fetch(
            "SELECT key FROM parked WHERE consumer = $1 AND reason = 'unrouted' AND type = ANY($2::text[]) "
            "ORDER BY id LIMIT $3",
            group, names, page,
        )  # fmt: skip
        if not found:
            return None
        keys = sorted({row["key"] for row in found})
        await inbox.lock_keys(tx, group, keys)
        # Behind a parked event of their key they wait in its queue, in the order they came.
        blocked = sorted(await inbox.blocked_keys(tx, group, keys))
        await connection.execute(
            "UPDATE parked SET reason = 'blocked', detail = 'behind a parked event of this key' "
            "WHERE consumer = $1 AND reason = 'unrouted' AND type = ANY($2::text[]) AND key = ANY($3::text[])",
            group, names, blocked,
        )  # fmt: skip
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM parked WHERE consumer = $1 AND reason = 'unrouted' "  # noqa: S608 - fixed columns
            "AND type = ANY($2::text[]) AND key = ANY($3::text[]) ORDER BY id LIMIT $4",
            group, names, keys, page,
        )  # fmt: skip
        try:
            async with tx.begin_nested():
                await handle(tx, app, subscription, [_event(row, subscription) for row in rows])
        except Exception as error:
            if is_outage(error) or not park_failing:
                raise
            poison = isinstance(error, Undecodable)
            spoken = str(error) if isinstance(error, Undecodable | Unprocessable) else type(error).__name__
            await connection.execute(
                "UPDATE parked SET reason = $2, detail = $3 WHERE id = $1",
                rows[0]["id"], "poison" if poison else "handler", spoken[:500],
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO parked_key (consumer, key) VALUES ($1, $2) ON CONFLICT DO NOTHING", group, rows[0]["key"]
            )
            log.error("unrouted_event_parked", consumer=group, reason=spoken)
            return 0
        await _settle(tx, group, rows, outcome="applied")
    log.info("unrouted_applied", consumer=group, events=len(rows))
    return len(rows)


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
