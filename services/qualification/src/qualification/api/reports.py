"""Counts of decisions."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from baton_kit.policy import Caller, requires
from qualification import store
from qualification.api.answers import app_of, only

router = APIRouter()


class RuleCount(BaseModel):
    """How one rule fares."""

    rule: str
    leads: int = Field(description="Leads whose latest decision it is part of.")
    qualified: int = Field(description="Handoffs it was part of.")
    accepted: int
    rejected: int
    recycled: int


class DecisionReport(BaseModel):
    """Counts of now."""

    as_of: datetime
    decisions: int
    qualified: int = Field(description="Handoffs, each cycle of a lead counted.")
    by_outcome: dict[str, int] = Field(
        description="Leads by latest outcome; `waiting` for a first agreement, `early` touches, `test` leads besides, "
        "`history` known from imports only."
    )
    by_rule: list[RuleCount]


@router.get(
    "/v1/reports/decisions", operation_id="report_decisions", summary="Decisions by outcome and by rule",
    tags=["reports"], responses=only(),
)  # fmt: skip
async def report_decisions(request: Request, caller: Caller = requires("reports:read")) -> DecisionReport:
    """Return counts by outcome and by rule, with what sales answered."""
    app = app_of(request)
    async with app.db.begin() as tx:
        await store.read_one_snapshot(tx)
        totals = await store.totals(tx)
        outcomes = await store.outcome_counts(tx)
        rules = await store.rule_counts(tx)
    return DecisionReport(
        as_of=app.clock.now().astimezone(UTC),
        decisions=totals["decisions"],
        qualified=totals["qualified"],
        by_outcome=outcomes,
        by_rule=[RuleCount(**row) for row in rules],
    )
