"""Every SQL statement of the service."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from attribution.contribution import CAMPAIGN_NOT_SET, COMPUTED, Credit, Deal, Projection, Total, TotalKey
from attribution.facts import Fact, GroupFact
from attribution.tables import TABLE_OF
from baton_kit.db import Tx, raw
from baton_kit.edges import ALONE, Edge, Families, families
from baton_models.weights import Parameters, Touch

_CREDIT_COLUMNS = tuple(f.name for f in dataclasses.fields(Credit))
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _insert_statement(table: Table) -> str:
    columns = [c for c in table.columns if c.name != "known_seq"]
    names = ", ".join(c.name for c in columns)
    lead = "lead_id" if "lead_id" in table.columns else "NULL::text AS lead_id"
    arrays = ", ".join(f"${n}::{c.type.compile(_DIALECT)}[]" for n, c in enumerate(columns, start=2))
    return (
        f"INSERT INTO {table.name} ({names}, known_seq) "  # noqa: S608 - names of our own tables
        f"SELECT facts.*, $1 FROM unnest({arrays}) AS facts ON CONFLICT DO NOTHING RETURNING {lead}"
    )


_INSERT: dict[type[Fact], str] = {kind: _insert_statement(table) for kind, table in TABLE_OF.items()}

# --- facts ------------------------------------------------------------------------------------------------------


async def next_position(tx: Tx, *, at: datetime) -> int:
    """Take the next position in the log of facts and hold it until the commit.

    Batches of this service therefore commit in the order of their positions, one after the other: what is read after
    this call is everything that was committed before, and nothing else of this service is being written. Call it
    before any other statement of a batch.
    """
    statement = "UPDATE known_position SET value = value + 1, moved_at = $1 RETURNING value"
    return int(await (await raw(tx)).fetchval(statement, at))


async def position(tx: Tx) -> int:
    """Return the last position that was committed: every fact stamped with at most this can be seen."""
    return int(await (await raw(tx)).fetchval("SELECT value FROM known_position"))


async def insert_facts(tx: Tx, facts: Sequence[Fact], *, known_seq: int) -> set[str]:
    """Insert facts of one kind; returns the leads of those that were new, none for facts about no lead."""
    if not facts:
        return set()
    kind = type(facts[0])
    names = [f.name for f in dataclasses.fields(kind)]
    columns = [[getattr(fact, name) for fact in facts] for name in names]
    rows = await (await raw(tx)).fetch(_INSERT[kind], known_seq, *columns)
    return {row["lead_id"] for row in rows if row["lead_id"] is not None}


async def insert_groups(tx: Tx, facts: Sequence[GroupFact], *, known_seq: int) -> list[GroupFact]:
    """Insert groupings; returns those that were new."""
    if not facts:
        return []
    known = await (await raw(tx)).fetch(
        "SELECT touch_id, sequence FROM touch_group WHERE (touch_id, sequence) IN "
        "(SELECT * FROM unnest($1::text[], $2::bigint[]))",
        [f.touch_id for f in facts], [f.sequence for f in facts],
    )  # fmt: skip
    seen = {(row[0], row[1]) for row in known}
    new = list({(f.touch_id, f.sequence): f for f in facts if (f.touch_id, f.sequence) not in seen}.values())
    await insert_facts(tx, new, known_seq=known_seq)
    return new


# --- channel rules ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class RulesInForce:
    """The newest version of the channel rules that is known, and whether every touch is credited under it."""

    version: int
    restated: bool


async def rules_in_force(tx: Tx) -> RulesInForce:
    """Return the newest version of the channel rules; 1 is what Baton comes with."""
    row = await (await raw(tx)).fetchrow(
        "SELECT version, regrouped >= to_regroup AS restated FROM channel_rules ORDER BY version DESC LIMIT 1"
    )
    return RulesInForce(1, restated=True) if row is None else RulesInForce(row["version"], bool(row["restated"]))


async def count_regrouped(tx: Tx, touches: Mapping[int, int]) -> None:
    """Add to the touches that are known to be regrouped by a version."""
    for version, count in sorted(touches.items()):
        await (await raw(tx)).execute(
            "INSERT INTO channel_rules AS r (version, regrouped) VALUES ($1, $2) "
            "ON CONFLICT (version) DO UPDATE SET regrouped = r.regrouped + excluded.regrouped",
            version, count,
        )  # fmt: skip


async def rules_changed(tx: Tx, *, version: int, at: datetime) -> None:
    """Keep when a version was put into force."""
    await (await raw(tx)).execute(
        "INSERT INTO channel_rules (version, changed_at, regrouped) VALUES ($1, $2, 0) "
        "ON CONFLICT (version) DO UPDATE SET changed_at = excluded.changed_at",
        version, at,
    )  # fmt: skip


async def rules_restated(tx: Tx, *, version: int, touches: int) -> None:
    """Keep how many touches a version regroups."""
    await (await raw(tx)).execute(
        "INSERT INTO channel_rules (version, regrouped, to_regroup) VALUES ($1, 0, $2) "
        "ON CONFLICT (version) DO UPDATE SET to_regroup = excluded.to_regroup",
        version, touches,
    )  # fmt: skip


# What stands last in a window of the log: all versions up to a position, the highest sequence of each deal.
_LATEST_DEAL = """
SELECT DISTINCT ON (deal_id) deal_id, lead_id, outcome, amount_minor, currency, closed_at
FROM deal_version
"""


async def latest_deals(tx: Tx, lead_ids: Set[str]) -> list[Deal]:
    """Return every deal that any version puts on one of these leads, as its latest version has it."""
    rows = await (await raw(tx)).fetch(
        f"{_LATEST_DEAL} WHERE deal_id IN "  # noqa: S608 - our own text
        "(SELECT deal_id FROM deal_version WHERE lead_id = ANY($1::text[])) "
        "ORDER BY deal_id, sequence DESC",
        list(lead_ids),
    )
    return [Deal(*row) for row in rows]


async def deals_page(tx: Tx, *, after: str, position: int, limit: int) -> list[Deal]:
    """Return the next deals by id as they stood at a position."""
    rows = await (await raw(tx)).fetch(
        f"{_LATEST_DEAL} WHERE deal_id > $1 AND known_seq <= $2 ORDER BY deal_id, sequence DESC LIMIT $3",
        after, position, limit,
    )  # fmt: skip
    return [Deal(*row) for row in rows]


# Every merge that ever joined the leads around these, whether it stands or not: few, and found by their indexes.
_MERGES_AROUND = """
WITH RECURSIVE near AS (
    SELECT unnest($1::text[]) AS key
    UNION
    SELECT next.key FROM near CROSS JOIN LATERAL (
        SELECT into_lead_id AS key FROM merge_version WHERE lead_id = near.key
        UNION ALL
        SELECT lead_id FROM merge_version WHERE into_lead_id = near.key
    ) AS next
)
SELECT DISTINCT ON (merge_id) merge_id, lead_id, into_lead_id, version, active
FROM merge_version
WHERE lead_id IN (SELECT key FROM near) AND ($2::bigint IS NULL OR known_seq <= $2)
ORDER BY merge_id, version DESC
"""


async def families_at(tx: Tx, lead_ids: Iterable[str], *, position: int | None = None) -> Families:
    """Return who belongs to these leads, as far as it was known at a position."""
    wanted = sorted(set(lead_ids))
    if not wanted:
        return ALONE
    return families(Edge(*row) for row in await (await raw(tx)).fetch(_MERGES_AROUND, wanted, position))


async def all_families(tx: Tx) -> Families:
    """Return everyone who belongs to anyone, as it stands."""
    rows = await (await raw(tx)).fetch(
        "SELECT DISTINCT ON (merge_id) merge_id, lead_id, into_lead_id, version, active "
        "FROM merge_version ORDER BY merge_id, version DESC"
    )
    return families(Edge(*row) for row in rows)


async def touches_of(tx: Tx, lead_ids: Set[str], *, position: int | None = None) -> Mapping[str, list[Touch]]:
    """Return all touches of each lead's person, as far as they were known at a position; test touches are left out."""
    whole = await families_at(tx, lead_ids, position=position)
    own = await _touches_by_lead(tx, whole.everyone(lead_ids), position=position)
    return {lead_id: [t for member in whole.members(lead_id) for t in own.get(member, ())] for lead_id in lead_ids}


