"""Every SQL statement that forgets: one function a table, each returns how many rows it emptied or deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit.db import Tx, raw
from lead_intake.accounts import store as account_store
from lead_intake.erasing import cut
from lead_intake.erasing.mention import mentions_of_person
from lead_intake.ledger.request import opened_request


@dataclass(frozen=True, slots=True)
class Person:
    """A lead under its lock, and what is known of the person behind it."""

    lead_id: str
    person_id: str
    sequence: int
    contact: ContactChanged
    identities: tuple[str, ...]
    entries: tuple[tuple[str, str], ...]
    """(source, key) of every entry that became part of the lead."""
    visitors: tuple[str, ...] = ()
    """The keys of the person's visits: those that are known, and those that visits join with them."""

    @property
    def emails(self) -> list[str]:
        """Every address, also one that the contact has no room for any more."""
        return [*self.contact.emails, *self._told("email")]

    @property
    def phones(self) -> list[str]:
        """Every number, in E.164."""
        return [*self.contact.phones, *self._told("phone")]

    @property
    def alone(self) -> list[str]:
        """The addresses and numbers that identify the person without a name: nobody else's."""
        return [k for k in self.identities if k.startswith(("email:", "phone:"))]

    @property
    def shared(self) -> list[tuple[str, str]]:
        """(key, digest of the name) where the person shares an address or number with others."""
        found = []
        for key in self.identities:
            kind, _, value = key.partition(":")
            if kind in ("email+name", "phone+name"):
                known_by, _, name = value.rpartition("|")
                found.append((f"{kind.partition('+')[0]}:{known_by}", name))
        return found

    def _told(self, wanted: str) -> list[str]:
        found = []
        for key in self.identities:
            kinds, _, values = key.partition(":")
            parts = kinds.split("+")
            found += [v for k, v in zip(parts, values.split("|", len(parts) - 1), strict=False) if k == wanted]
        return found


async def leads_of_identities(tx: Tx, keys: Sequence[str]) -> list[str]:
    """The leads whose person has one of these identity keys."""
    rows = await (await raw(tx)).fetch(
        "SELECT DISTINCT l.id::text FROM identity_key k JOIN lead l ON l.person_id = k.person_id "
        "WHERE k.key = ANY($1::text[]) ORDER BY 1",
        keys,
    )
    return [row[0] for row in rows]


async def leads_of_entry(tx: Tx, source_id: str, key: str) -> list[str]:
    """The leads that an entry became, or entries whose keys begin with this one (HubSpot counts the minutes)."""
    rows = await (await raw(tx)).fetch(
        "SELECT DISTINCT lead_id::text FROM receipt_entry WHERE source_id = $1 AND lead_id IS NOT NULL "
        "AND outcome IN ('created', 'matched', 'touch_only', 'updated') "
        "AND (key = $2 OR starts_with(key, $2 || ':')) ORDER BY 1",
        source_id,
        key,
    )
    return [row[0] for row in rows]


