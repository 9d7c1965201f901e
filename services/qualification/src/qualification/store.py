"""Every SQL statement of the service."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from baton_agreement.features import UNKNOWN, Touch, profile_of
from baton_agreement.scoring import EVALUATOR_VERSION, MAX_TOUCHES, Decision, hour_of
from baton_kit.db import Tx, insert_rows, raw
from baton_kit.failpoint import failpoint
from qualification.cycle import CycleState, Feedback, Lead, SeenTouch

# --- The lock between decisions and activations -----------------------------------------------------------------

_GATE = "hashtextextended('qualification.activation', 0)"


async def lock_for_deciding(tx: Tx) -> None:
    """Keep activations away until the end of the transaction; decisions do not hinder each other."""
    await (await raw(tx)).execute(f"SELECT pg_advisory_xact_lock_shared({_GATE})")
    failpoint("store.after_shared_lock")


async def lock_for_activating(tx: Tx) -> None:
    """Wait for every decision under way and keep new ones waiting; must be the transaction's first statement."""
    await (await raw(tx)).execute(f"SELECT pg_advisory_xact_lock({_GATE})")
    failpoint("store.after_exclusive_lock")


async def lock_for_merging(tx: Tx) -> None:
    """Wait for every decision under way: who belongs to whom does not change while one is made.

    Where a transaction holds `lock_for_deciding` already it waits for all others; of two that do so at once PostgreSQL
    ends one, which is repeated.
    """
    await lock_for_activating(tx)


# --- Leads and touches (the hot path: one asyncpg statement a batch each) ----------------------------------------

_LEAD = (
    "id, sequence, created_at, test, features, features_sequence, cycle, cycle_state, ended_at, return_at, "
    "activation_seq, outcome, score, stopped_by, decision_id, next_change_at, account_id, account_sequence"
)


def _lead(row: Any) -> Lead:
    return Lead(
        id=row[0],
        sequence=row[1],
        created_at=row[2],
        test=row[3],
        profile=profile_of(row[4]),
        features_sequence=row[5],
        cycle=row[6],
        state=CycleState(row[7]),
        ended_at=row[8],
        return_at=row[9],
        activation_seq=row[10],
        outcome=row[11],
        score=row[12],
        stopped_by=row[13],
        decision_id=row[14],
        next_change_at=row[15],
        account_id=row[16],
        account_sequence=row[17],
    )


async def known_among(tx: Tx, lead_ids: Sequence[str]) -> list[str]:
    """Return which of these leads anything is kept of: the lead, a merge or an answer of sales."""
    rows = await (await raw(tx)).fetch(
        "SELECT k FROM unnest($1::text[]) AS k WHERE EXISTS (SELECT FROM lead WHERE id = k) "
        "OR EXISTS (SELECT FROM merge_edge WHERE active AND source = k) "
        "OR EXISTS (SELECT FROM merge_edge WHERE active AND target = k) "
        "OR EXISTS (SELECT FROM feedback WHERE lead_id = k)",
        list(lead_ids),
    )
    failpoint("store.after_known_among")
    return [row[0] for row in rows]


async def lock_leads(tx: Tx, lead_ids: Sequence[str]) -> dict[str, Lead]:
    """Lock and read the leads in key order. Unknown ids are simply missing from the result.

    A lead that is not there yet cannot be locked: the consumer's own lock on the key keeps it to one batch at a time.
    """
    if not lead_ids:
        return {}
    rows = await (await raw(tx)).fetch(
        f"SELECT {_LEAD} FROM lead WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE",  # noqa: S608 - fixed columns
        list(lead_ids),
    )
    failpoint("store.after_lock_leads")
    return {row[0]: _lead(row) for row in rows}


_ALONE = (
    "AND NOT EXISTS (SELECT FROM merge_edge WHERE active AND source = lead.id) AND NOT EXISTS ("
    "SELECT FROM merge_edge WHERE active AND target = lead.id)"
)
"""Leads of several are decided about together (merging/)."""