async def _touches_by_lead(tx: Tx, lead_ids: Sequence[str], *, position: int | None) -> Mapping[str, list[Touch]]:
    connection = await raw(tx)
    rows = await connection.fetch(
        "SELECT lead_id, touch_id, occurred_at, channel, campaign, utm_campaign, campaign_id FROM touch "
        "WHERE lead_id = ANY($1::text[]) AND NOT test AND NOT within_visit "
        "AND ($2::bigint IS NULL OR known_seq <= $2)",
        lead_ids, position,
    )  # fmt: skip
    # Few touches are ever grouped anew: they are asked for by themselves.
    latest = await connection.fetch(
        "SELECT DISTINCT ON (touch_id) touch_id, channel, campaign FROM touch_group "
        "WHERE lead_id = ANY($1::text[]) AND ($2::bigint IS NULL OR known_seq <= $2) ORDER BY touch_id, sequence DESC",
        list(lead_ids), position,
    )  # fmt: skip
    groups = {row["touch_id"]: row for row in latest}
    touches: dict[str, list[Touch]] = defaultdict(list)
    for lead_id, touch_id, at, channel, campaign, named, id_there in rows:
        if (group := groups.get(touch_id)) is not None:
            channel = group["channel"]
            campaign = group["campaign"] or named or id_there or CAMPAIGN_NOT_SET
        touches[lead_id].append(Touch(touch_id, at, channel, campaign))
    return touches


