"""Where a lead stands, and what happened to it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from baton_kit import edges, forgotten
from baton_kit.policy import Caller, requires
from qualification import accounts, store
from qualification.api.answers import LeadId, app_of, not_found, only

router = APIRouter()


class TimelineItem(BaseModel):
    """One thing that happened to the lead here."""

    at: datetime
    service: str
    kind: str
    title: str
    detail: dict[str, Any]


class Timeline(BaseModel):
    """What this service knows of the lead, oldest first; names no person."""

    lead_id: str
    as_of: datetime
    items: list[TimelineItem]


class LeadShown(BaseModel):
    """Where a lead stands; names no person. Of a lead that was merged, the canonical one is decided about."""

    lead_id: str
    canonical_lead_id: str
    cycle: int
    state: str = Field(description="open, qualified, rejected, recycled, or history: known from imports only")
    outcome: str | None
    score: int | None
    decision_id: str | None
    account_id: str | None = Field(description="The company that the lead belongs to, after all merges of accounts.")
    origin_account_id: str | None = Field(description="The account that the lead itself came to.")


@router.get(
    "/v1/leads/{lead_id}", operation_id="get_lead", summary="Where a lead stands", tags=["leads"],
    responses=only(404, 422),
)  # fmt: skip
async def get_lead(request: Request, lead_id: LeadId, caller: Caller = requires("leads:read")) -> LeadShown:
    """Return the lead's cycle, its last decision and its account."""
    async with app_of(request).db.begin() as tx:
        found = await store.lead(tx, lead_id)
        if found is None:
            raise not_found("lead")
        whole = await edges.families_of(tx, [lead_id])
        account_id = await accounts.canonical(tx, found.account_id)
    return LeadShown(
        lead_id=lead_id,
        canonical_lead_id=whole.root(lead_id),
        cycle=found.cycle,
        state=found.state.value,
        outcome=found.outcome,
        score=found.score,
        decision_id=found.decision_id,
        account_id=account_id,
        origin_account_id=found.account_id or None,
    )


@router.get(
    "/v1/leads/{lead_id}/timeline", operation_id="lead_timeline", summary="The timeline of a lead", tags=["leads"],
    responses=only(404, 422),
)  # fmt: skip
async def lead_timeline(request: Request, lead_id: LeadId, caller: Caller = requires("leads:read")) -> Timeline:
    """Return the latest 200 decisions about the lead, and when it was handed over."""
    app = app_of(request)
    async with app.db.begin() as tx:
        decisions = await store.decisions_of(tx, lead_id, before=None, limit=200)
        handed_over = await store.qualified_of(tx, lead_id)
        gone = await forgotten.one(tx, lead_id)
        if not decisions and not await store.lead_exists(tx, lead_id):
            raise not_found("lead")
    items = [_decision_item(row) for row in reversed(decisions)]
    items += [
        TimelineItem(
            at=row["at"],
            service="qualification",
            kind="qualified",
            title="Handed over to sales",
            detail={"cycle": row["cycle"], "decision_id": row["decision_id"]},
        )
        for row in handed_over
    ]
    if gone is not None:
        items.append(
            TimelineItem(
                at=gone["erased_at"],
                service="qualification",
                kind="erased",
                title="The person was forgotten; decisions stay",
                detail={"erasure_id": gone["erasure_id"]},
            )
        )
    items.sort(key=lambda item: item.at)  # stable: a handoff stays behind its decision
    return Timeline(lead_id=lead_id, as_of=app.clock.now().astimezone(UTC), items=items)


def _decision_item(row: Mapping[str, Any]) -> TimelineItem:
    made = json.loads(row["canonical"])
    bar = f"in cell {made['cell']}" if "cell" in made else f"of {row['threshold']}"
    title = f"Scored {row['score']} {bar}: {row['outcome'].replace('_', ' ')}"
    if row["stopped_by"]:
        title = f"{row['outcome'].capitalize()} by {row['stopped_by']}"
    detail = {
        "decision_id": row["id"],
        "cycle": row["cycle"],
        "kind": row["kind"],
        "outcome": row["outcome"],
        "score": row["score"],
        "threshold": row["threshold"],
        "line": made.get("line", ""),
        "cell": made.get("cell", ""),
        "stopped_by": row["stopped_by"],
        "contributions": made["contributions"],
        "agreement": made["agreement"],
    }
    return TimelineItem(at=row["at"], service="qualification", kind="decision", title=title, detail=detail)
