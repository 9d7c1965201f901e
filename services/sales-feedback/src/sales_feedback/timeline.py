"""What sales did about one lead, in the order of time, without a word of the person."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from baton_kit import forgotten
from baton_kit.edges import families_of
from baton_kit.policy import Caller, requires
from sales_feedback.deals import store as deal_store
from sales_feedback.handoffs import store as handoff_store
from sales_feedback.history import store as history_store
from sales_feedback.http import Moment, PathId, app_of, problems

router = APIRouter()

_FEEDBACK_TITLES = {
    "accepted": "Sales accepted the lead",
    "rejected": "Sales rejected the lead",
    "recycled": "Sales gave the lead back to nurture",
    "contacted": "Sales contacted the customer",
}


class TimelineItem(BaseModel):
    """One thing that happened; amounts in `detail` are minor units."""

    at: Moment
    service: str = "sales-feedback"
    kind: str
    title: str
    detail: dict[str, Any]


class Timeline(BaseModel):
    """What this service knows about the lead."""

    lead_id: str
    as_of: Moment
    items: list[TimelineItem]


@router.get(
    "/v1/leads/{lead_id}/timeline",
    operation_id="lead_timeline",
    summary="What sales did about a lead",
    tags=["leads"],
    response_model=Timeline,
    responses=problems(),
)
async def lead_timeline(request: Request, lead_id: PathId, caller: Caller = requires("leads:read")) -> Timeline:
    """Handoffs, answers, contacts and deals of the lead and of all that were merged with it; empty without any."""
    app = app_of(request)
    async with app.db.begin() as tx:
        members = (await families_of(tx, [lead_id])).members(lead_id)
        handoffs = await handoff_store.handoffs_of_leads(tx, members)
        ids = [one.id for one in handoffs]
        changes = await handoff_store.history(tx, ids)
        told = await handoff_store.feedback_of(tx, ids)
        gone = await forgotten.one(tx, lead_id)
        deals = await deal_store.history_of_leads(tx, members)
        past = await history_store.answers_of_leads(tx, members)
    items = [_handoff_item(dict(row)) for row in changes]
    items += [_feedback_item(dict(row)) for row in told]
    items += [_deal_item(dict(row)) for row in deals]
    items += [_past_item(dict(row)) for row in past]
    items.sort(key=lambda item: (item.at, item.detail["version"]))
    if gone is not None:
        items.append(
            TimelineItem(
                at=gone["erased_at"],
                kind="erased",
                title="Contact, notes and raw bodies were deleted",
                detail={"erasure_id": gone["erasure_id"], "version": gone["sequence"]},
            )
        )
    return Timeline(lead_id=lead_id, as_of=app.clock.now(), items=items)


def _handoff_item(row: dict[str, Any]) -> TimelineItem:
    if row["previous_state"] == row["state"]:
        title = "Handoff assigned"
    elif row["previous_state"] is None:
        title = "Handed to sales"
    else:
        title = f"Handoff {row['state']}"
    return TimelineItem(
        at=row["occurred_at"],
        kind="handoff",
        title=title,
        detail=_said(row, version="sequence", handoff_id="handoff_id", state="state", rep_id="rep_id", reason="reason"),
    )


def _feedback_item(row: dict[str, Any]) -> TimelineItem:
    contacted = row["kind"] == "contacted"
    detail = _said(
        row,
        version="sequence",
        handoff_id="handoff_id",
        rep_id="rep_id",
        reason="reason",
        reason_family="reason_family",
        means="means",
        return_at="return_at",
    )
    if contacted:
        detail |= {"reached": row["reached"], "first_response": row["first_response"]}
    return TimelineItem(
        at=row["occurred_at"],
        kind="contact" if contacted else "feedback",
        title=_FEEDBACK_TITLES[row["kind"]],
        detail=detail,
    )


def _past_item(row: dict[str, Any]) -> TimelineItem:
    """An answer of the time before Baton."""
    return TimelineItem(
        at=row["occurred_at"],
        kind="contact" if row["kind"] == "contacted" else "feedback",
        title=_FEEDBACK_TITLES[row["kind"]],
        detail=_said({**row, "version": 0, "imported": True}, version="version", imported="imported", reason="reason",
                     reason_family="reason_family", reached="reached"),
    )  # fmt: skip


def _deal_item(row: dict[str, Any]) -> TimelineItem:
    what = row["outcome"] or ("opened" if row["sequence"] == 1 else "moved")
    return TimelineItem(
        at=row["occurred_at"],
        kind="deal",
        title=f"Deal {what}",
        detail=_said(
            row,
            version="sequence",
            deal_id="deal_id",
            state="state",
            amount_minor="amount_minor",
            currency="currency",
            reason="reason",
            closed_at="closed_at",
        ),
    )


def _said(row: dict[str, Any], **names: str) -> dict[str, Any]:
    values = {name: row[column] for name, column in names.items() if row[column] is not None}
    return {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in values.items()
    }