async def leads_changed_after(tx: Tx, position: int) -> set[str]:
    """Return the leads whose credits may differ from what they were at a position."""
    rows = await (await raw(tx)).fetch(
        "SELECT lead_id FROM touch WHERE known_seq > $1 AND NOT test "
        "UNION SELECT lead_id FROM touch_group WHERE known_seq > $1 "
        "UNION SELECT lead_id FROM deal_version WHERE known_seq > $1 "
        "UNION SELECT lead_id FROM merge_version WHERE known_seq > $1 "
        "UNION SELECT into_lead_id FROM merge_version WHERE known_seq > $1",
        position,
    )
    return {row["lead_id"] for row in rows}


# --- the projection ---------------------------------------------------------------------------------------------


async def current_projection(tx: Tx) -> Projection:
    """Return the projection that reports read and batches add to."""
    row = await (await raw(tx)).fetchrow(
        "SELECT generation_id, models, lookback_days, half_life_hours FROM generation WHERE state = 'current'"
    )
    parameters = Parameters(lookback_days=row["lookback_days"], half_life_hours=row["half_life_hours"])
    return Projection(row["generation_id"], tuple(row["models"]), parameters)


async def open_projection(tx: Tx, parameters: Parameters, *, at: datetime) -> Projection:
    """Make an empty projection of every model beside the current one."""
    generation_id = await (await raw(tx)).fetchval(
        "INSERT INTO generation (state, lookback_days, half_life_hours, models, created_at) "
        "VALUES ('building', $1, $2, $3, $4) RETURNING generation_id",
        parameters.lookback_days, parameters.half_life_hours, list(COMPUTED), at,
    )  # fmt: skip
    return Projection(generation_id, COMPUTED, parameters)


