"""Every SQL statement about jobs, limits, credentials, orders to forget and providers' lists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from baton_kit.db import Direct, Tx, raw
from lead_intake.fetching.job import Allowance, Job

LEASE = timedelta(seconds=120)
"""Longer than a call with all its pages and the transaction after it may take; timed by the database's clock."""

BURST = 20


class NewJob(NamedTuple):
    """A row of `fetch_job` as it begins."""

    id: str
    source_id: str
    provider: str
    receipt_id: str
    ordinal: int
    key: str
    lookup_id: str
    form_id: str
    about: Mapping[str, str]
    occurred_at: datetime
    received_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """How much may be asked for a source now."""

    source_id: str
    allowance: Allowance
    paused_until: datetime | None
    pause_reason: str
    throttled: int
    token_invalid_since: datetime | None
    token_reason: str
    last_ok_at: datetime | None


# --- jobs ------------------------------------------------------------------------------------------------------------


async def insert_jobs(tx: Tx | Direct, jobs: Sequence[NewJob]) -> None:
    """Add jobs, and the state of their sources where there is none."""
    if not jobs:
        return
    connection = await raw(tx)
    await connection.executemany(
        "INSERT INTO fetch_job (id, source_id, provider, receipt_id, ordinal, key, lookup_id, form_id, about, "
        "occurred_at, created_at, due_at, expires_at, state, attempt, malformed, epoch) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10, $11, $11, $12, 'waiting', 0, 0, 0) "
        # An entry that is received once more (a replay) gets its job back, not a second one.
        "ON CONFLICT (receipt_id, ordinal) DO UPDATE SET state = 'waiting', reason = '', attempt = 0, malformed = 0, "
        "lookup_id = EXCLUDED.lookup_id, form_id = EXCLUDED.form_id, about = EXCLUDED.about, "
        "due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at, lease_until = NULL, settled_at = NULL, "
        "epoch = fetch_job.epoch + 1",
        [(*job[:8], json.dumps(dict(job.about)), *job[9:]) for job in jobs],
    )
    await insert_state(tx, sorted({job.source_id for job in jobs}), at=jobs[0].received_at)


async def insert_state(tx: Tx | Direct, source_ids: Sequence[str], *, at: datetime) -> None:
    """Begin the state of sources; one that stands stays."""
    await (await raw(tx)).execute(
        "INSERT INTO fetch_state (source_id, served_at, allowance, refilled_at, throttled) "
        "SELECT s, $2, $3, $2, 0 FROM unnest($1::text[]) AS s ORDER BY s ON CONFLICT DO NOTHING",
        source_ids, at, float(BURST),
    )  # fmt: skip


async def lock_due_source(tx: Tx, *, now: datetime, among: Sequence[str]) -> State | None:
    """The source that waited longest among those that have a due job and are not paused; held, others pass it by."""
    row = await (await raw(tx)).fetchrow(
        f"""
        SELECT {_STATE} FROM fetch_state s
        WHERE s.source_id = ANY($2::text[]) AND (s.paused_until IS NULL OR s.paused_until <= $1)
          AND EXISTS (
            SELECT FROM fetch_job j
            WHERE j.source_id = s.source_id AND j.state = 'waiting' AND j.due_at <= $1 AND j.expires_at > $1
              AND (j.lease_until IS NULL OR j.lease_until <= clock_timestamp()))
        ORDER BY s.served_at, s.source_id LIMIT 1 FOR UPDATE OF s SKIP LOCKED
        """,  # noqa: S608 - a constant list of columns
        now, list(among),
    )  # fmt: skip
    return None if row is None else _state(row)


async def lock_state(tx: Tx, source_id: str) -> State | None:
    """The state of a source, held."""
    row = await (await raw(tx)).fetchrow(
        f"SELECT {_STATE} FROM fetch_state s WHERE s.source_id = $1 FOR UPDATE",  # noqa: S608
        source_id,
    )
    return None if row is None else _state(row)


