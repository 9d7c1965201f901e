"""Merge two leads, and undo it. Nothing that either lead was told is rewritten: a merge is an edge."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.edges import Edge, Families
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from lead_intake import events
from lead_intake.merging import store

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


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided what about a merge, and why: an id or a rule and a code, never a name."""

    by: str
    reason: str
    at: datetime


async def merge(tx: Tx, app: App, from_lead: str, into_lead: str, *, by: str, reason: str) -> Edge:
    """Let one lead belong to another, from the commit on; told on both keys with one merge id and version.

    Of several that are asked for at once each sees those before it: no circle ever comes to be, and no lead belongs
    to two others. Raises Unknown and Refused.
    """
    # 1. One merge at a time: whether an edge closes a circle depends on edges whose leads nobody here locks.
    await store.lock_merges(tx)
    failpoint("merge.after_gate")
    # 2. Then the leads, sorted like everyone who locks leads; deliveries wait here until the commit.
    sequences = await store.lock_leads(tx, sorted((from_lead, into_lead)))
    failpoint("merge.after_locks")
    found = await edges.families_of(tx, [from_lead, into_lead])
    check(from_lead, into_lead, known=sequences.keys(), families=found)

    now = app.clock.now()
    edge = Edge(new_id(now), from_lead, into_lead, 1, active=True)
    await store.close_proposals(tx, found.members(from_lead), found.members(into_lead), state="merged")
    await _write(tx, app, edge, Decision(by, reason, now), sequences=sequences)
    return edge


async def undo(tx: Tx, app: App, merge_id: str, *, by: str, reason: str) -> Edge:
    """Take the edge away again: both leads stand as their own facts make them. Raises Unknown and Refused."""
    await store.lock_merges(tx)
    failpoint("unmerge.after_gate")
    edge = await store.edge(tx, merge_id)
    if edge is None:
        raise Unknown("merge")
    if not edge.active:
        raise Refused("undone", "The merge was undone before; nothing is left to do.")
    sequences = await store.lock_leads(tx, sorted((edge.source, edge.target)))
    failpoint("unmerge.after_locks")
    gone = replace(edge, version=edge.version + 1, active=False)
    await _write(tx, app, gone, Decision(by, reason, app.clock.now()), sequences=sequences)
    return gone


def check(from_lead: str, into_lead: str, *, known: Set[str], families: Families) -> None:
    """Raise Unknown or Refused where the merge cannot be. Pure."""
    if from_lead == into_lead:
        raise Refused("same_lead", "A lead cannot be merged with itself.")
    for lead_id in (from_lead, into_lead):
        if lead_id not in known:
            raise Unknown("lead")
    if families.root(from_lead) == families.root(into_lead):
        raise Refused("one_already", "The two leads belong together already.")
    if families.root(from_lead) != from_lead:
        raise Refused(
            "merged_already",
            f"The lead is merged into another one. Merge {families.root(from_lead)} instead, or undo that merge first.",
        )


async def _write(tx: Tx, app: App, edge: Edge, decision: Decision, *, sequences: dict[str, int]) -> None:
    await edges.learn(tx, [edge])
    await store.insert_decision(tx, edge, decision)
    raised = {lead_id: sequence + 1 for lead_id, sequence in sequences.items()}
    await store.raise_sequences(tx, raised)
    failpoint("merge.before_outbox")
    await app.outbox.append(
        tx, [events.merge_told(edge, decision, lead_id=lead_id, sequence=s) for lead_id, s in sorted(raised.items())]
    )
    failpoint("merge.before_commit")
