"""The rep's answers: accept, reject, recycle, and the log of contacts."""

from collections.abc import Set
from datetime import datetime

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from sales_feedback.app import App
from sales_feedback.handoffs import handoff as machine
from sales_feedback.handoffs import store
from sales_feedback.handoffs.handoff import Handoff, Means, Moved
from sales_feedback.handoffs.record import record


class Unknown(Exception):
    """Nothing has this id; `what` names the kind of thing."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no such {what}")
        self.what = what


class Stale(Exception):
    """The caller answers a version that is not the current one; `current` is."""

    def __init__(self, current: int) -> None:
        super().__init__("the handoff has changed since it was read")
        self.current = current


class NoRep(Exception):
    """Nobody is named who could promise to work the lead."""


async def accept(
    tx: Tx, app: App, handoff_id: str, *, rep_id: str | None, at: datetime | None, versions: Set[int] | None
) -> Handoff:
    """Accept in the name of `rep_id`, or of the rep the handoff is assigned to."""
    handoff = await _lock(tx, handoff_id, versions)
    rep_id = rep_id or handoff.rep_id
    if rep_id is None:
        raise NoRep
    if await store.get_rep(tx, rep_id) is None:
        raise Unknown("rep")
    return await _tell(tx, app, machine.accept(handoff, rep_id=rep_id, at=_capped(app, at)), note=None)


async def reject(
    tx: Tx, app: App, handoff_id: str, *, reason: str, note: str | None, versions: Set[int] | None
) -> Handoff:
    """Reject for one of the reasons of the agreement under which the lead qualified."""
    handoff = await _lock(tx, handoff_id, versions)
    return await _tell(tx, app, machine.reject(handoff, reason, at=app.clock.now()), note=note)


async def recycle(
    tx: Tx,
    app: App,
    handoff_id: str,
    *,
    reason: str,
    return_at: datetime | None,
    note: str | None,
    versions: Set[int] | None,
) -> Handoff:
    """Give the lead back to nurture, perhaps until a date."""
    handoff = await _lock(tx, handoff_id, versions)
    moved = machine.recycle(handoff, reason, at=app.clock.now(), return_at=return_at)
    return await _tell(tx, app, moved, note=note)


async def log_contact(
    tx: Tx,
    app: App,
    handoff_id: str,
    *,
    means: Means,
    reached: bool,
    at: datetime | None,
    note: str | None,
    versions: Set[int] | None,
) -> Handoff:
    """Log a contact with the customer."""
    handoff = await _lock(tx, handoff_id, versions)
    moved = machine.contact(handoff, means, reached=reached, at=_capped(app, at))
    return await _tell(tx, app, moved, note=note)


async def _lock(tx: Tx, handoff_id: str, versions: Set[int] | None) -> Handoff:
    handoff = await store.get_handoff(tx, handoff_id, lock=True)
    if handoff is None:
        raise Unknown("handoff")
    if versions is not None and handoff.sequence not in versions:
        raise Stale(handoff.sequence)
    failpoint("sales.answer.locked")
    return handoff


async def _tell(tx: Tx, app: App, moved: Moved, *, note: str | None) -> Handoff:
    # Nothing of a person is written down any more once the person is forgotten.
    if note is not None and moved.handoff.lead_id in await store.erased_leads(tx, [moved.handoff.lead_id]):
        note = None
    await record(tx, app, [moved], note=note)
    failpoint("sales.answer.recorded")
    return moved.handoff


def _capped(app: App, at: datetime | None) -> datetime:
    """The time of the caller, but never one that is still to come."""
    now = app.clock.now()
    return min(at, now) if at is not None else now