async def states(tx: Tx, source_ids: Sequence[str] | None = None) -> list[State]:
    """The states of all sources, or of these."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_STATE} FROM fetch_state s WHERE $1::text[] IS NULL OR s.source_id = ANY($1) ORDER BY 1",  # noqa: S608
        None if source_ids is None else list(source_ids),
    )
    return [_state(row) for row in rows]


async def claim_jobs(tx: Tx, source_id: str, *, now: datetime, most: int) -> list[Job]:
    """Lease due jobs of a source, oldest first; each gets a new epoch, so that an earlier holder cannot settle it."""
    rows = await (await raw(tx)).fetch(
        f"""
        WITH due AS (
            SELECT id FROM fetch_job
            WHERE source_id = $1 AND state = 'waiting' AND due_at <= $2 AND expires_at > $2
              AND (lease_until IS NULL OR lease_until <= clock_timestamp())
            ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
        ), leased AS (
            UPDATE fetch_job j SET lease_until = clock_timestamp() + $4::interval, epoch = j.epoch + 1
            FROM due WHERE j.id = due.id RETURNING j.*
        )
        SELECT {_JOB} FROM leased j JOIN receipt r ON r.id = j.receipt_id ORDER BY j.due_at, j.id
        """,  # noqa: S608 - a constant list of columns
        source_id, now, most, LEASE,
    )  # fmt: skip
    return [_job(row) for row in rows]


async def hold(tx: Tx, job: Job) -> bool:
    """Hold the job's row; False when another worker claimed it since, or it is settled."""
    return (
        await (await raw(tx)).fetchval(
            "SELECT 1 FROM fetch_job WHERE id = $1::uuid AND epoch = $2 AND state = 'waiting' FOR UPDATE",
            job.id, job.epoch,
        )
        is not None
    )  # fmt: skip


async def hold_expired(tx: Tx, *, now: datetime, most: int) -> list[Job]:
    """Hold jobs that have waited beyond their limit and that nobody works on."""
    rows = await (await raw(tx)).fetch(
        f"""
        SELECT {_JOB} FROM fetch_job j JOIN receipt r ON r.id = j.receipt_id
        WHERE j.state = 'waiting' AND j.expires_at <= $1
          AND (j.lease_until IS NULL OR j.lease_until <= clock_timestamp())
        ORDER BY j.id LIMIT $2 FOR UPDATE OF j SKIP LOCKED
        """,  # noqa: S608 - a constant list of columns
        now, most,
    )  # fmt: skip
    return [_job(row) for row in rows]


async def hold_quarantined(
    tx: Tx, *, ids: Sequence[str] | None, source: str | None, reason: str | None, after: str | None, most: int
) -> list[Job]:
    """Hold settled jobs whose entries are quarantined, by id or by filter, in the order of their ids."""
    rows = await (await raw(tx)).fetch(
        f"""
        SELECT {_JOB} FROM fetch_job j JOIN receipt r ON r.id = j.receipt_id
        WHERE j.state = 'quarantined' AND ($1::uuid[] IS NULL OR j.id = ANY($1))
          AND ($2::text IS NULL OR j.source_id = $2)
          AND ($3::text IS NULL OR j.reason = $3) AND ($4::uuid IS NULL OR j.id > $4::uuid)
        ORDER BY j.id LIMIT $5 FOR UPDATE OF j SKIP LOCKED
        """,  # noqa: S608 - a constant list of columns
        ids, source, reason, after, most,
    )  # fmt: skip
    return [_job(row) for row in rows]


async def count_quarantined(tx: Tx, *, ids: Sequence[str] | None, source: str | None, reason: str | None) -> int:
    """How many jobs `hold_quarantined` would find."""
    return int(
        await (await raw(tx)).fetchval(
            "SELECT count(*) FROM fetch_job WHERE state = 'quarantined' AND ($1::uuid[] IS NULL OR id = ANY($1)) "
            "AND ($2::text IS NULL OR source_id = $2) AND ($3::text IS NULL OR reason = $3)",
            ids, source, reason,
        )
    )  # fmt: skip


async def settle_jobs(tx: Tx, ends: Sequence[tuple[str, str, str]], *, at: datetime) -> None:
    """End jobs: (id, done | quarantined, reason)."""
    await (await raw(tx)).execute(
        "UPDATE fetch_job j SET state = t.state, reason = t.reason, settled_at = $4, lease_until = NULL "
        "FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (id, state, reason) WHERE j.id = t.id",
        [id for id, _, _ in ends],
        [state for _, state, _ in ends],
        [reason for _, _, reason in ends],
        at,
    )


async def reopen_jobs(tx: Tx, ids: Sequence[str], *, at: datetime, expires_at: datetime) -> None:
    """Let jobs wait again, with a new limit of age."""
    await (await raw(tx)).execute(
        "UPDATE fetch_job SET state = 'waiting', reason = '', attempt = 0, malformed = 0, due_at = $2, "
        "expires_at = $3, lease_until = NULL, settled_at = NULL, epoch = epoch + 1 WHERE id = ANY($1::uuid[])",
        ids, at, expires_at,
    )  # fmt: skip


