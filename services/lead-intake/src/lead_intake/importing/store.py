"""Every SQL statement about imports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton_kit.db import Direct, Tx, raw
from lead_intake.importing.row import Campaign


@dataclass(frozen=True, slots=True)
class Import:
    """An export that was handed in. `trial` is None for a real import, else what its dry runs are known by.

    `received` and `position` count bytes: how much is here, and how much is worked through. `records` counts the
    file's records, its header included, as a spreadsheet numbers them.
    """

    id: str
    source_id: str
    name: str
    kind: str
    layout: Mapping[str, Any]
    layout_digest: str
    digest: str
    size: int
    trial: str | None
    state: str
    reason: str
    received: int
    position: int
    records: int
    header: Sequence[str] | None
    counts: Mapping[str, int]
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that was not taken."""

    record: int
    column: str
    code: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row whose lead was not there; `lead_id` once it is, and `known_by` is then a key of the lead's person."""

    receipt_id: str
    ordinal: int
    source_id: str
    import_id: str
    record: int
    key: str
    kind: str
    fact: bytes
    digests: Sequence[bytes]
    occurred_at: datetime
    received_at: datetime
    lead_id: str | None = None
    known_by: str | None = None


_COLUMNS = (
    "id::text, source_id, name, kind, layout::text, layout_digest, digest, size, trial, state, reason, received, "
    "position, records, header::text, counts::text, created_at, finished_at"
)


async def insert(tx: Tx, one: Import) -> None:
    await (await raw(tx)).execute(
        "INSERT INTO import_file (id, source_id, name, kind, layout, layout_digest, digest, size, trial, state, "
        "received, position, records, counts, created_at) "
        "VALUES ($1::uuid, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::jsonb, $15)",
        one.id, one.source_id, one.name, one.kind, json.dumps(one.layout), one.layout_digest, one.digest, one.size,
        one.trial, one.state, one.received, one.position, one.records, json.dumps(one.counts), one.created_at,
    )  # fmt: skip


async def same(tx: Tx, *, source_id: str, digest: str, layout_digest: str, trial: str | None) -> Import | None:
    """The newest import of these bytes under this layout."""
    row = await (await raw(tx)).fetchrow(
        f"SELECT {_COLUMNS} FROM import_file WHERE source_id = $1 AND digest = $2 AND layout_digest = $3 "  # noqa: S608
        "AND trial IS NOT DISTINCT FROM $4 ORDER BY id DESC LIMIT 1",
        source_id, digest, layout_digest, trial,
    )  # fmt: skip
    return None if row is None else _import(row)


async def get(tx: Tx, id: str, *, lock: bool = False) -> Import | None:
    row = await (await raw(tx)).fetchrow(
        f"SELECT {_COLUMNS} FROM import_file WHERE id = $1::uuid{' FOR UPDATE' if lock else ''}",  # noqa: S608
        id,
    )
    return None if row is None else _import(row)


