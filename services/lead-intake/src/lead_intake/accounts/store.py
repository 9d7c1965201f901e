"""Every SQL statement about accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from baton_kit.db import Direct, Tx, raw
from lead_intake import events
from lead_intake.accounts.resolve import Accounts, Proposal
from lead_intake.merging.edge import Kind

EDGES = "account_edge"
"""The merges of accounts as they stand."""


# --- the batch of deliveries -----------------------------------------------------------------------------------------


async def known(tx: Tx | Direct, keys: Sequence[str], into: Accounts) -> None:
    """Read the accounts of these keys. LIMIT tells the planner that the keys are unique, whatever the table's size."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT k.key, a.id::text, a.name = ''
        FROM unnest($1::text[]) AS k (key), LATERAL (
            SELECT account_id FROM account_key WHERE key = k.key LIMIT 1
        ) AS i, LATERAL (SELECT id, name FROM account WHERE id = i.account_id LIMIT 1) AS a
        """,
        list(keys),
    )
    into.of.update({r[0]: r[1] for r in rows})
    into.nameless.update(r[1] for r in rows if r[2])
    if any(key.startswith("tax:") for key in keys) and rows:
        told = await tax_numbers(tx, sorted({r[1] for r in rows}))
        into.taxed.update((id, number[:2]) for id, numbers in told.items() for number in numbers)


async def tax_numbers(tx: Tx | Direct, account_ids: Sequence[str]) -> dict[str, list[str]]:
    """The tax numbers of accounts, by account."""
    rows = await (await raw(tx)).fetch(
        "SELECT account_id::text, substr(key, 5) FROM account_key "
        "WHERE account_id = ANY($1::uuid[]) AND key LIKE 'tax:%' ORDER BY 1, 2",
        list(account_ids),
    )
    found: dict[str, list[str]] = {}
    for account_id, number in rows:
        found.setdefault(account_id, []).append(number)
    return found


async def put(tx: Tx | Direct, accounts: Accounts) -> None:
    """Write what a batch says of accounts; the caller holds the keys that are new.

    A name that another transaction is just writing is left to it: a delivery waits for nobody here.
    """
    connection = await raw(tx)
    if accounts.keys:
        await connection.execute(
            """
            WITH made AS (
                INSERT INTO account (id, name, created_at, sequence)
                SELECT *, 0 FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
            )
            INSERT INTO account_key (key, account_id) SELECT * FROM unnest($4::text[], $5::uuid[])
            """,
            [a.id for a in accounts.created.values()],
            [a.name for a in accounts.created.values()],
            [a.created_at for a in accounts.created.values()],
            [k.key for k in accounts.keys],
            [k.account_id for k in accounts.keys],
        )
    if accounts.names:
        await connection.execute(
            """
            UPDATE account SET name = n.name
            FROM unnest($1::uuid[], $2::text[]) AS n (id, name)
            WHERE account.id = n.id AND account.id IN (
                SELECT id FROM account WHERE id = ANY($1::uuid[]) AND name = '' ORDER BY id FOR UPDATE SKIP LOCKED)
            """,
            list(accounts.names),
            list(accounts.names.values()),
        )


async def insert_proposals(tx: Tx | Direct, proposals: Sequence[Proposal]) -> None:
    """Proposals; one that stands already stays, but for a tax number that is told meanwhile."""
    # Of several about one pair the strongest grounds count.
    found = {(p.low, p.high): p for p in sorted(proposals, key=lambda p: p.kind)}
    if found:
        ordered = [found[pair] for pair in sorted(found)]
        await (await raw(tx)).execute(
            """
            INSERT INTO account_proposal AS p (low, high, receipt_id, proposed_at, kind)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[])
            ON CONFLICT (low, high) DO UPDATE SET kind = 'tax' WHERE p.state = 'open' AND p.kind = 'keys'
              AND excluded.kind = 'tax'
            """,
            [p.low for p in ordered],
            [p.high for p in ordered],
            [p.receipt_id for p in ordered],
            [p.proposed_at for p in ordered],
            [p.kind for p in ordered],
        )


# --- proposals -------------------------------------------------------------------------------------------------------


async def proposals(
    tx: Tx, *, state: str, kind: str | None, account_id: str | None, after: tuple[str, str] | None, limit: int
) -> list[Mapping[str, Any]]:
    """Proposals in the order of their accounts."""
    low, high = after or (None, None)
    return list(
        await (await raw(tx)).fetch(
            """
            SELECT p.low::text, p.high::text, a.name AS low_name, b.name AS high_name, p.kind, p.state, p.proposed_at,
                   p.receipt_id::text
            FROM account_proposal p JOIN account a ON a.id = p.low JOIN account b ON b.id = p.high
            WHERE p.state = $1 AND ($2::text IS NULL OR p.kind = $2)
              AND ($3::uuid IS NULL OR p.low = $3 OR p.high = $3)
              AND ($4::uuid IS NULL OR (p.low, p.high) > ($4::uuid, $5::uuid))
            ORDER BY p.low, p.high LIMIT $6
            """,
            state, kind, account_id, low, high, limit,
        )
    )  # fmt: skip


async def close_proposals(tx: Tx, some: Sequence[str], others: Sequence[str], state: str) -> int:
    """Close the open proposals between two sets of accounts; how many there were."""
    rows = await (await raw(tx)).fetch(
        """
        UPDATE account_proposal SET state = $3
        WHERE state = 'open' AND ((low = ANY($1::uuid[]) AND high = ANY($2::uuid[]))
                               OR (low = ANY($2::uuid[]) AND high = ANY($1::uuid[])))
        RETURNING 1
        """,
        list(some),
        list(others),
        state,
    )
    return len(rows)


ACCOUNTS = Kind(
    "account", EDGES, "account_decision", "intake.account.merge", events.account_merge_told, close_proposals
)


async def next_by_tax_number(tx: Tx) -> tuple[str, str] | None:
    """The oldest open proposal whose grounds are a tax number."""
    row = await (await raw(tx)).fetchrow(
        "SELECT low::text, high::text FROM account_proposal WHERE state = 'open' AND kind = 'tax' "
        "ORDER BY proposed_at, low, high LIMIT 1"
    )
    return None if row is None else (row[0], row[1])


async def leave_to_people(tx: Tx, low: str, high: str) -> None:
    """The tax numbers do not say that the two are one: a person decides."""
    await (await raw(tx)).execute(
        "UPDATE account_proposal SET kind = 'keys' WHERE low = $1::uuid AND high = $2::uuid AND state = 'open'",
        low,
        high,
    )


# --- reading ---------------------------------------------------------------------------------------------------------


async def accounts(
    tx: Tx, *, keys: Sequence[str] | None, name: str | None, before: str | None, limit: int
) -> list[Mapping[str, Any]]:
    """Accounts, newest first: those with one of the keys, or whose name holds the words; all without either."""
    return list(
        await (await raw(tx)).fetch(
            """
            SELECT a.id::text, a.name, a.created_at FROM account a
            WHERE ($1::text[] IS NULL OR a.id IN (SELECT account_id FROM account_key WHERE key = ANY($1)))
              AND ($2::text IS NULL OR a.name ILIKE $2) AND ($3::uuid IS NULL OR a.id < $3::uuid)
            ORDER BY a.id DESC LIMIT $4
            """,
            keys, name, before, limit,
        )
    )  # fmt: skip


async def accounts_by_id(tx: Tx, account_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What is known of accounts, with the count of their own leads and their keys; by id."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT a.id::text, a.name, a.created_at,
               (SELECT count(*) FROM lead l WHERE l.account_id = a.id) AS leads,
               (SELECT array_agg(k.key ORDER BY k.key) FROM account_key k WHERE k.account_id = a.id) AS keys
        FROM account a WHERE a.id = ANY($1::uuid[]) ORDER BY a.id
        """,
        list(account_ids),
    )
    return {r["id"]: r for r in rows}