async def postpone(tx: Tx, job: Job, *, due_at: datetime, reason: str, attempt: int, malformed: int) -> None:
    """Give a claimed job back; one that another worker holds stays as it is."""
    await (await raw(tx)).execute(
        "UPDATE fetch_job SET due_at = $3, reason = $4, attempt = $5, malformed = $6, lease_until = NULL "
        "WHERE id = $1::uuid AND epoch = $2 AND state = 'waiting'",
        job.id, job.epoch, due_at, reason, attempt, malformed,
    )  # fmt: skip


async def release_source(tx: Tx, source_id: str, *, at: datetime) -> None:
    """Let the jobs of a source come at once: its token was renewed."""
    connection = await raw(tx)
    await connection.execute(
        "UPDATE fetch_state SET token_invalid_since = NULL, token_reason = '', paused_until = NULL, pause_reason = '', "
        "throttled = 0 WHERE source_id = $1",
        source_id,
    )
    await connection.execute(
        "UPDATE fetch_job SET due_at = $2 WHERE source_id = $1 AND state = 'waiting' AND due_at > $2", source_id, at
    )
    await connection.execute("UPDATE reconcile_state SET due_at = $2 WHERE source_id = $1", source_id, at)


# --- what may be asked -----------------------------------------------------------------------------------------------


async def save_allowance(tx: Tx, source_id: str, *, allowance: Allowance, at: datetime) -> None:
    """Write what is left of a source's allowance."""
    await (await raw(tx)).execute(
        "UPDATE fetch_state SET allowance = $2, refilled_at = $3, served_at = $4 WHERE source_id = $1",
        source_id, allowance.left, allowance.at, at,
    )  # fmt: skip


async def pause(tx: Tx, source_id: str, *, until: datetime, reason: str, throttled: int) -> None:
    """Ask nothing more for a source until then; a longer pause stays."""
    await (await raw(tx)).execute(
        "UPDATE fetch_state SET paused_until = greatest(paused_until, $2), pause_reason = $3, throttled = $4 "
        "WHERE source_id = $1",
        source_id, until, reason, throttled,
    )  # fmt: skip


async def token_refused(tx: Tx, source_id: str, *, at: datetime, reason: str, until: datetime) -> None:
    """Note that the provider refuses the token; the first refusal keeps its time."""
    await (await raw(tx)).execute(
        "UPDATE fetch_state SET token_invalid_since = coalesce(token_invalid_since, $2), token_reason = $3, "
        "paused_until = $4, pause_reason = 'token_invalid' WHERE source_id = $1",
        source_id, at, reason, until,
    )  # fmt: skip


async def answered_well(tx: Tx, source_id: str, *, at: datetime) -> bool:
    """Note that the provider answered; True when its token had been refused before."""
    was = await (await raw(tx)).fetchrow(
        "UPDATE fetch_state s SET token_invalid_since = NULL, token_reason = '', throttled = 0, "
        "last_ok_at = greatest(s.last_ok_at, $2), "
        "paused_until = CASE WHEN s.pause_reason = 'token_invalid' THEN NULL ELSE s.paused_until END "
        "FROM (SELECT source_id, token_invalid_since AS since FROM fetch_state WHERE source_id = $1 FOR UPDATE) AS b "
        "WHERE s.source_id = b.source_id RETURNING b.since",
        source_id, at,
    )  # fmt: skip
    return was is not None and was[0] is not None


# --- credentials -----------------------------------------------------------------------------------------------------


async def put_credential(tx: Tx, *, source_id: str, name: str, sealed: bytes, at: datetime) -> None:
    """Store a sealed credential in place of an earlier one."""
    await (await raw(tx)).execute(
        "INSERT INTO source_credential (source_id, name, sealed, set_at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (source_id, name) DO UPDATE SET sealed = EXCLUDED.sealed, set_at = EXCLUDED.set_at",
        source_id, name, sealed, at,
    )  # fmt: skip


async def delete_credential(tx: Tx, *, source_id: str, name: str) -> bool:
    """Remove a credential; False when there is none."""
    return (
        await (await raw(tx)).fetchval(
            "DELETE FROM source_credential WHERE source_id = $1 AND name = $2 RETURNING 1", source_id, name
        )
        is not None
    )


