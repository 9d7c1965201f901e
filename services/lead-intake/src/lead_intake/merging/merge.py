"""Merge two leads or two accounts, and undo it. Nothing that was told of either is rewritten: a merge is an edge."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.edges import Edge, Families
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from lead_intake.merging import edge as store
from lead_intake.merging.edge import Decision, Kind

if TYPE_CHECKING:
    from lead_intake.app import App


class Refused(Exception):
    """The merge cannot be; `why` is a code, and the text says what is possible."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail


class Unknown(Exception):
    """Nothing has this id; `what` names the kind of thing."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no such {what}")
        self.what = what


async def merge(tx: Tx, app: App, kind: Kind, *, source: str, target: str, by: str, reason: str) -> Edge:
    """Let one belong to another, from the commit on; told on both keys with one merge id and version.

    Of several that are asked for at once each sees those before it: no circle ever comes to be, and nothing belongs
    to two others. Raises Unknown and Refused.
    """
    # 1. One merge at a time: whether an edge closes a circle depends on edges whose ends nobody here locks.
    await store.lock_merges(tx, kind)
    failpoint("merge.after_gate")
    # 2. Then both, sorted like everyone who locks them.
    sequences = await store.lock_sequences(tx, sorted((source, target)), table=kind.noun)
    failpoint("merge.after_locks")
    found = await edges.families_of(tx, [source, target], table=kind.edges)
    check(kind, source, target, known=sequences.keys(), families=found)

    now = app.clock.now()
    edge = Edge(new_id(now), source, target, 1, active=True)
    await kind.close_proposals(tx, found.members(source), found.members(target), "merged")
    await _write(tx, app, kind, edge=edge, decision=Decision(by, reason, now), sequences=sequences)
    return edge


async def undo(tx: Tx, app: App, kind: Kind, *, merge_id: str, by: str, reason: str) -> Edge:
    """Take the edge away again: both stand as their own facts make them. Raises Unknown and Refused."""
    await store.lock_merges(tx, kind)
    failpoint("unmerge.after_gate")
    edge = await store.edge(tx, kind, merge_id)
    if edge is None:
        raise Unknown("merge")
    if not edge.active:
        raise Refused("undone", "The merge was undone before; nothing is left to do.")
    sequences = await store.lock_sequences(tx, sorted((edge.source, edge.target)), table=kind.noun)
    failpoint("unmerge.after_locks")
    gone = replace(edge, version=edge.version + 1, active=False)
    decision = Decision(by, reason, app.clock.now())
    await _write(tx, app, kind, edge=gone, decision=decision, sequences=sequences)
    return gone


def check(kind: Kind, source: str, target: str, *, known: Set[str], families: Families) -> None:
    """Raise Unknown or Refused where the merge cannot be. Pure."""
    if source == target:
        raise Refused(f"same_{kind.noun}", f"One {kind.noun} cannot be merged with itself.")
    if not {source, target} <= known:
        raise Unknown(kind.noun)
    if families.root(source) == families.root(target):
        raise Refused("one_already", f"The two {kind.noun}s belong together already.")
    if families.root(source) != source:
        raise Refused(
            "merged_already",
            f"The {kind.noun} is merged into another one. Merge {families.root(source)} instead, or undo that merge "
            "first.",
        )


async def _write(tx: Tx, app: App, kind: Kind, *, edge: Edge, decision: Decision, sequences: Mapping[str, int]) -> None:
    await edges.learn(tx, [edge], table=kind.edges)
    await store.insert_decision(tx, kind, edge, decision=decision)
    raised = {id: sequence + 1 for id, sequence in sequences.items()}
    await store.raise_sequences(tx, raised, table=kind.noun)
    failpoint("merge.before_outbox")
    await app.outbox.append(tx, [kind.told(edge, decision, id, sequence) for id, sequence in sorted(raised.items())])
    failpoint("merge.before_commit")