async def claim_due_leads(tx: Tx, *, at: datetime, limit: int) -> dict[str, Lead]:
    """Lock and read leads whose points change at `at` or before; those that another worker holds are passed over."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_LEAD} FROM lead WHERE next_change_at <= $1 {_ALONE} "  # noqa: S608 - fixed columns
        "ORDER BY next_change_at LIMIT $2 FOR UPDATE SKIP LOCKED",
        at,
        limit,
    )
    return {row[0]: _lead(row) for row in rows}


async def claim_waiting_leads(tx: Tx, *, limit: int) -> dict[str, Lead]:
    """Lock and read leads that came before any agreement was active."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_LEAD} FROM lead WHERE activation_seq IS NULL AND created_at IS NOT NULL AND NOT test "  # noqa: S608
        f"AND cycle_state = 'open' {_ALONE} ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
        limit,
    )
    return {row[0]: _lead(row) for row in rows}


async def newest_touches(tx: Tx, lead_ids: Sequence[str], *, since: datetime) -> dict[str, list[SeenTouch]]:
    """Return each lead's touches since a time, at most as many as a decision looks at, the newest."""
    if not lead_ids:
        return {}
    rows = await (await raw(tx)).fetch(
        "SELECT l.id, t.occurred_at, t.id, t.fields FROM unnest($1::text[]) AS l(id) CROSS JOIN LATERAL ("
        "  SELECT occurred_at, id, fields FROM touch WHERE lead_id = l.id AND occurred_at >= $2"
        "  ORDER BY occurred_at DESC, id DESC LIMIT $3"
        ") AS t",
        list(lead_ids),
        since,
        MAX_TOUCHES,
    )
    failpoint("store.after_touches")
    found: dict[str, list[SeenTouch]] = {}
    for lead_id, at, touch_id, fields in rows:
        found.setdefault(lead_id, []).append(SeenTouch(at, Touch(touch_id, hour_of(at), fields)))
    return found


async def insert_touches(tx: Tx, touches: Sequence[tuple[str, SeenTouch]]) -> None:
    """Keep (lead id, touch) pairs; one that is there already stays as it is."""
    if not touches:
        return
    await (await raw(tx)).execute(
        "INSERT INTO touch (lead_id, occurred_at, id, fields) "
        "SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::jsonb[]) ON CONFLICT DO NOTHING",
        [lead_id for lead_id, _ in touches],
        [seen.at for _, seen in touches],
        [seen.touch.id for _, seen in touches],
        [json.dumps(seen.touch.fields) for _, seen in touches],
    )
    failpoint("store.after_insert_touches")


_LEAD_COLUMNS = _LEAD.split(", ")


async def insert_leads(tx: Tx, leads: Sequence[Lead]) -> None:
    """Write leads that `lock_leads` did not find. Raises UniqueViolationError where one is there by now."""
    if not leads:
        return
    # The columns are the fields of Lead in their order, but for the features.
    records = [(*lead[:4], (lead.profile or UNKNOWN).text, *lead[5:]) for lead in leads]
    await insert_rows(tx, "lead", records, columns=_LEAD_COLUMNS)
    failpoint("store.after_write_leads")  # one place with `write_leads`: a batch may pass only one of them


async def write_leads(tx: Tx, leads: Sequence[Lead]) -> None:
    """Write the leads as they stand now; the caller holds their locks."""
    if not leads:
        return
    await (await raw(tx)).execute(
        f"INSERT INTO lead ({_LEAD}) SELECT * FROM unnest("  # noqa: S608 - fixed columns
        "$1::text[], $2::bigint[], $3::timestamptz[], $4::boolean[], $5::jsonb[], $6::bigint[], $7::bigint[], "
        "$8::text[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], "
        "$15::text[], $16::timestamptz[], $17::text[], $18::bigint[]) ON CONFLICT (id) DO UPDATE SET "
        "sequence = excluded.sequence, created_at = excluded.created_at, test = excluded.test, "
        "features = excluded.features, features_sequence = excluded.features_sequence, cycle = excluded.cycle, "
        "cycle_state = excluded.cycle_state, ended_at = excluded.ended_at, return_at = excluded.return_at, "
        "activation_seq = excluded.activation_seq, outcome = excluded.outcome, score = excluded.score, "
        "stopped_by = excluded.stopped_by, decision_id = excluded.decision_id, "
        "next_change_at = excluded.next_change_at, account_id = excluded.account_id, "
        "account_sequence = excluded.account_sequence",
        [x.id for x in leads],
        [x.sequence for x in leads],
        [x.created_at for x in leads],
        [x.test for x in leads],
        [(x.profile or UNKNOWN).text for x in leads],
        [x.features_sequence for x in leads],
        [x.cycle for x in leads],
        [x.state.value for x in leads],
        [x.ended_at for x in leads],
        [x.return_at for x in leads],
        [x.activation_seq for x in leads],
        [x.outcome for x in leads],
        [x.score for x in leads],
        [x.stopped_by for x in leads],
        [x.decision_id for x in leads],
        [x.next_change_at for x in leads],
        [x.account_id for x in leads],
        [x.account_sequence for x in leads],
    )
    failpoint("store.after_write_leads")


