"""Keys that stand for one thing: edges from key to key that can be taken away again, and the families they make.

An edge is told more than once and in any order; of each id the highest version counts. Edges say nothing about what a
key stands for, and taking one away leaves everything else as it was. Each kind of key has a table of edges of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton_kit.db import Direct, Tx, raw
from baton_kit.failpoint import failpoint

MERGES = "merge_edge"
"""The table of a service that follows one kind of key."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One merge: `source` belongs to `target` while it is `active`. Ids grow with time (UUIDv7)."""

    id: str
    source: str
    target: str
    version: int
    active: bool


@dataclass(frozen=True, slots=True)
class Families:
    """Which key is canonical for which, and who belongs to whom. A key that no edge names is alone."""

    root_of: Mapping[str, str]
    members_of: Mapping[str, tuple[str, ...]]

    def root(self, key: str) -> str:
        """Return the canonical key."""
        return self.root_of.get(key, key)

    def members(self, key: str) -> tuple[str, ...]:
        """Return every key of the family, the key itself included, in order."""
        return self.members_of.get(self.root(key), (key,))

    def everyone(self, keys: Iterable[str]) -> list[str]:
        """Return all keys of all these families, each once, in order."""
        return sorted({member for key in keys for member in self.members(key)})


ALONE = Families({}, {})


def families(edges: Iterable[Edge]) -> Families:
    """Return the families that the active edges make; the order of the edges does not matter, and it always ends.

    The owner of the edges keeps them free of circles and of two ways out of one key. A reader that hears of a new edge
    before it hears that an older one was taken away may see either: then the newer edge counts.
    """
    up: dict[str, str] = {}
    for edge in sorted((e for e in edges if e.active), key=lambda e: e.id, reverse=True):
        if edge.source not in up and _top(up, edge.target) != edge.source:
            up[edge.source] = edge.target
    root_of = {key: _top(up, key) for key in {*up, *up.values()}}
    members: dict[str, list[str]] = {}
    for key in sorted(root_of):
        members.setdefault(root_of[key], []).append(key)
    return Families(root_of, {root: tuple(found) for root, found in members.items()})


def _top(up: Mapping[str, str], key: str) -> str:
    while key in up:
        key = up[key]
    return key


async def learn(tx: Tx, edges: Sequence[Edge], *, table: str = MERGES) -> None:
    """Keep the edges in a table of them; of each id the highest version stands, whichever came last."""
    newest: dict[str, Edge] = {}
    for edge in edges:
        if edge.id not in newest or newest[edge.id].version < edge.version:
            newest[edge.id] = edge
    if not newest:
        return
    ordered = [newest[id] for id in sorted(newest)]
    await (await raw(tx)).execute(
        f"INSERT INTO {table} AS e (id, source, target, version, active) "  # noqa: S608 - a name of the code
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[]) "
        "ON CONFLICT (id) DO UPDATE SET source = excluded.source, target = excluded.target, "
        "version = excluded.version, active = excluded.active WHERE e.version < excluded.version",
        [e.id for e in ordered],
        [e.source for e in ordered],
        [e.target for e in ordered],
        [e.version for e in ordered],
        [e.active for e in ordered],
    )
    failpoint("edges.after_learn")


_AROUND = """
WITH RECURSIVE family AS (
    SELECT unnest($1::text[]) AS key
    UNION
    SELECT next.key FROM family CROSS JOIN LATERAL (
        SELECT target AS key FROM {table} WHERE active AND source = family.key
        UNION ALL
        SELECT source FROM {table} WHERE active AND target = family.key
    ) AS next
)
SELECT id, source, target, version FROM {table} WHERE active AND source IN (SELECT key FROM family)
"""


async def families_of(tx: Tx | Direct, keys: Iterable[str], *, table: str = MERGES) -> Families:
    """Return the families of these keys, whole, in one statement."""
    wanted = sorted(set(keys))
    if not wanted:
        return ALONE
    rows = await (await raw(tx)).fetch(_AROUND.format(table=table), wanted)
    return families(Edge(r[0], r[1], r[2], r[3], active=True) for r in rows) if rows else ALONE


_EDGES_V1 = [
    """
    CREATE TABLE {table} (
        id text PRIMARY KEY,
        source text NOT NULL,
        target text NOT NULL,
        version bigint NOT NULL,
        active boolean NOT NULL
    )
    """,
    "CREATE INDEX {table}_source ON {table} (source) WHERE active",
    "CREATE INDEX {table}_target ON {table} (target) WHERE active",
]


def create_edges_v1(op: Any, *, table: str = MERGES) -> None:
    """Create a table of edges; called in a revision of a service that follows merges."""
    for statement in _EDGES_V1:
        op.execute(statement.format(table=table))