async def names(tx: Tx, account_ids: Sequence[str]) -> dict[str, str]:
    """The names of accounts, by id; of one that was told no name, its web domain."""
    rows = await (await raw(tx)).fetch(
        """
        SELECT a.id::text, coalesce(nullif(a.name, ''), (
            SELECT substr(k.key, 8) FROM account_key k WHERE k.account_id = a.id AND k.key LIKE 'domain:%'
            ORDER BY k.key LIMIT 1), '')
        FROM account a WHERE a.id = ANY($1::uuid[])
        """,
        list(account_ids),
    )
    return {r[0]: r[1] for r in rows}


async def newest_leads(tx: Tx, account_ids: Sequence[str], *, limit: int) -> list[str]:
    """The newest leads of these accounts."""
    rows = await (await raw(tx)).fetch(
        "SELECT id::text FROM lead WHERE account_id = ANY($1::uuid[]) ORDER BY lead.id DESC LIMIT $2",
        list(account_ids),
        limit,
    )
    return [r[0] for r in rows]


async def accounts_of_leads(tx: Tx, lead_ids: Sequence[str]) -> dict[str, str]:
    """The account that each lead came to, unresolved; leads without one are missing."""
    rows = await (await raw(tx)).fetch(
        "SELECT id::text, account_id::text FROM lead WHERE id = ANY($1::uuid[]) AND account_id IS NOT NULL",
        list(lead_ids),
    )
    return {r[0]: r[1] for r in rows}


# --- forgetting ------------------------------------------------------------------------------------------------------

_THEIRS_ALONE = """
(SELECT l.account_id FROM lead l WHERE l.id = $1::uuid AND l.account_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM lead o WHERE o.account_id = l.account_id
      AND NOT EXISTS (SELECT FROM erased_lead x WHERE x.lead_id = o.id::text)))
"""
"""The account of a lead whose person is being forgotten, where no other lead belongs to it: it tells of nobody else."""


async def delete_proposals_of(tx: Tx, lead_id: str) -> int:
    """Open proposals of an account that only this person told of."""
    rows = await (await raw(tx)).fetch(
        f"DELETE FROM account_proposal WHERE low IN {_THEIRS_ALONE} OR high IN {_THEIRS_ALONE} RETURNING 1",  # noqa: S608
        lead_id,
    )
    return len(rows)


async def delete_keys_of(tx: Tx, lead_id: str) -> int:
    """Domain, tax number and ids of an account that only this person told of: the firm may be the person."""
    rows = await (await raw(tx)).fetch(
        f"DELETE FROM account_key WHERE account_id IN {_THEIRS_ALONE} RETURNING 1",  # noqa: S608
        lead_id,
    )
    return len(rows)


async def empty_account_of(tx: Tx, lead_id: str) -> int:
    """The name of an account that only this person told of; its row stays, as the lead's does."""
    rows = await (await raw(tx)).fetch(
        f"UPDATE account SET name = '' WHERE id IN {_THEIRS_ALONE} AND name <> '' RETURNING 1",  # noqa: S608
        lead_id,
    )
    return len(rows)