# --- Decisions ---------------------------------------------------------------------------------------------------


class NewDecision(NamedTuple):
    """A decision with the id and the sequence it is stored and told under."""

    id: str
    sequence: int
    kind: str
    decision: Decision


_DECISION_COLUMNS = (
    "id",
    "lead_id",
    "sequence",
    "cycle",
    "kind",
    "at",
    "activation_seq",
    "digest",
    "outcome",
    "score",
    "threshold",
    "stopped_by",
    "rules",
    "evaluator_version",
    "snapshot_digest",
    "snapshot",
    "canonical",
)


async def insert_decisions(tx: Tx, decisions: Sequence[NewDecision]) -> None:
    """Keep decisions for ever: their bytes, what they looked at, and their stamps."""
    if not decisions:
        return
    records = [
        (
            new.id,
            d.lead_id,
            new.sequence,
            d.cycle,
            new.kind,
            d.at,
            d.stamp.activation_seq,
            d.stamp.digest,
            d.outcome.value,
            d.score,
            d.threshold,
            d.verdict.stopped_by,
            [c.rule_id for c in d.verdict.contributions if c.group != "cap"],
            EVALUATOR_VERSION,
            d.snapshot_digest,
            d.snapshot,
            d.canonical,
        )
        for new in decisions
        for d in (new.decision,)
    ]
    await insert_rows(tx, "decision", records, columns=_DECISION_COLUMNS)
    failpoint("store.after_insert_decisions")


async def insert_qualified(tx: Tx, decisions: Sequence[NewDecision]) -> None:
    """Write down that these leads were handed over in their cycles; a second time is an error."""
    if not decisions:
        return
    await (await raw(tx)).execute(
        "INSERT INTO qualified (lead_id, cycle, decision_id, at) "
        "SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[])",
        [d.decision.lead_id for d in decisions],
        [d.decision.cycle for d in decisions],
        [d.id for d in decisions],
        [d.decision.at for d in decisions],
    )
    failpoint("store.after_insert_qualified")


_DECISION = (
    "id, lead_id, sequence, cycle, kind, at, activation_seq, digest, outcome, score, threshold, stopped_by, "
    "evaluator_version, snapshot_digest, snapshot, canonical"
)


async def decision(tx: Tx, decision_id: str) -> Mapping[str, Any] | None:
    """Return one decision's row."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_DECISION} FROM decision WHERE id = $1", decision_id)  # noqa: S608
    return None if row is None else dict(row)


async def decisions_of(tx: Tx, lead_id: str, *, before: int | None, limit: int) -> list[Mapping[str, Any]]:
    """Return a lead's decisions, the newest first, those before a sequence."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_DECISION} FROM decision WHERE lead_id = $1 AND ($2::bigint IS NULL OR sequence < $2) "  # noqa: S608
        "ORDER BY sequence DESC LIMIT $3",
        lead_id,
        before,
        limit,
    )
    return [dict(row) for row in rows]


async def decisions_between(
    tx: Tx,
    *,
    since: datetime | None,
    until: datetime | None,
    digest: str | None,
    lead_id: str | None,
    after: str,
    most: int,
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Look at the next `most` decisions by id: those of the range, and the last id looked at, None at the end."""
    connection = await raw(tx)
    looked_at = [
        row[0]
        for row in await connection.fetch(
            "SELECT id FROM decision WHERE id > $1 AND ($2::text IS NULL OR lead_id = $2) ORDER BY id LIMIT $3",
            after,
            lead_id,
            most,
        )
    ]
    if not looked_at:
        return [], None
    rows = await connection.fetch(
        f"SELECT {_DECISION} FROM decision WHERE id = ANY($1::text[]) "  # noqa: S608
        "AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3) "
        "AND ($4::text IS NULL OR digest = $4) ORDER BY id",
        looked_at,
        since,
        until,
        digest,
    )
    return [dict(row) for row in rows], looked_at[-1] if len(looked_at) == most else None


async def qualified_of(tx: Tx, lead_id: str) -> list[Mapping[str, Any]]:
    """Return when a lead was handed over, by cycle."""
    rows = await (await raw(tx)).fetch(
        "SELECT cycle, decision_id, at FROM qualified WHERE lead_id = $1 ORDER BY cycle", lead_id
    )
    return [dict(row) for row in rows]


async def lead(tx: Tx, lead_id: str) -> Lead | None:
    """Read a lead as it stands."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_LEAD} FROM lead WHERE id = $1", lead_id)  # noqa: S608
    return None if row is None else _lead(row)


