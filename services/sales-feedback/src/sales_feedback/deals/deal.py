"""A deal: open, won or lost, with its money in minor units. Pure: no clock, no database."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class DealState(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Outcome(StrEnum):
    """What a DealClosed tells; `reopened` takes the former close back."""

    WON = "won"
    LOST = "lost"
    REOPENED = "reopened"


POSSIBLE: Mapping[DealState, tuple[str, ...]] = {
    DealState.OPEN: ("stage", "won", "lost"),
    DealState.WON: ("won", "reopen"),
    DealState.LOST: ("lost", "reopen"),
}
"""What a caller may ask for in each state; won and lost again correct the close."""


@dataclass(frozen=True, slots=True)
class Deal:
    """One deal of a lead; `sequence` is its version, `amount_minor` counts minor units of `currency`.

    `crm` says who holds it (hubspot, pipedrive, rest); `crm_id` and `crm_deal_id` find it there, and
    `crm_company_id` its company.
    """

    id: str
    lead_id: str
    sequence: int
    state: DealState
    opened_at: datetime
    handoff_id: str | None = None
    stage: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    product: str | None = None
    rep_id: str | None = None
    reason: str | None = None
    crm: str = "rest"
    crm_id: str | None = None
    crm_deal_id: str | None = None
    crm_company_id: str | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DealMoved:
    """A new version of the deal; `outcome` when it is one that DealClosed tells."""

    deal: Deal
    occurred_at: datetime
    outcome: Outcome | None = None


class DealNotPossible(Exception):
    """The deal is in a state that does not allow the action; `possible` names what it does allow."""

    def __init__(self, deal: Deal, action: str) -> None:
        super().__init__(f"{action} is not possible while the deal is {deal.state}")
        self.deal = deal
        self.possible = POSSIBLE[deal.state]


@dataclass(frozen=True, slots=True)
class Target:
    """How a CRM says a deal stands now. Fields it says nothing of are None."""

    state: DealState
    stage: str | None
    amount_minor: int | None
    currency: str | None
    reason: str | None
    product: str | None
    rep_id: str | None
    closed_at: datetime | None
    crm_company_id: str | None = None


def stage(deal: Deal, name: str, *, amount_minor: int | None, at: datetime) -> DealMoved:
    """Move an open deal to another stage, perhaps with another amount."""
    _require(deal, "stage")
    changed = replace(deal, stage=name, amount_minor=deal.amount_minor if amount_minor is None else amount_minor)
    return _next(deal, changed, outcome=None, at=at)


def won(deal: Deal, *, amount_minor: int, currency: str, closed_at: datetime, at: datetime) -> DealMoved:
    """Close the deal as won, or correct the amount or time of one that is."""
    _require(deal, "won")
    changed = replace(
        deal,
        state=DealState.WON,
        amount_minor=amount_minor,
        currency=currency,
        closed_at=closed_at,
        reason=None,
    )
    return _next(deal, changed, outcome=Outcome.WON, at=at)


def lost(deal: Deal, reason: str, *, closed_at: datetime, at: datetime) -> DealMoved:
    """Close the deal as lost, or correct the reason or time of one that is."""
    _require(deal, "lost")
    changed = replace(deal, state=DealState.LOST, reason=reason, closed_at=closed_at)
    return _next(deal, changed, outcome=Outcome.LOST, at=at)


def reopen(deal: Deal, *, at: datetime) -> DealMoved:
    """Open a closed deal again: nothing of the former close counts any more."""
    _require(deal, "reopen")
    changed = replace(deal, state=DealState.OPEN, closed_at=None, reason=None)
    return _next(deal, changed, outcome=Outcome.REOPENED, at=at)


def follow(deal: Deal, target: Target, *, at: datetime) -> DealMoved:
    """Bring the deal to where the CRM says it stands, in one step.

    Tells DealClosed when what that event says changed, and nothing when only the stage or an open amount did. A deal
    that stands there already stays as it is (same sequence).
    """
    closed = target.state is not DealState.OPEN
    changed = replace(
        deal,
        state=target.state,
        stage=target.stage,
        amount_minor=target.amount_minor,
        currency=target.currency or deal.currency,
        reason=target.reason if target.state is DealState.LOST else None,
        product=target.product or deal.product,
        rep_id=target.rep_id or deal.rep_id,
        crm_company_id=target.crm_company_id or deal.crm_company_id,
        closed_at=(target.closed_at or deal.closed_at or at) if closed else None,
    )
    outcome = None
    if closed and replace(changed, stage=None) != replace(deal, stage=None):
        outcome = Outcome(target.state.value)
    elif not closed and deal.state is not DealState.OPEN:
        outcome = Outcome.REOPENED
    return _next(deal, changed, outcome=outcome, at=at)


def _next(deal: Deal, changed: Deal, *, outcome: Outcome | None, at: datetime) -> DealMoved:
    if changed == deal:
        return DealMoved(deal, at)
    return DealMoved(replace(changed, sequence=deal.sequence + 1), at, outcome)


def _require(deal: Deal, action: str) -> None:
    if action not in POSSIBLE[deal.state]:
        raise DealNotPossible(deal, action)
