"""Merge two accounts, and undo it. Leads, deals and keys keep the account they came with: a merge is an edge."""

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
from lead_intake.accounts import store

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


async def merge(tx: Tx, app: App, from_account: str, into_account: str, *, by: str, reason: str) -> Edge:
    """Let one account belong to another, from the commit on; told on both keys with one merge id and version.

    Of several that are asked for at once each sees those before it: no circle ever comes to be, and no account belongs
    to two others. Deliveries wait for nothing here. Raises Unknown and Refused.
    """
    # One merge at a time: whether an edge closes a circle depends on edges whose accounts nobody here locks.
    await store.lock_merges(tx)
    failpoint("account.merge.after_gate")
    sequences = await store.lock_accounts(tx, sorted((from_account, into_account)))
    failpoint("account.merge.after_locks")
    found = await edges.families_of(tx, [from_account, into_account], table=store.EDGES)
    check(from_account, into_account, known=sequences.keys(), families=found)

    now = app.clock.now()
    edge = Edge(new_id(now), from_account, into_account, 1, active=True)
    await store.close_proposals(tx, found.members(from_account), found.members(into_account), state="merged")
    await _write(tx, app, edge, Decision(by, reason, now), sequences=sequences)
    return edge


async def undo(tx: Tx, app: App, merge_id: str, *, by: str, reason: str) -> Edge:
    """Take the edge away again: both accounts stand as their own leads make them. Raises Unknown and Refused."""
    await store.lock_merges(tx)
    failpoint("account.unmerge.after_gate")
    edge = await store.edge(tx, merge_id)
    if edge is None:
        raise Unknown("merge")
    if not edge.active:
        raise Refused("undone", "The merge was undone before; nothing is left to do.")
    sequences = await store.lock_accounts(tx, sorted((edge.source, edge.target)))
    failpoint("account.unmerge.after_locks")
    gone = replace(edge, version=edge.version + 1, active=False)
    await _write(tx, app, gone, Decision(by, reason, app.clock.now()), sequences=sequences)
    return gone


def check(from_account: str, into_account: str, *, known: Set[str], families: Families) -> None:
    """Raise Unknown or Refused where the merge cannot be. Pure."""
    if from_account == into_account:
        raise Refused("same_account", "An account cannot be merged with itself.")
    for account_id in (from_account, into_account):
        if account_id not in known:
            raise Unknown("account")
    if families.root(from_account) == families.root(into_account):
        raise Refused("one_already", "The two accounts belong together already.")
    if families.root(from_account) != from_account:
        raise Refused(
            "merged_already",
            f"The account is merged into another one. Merge {families.root(from_account)} instead, or undo that merge "
            "first.",
        )


async def _write(tx: Tx, app: App, edge: Edge, decision: Decision, *, sequences: dict[str, int]) -> None:
    await edges.learn(tx, [edge], table=store.EDGES)
    await store.insert_decision(tx, edge, decision)
    raised = {account_id: sequence + 1 for account_id, sequence in sequences.items()}
    await store.raise_sequences(tx, raised)
    failpoint("account.merge.before_outbox")
    told = [events.account_merge_told(edge, decision, account_id=id, sequence=s) for id, s in sorted(raised.items())]
    await app.outbox.append(tx, told)
    failpoint("account.merge.before_commit")