async def lead_exists(tx: Tx, lead_id: str) -> bool:
    """Say whether anything is known of the lead."""
    return bool(await (await raw(tx)).fetchval("SELECT EXISTS (SELECT FROM lead WHERE id = $1)", lead_id))


# --- Feedback ----------------------------------------------------------------------------------------------------


async def insert_feedback(tx: Tx, answers: Sequence[Feedback]) -> None:
    """Keep what sales answered; one that is there already stays as it is."""
    await (await raw(tx)).execute(
        "INSERT INTO feedback (id, lead_id, cycle, sequence, kind, reason, reason_family, occurred_at, return_at, "
        "activation_seq, rep_id) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], "
        "$6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::text[]) "
        "ON CONFLICT DO NOTHING",
        [a.id for a in answers],
        [a.lead_id for a in answers],
        [a.cycle for a in answers],
        [a.sequence for a in answers],
        [a.kind for a in answers],
        [a.reason for a in answers],
        [a.reason_family for a in answers],
        [a.occurred_at for a in answers],
        [a.return_at for a in answers],
        [a.activation_seq for a in answers],
        [a.rep_id for a in answers],
    )
    failpoint("store.after_insert_feedback")


async def feedback_of(tx: Tx, lead_ids: Sequence[str]) -> dict[str, list[Feedback]]:
    """Return what sales answered on these leads, including what came before the leads did."""
    if not lead_ids:
        return {}
    rows = await (await raw(tx)).fetch(
        "SELECT id, lead_id, cycle, sequence, kind, reason, reason_family, occurred_at, return_at, activation_seq, "
        "rep_id FROM feedback WHERE lead_id = ANY($1::text[])",
        list(lead_ids),
    )
    failpoint("store.after_feedback")
    found: dict[str, list[Feedback]] = {}
    for row in rows:
        found.setdefault(row[1], []).append(Feedback(*row))
    return found


# --- Agreements --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """A stored agreement; `round` counts how often it was proposed."""

    digest: str
    agreement_id: str
    version: int
    document: bytes
    state: str
    round: int
    proposed_at: datetime
    proposed_by: str


@dataclass(frozen=True, slots=True)
class SignatureRow:
    digest: str
    round: int
    department: str
    person_id: str
    signed_at: datetime
    jws: str


@dataclass(frozen=True, slots=True)
class ActivationRow:
    activation_seq: int
    digest: str
    round: int
    activated_at: datetime


@dataclass(frozen=True, slots=True)
class PersonRow:
    id: str
    name: str
    department: str
    public_key: dict[str, Any]
    sealed_key: bytes
    created_at: datetime


_AGREEMENT = "digest, agreement_id, version, document, state, round, proposed_at, proposed_by"


async def agreement(tx: Tx, digest: str) -> AgreementRow | None:
    """Return one agreement."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_AGREEMENT} FROM agreement WHERE digest = $1", digest)  # noqa: S608
    return None if row is None else AgreementRow(*row)


async def lock_agreements(tx: Tx) -> None:
    """Let one transaction at a time propose or sign: versions and history are numbered without gaps."""
    await (await raw(tx)).execute("SELECT pg_advisory_xact_lock(hashtextextended('qualification.agreements', 0))")
    failpoint("store.after_agreements_lock")


async def next_version(tx: Tx) -> int:
    """Return the version that the next new agreement gets."""
    return int(await (await raw(tx)).fetchval("SELECT coalesce(max(version), 0) + 1 FROM agreement"))


async def put_agreement(tx: Tx, row: AgreementRow) -> None:
    """Write a new agreement, or propose an old one again."""
    await (await raw(tx)).execute(
        f"INSERT INTO agreement ({_AGREEMENT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (digest) "  # noqa: S608
        "DO UPDATE SET state = excluded.state, round = excluded.round, proposed_at = excluded.proposed_at, "
        "proposed_by = excluded.proposed_by",
        row.digest,
        row.agreement_id,
        row.version,
        row.document,
        row.state,
        row.round,
        row.proposed_at,
        row.proposed_by,
    )
    failpoint("store.after_put_agreement")


async def supersede_all_but(tx: Tx, digest: str) -> list[str]:
    """Supersede the version that was active and every other open proposal; returns their digests."""
    rows = await (await raw(tx)).fetch(
        "UPDATE agreement SET state = 'superseded' WHERE state IN ('active', 'proposed') AND digest <> $1 "
        "RETURNING digest",
        digest,
    )
    failpoint("store.after_supersede")
    return sorted(row[0] for row in rows)


async def set_active(tx: Tx, digest: str) -> None:
    """Mark the agreement as the one in force."""
    await (await raw(tx)).execute("UPDATE agreement SET state = 'active' WHERE digest = $1", digest)
    failpoint("store.after_set_active")


async def agreements(tx: Tx, *, before: int | None, limit: int) -> list[AgreementRow]:
    """Return agreements, the highest version first."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_AGREEMENT} FROM agreement WHERE $1::bigint IS NULL OR version < $1 "  # noqa: S608
        "ORDER BY version DESC LIMIT $2",
        before,
        limit,
    )
    return [AgreementRow(*row) for row in rows]