async def page(tx: Tx, *, source_id: str | None, before: str | None, limit: int) -> list[Import]:
    """Imports, newest first."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_COLUMNS} FROM import_file WHERE ($1::text IS NULL OR source_id = $1) "  # noqa: S608
        "AND ($2::uuid IS NULL OR id < $2::uuid) ORDER BY id DESC LIMIT $3",
        source_id, before, limit,
    )  # fmt: skip
    return [_import(row) for row in rows]


async def claim(tx: Tx) -> Import | None:
    """Lock the next import that has work: the oldest of its source, since later files name what earlier ones bring."""
    row = await (await raw(tx)).fetchrow(
        f"SELECT {_COLUMNS} FROM import_file f WHERE state IN ('waiting', 'running') AND NOT EXISTS ("  # noqa: S608
        "SELECT FROM import_file o WHERE o.source_id = f.source_id AND o.id < f.id "
        "AND o.state IN ('waiting', 'running')) ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    return None if row is None else _import(row)


async def append(tx: Tx, id: str, *, position: int, data: bytes) -> bool:
    """Keep the next bytes; False when they are not the next ones."""
    connection = await raw(tx)
    moved = await connection.fetchval(
        "UPDATE import_file SET received = received + $3 "
        "WHERE id = $1::uuid AND state = 'receiving' AND received = $2 AND received + $3 <= size RETURNING 1",
        id, position, len(data),
    )  # fmt: skip
    if moved is None:
        return False
    await connection.execute(
        "INSERT INTO import_part (import_id, position, data) VALUES ($1::uuid, $2, $3)", id, position, data
    )
    return True


async def bytes_from(tx: Tx, id: str, position: int, *, at_least: int) -> bytes:
    """The bytes from a position on: at least so many, unless the file ends before."""
    rows = await (await raw(tx)).fetch(
        "SELECT position, data FROM import_part WHERE import_id = $1::uuid AND position < $3 AND position >= coalesce("
        "(SELECT max(position) FROM import_part WHERE import_id = $1::uuid AND position <= $2), 0) ORDER BY position",
        id, position, position + at_least,
    )  # fmt: skip
    if not rows:
        return b""
    whole = b"".join(row["data"] for row in rows)
    return bytes(whole[position - rows[0]["position"] :])


async def move(
    tx: Tx,
    id: str,
    *,
    state: str,
    position: int,
    records: int,
    header: Sequence[str] | None,
    counts: Mapping[str, int],
    reason: str,
    finished_at: datetime | None,
) -> None:
    """Note how far an import is."""
    await (await raw(tx)).execute(
        "UPDATE import_file SET state = $2, position = $3, records = $4, header = $5::text::jsonb, "
        "counts = $6::text::jsonb, reason = $7, finished_at = $8 WHERE id = $1::uuid",
        id, state, position, records, None if header is None else json.dumps(header), json.dumps(counts), reason,
        finished_at,
    )  # fmt: skip


async def set_state(tx: Tx, id: str, state: str, *, reason: str = "") -> None:
    await (await raw(tx)).execute(
        "UPDATE import_file SET state = $2, reason = $3 WHERE id = $1::uuid", id, state, reason
    )


async def start_over(tx: Tx, id: str) -> None:
    """Forget what was received."""
    connection = await raw(tx)
    await connection.execute("DELETE FROM import_part WHERE import_id = $1::uuid", id)
    await connection.execute("UPDATE import_file SET received = 0 WHERE id = $1::uuid", id)


async def delete_parts(tx: Tx, id: str) -> None:
    """The bytes of an export name persons: they go when they are worked through."""
    await (await raw(tx)).execute("DELETE FROM import_part WHERE import_id = $1::uuid", id)


async def insert_errors(tx: Tx, id: str, errors: Sequence[RowError]) -> None:
    if errors:
        await (await raw(tx)).execute(
            "INSERT INTO import_error (import_id, record, column_name, code) "
            "SELECT $1::uuid, * FROM unnest($2::bigint[], $3::text[], $4::text[])",
            id, [e.record for e in errors], [e.column for e in errors], [e.code for e in errors],
        )  # fmt: skip


async def errors(tx: Tx, id: str, *, after: int, limit: int) -> list[RowError]:
    """Errors in the order of the rows."""
    rows = await (await raw(tx)).fetch(
        "SELECT record, column_name, code FROM import_error WHERE import_id = $1::uuid AND record > $2 "
        "ORDER BY record LIMIT $3",
        id, after, limit,
    )  # fmt: skip
    return [RowError(*row) for row in rows]


async def campaigns(tx: Tx, source_id: str, ids: Iterable[str]) -> dict[str, Campaign]:
    rows = await (await raw(tx)).fetch(
        "SELECT id, utm_source, utm_medium, utm_campaign FROM import_campaign WHERE source_id = $1 AND id = ANY($2)",
        source_id, sorted(set(ids)),
    )  # fmt: skip
    return {row["id"]: Campaign(*row) for row in rows}


async def keep_campaigns(tx: Tx, source_id: str, found: Iterable[Campaign]) -> None:
    """Insert or update campaigns; of several with one id the last counts."""
    rows = {c.id: c for c in found}
    if rows:
        ordered = [rows[id] for id in sorted(rows)]
        await (await raw(tx)).execute(
            "INSERT INTO import_campaign (source_id, id, utm_source, utm_medium, utm_campaign) "
            "SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) ON CONFLICT (source_id, id) "
            "DO UPDATE SET utm_source = excluded.utm_source, utm_medium = excluded.utm_medium, "
            "utm_campaign = excluded.utm_campaign",
            source_id, [c.id for c in ordered], [c.utm_source for c in ordered], [c.utm_medium for c in ordered],
            [c.utm_campaign for c in ordered],
        )  # fmt: skip


async def tried(tx: Tx, trial: str, keys: Sequence[int]) -> set[int]:
    """Which of these the dry run would have made already."""
    rows = await (await raw(tx)).fetch(
        "SELECT key FROM import_trial WHERE trial = $1 AND key = ANY($2::bigint[])", trial, keys
    )
    return {row["key"] for row in rows}


async def note_tried(tx: Tx, trial: str, keys: Iterable[int], *, at: datetime) -> None:
    await (await raw(tx)).execute(
        "INSERT INTO import_trial (trial, key, noted_at) SELECT $1, k, $3 FROM unnest($2::bigint[]) AS k "
        "ON CONFLICT DO NOTHING",
        trial, sorted(set(keys)), at,
    )  # fmt: skip


async def insert_waiting(tx: Tx, rows: Sequence[Waiting]) -> None:
    """Keep rows until their lead is there."""
    if rows:
        await (await raw(tx)).executemany(
            "INSERT INTO import_waiting (receipt_id, ordinal, source_id, import_id, record, key, kind, fact, digests, "
            "occurred_at, received_at) VALUES ($1::uuid, $2, $3, $4::uuid, $5, $6, $7, $8, $9, $10, $11)",
            [
                (w.receipt_id, w.ordinal, w.source_id, w.import_id, w.record, w.key, w.kind, w.fact, w.digests,
                 w.occurred_at, w.received_at)
                for w in rows
            ],
        )  # fmt: skip


async def anything_waits(tx: Tx) -> bool:
    """Whether any row waits for a lead that nobody has named yet."""
    return bool(await (await raw(tx)).fetchval("SELECT EXISTS (SELECT FROM import_waiting WHERE lead_id IS NULL)"))


async def oldest_waiting(tx: Tx) -> datetime | None:
    """Since when a row waits for a lead that nobody has named yet."""
    oldest: datetime | None = await (await raw(tx)).fetchval(
        "SELECT min(received_at) FROM import_waiting WHERE lead_id IS NULL"
    )
    return oldest


async def leads_after(tx: Tx, lead_id: str, *, most: int) -> list[tuple[str, list[str]]]:
    """The next leads by id, each with the keys of its person."""
    rows = await (await raw(tx)).fetch(
        "SELECT l.id::text, array(SELECT k.key FROM identity_key k WHERE k.person_id = l.person_id) "
        "FROM lead l WHERE l.id > $1::uuid ORDER BY l.id LIMIT $2",
        lead_id, most,
    )  # fmt: skip
    return [(row[0], row[1]) for row in rows]


async def leads_by_key(tx: Tx, keys: Sequence[str]) -> dict[str, str]:
    """The lead of whoever has this identity key."""
    rows = await (await raw(tx)).fetch(
        "SELECT k.key, l.id::text FROM identity_key k JOIN lead l ON l.person_id = k.person_id "
        "WHERE k.key = ANY($1::text[])",
        keys,
    )
    return {row[0]: row[1] for row in rows}


async def find_waiting(tx: Tx, leads: Mapping[bytes, str]) -> int:
    """Say which lead is meant by these digests; how many rows waited for it."""
    if not leads:
        return 0
    done: str = await (await raw(tx)).execute(
        "UPDATE import_waiting w SET lead_id = f.lead_id FROM unnest($1::bytea[], $2::uuid[]) AS f (digest, lead_id) "
        "WHERE w.lead_id IS NULL AND w.digests @> ARRAY[f.digest]",
        list(leads), list(leads.values()),
    )  # fmt: skip
    return int(done.split()[-1])


async def hold_waiting(tx: Tx, *, before: datetime, most: int) -> list[Waiting]:
    """Lock rows whose lead is there, or that wait since before a time, and their imports first: as an import does."""
    connection = await raw(tx)
    due = "(w.lead_id IS NOT NULL OR w.received_at < $1)"
    free = await connection.fetch(
        "SELECT id::text FROM import_file WHERE id IN ("  # noqa: S608
        f"SELECT import_id FROM (SELECT import_id FROM import_waiting w WHERE {due} LIMIT $2) AS d) "
        "ORDER BY id FOR UPDATE SKIP LOCKED",
        before, most,
    )  # fmt: skip
    if not free:
        return []
    rows = await connection.fetch(
        f"""
        SELECT w.receipt_id::text, w.ordinal, w.source_id, w.import_id::text, w.record, w.key, w.kind, w.fact,
               w.digests, w.occurred_at, w.received_at, w.lead_id::text,
               (SELECT k.key FROM lead l JOIN identity_key k ON k.person_id = l.person_id
                WHERE l.id = w.lead_id ORDER BY k.key LIMIT 1)
        FROM import_waiting w WHERE {due} AND w.import_id = ANY($3::uuid[])
        ORDER BY w.receipt_id, w.ordinal LIMIT $2 FOR UPDATE OF w SKIP LOCKED
        """,  # noqa: S608
        before, most, [row[0] for row in free],
    )  # fmt: skip
    return [Waiting(*row) for row in rows]


async def end_waiting(
    tx: Tx,
    rows: Sequence[Waiting],
    *,
    refused: Sequence[tuple[Waiting, str]],
    moves: Mapping[str, Mapping[str, int]],
) -> None:
    """The rows wait no longer: their imports count how they ended, and list only what was refused."""
    connection = await raw(tx)
    await connection.execute(
        "DELETE FROM import_waiting w USING unnest($1::uuid[], $2::smallint[]) AS e (receipt_id, ordinal) "
        "WHERE w.receipt_id = e.receipt_id AND w.ordinal = e.ordinal",
        [w.receipt_id for w in rows], [w.ordinal for w in rows],
    )  # fmt: skip
    await connection.execute(
        "DELETE FROM import_error x USING unnest($1::uuid[], $2::bigint[]) AS e (import_id, record) "
        "WHERE x.import_id = e.import_id AND x.record = e.record",
        [w.import_id for w in rows], [w.record for w in rows],
    )  # fmt: skip
    for import_id, told in (
        (i, [(w, reason) for w, reason in refused if w.import_id == i]) for i in {w.import_id for w, _ in refused}
    ):
        await insert_errors(tx, import_id, [RowError(w.record, "", reason) for w, reason in told])
    for import_id, move_by in moves.items():
        row = await connection.fetchrow("SELECT counts::text FROM import_file WHERE id = $1::uuid", import_id)
        if row is None:
            continue
        counts = Counter(json.loads(row[0]))
        counts.update(move_by)
        await connection.execute(
            "UPDATE import_file SET counts = $2::text::jsonb WHERE id = $1::uuid",
            import_id, json.dumps({name: n for name, n in counts.items() if n}),
        )  # fmt: skip


_UNDER_WAY = "state IN ('receiving', 'waiting', 'running') AND trial IS NULL"


async def note_forgotten(tx: Tx, digests: Sequence[bytes], *, at: datetime) -> None:
    """Remember these digests, if any export is under way that may hold the person."""
    await (await raw(tx)).execute(
        "INSERT INTO import_forgotten (digest, noted_at) SELECT d, $2 FROM unnest($1::bytea[]) AS d "  # noqa: S608
        f"WHERE EXISTS (SELECT FROM import_file WHERE {_UNDER_WAY}) "
        "ORDER BY d ON CONFLICT (digest) DO UPDATE SET noted_at = excluded.noted_at",
        digests, at,
    )  # fmt: skip


async def forgotten_digests(tx: Tx | Direct, *, since: datetime) -> set[bytes]:
    """The digests of keys of persons who were forgotten since then."""
    rows = await (await raw(tx)).fetch("SELECT digest FROM import_forgotten WHERE noted_at >= $1", since)
    return {bytes(row[0]) for row in rows}


async def drop_forgotten(tx: Tx) -> None:
    """Drop the digests that no export under way was handed in before."""
    await (await raw(tx)).execute(
        "DELETE FROM import_forgotten f WHERE NOT EXISTS ("  # noqa: S608
        f"SELECT FROM import_file i WHERE i.{_UNDER_WAY} AND i.created_at <= f.noted_at)"
    )


async def forget(tx: Tx, *, before: datetime) -> int:
    """Drop dry runs' notes and uploads that nobody finished, from before this time; how many uploads."""
    connection = await raw(tx)
    await connection.execute("DELETE FROM import_trial WHERE noted_at < $1", before)
    rows = await connection.fetch(
        "DELETE FROM import_file WHERE state = 'receiving' AND created_at < $1 RETURNING 1", before
    )
    return len(rows)


def _import(row: Any) -> Import:
    values = dict(row)
    values["layout"] = json.loads(values["layout"])
    values["counts"] = json.loads(values["counts"])
    values["header"] = None if values["header"] is None else json.loads(values["header"])
    return Import(**values)
