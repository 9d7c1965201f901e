"""Decisions about leads, and decisions made again."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from baton_agreement.canonical import digest_of
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from qualification import store, verify
from qualification.api.answers import LeadId, app_of, not_found, only

router = APIRouter()


class ContributionShown(BaseModel):
    """Points of one rule or cap."""

    rule: str
    group: str = Field(description="fit, engagement or cap")
    points: int
    occurrences: int


class AgreementStampShown(BaseModel):
    """Which version decided."""

    id: str
    version: int
    digest: str
    activation_seq: int


class DecisionShown(BaseModel):
    """One decision; the contributions sum exactly to the score."""

    decision_id: str
    lead_id: str
    cycle: int
    sequence: int
    kind: str = Field(description="decision or reevaluation")
    at: datetime
    agreement: AgreementStampShown
    outcome: str = Field(description="qualified, below_threshold, gated or disqualified")
    score: int
    threshold: int = Field(description="What the score had to reach; 0 where a cell of the matrix decided.")
    line: str = Field(description="The line of the agreement the lead was judged under; empty for none.")
    cell: str = Field(description="The cell of the matrix, A1 to D4; empty where a threshold decided.")
    stopped_by: str
    contributions: list[ContributionShown]
    evaluator_version: int
    digest: str = Field(description="SHA-256 of the decision's canonical bytes.")
    snapshot_digest: str
    snapshot: dict[str, Any] = Field(description="What was judged: features and touches.")


class Verification(BaseModel):
    """Whether the stored decision comes out again, byte for byte."""

    identical: bool
    digest: str = Field(description="Of the stored decision.")
    digest_now: str = Field(description="Of the decision made from the stored snapshot now.")


@router.get(
    "/v1/leads/{lead_id}/decisions", operation_id="list_decisions", summary="The decisions about a lead",
    tags=["decisions"], responses=only(404, 422),
)  # fmt: skip
async def list_decisions(
    request: Request,
    response: Response,
    lead_id: LeadId,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("decisions:read"),
) -> Page[DecisionShown]:
    """List the decisions about a lead, the newest first."""
    before = decode_cursor(cursor, kinds=[int])
    async with app_of(request).db.begin() as tx:
        rows = await store.decisions_of(tx, lead_id, before=before[0] if before else None, limit=limit + 1)
        if not rows and not await store.lead_exists(tx, lead_id):
            raise not_found("lead")
    next_cursor = encode_cursor(rows[limit - 1]["sequence"]) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=[_decision_shown(row) for row in rows[:limit]], next_cursor=next_cursor)


@router.get(
    "/v1/decisions/{decision_id}", operation_id="get_decision", summary="One decision", tags=["decisions"],
    responses=only(404, 422),
)  # fmt: skip
async def get_decision(
    request: Request, decision_id: LeadId, caller: Caller = requires("decisions:read")
) -> DecisionShown:
    """Return a decision with what was judged."""
    async with app_of(request).db.begin() as tx:
        row = await store.decision(tx, decision_id)
    if row is None:
        raise not_found("decision")
    return _decision_shown(row)


@router.post(
    "/v1/decisions/{decision_id}/verification", operation_id="verify_decision", summary="Make a decision again",
    tags=["decisions"], responses=only(404, 409, 422),
)  # fmt: skip
async def verify_decision(
    request: Request, decision_id: LeadId, caller: Caller = requires("decisions:read")
) -> Verification:
    """Judge the stored snapshot again by the version that decided then, and compare the bytes. Nothing is stored."""
    app = app_of(request)
    async with app.db.begin() as tx:
        row = await store.decision(tx, decision_id)
        if row is None:
            raise not_found("decision")
        law = await store.agreement(tx, row["digest"])
    made = verify.made_again(row, b"" if law is None else law.document, judges=app.judges)
    if made.reason == "cannot_be_made":
        raise Problem(
            409, "The decision cannot be made again", detail="Its evaluator is not here, or its bytes are damaged."
        )
    return Verification(identical=not made.reason, digest=digest_of(row["canonical"]), digest_now=made.digest_now)


class RangeWanted(BaseModel):
    """Which decisions to make again; without bounds all of them."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="Decided at or after this time.")
    until: AwareDatetime | None = Field(default=None, description="Decided before this time.")
    agreement: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Only those of the version with this digest."
    )
    lead_id: Annotated[str, Field(min_length=1, max_length=200, pattern="^[^\\x00]+$")] | None = Field(
        default=None, description="Only those about this lead."
    )


class Differing(BaseModel):
    """A stored decision that does not come out again."""

    decision_id: str
    lead_id: str
    reason: str = Field(description="other_bytes, document_changed or cannot_be_made")


class RangeVerified(BaseModel):
    """One part of a range: go on with `next_cursor` until it is null."""

    checked: int = Field(description="Decisions of the range that were made again.")
    differing: list[Differing]
    next_cursor: str | None


@router.post(
    "/v1/decisions/verifications", operation_id="verify_decisions", summary="Make many decisions again",
    tags=["decisions"], responses=only(422),
)  # fmt: skip
async def verify_decisions(
    request: Request,
    wanted: RangeWanted,
    cursor: CursorParam = None,
    caller: Caller = requires("decisions:read"),
) -> RangeVerified:
    """Judge stored snapshots again by the versions that decided then, and compare the bytes. Nothing is stored.

    One request looks at the next 500 stored decisions, of the range or not.
    """
    app = app_of(request)
    after = decode_cursor(cursor, kinds=[str])
    bounds = verify.Range(since=wanted.since, until=wanted.until, digest=wanted.agreement, lead_id=wanted.lead_id)
    async with app.db.begin() as tx:
        part = await verify.verify_part(tx, app.judges, bounds, after=after[0] if after else "")
    next_cursor = None if part.after is None else encode_cursor(part.after)
    return RangeVerified(
        checked=part.checked,
        differing=[
            Differing(decision_id=row["id"], lead_id=row["lead_id"], reason=reason) for row, reason in part.differing
        ],
        next_cursor=next_cursor,
    )


def _decision_shown(row: Mapping[str, Any]) -> DecisionShown:
    made = json.loads(row["canonical"])
    return DecisionShown(
        decision_id=row["id"],
        lead_id=row["lead_id"],
        cycle=row["cycle"],
        sequence=row["sequence"],
        kind=row["kind"],
        at=row["at"],
        agreement=AgreementStampShown(**made["agreement"]),
        outcome=row["outcome"],
        score=row["score"],
        threshold=row["threshold"],
        line=made.get("line", ""),
        cell=made.get("cell", ""),
        stopped_by=row["stopped_by"],
        contributions=[ContributionShown(**c) for c in made["contributions"]],
        evaluator_version=row["evaluator_version"],
        digest=digest_of(row["canonical"]),
        snapshot_digest=row["snapshot_digest"],
        snapshot=json.loads(row["snapshot"]),
    )