async def insert_signature(tx: Tx, row: SignatureRow) -> None:
    """Keep a signature."""
    await (await raw(tx)).execute(
        "INSERT INTO signature (digest, round, department, person_id, signed_at, jws) VALUES ($1, $2, $3, $4, $5, $6)",
        row.digest,
        row.round,
        row.department,
        row.person_id,
        row.signed_at,
        row.jws,
    )
    failpoint("store.after_insert_signature")


async def signatures(tx: Tx, digest: str, round: int) -> list[SignatureRow]:
    """Return the signatures of one proposal, in the order they were given."""
    rows = await (await raw(tx)).fetch(
        "SELECT digest, round, department, person_id, signed_at, jws FROM signature "
        "WHERE digest = $1 AND round = $2 ORDER BY signed_at, department",
        digest,
        round,
    )
    return [SignatureRow(*row) for row in rows]


async def newest_activation(tx: Tx) -> ActivationRow | None:
    """Return the activation in force. Read it in a statement after the lock."""
    row = await (await raw(tx)).fetchrow(
        "SELECT activation_seq, digest, round, activated_at FROM activation ORDER BY activation_seq DESC LIMIT 1"
    )
    return None if row is None else ActivationRow(*row)


async def activations(tx: Tx, sequences: Sequence[int]) -> dict[int, AgreementRow]:
    """Return the agreements that these activations put into force."""
    rows = await (await raw(tx)).fetch(
        "SELECT x.activation_seq, a.digest, a.agreement_id, a.version, a.document, a.state, a.round, a.proposed_at, "
        "a.proposed_by FROM activation x JOIN agreement a USING (digest) WHERE x.activation_seq = ANY($1::bigint[])",
        list(sequences),
    )
    return {row[0]: AgreementRow(*row[1:]) for row in rows}


async def activations_of(tx: Tx, digest: str) -> list[ActivationRow]:
    """Return when an agreement came into force."""
    rows = await (await raw(tx)).fetch(
        "SELECT activation_seq, digest, round, activated_at FROM activation WHERE digest = $1 ORDER BY 1", digest
    )
    return [ActivationRow(*row) for row in rows]


async def insert_activation(tx: Tx, row: ActivationRow) -> None:
    """Put an agreement into force."""
    await (await raw(tx)).execute(
        "INSERT INTO activation (activation_seq, digest, round, activated_at) VALUES ($1, $2, $3, $4)",
        row.activation_seq,
        row.digest,
        row.round,
        row.activated_at,
    )
    failpoint("store.after_insert_activation")


# --- History -----------------------------------------------------------------------------------------------------


async def last_history(tx: Tx) -> tuple[int, str]:
    """Return number and hash of the last entry, (0, "") for none."""
    row = await (await raw(tx)).fetchrow("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1")
    return (0, "") if row is None else (row[0], row[1])


async def insert_history(tx: Tx, *, seq: int, entry: bytes, prev_hash: str, hash: str) -> None:
    """Append one entry."""
    await (await raw(tx)).execute(
        "INSERT INTO history (seq, entry, prev_hash, hash) VALUES ($1, $2, $3, $4)", seq, entry, prev_hash, hash
    )
    failpoint("store.after_insert_history")