async def open_orders(tx: Tx, *, limit: int = 100) -> list[tuple[str, str, datetime]]:
    """What providers ordered to be forgotten and is not: (source, key, when), oldest first."""
    rows = await (await raw(tx)).fetch(
        "SELECT source_id, key, requested_at FROM erase_request WHERE done_at IS NULL ORDER BY requested_at LIMIT $1",
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def close_order(tx: Tx, source_id: str, key: str, *, at: datetime) -> None:
    """Write down that an order was followed."""
    await (await raw(tx)).execute(
        "UPDATE erase_request SET done_at = $3 WHERE source_id = $1 AND key = $2", source_id, key, at
    )


async def persons(tx: Tx, lead_ids: Sequence[str], *, lock: bool = False) -> dict[str, Person]:
    """The persons behind leads, by lead; with `lock` the rows of the leads are held, in the order of their ids."""
    connection = await raw(tx)
    rows = await connection.fetch(
        "SELECT l.id::text, l.person_id::text, l.sequence, c.data FROM lead l LEFT JOIN contact c ON c.lead_id = l.id "  # noqa: S608
        f"WHERE l.id = ANY($1::uuid[]) ORDER BY l.id {'FOR UPDATE OF l' if lock else ''}",
        lead_ids,
    )
    identities: dict[str, list[str]] = {}
    for row in await connection.fetch(
        "SELECT person_id::text, key FROM identity_key WHERE person_id = ANY($1::uuid[]) ORDER BY 1, 2",
        [row[1] for row in rows],
    ):
        identities.setdefault(row[0], []).append(row[1])
    entries: dict[str, list[tuple[str, str]]] = {}
    for row in await connection.fetch(
        "SELECT DISTINCT t.lead_id::text, e.source_id, e.key FROM touch t "
        "JOIN receipt_entry e ON e.receipt_id = t.receipt_id AND e.lead_id = t.lead_id "
        "WHERE t.lead_id = ANY($1::uuid[]) "
        "UNION SELECT lead_id::text, source_id, key FROM receipt_entry "
        "WHERE lead_id = ANY($1::uuid[]) AND outcome = 'updated' ORDER BY 1, 2, 3",
        lead_ids,
    ):
        entries.setdefault(row[0], []).append((row[1], row[2]))
    visitors: dict[str, list[str]] = {}
    for row in await connection.fetch(_VISITORS, [row[1] for row in rows]):
        visitors.setdefault(row[0], []).append(row[1])
    return {
        r[0]: Person(
            r[0],
            r[1],
            r[2],
            ContactChanged.FromString(r[3] or b""),
            tuple(identities.get(r[1], ())),
            tuple(entries.get(r[0], ())),
            tuple(visitors.get(r[1], ())),
        )
        for r in rows
    }


# Stitching would give the person whatever waits under these keys, and every key that those visits name beside them, but
# for the keys of somebody else.
_VISITORS = """
WITH RECURSIVE mine (person_id, key) AS (
    SELECT person_id, key FROM visitor WHERE person_id = ANY($1::uuid[])
    UNION
    SELECT m.person_id, beside.key
    FROM mine m
    JOIN visit v ON (v.anonymous_key = m.key AND v.anonymous_key <> '') OR (v.user_key = m.key AND v.user_key <> '')
    CROSS JOIN LATERAL (VALUES (v.anonymous_key), (v.user_key)) AS beside (key)
    WHERE beside.key <> ''
      AND NOT EXISTS (SELECT FROM visitor o WHERE o.key = beside.key AND o.person_id <> m.person_id)
)
SELECT person_id::text, key FROM mine ORDER BY 1, 2
"""


async def raise_sequence(tx: Tx, person: Person) -> None:
    """Write the version of the lead that its erasure is."""
    await (await raw(tx)).execute(
        "UPDATE lead SET sequence = $2 WHERE id = $1::uuid", person.lead_id, person.sequence + 1
    )


async def delete_contact(tx: Tx, person: Person) -> int:
    """The contact, its click ids and consents."""
    return await _count(tx, "DELETE FROM contact WHERE lead_id = $1::uuid RETURNING 1", person.lead_id)


async def delete_identity_keys(tx: Tx, person: Person) -> int:
    """The addresses and numbers by which the person was known: the next inquiry is a new person's."""
    return await _count(tx, "DELETE FROM identity_key WHERE person_id = $1::uuid RETURNING 1", person.person_id)


async def delete_proposed_merges(tx: Tx, person: Person) -> int:
    """What would join the person with another."""
    return await _count(
        tx,
        "DELETE FROM proposed_merge WHERE person_low = $1::uuid OR person_high = $1::uuid RETURNING 1",
        person.person_id,
    )


async def delete_likeness(tx: Tx, person: Person) -> int:
    """Name and company as they are compared."""
    return await _count(tx, "DELETE FROM likeness WHERE lead_id = $1::uuid RETURNING 1", person.lead_id)


async def delete_key_names(tx: Tx, person: Person) -> int:
    """Under which names an address or number came: of one that others share, only the person's own."""
    rows = await (await raw(tx)).fetch(
        "DELETE FROM key_name k WHERE k.key = ANY($1::text[]) OR EXISTS (SELECT FROM unnest($2::text[], $3::text[]) "
        "AS s (key, name) WHERE s.key = k.key AND s.name = k.name) RETURNING 1",
        person.alone,
        [key for key, _ in person.shared],
        [name for _, name in person.shared],
    )
    return len(rows)


async def delete_listed_keys(tx: Tx, person: Person) -> int:
    """An address or number that was listed as one person's; what many share is nobody's and stays."""
    rows = await (await raw(tx)).fetch(
        "DELETE FROM shared_key WHERE NOT shared AND key = ANY($1::text[]) RETURNING 1", person.alone
    )
    return len(rows)


async def delete_search(tx: Tx, person: Person) -> int:
    """The words by which the lead is found."""
    return await _count(tx, "DELETE FROM lead_search WHERE lead_id = $1::uuid RETURNING 1", person.lead_id)


async def cut_bodies(tx: Tx, person: Person) -> int:
    """The raw bodies of the person's deliveries, repeats included: their entries are cut out, the receipts stay."""
    connection = await raw(tx)
    rows = await connection.fetch(
        """
        WITH mine AS (
            SELECT receipt_id FROM touch WHERE lead_id = $1::uuid
            UNION SELECT receipt_id FROM receipt_entry
            WHERE lead_id = $1::uuid AND outcome IN ('duplicate', 'updated')
        )
        SELECT r.id::text, r.body, r.entries, array_agg(e.ordinal) AS ordinals
        FROM receipt r JOIN mine m ON m.receipt_id = r.id
        JOIN receipt_entry e ON e.receipt_id = r.id AND e.lead_id = $1::uuid
        WHERE r.body IS NOT NULL GROUP BY r.id ORDER BY r.id
        """,
        person.lead_id,
    )
    await _write_bodies(tx, _cut(rows))
    return len(rows)


async def cut_bodies_of_visits(tx: Tx, person: Person) -> int:
    """The raw bodies of visits whose entries do not name the lead: those that wait, and repeats from when they did."""
    connection = await raw(tx)
    waiting = await connection.fetch(
        "SELECT r.id::text, r.body, r.entries, array_agg(v.ordinal) AS ordinals FROM visit v "  # noqa: S608
        f"JOIN receipt r ON r.id = v.receipt_id WHERE r.body IS NOT NULL AND {_WAITS} GROUP BY r.id ORDER BY r.id",
        person.visitors,
    )
    await _write_bodies(tx, _cut(waiting))
    # From the first of each message to its repeats: what others left without a lead is not looked at.
    repeats = await connection.fetch(
        f"""
        WITH firsts AS (
            SELECT v.receipt_id, v.ordinal FROM visit v WHERE {_WAITS}
            UNION
            SELECT e.receipt_id, e.ordinal FROM touch t
            JOIN receipt_entry e ON e.receipt_id = t.receipt_id AND e.lead_id = t.lead_id WHERE t.lead_id = $2::uuid
        )
        SELECT r.id::text, r.body, r.entries, array_agg(e.ordinal) AS ordinals
        FROM firsts s JOIN receipt_entry f ON f.receipt_id = s.receipt_id AND f.ordinal = s.ordinal
        JOIN receipt_entry e ON e.first_receipt_id = f.receipt_id AND e.source_id = f.source_id AND e.key = f.key
        JOIN receipt r ON r.id = e.receipt_id
        WHERE e.lead_id IS NULL AND e.outcome = 'duplicate' AND r.body IS NOT NULL
        GROUP BY r.id ORDER BY r.id
        """,  # noqa: S608
        person.visitors,
        person.lead_id,
    )
    await _write_bodies(tx, _cut(repeats))
    return len({r["id"] for r in (*waiting, *repeats)})


_WAITS = (
    "((v.anonymous_key = ANY($1::text[]) AND v.anonymous_key <> '') "
    "OR (v.user_key = ANY($1::text[]) AND v.user_key <> ''))"
)


async def delete_visits(tx: Tx, person: Person) -> int:
    """The visits that wait under the person's keys, click ids included."""
    if not person.visitors:
        return 0
    rows = await (await raw(tx)).fetch(f"DELETE FROM visit v WHERE {_WAITS} RETURNING 1", person.visitors)  # noqa: S608
    return len(rows)


async def delete_stitches(tx: Tx, person: Person) -> int:
    """The order to stitch what waited: nothing of the person is given to the lead any more."""
    rows = await (await raw(tx)).fetch("DELETE FROM stitch WHERE key = ANY($1::text[]) RETURNING 1", person.visitors)
    return len(rows)


async def delete_visitors(tx: Tx, person: Person) -> int:
    """By which ids a tracker knows the person: its next visit is nobody's."""
    return await _count(tx, "DELETE FROM visitor WHERE person_id = $1::uuid RETURNING 1", person.person_id)


async def delete_account_proposals(tx: Tx, person: Person) -> int:
    """What would join the person's own account with another."""
    return await account_store.delete_proposals_of(tx, person.lead_id)


async def delete_account_keys(tx: Tx, person: Person) -> int:
    """Domain, tax number and ids of an account that nobody else belongs to: the firm may be the person."""
    return await account_store.delete_keys_of(tx, person.lead_id)


async def empty_account(tx: Tx, person: Person) -> int:
    """The name of an account that nobody else belongs to."""
    return await account_store.empty_account_of(tx, person.lead_id)


async def cut_bodies_that_name(tx: Tx, person: Person) -> int:
    """Bodies of entries that became no lead but hold an address or number of the person.

    Of visits that wait for somebody else only those are read that mentioned the like when they came. Refused entries
    are not looked through: a delivery that was turned away has no body, and an entry that was refused inside one is an
    event of the provider's, not an inquiry.
    """
    spellings = cut.spelled(person.emails, person.phones)
    if not spellings:
        return 0
    connection = await raw(tx)
    left: list[tuple[str, bytes | None]] = []
    mentions = mentions_of_person(person.emails, person.phones)
    for statement, told in ((_UNREAD, ()), (_MENTIONING, (mentions,))):
        async for r in connection.cursor(statement, *told, prefetch=50):
            if cut.names(r["body"], spellings):
                theirs = cut.naming(r["body"], entries=r["entries"], spellings=spellings) & set(r["ordinals"])
                if theirs:
                    left.append((r["id"], cut.without(r["body"], entries=r["entries"], ordinals=theirs)))
    await _write_bodies(tx, sorted(left, key=lambda one: one[0]))
    return len(left)


_UNREAD = """
SELECT r.id::text, r.body, r.entries, array_agg(e.ordinal) AS ordinals
FROM receipt_entry e JOIN receipt r ON r.id = e.receipt_id
WHERE e.lead_id IS NULL AND e.outcome IN ('quarantined', 'pending', 'test') AND r.body IS NOT NULL
GROUP BY r.id
"""
# What waits and may speak of the person, and what repeats it.
_MENTIONING = """
WITH those AS (SELECT receipt_id, ordinal FROM visit WHERE mentions && $1::bigint[] AND mentions <> '{}')
SELECT r.id::text, r.body, r.entries, array_agg(m.ordinal) AS ordinals
FROM (
    SELECT receipt_id, ordinal FROM those
    UNION
    SELECT e.receipt_id, e.ordinal FROM those
    JOIN receipt_entry e ON e.first_receipt_id = those.receipt_id
    WHERE e.lead_id IS NULL AND e.outcome = 'duplicate'
) AS m JOIN receipt r ON r.id = m.receipt_id
WHERE r.body IS NOT NULL GROUP BY r.id
"""


async def delete_requests(tx: Tx, person: Person) -> int:
    """What a repair would need beside a body that is gone: its headers and its address may name the person."""
    count = await _count(
        tx,
        """
        DELETE FROM receipt_request WHERE NOT unproven AND receipt_id IN (
            SELECT e.receipt_id FROM receipt_entry e JOIN receipt r ON r.id = e.receipt_id
            WHERE e.lead_id = $1::uuid AND r.body IS NULL
        ) RETURNING 1
        """,
        person.lead_id,
    )
    if not person.visitors:
        return count
    rows = await (await raw(tx)).fetch(
        "DELETE FROM receipt_request WHERE NOT unproven AND receipt_id IN ("  # noqa: S608
        f"SELECT r.id FROM visit v JOIN receipt r ON r.id = v.receipt_id WHERE r.body IS NULL AND {_WAITS}"
        ") RETURNING 1",
        person.visitors,
    )
    return count + len(rows)


async def delete_unproven(tx: Tx, person: Person, *, key: bytes) -> int:
    """Sealed bodies of senders that could not prove themselves, where they hold an address or number of the person."""
    spellings = cut.spelled(person.emails, person.phones)
    if not spellings:
        return 0
    connection = await raw(tx)
    theirs = []
    async for r in connection.cursor(
        "SELECT q.receipt_id::text, q.sealed, r.content_type, r.received_at FROM receipt_request q "
        "JOIN receipt r ON r.id = q.receipt_id WHERE q.unproven",
        prefetch=50,
    ):
        opened = opened_request(
            key, r["sealed"], receipt_id=r["receipt_id"], content_type=r["content_type"], body=None,
            received_at=r["received_at"],
        )  # fmt: skip
        if opened is not None and cut.names(opened.body, spellings):
            theirs.append(r["receipt_id"])
    await connection.execute("DELETE FROM receipt_request WHERE receipt_id = ANY($1::uuid[])", theirs)
    return len(theirs)


def _cut(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, bytes | None]]:
    """What is left of each body (id, body, entries) without its entries `ordinals`."""
    return [(r["id"], cut.without(r["body"], entries=r["entries"], ordinals=r["ordinals"])) for r in rows]


async def _write_bodies(tx: Tx, left: Sequence[tuple[str, bytes | None]]) -> None:
    if left:
        await (await raw(tx)).execute(
            "UPDATE receipt SET body = b.body FROM unnest($1::uuid[], $2::bytea[]) AS b (id, body) "
            "WHERE receipt.id = b.id",
            [id for id, _ in left],
            [body for _, body in left],
        )


async def _count(tx: Tx, statement: str, value: str) -> int:
    return len(await (await raw(tx)).fetch(statement, value))