async def make_current(tx: Tx, projection: Projection) -> None:
    """Let reports and batches use this projection from the commit on."""
    connection = await raw(tx)
    await connection.execute("UPDATE generation SET state = 'retired' WHERE state = 'current'")
    await connection.execute(
        "UPDATE generation SET state = 'current' WHERE generation_id = $1", projection.generation_id
    )


async def delete_retired(tx: Tx, *, limit: int) -> int:
    """Delete up to `limit` rows of projections that nobody reads any more; 0 when nothing was left."""
    connection = await raw(tx)
    deleted = 0
    for table in ("deal_credit", "credit_total"):
        statement = (
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - the two names above
            f"SELECT c.ctid FROM {table} c JOIN generation USING (generation_id) WHERE state = 'retired' LIMIT $1))"
        )
        deleted += int((await connection.execute(statement, limit)).split()[-1])
    return deleted


async def one_rebuild_at_a_time(tx: Tx) -> bool:
    """Take the right to rebuild until the end of the transaction; False when another holds it."""
    statement = "SELECT pg_try_advisory_xact_lock(hashtextextended('attribution.rebuild', 0))"
    return bool(await (await raw(tx)).fetchval(statement))


async def no_time_limit(tx: Tx) -> None:
    """Let this transaction take as long as it needs: it reads every fact there is. Its statements stay limited."""
    await (await raw(tx)).execute(
        "SET LOCAL transaction_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
    )