async def history(tx: Tx, *, after: int, limit: int) -> list[tuple[int, bytes, str, str]]:
    """Return entries in their order, those after a number."""
    rows = await (await raw(tx)).fetch(
        "SELECT seq, entry, prev_hash, hash FROM history WHERE seq > $1 ORDER BY seq LIMIT $2", after, limit
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


# --- People ------------------------------------------------------------------------------------------------------

_PERSON = "id, name, department, public_key, sealed_key, created_at"


def _person(row: Any) -> PersonRow:
    return PersonRow(row[0], row[1], row[2], row[3], row[4], row[5])


async def insert_person(tx: Tx, person: PersonRow) -> bool:
    """Keep a person; False if the id is taken."""
    row = await (await raw(tx)).fetchrow(
        f"INSERT INTO person ({_PERSON}) VALUES ($1, $2, $3, $4::jsonb, $5, $6) "  # noqa: S608
        "ON CONFLICT DO NOTHING RETURNING id",
        person.id,
        person.name,
        person.department,
        json.dumps(person.public_key),
        person.sealed_key,
        person.created_at,
    )
    failpoint("store.after_insert_person")
    return row is not None


async def person(tx: Tx, person_id: str) -> PersonRow | None:
    """Return one person."""
    row = await (await raw(tx)).fetchrow(f"SELECT {_PERSON} FROM person WHERE id = $1", person_id)  # noqa: S608
    return None if row is None else _person(row)


async def people(tx: Tx, *, after: str | None, limit: int) -> list[PersonRow]:
    """Return people by id."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {_PERSON} FROM person WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2",  # noqa: S608
        after,
        limit,
    )
    return [_person(row) for row in rows]


# --- Reports -----------------------------------------------------------------------------------------------------


async def outcome_counts(tx: Tx) -> dict[str, int]:
    """Return leads by their latest outcome; `waiting` are not decided yet, `test` and `history` never will be."""
    rows = await (await raw(tx)).fetch(
        "SELECT CASE WHEN test THEN 'test' WHEN created_at IS NULL THEN 'early' "
        "WHEN cycle_state = 'history' THEN 'history' ELSE coalesce(outcome, 'waiting') END, "
        "count(*) FROM lead GROUP BY 1"
    )
    return {row[0]: row[1] for row in rows}


async def totals(tx: Tx) -> Mapping[str, int]:
    """Return how many decisions were made and how many leads were handed over, cycles counted each."""
    row = await (await raw(tx)).fetchrow(
        "SELECT (SELECT count(*) FROM decision) AS decisions, (SELECT count(*) FROM qualified) AS qualified"
    )
    return dict(row)


async def rule_counts(tx: Tx) -> list[Mapping[str, Any]]:
    """Return for each rule how many leads it holds for now, were handed over with it, and what sales answered then."""
    rows = await (await raw(tx)).fetch(
        """
        WITH answers AS (
            SELECT lead_id, cycle, bool_or(kind = 'accepted') AS accepted, bool_or(kind = 'rejected') AS rejected,
                   bool_or(kind = 'recycled') AS recycled
            FROM feedback GROUP BY 1, 2
        ), latest AS (
            SELECT rule, count(*) AS leads
            FROM lead JOIN decision d ON d.id = lead.decision_id CROSS JOIN LATERAL unnest(
                CASE WHEN d.stopped_by <> '' THEN ARRAY[d.stopped_by] ELSE d.rules END) AS rule
            GROUP BY rule
        ), handed AS (
            SELECT rule, count(*) AS qualified, count(*) FILTER (WHERE a.accepted) AS accepted,
                   count(*) FILTER (WHERE a.rejected) AS rejected, count(*) FILTER (WHERE a.recycled) AS recycled
            FROM qualified q JOIN decision d ON d.id = q.decision_id
            LEFT JOIN answers a ON a.lead_id = q.lead_id AND a.cycle = q.cycle
            CROSS JOIN LATERAL unnest(d.rules) AS rule
            GROUP BY rule
        )
        SELECT rule, coalesce(leads, 0) AS leads, coalesce(qualified, 0) AS qualified,
               coalesce(accepted, 0) AS accepted, coalesce(rejected, 0) AS rejected,
               coalesce(recycled, 0) AS recycled
        FROM latest FULL JOIN handed USING (rule) ORDER BY rule
        """
    )
    return [dict(row) for row in rows]


async def read_one_snapshot(tx: Tx) -> None:
    """Let all sums of this transaction be of one moment; must be its first statement."""
    await tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