async def credentials(tx: Tx, source_id: str | None = None) -> list[tuple[str, str, bytes, datetime]]:
    """(source, name, sealed, set at) of all sources, or of one."""
    return [
        (r[0], r[1], r[2], r[3])
        for r in await (await raw(tx)).fetch(
            "SELECT source_id, name, sealed, set_at FROM source_credential "
            "WHERE $1::text IS NULL OR source_id = $1 ORDER BY 1, 2",
            source_id,
        )
    ]


# --- orders to forget ------------------------------------------------------------------------------------------------


async def insert_erase_requests(tx: Tx | Direct, orders: Sequence[tuple[str, str, str, datetime]]) -> None:
    """Note (source, key, receipt, at); an order that stands stays."""
    if orders:
        await (await raw(tx)).execute(
            "INSERT INTO erase_request (source_id, key, receipt_id, requested_at) "
            "SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[]) ORDER BY 1, 2 "
            "ON CONFLICT DO NOTHING",
            [o[0] for o in orders], [o[1] for o in orders], [o[2] for o in orders], [o[3] for o in orders],
        )  # fmt: skip


async def erase_requested(tx: Tx, entries: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (source, key) are to be forgotten."""
    rows = await (await raw(tx)).fetch(
        "SELECT source_id, key FROM erase_request JOIN unnest($1::text[], $2::text[]) AS k (source_id, key) "
        "USING (source_id, key)",
        [source for source, _ in entries],
        [key for _, key in entries],
    )
    return {(r[0], r[1]) for r in rows}


# --- providers' lists ------------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """A lead that the provider lists, under the key that its push would have."""

    key: str
    form_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the reconciler that this worker holds."""

    source_id: str
    watermark: datetime
    deep_at: datetime | None
    epoch: int


async def begin_reconciling(tx: Tx, source_ids: Sequence[str], *, at: datetime) -> None:
    """Begin the state of sources that have none: from now on, since what came before is history and imported."""
    await (await raw(tx)).execute(
        "INSERT INTO reconcile_state (source_id, watermark, due_at, epoch, listed, found) "
        "SELECT s, $2, $2, 0, 0, 0 FROM unnest($1::text[]) AS s ORDER BY s ON CONFLICT DO NOTHING",
        source_ids, at,
    )  # fmt: skip


async def claim_run(tx: Tx, *, now: datetime, among: Sequence[str]) -> Run | None:
    """Lease one source that is due for a comparison and not paused."""
    row = await (await raw(tx)).fetchrow(
        """
        UPDATE reconcile_state r SET lease_until = clock_timestamp() + interval '15 minutes', epoch = r.epoch + 1
        FROM (
            SELECT c.source_id FROM reconcile_state c LEFT JOIN fetch_state s USING (source_id)
            WHERE c.source_id = ANY($2::text[]) AND c.due_at <= $1
              AND (c.lease_until IS NULL OR c.lease_until <= clock_timestamp())
              AND (s.paused_until IS NULL OR s.paused_until <= $1)
            ORDER BY c.due_at, c.source_id LIMIT 1 FOR UPDATE OF c SKIP LOCKED
        ) AS due
        WHERE r.source_id = due.source_id
        RETURNING r.source_id, r.watermark, r.deep_at, r.epoch
        """,
        now, list(among),
    )  # fmt: skip
    return None if row is None else Run(*row)


async def hold_run(tx: Tx, run: Run) -> bool:
    """Hold a run; False when another worker has it since."""
    return (
        await (await raw(tx)).fetchval(
            "SELECT 1 FROM reconcile_state WHERE source_id = $1 AND epoch = $2 FOR UPDATE", run.source_id, run.epoch
        )
        is not None
    )


async def reconcile_now(tx: Tx, source_id: str, *, at: datetime) -> None:
    """Make a source due for a comparison."""
    await (await raw(tx)).execute(
        "UPDATE reconcile_state SET due_at = least(due_at, $2) WHERE source_id = $1", source_id, at
    )


async def finish_run(
    tx: Tx,
    run: Run,
    *,
    now: datetime,
    due_at: datetime,
    watermark: datetime,
    deep_at: datetime | None,
    listed: int,
    found: int,
) -> None:
    """Note a run that went through."""
    await (await raw(tx)).execute(
        "UPDATE reconcile_state SET watermark = $3, deep_at = $4, due_at = $5, ran_at = $6, failed_since = NULL, "
        "reason = '', listed = $7, found = $8, lease_until = NULL WHERE source_id = $1 AND epoch = $2",
        run.source_id, run.epoch, watermark, deep_at, due_at, now, listed, found,
    )  # fmt: skip


async def fail_run(tx: Tx, run: Run, *, now: datetime, due_at: datetime, reason: str) -> None:
    """Note a run that ended early; the watermark stays, so that the next one begins at the same place."""
    await (await raw(tx)).execute(
        "UPDATE reconcile_state SET due_at = $3, failed_since = coalesce(failed_since, $4), reason = $5, "
        "lease_until = NULL WHERE source_id = $1 AND epoch = $2",
        run.source_id, run.epoch, due_at, now, reason,
    )  # fmt: skip


async def note_listed(tx: Tx, source_id: str, *, listed: Sequence[Listed], at: datetime) -> set[str]:
    """Keep what the provider lists, and tell which keys the ledger has never met.

    A key is met when an entry took it, when it was looked up, when the reconciler handed it in before, or when its
    person is to be forgotten.
    """
    connection = await raw(tx)
    keys = [one.key for one in listed]
    await connection.execute(
        "INSERT INTO provider_lead (source_id, key, form_id, occurred_at, listed_at) "
        "SELECT $1, k, f, o, $5 FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS t (k, f, o) ORDER BY k "
        "ON CONFLICT (source_id, key) DO UPDATE SET listed_at = EXCLUDED.listed_at, form_id = EXCLUDED.form_id, "
        "occurred_at = EXCLUDED.occurred_at",
        source_id, keys, [one.form_id for one in listed], [one.occurred_at for one in listed], at,
    )  # fmt: skip
    rows = await connection.fetch(
        """
        SELECT p.key FROM provider_lead p
        WHERE p.source_id = $1 AND p.key = ANY($2::text[]) AND p.receipt_id IS NULL
          AND NOT EXISTS (SELECT FROM receipt_entry e WHERE e.source_id = $1 AND e.key = p.key
                          AND e.outcome IN ('created', 'matched', 'touch_only', 'updated', 'pending'))
          AND NOT EXISTS (SELECT FROM fetch_job j WHERE j.source_id = $1 AND j.key = p.key)
          AND NOT EXISTS (SELECT FROM erase_request r WHERE r.source_id = $1 AND r.key = p.key)
        """,
        source_id, keys,
    )  # fmt: skip
    return {r[0] for r in rows}


async def note_handed_in(tx: Tx, source_id: str, *, keys: Sequence[str], receipt_id: str) -> None:
    """Remember which receipt the reconciler made of a listed lead."""
    await (await raw(tx)).execute(
        "UPDATE provider_lead SET receipt_id = $3::uuid WHERE source_id = $1 AND key = ANY($2::text[])",
        source_id, list(keys), receipt_id,
    )  # fmt: skip


async def forms_met(tx: Tx, source_id: str, *, since: datetime) -> list[str]:
    """The forms that a source's notifications named lately."""
    return [
        r[0]
        for r in await (await raw(tx)).fetch(
            "SELECT DISTINCT form_id FROM fetch_job WHERE source_id = $1 AND form_id <> '' AND created_at >= $2 "
            "UNION SELECT DISTINCT form_id FROM touch WHERE source_id = $1 AND form_id <> '' AND occurred_at >= $2 "
            "ORDER BY 1 LIMIT 1000",
            source_id, since,
        )
    ]  # fmt: skip


async def comparison(tx: Tx, source_id: str, *, since: datetime, until: datetime) -> list[Mapping[str, Any]]:
    """By day (UTC) and form: what the provider lists and what became of it, and what only the ledger has."""
    return list(
        await (await raw(tx)).fetch(
            """
            WITH listed AS (
                SELECT p.key, p.form_id, (p.occurred_at AT TIME ZONE 'UTC')::date AS day, coalesce(
                    (SELECT e.outcome FROM receipt_entry e WHERE e.source_id = p.source_id AND e.key = p.key
                     AND e.outcome IN ('created', 'matched', 'touch_only', 'updated', 'pending')),
                    (SELECT e.outcome FROM fetch_job j JOIN receipt_entry e USING (receipt_id, ordinal)
                     WHERE j.source_id = p.source_id AND j.key = p.key ORDER BY j.id DESC LIMIT 1),
                    (SELECT e.outcome FROM receipt_entry e WHERE e.receipt_id = p.receipt_id AND e.key = p.key LIMIT 1),
                    (SELECT 'refused' FROM erase_request r WHERE r.source_id = p.source_id AND r.key = p.key),
                    'missing') AS outcome
                FROM provider_lead p
                WHERE p.source_id = $1 AND p.occurred_at >= $2 AND p.occurred_at < $3
            ), ours AS (
                SELECT j.form_id, (j.occurred_at AT TIME ZONE 'UTC')::date AS day, 'only_here' AS outcome
                FROM fetch_job j JOIN receipt_entry e USING (receipt_id, ordinal)
                WHERE j.source_id = $1 AND j.occurred_at >= $2 AND j.occurred_at < $3
                  AND e.outcome IN ('created', 'matched', 'touch_only', 'updated')
                  AND NOT EXISTS (SELECT FROM provider_lead p WHERE p.source_id = $1 AND p.key = j.key)
            )
            SELECT day, form_id, outcome, count(*) AS count
            FROM (SELECT day, form_id, outcome FROM listed UNION ALL SELECT day, form_id, outcome FROM ours) AS rows
            GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2
            """,
            source_id, since, until,
        )
    )  # fmt: skip


async def reconcile_state(tx: Tx, source_id: str) -> Mapping[str, Any] | None:
    """How far a source was compared and how the last run ended."""
    row: Mapping[str, Any] | None = await (await raw(tx)).fetchrow(
        "SELECT watermark, ran_at, failed_since, reason, listed, found, due_at FROM reconcile_state "
        "WHERE source_id = $1",
        source_id,
    )
    return row


# --- reading and tidying ---------------------------------------------------------------------------------------------


async def jobs(
    tx: Tx, *, state: str | None, source: str | None, reason: str | None, before: str | None, limit: int
) -> list[Mapping[str, Any]]:
    """Jobs, newest first."""
    return list(
        await (await raw(tx)).fetch(
            "SELECT id::text, source_id, provider, receipt_id::text, ordinal, key, form_id, state, reason, attempt, "
            "due_at, expires_at, created_at, settled_at FROM fetch_job "
            "WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR source_id = $2) "
            "AND ($3::text IS NULL OR reason = $3) AND ($4::uuid IS NULL OR id < $4::uuid) "
            "ORDER BY id DESC LIMIT $5",
            state, source, reason, before, limit,
        )
    )  # fmt: skip


async def waiting(tx: Tx) -> dict[str, tuple[int, datetime]]:
    """By source: how many jobs wait, and since when the oldest does."""
    rows = await (await raw(tx)).fetch(
        "SELECT source_id, count(*), min(created_at) FROM fetch_job WHERE state = 'waiting' GROUP BY 1"
    )
    return {r[0]: (r[1], r[2]) for r in rows}


async def forget_old(tx: Tx, *, before: datetime, most: int) -> int:
    """Remove settled jobs and listed leads older than that, at most so many of each; says how many went."""
    connection = await raw(tx)
    gone = 0
    for statement in (
        "DELETE FROM fetch_job WHERE id IN (SELECT id FROM fetch_job WHERE state = 'done' AND created_at < $1 "
        "AND id < $3::uuid ORDER BY id LIMIT $2)",
        "DELETE FROM provider_lead WHERE (source_id, key) IN "
        "(SELECT source_id, key FROM provider_lead WHERE listed_at < $1 AND $3::uuid IS NOT NULL LIMIT $2)",
    ):
        status = await connection.execute(statement, before, most, _first_id(before))
        gone += int(status.rpartition(" ")[2])
    return gone


def _first_id(at: datetime) -> str:
    # UUIDv7 begins with the milliseconds, so that the primary key finds what is old.
    return str(UUID(f"{int(at.timestamp() * 1000):012x}" + "0" * 20))


_STATE = (
    "s.source_id, s.allowance, s.refilled_at, s.paused_until, s.pause_reason, s.throttled, s.token_invalid_since, "
    "s.token_reason, s.last_ok_at"
)
_JOB = (
    "j.id::text, j.source_id, j.provider, j.receipt_id::text, j.ordinal, j.key, j.lookup_id, j.form_id, "
    "j.about::text, j.occurred_at, r.received_at, j.attempt, j.malformed, j.expires_at, j.epoch"
)


def _state(row: Any) -> State:
    return State(row[0], Allowance(row[1], row[2]), *row[3:])


def _job(row: Any) -> Job:
    return Job(*(json.loads(value) if place == 8 else value for place, value in enumerate(row)))