async def one_snapshot(tx: Tx) -> None:
    """See one state of the database in all statements of this transaction. It must be the first statement."""
    await tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def stored_credits(
    tx: Tx, projection: Projection, *, deal_ids: Iterable[str]
) -> Mapping[str, tuple[Credit, ...]]:
    """Return the stored credits of deals, in the order of the journey."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {', '.join(_CREDIT_COLUMNS)} FROM deal_credit "  # noqa: S608 - names of our own columns
        "WHERE generation_id = $1 AND deal_id = ANY($2::text[]) ORDER BY deal_id, place",
        projection.generation_id, list(deal_ids),
    )  # fmt: skip
    return _by_deal(rows)


async def credits_page(
    tx: Tx, projection: Projection, *, after: str, until: str | None
) -> Mapping[str, tuple[Credit, ...]]:
    """Return the stored credits of all deals with after < id <= until (None: to the end)."""
    rows = await (await raw(tx)).fetch(
        f"SELECT {', '.join(_CREDIT_COLUMNS)} FROM deal_credit "  # noqa: S608 - names of our own columns
        "WHERE generation_id = $1 AND deal_id > $2 AND ($3::text IS NULL OR deal_id <= $3) ORDER BY deal_id, place",
        projection.generation_id, after, until,
    )  # fmt: skip
    return _by_deal(rows)


def _by_deal(rows: Iterable[Any]) -> dict[str, tuple[Credit, ...]]:
    found: dict[str, list[Credit]] = defaultdict(list)
    for row in rows:
        found[row["deal_id"]].append(Credit(**{**row, "credits": tuple(row["credits"])}))
    return {deal_id: tuple(credits) for deal_id, credits in found.items()}


async def replace_credits(tx: Tx, projection: Projection, *, deal_ids: Set[str], credits: Sequence[Credit]) -> None:
    """Put these credits in the place of all that the deals had."""
    connection = await raw(tx)
    await connection.execute(
        "DELETE FROM deal_credit WHERE generation_id = $1 AND deal_id = ANY($2::text[])",
        projection.generation_id, list(deal_ids),
    )  # fmt: skip
    if not credits:
        return
    # An array of arrays cannot be unnested by rows: the credits travel as array literals.
    await connection.execute(
        f"INSERT INTO deal_credit (generation_id, {', '.join(_CREDIT_COLUMNS)}) "  # noqa: S608 - our own columns
        "SELECT $1, deal_id, place, lead_id, touch_id, channel, campaign, currency, closed_on, credits::bigint[] "
        "FROM unnest($2::text[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], "
        "$9::date[], $10::text[]) AS c(deal_id, place, lead_id, touch_id, channel, campaign, currency, closed_on, "
        "credits)",
        projection.generation_id,
        *([getattr(c, name) for c in credits] for name in _CREDIT_COLUMNS[:-1]),
        [_array_literal(c.credits) for c in credits],
    )


def _array_literal(values: Iterable[int | None]) -> str:
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


async def copy_credits(tx: Tx, projection: Projection, credits: Sequence[Credit]) -> None:
    """Write many credits of deals that have none yet, as fast as the database takes them."""
    await (await raw(tx)).copy_records_to_table(
        "deal_credit",
        columns=("generation_id", *_CREDIT_COLUMNS),
        records=[
            (projection.generation_id, c.deal_id, c.place, c.lead_id, c.touch_id, c.channel, c.campaign,
             c.currency, c.closed_on, c.credits)
            for c in credits
        ],
    )  # fmt: skip


async def add_to_totals(tx: Tx, projection: Projection, changes: Mapping[TotalKey, Total]) -> None:
    """Add to the totals; a cell that no deal gives a share to any more is deleted."""
    if not changes:
        return
    connection = await raw(tx)
    await connection.execute(
        "INSERT INTO credit_total AS t "
        "(generation_id, model, dimension, key, currency, closed_on, credit_minor, deals) "
        "SELECT $1, c.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::bigint[], "
        "$8::bigint[]) AS c "
        "ON CONFLICT (generation_id, model, dimension, key, currency, closed_on) DO UPDATE "
        "SET credit_minor = t.credit_minor + excluded.credit_minor, deals = t.deals + excluded.deals",
        projection.generation_id, *_columns(changes), [c.credit_minor for c in changes.values()],
        [c.deals for c in changes.values()],
    )  # fmt: skip
    fewer = [cell for cell, change in changes.items() if change.deals < 0]
    if fewer:
        await connection.execute(
            "DELETE FROM credit_total t USING "
            "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::date[]) "
            "AS c(model, dimension, key, currency, closed_on) "
            "WHERE t.generation_id = $1 AND t.deals = 0 AND (t.model, t.dimension, t.key, t.currency, t.closed_on) "
            "= (c.model, c.dimension, c.key, c.currency, c.closed_on)",
            projection.generation_id, *_columns(fewer),
        )  # fmt: skip


def _columns(cells: Iterable[TotalKey]) -> tuple[list[str], list[str], list[str], list[str], list[date]]:
    found = list(cells)
    return (
        [c.model for c in found],
        [c.dimension for c in found],
        [c.key for c in found],
        [c.currency for c in found],
        [c.closed_on for c in found],
    )


async def stored_totals(tx: Tx, projection: Projection) -> dict[TotalKey, Total]:
    """Return every stored total of a projection."""
    rows = await (await raw(tx)).fetch(
        "SELECT model, dimension, key, currency, closed_on, credit_minor, deals FROM credit_total "
        "WHERE generation_id = $1",
        projection.generation_id,
    )
    return {TotalKey(*row[:5]): Total(row[5], row[6]) for row in rows}


# --- reports ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class KeyTotal:
    """What one model gives to one key in one currency."""

    model: str
    key: str
    currency: str
    credit_minor: int
    deals: int


async def totals_by_key(
    tx: Tx,
    projection: Projection,
    models: Sequence[str],
    *,
    dimension: str,
    closed_from: date | None,
    closed_to: date | None,
    currency: str | None,
) -> list[KeyTotal]:
    """Add the totals up over the days from..to, both included; the largest credit comes first."""
    rows = await (await raw(tx)).fetch(
        "SELECT model, key, currency, sum(credit_minor)::bigint AS credit_minor, sum(deals)::bigint AS deals "
        "FROM credit_total WHERE generation_id = $1 AND model = ANY($2::text[]) AND dimension = $3 "
        "AND closed_on >= COALESCE($4::date, '-infinity') AND closed_on <= COALESCE($5::date, 'infinity') "
        "AND ($6::text IS NULL OR currency = $6) "
        "GROUP BY model, key, currency ORDER BY model, currency, 4 DESC, key",
        projection.generation_id, list(models), dimension, closed_from, closed_to, currency,
    )  # fmt: skip
    return [KeyTotal(*row) for row in rows]


async def leads_by_stage(tx: Tx, *, created_from: date | None, created_to: date | None) -> Mapping[str, int]:
    """Count the leads that reached each stage, of those created in the days from..to (all, without both).

    A person is counted once a stage, however often and under however many leads it went through it; the first of the
    leads says when it was created. Test leads are left out.
    """
    whole = await all_families(tx)
    row = await (await raw(tx)).fetchrow(
        """
        WITH person AS (
            SELECT * FROM unnest($3::text[], $4::text[]) AS p (lead_id, root)
        ), real AS (
            SELECT lead_id, min(occurred_at) AS created_at FROM lead GROUP BY lead_id HAVING NOT bool_or(test)
        ), cohort AS (
            SELECT COALESCE(root, lead_id) AS root FROM real LEFT JOIN person USING (lead_id)
            GROUP BY 1
            HAVING (min(created_at) AT TIME ZONE 'UTC')::date
                   BETWEEN COALESCE($1::date, '-infinity') AND COALESCE($2::date, 'infinity')
        ), deal AS (
            SELECT DISTINCT ON (deal_id) lead_id, outcome FROM deal_version ORDER BY deal_id, sequence DESC
        ), reached AS (
            SELECT lead_id, 'lead' AS stage FROM lead
            UNION SELECT lead_id, 'qualified' FROM qualified
            UNION SELECT lead_id, 'accepted' FROM handoff_version
                WHERE state IN ('accepted', 'working', 'opportunity', 'won')
            UNION SELECT lead_id, 'accepted' FROM feedback WHERE kind = 'accepted'
            UNION SELECT lead_id, 'opportunity' FROM handoff_version WHERE state = 'opportunity'
            UNION SELECT lead_id, 'opportunity' FROM deal
            UNION SELECT lead_id, 'won' FROM deal WHERE outcome = 'won'
        ), counted AS (
            SELECT DISTINCT COALESCE(root, lead_id) AS root, stage
            FROM reached JOIN real USING (lead_id) LEFT JOIN person USING (lead_id)
        )
        SELECT count(*) FILTER (WHERE stage = 'lead') AS lead,
               count(*) FILTER (WHERE stage = 'qualified') AS qualified,
               count(*) FILTER (WHERE stage = 'accepted') AS accepted,
               count(*) FILTER (WHERE stage = 'opportunity') AS opportunity,
               count(*) FILTER (WHERE stage = 'won') AS won
        FROM counted JOIN cohort USING (root)
        """,
        created_from, created_to, list(whole.root_of), list(whole.root_of.values()),
    )  # fmt: skip
    return dict(row)


async def credited_deals(tx: Tx, projection: Projection, lead_id: str) -> list[tuple[Deal, tuple[Credit, ...]]]:
    """Return the won deals of a lead, and of all that were merged with it, with their credits."""
    members = set((await families_at(tx, [lead_id])).members(lead_id))
    deals = [deal for deal in await latest_deals(tx, members) if deal.lead_id in members]
    credits = await stored_credits(tx, projection, deal_ids=[deal.deal_id for deal in deals])
    return [(deal, credits[deal.deal_id]) for deal in deals if deal.deal_id in credits]


async def knows_lead(tx: Tx, lead_id: str) -> bool:
    """Say whether any fact names the lead."""
    about_leads = [table.name for table in TABLE_OF.values() if "lead_id" in table.columns]
    tables = " UNION ALL ".join(f"SELECT FROM {name} WHERE lead_id = $1" for name in about_leads)
    return bool(await (await raw(tx)).fetchval(f"SELECT EXISTS ({tables})", lead_id))
