"""Merges, their undoing, and what is proposed to be merged."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.idempotency import IdempotencyKey, idempotent
from baton_kit.pages import CursorParam, Limit, Page, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of, before, page_of, plain
from lead_intake.merging import merge as merging
from lead_intake.merging import store
from lead_intake.merging.answers import after_pair, problem, who
from lead_intake.merging.edge import merge_of
from lead_intake.merging.edge import merges as merges_of
from lead_intake.merging.preview import contact_of, preview
from lead_intake.merging.store import LEADS

router = APIRouter()

MergeReason = Literal["same_person", "same_key", "same_company_and_name", "import", "other"]
UndoReason = Literal["different_persons", "mistake", "other"]


class Pair(Body):
    """Two leads: the one that would no longer be canonical, and the one it would belong to."""

    from_lead_id: UUID
    into_lead_id: UUID


class MergeOrder(Pair):
    """A merge and why."""

    reason: MergeReason = "same_person"


class UndoOrder(Body):
    """Why a merge is undone."""

    reason: UndoReason = "different_persons"


class MergeOut(BaseModel):
    """A merge: active until it is undone; `decided_by` and `undone_by` are ids of persons, keys or rules."""

    id: str
    from_lead_id: str
    into_lead_id: str
    version: int
    active: bool
    decided_by: str
    reason: str
    merged_at: Moment
    undone_by: str | None
    undone_reason: str | None
    undone_at: Moment | None


class Part(BaseModel):
    """What one lead brings; `keys` counts its identity keys by kind, `contact` needs contacts:read."""

    lead_id: str
    created_at: Moment
    source_id: str
    touches: int
    channels: list[str]
    keys: dict[str, int]
    consent_marketing: bool
    features: dict[str, Any]
    contact: dict[str, Any] | None = None


class Change(BaseModel):
    """A feature of the canonical lead before and after."""

    before: Any
    after: Any


class PreviewOut(BaseModel):
    """What a merge would join. `possible` is false where it cannot be; `why` is a code and `detail` says what can."""

    possible: bool
    why: str
    detail: str
    canonical_lead_id: str
    from_leads: list[Part]
    into_leads: list[Part]
    features_changed: dict[str, Change]


class ProposalOut(BaseModel):
    """Two leads that may be one person: `keys` where one delivery named both, `alike` where name and company are."""

    from_lead_id: str = Field(description="The younger lead.")
    into_lead_id: str
    kind: str
    score: int = Field(description="0 to 100: how alike.")
    state: str
    proposed_at: Moment
    receipt_id: str | None


@router.post(
    "/v1/merges/preview",
    operation_id="preview_merge",
    summary="What a merge would join",
    tags=["merges"],
    responses=PROBLEMS,
)
async def preview_merge(request: Request, body: Pair, caller: Caller = requires("leads:read")) -> PreviewOut:
    """Both sides and the features that would change; nothing is changed. Contact data only with contacts:read."""
    async with app_of(request).db.begin() as tx:
        try:
            found = await preview(tx, str(body.from_lead_id), str(body.into_lead_id))
        except merging.Unknown as error:
            raise problem(error) from None
    with_contact = caller.may("contacts:read")
    old, new = plain(found.before), plain(found.after)
    return PreviewOut(
        possible=not found.refused,
        why=found.refused,
        detail=found.detail,
        canonical_lead_id=found.canonical,
        from_leads=[_part(id, found.parts[id], with_contact=with_contact) for id in found.from_leads],
        into_leads=[_part(id, found.parts[id], with_contact=with_contact) for id in found.into_leads],
        features_changed={name: Change(before=old[name], after=new[name]) for name in new if new[name] != old[name]},
    )


@router.post(
    "/v1/merges",
    status_code=201,
    operation_id="merge_leads",
    summary="Merge two leads",
    tags=["merges"],
    response_model=MergeOut,
    responses=PROBLEMS,
)
async def merge_leads(
    request: Request,
    body: MergeOrder,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("leads:write"),
) -> Response:
    """Let one lead belong to another. No fact is rewritten, and it can be undone."""
    app = app_of(request)
    async with app.db.begin() as tx:

        async def act() -> MergeOut:
            try:
                edge = await merging.merge(
                    tx,
                    app,
                    LEADS,
                    source=str(body.from_lead_id),
                    target=str(body.into_lead_id),
                    by=who(caller),
                    reason=body.reason,
                )
            except (merging.Unknown, merging.Refused) as error:
                raise problem(error) from None
            return MergeOut(**dict(await merge_of(tx, LEADS, edge.id)))

        return await idempotent(tx, request, caller, key=idempotency_key, status=201, act=act)


@router.post(
    "/v1/merges/{id}/undo",
    operation_id="undo_merge",
    summary="Undo a merge",
    tags=["merges"],
    response_model=MergeOut,
    responses=PROBLEMS,
)
async def undo_merge(
    request: Request,
    id: UUID,
    body: UndoOrder,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("leads:write"),
) -> Response:
    """Take a merge back: both leads stand again as their own facts make them."""
    app = app_of(request)
    async with app.db.begin() as tx:

        async def act() -> MergeOut:
            try:
                edge = await merging.undo(tx, app, LEADS, merge_id=str(id), by=who(caller), reason=body.reason)
            except (merging.Unknown, merging.Refused) as error:
                raise problem(error) from None
            return MergeOut(**dict(await merge_of(tx, LEADS, edge.id)))

        return await idempotent(tx, request, caller, key=idempotency_key, status=200, act=act)


@router.get("/v1/merges", operation_id="list_merges", summary="List merges", tags=["merges"], responses=PROBLEMS)
async def list_merges(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    lead_id: UUID | None = None,
    active: Annotated[bool | None, Query()] = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[MergeOut]:
    """Merges, newest first; the undone ones too, unless asked otherwise."""
    async with app_of(request).db.begin() as tx:
        rows = await merges_of(
            tx,
            LEADS,
            ids=None if lead_id is None else [str(lead_id)],
            active=active,
            before=before(cursor),
            limit=limit + 1,
        )
    return page_of(request, response, [MergeOut(**dict(r)) for r in rows], limit)


@router.get(
    "/v1/merge-proposals",
    operation_id="list_merge_proposals",
    summary="Leads that may be one person",
    tags=["merges"],
    responses=PROBLEMS,
)
async def list_proposals(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    state: Annotated[Literal["open", "merged", "dismissed"], Query()] = "open",
    kind: Annotated[Literal["keys", "alike"] | None, Query()] = None,
    lead_id: UUID | None = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[ProposalOut]:
    """Proposals; none of them merges anything by itself."""
    after = after_pair(cursor)
    async with app_of(request).db.begin() as tx:
        rows = await store.proposals(
            tx,
            state=state,
            kind=kind,
            lead_id=None if lead_id is None else str(lead_id),
            after=after,
            limit=limit + 1,
        )
    items = [_proposal(row) for row in rows[:limit]]
    next_cursor = None
    if len(rows) > limit:
        next_cursor = encode_cursor(rows[limit - 1]["person_low"], rows[limit - 1]["person_high"])
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.post(
    "/v1/merge-proposals/dismiss",
    operation_id="dismiss_merge_proposal",
    summary="Say that two leads are two persons",
    tags=["merges"],
    response_model=dict[str, int],
    responses=PROBLEMS,
)
async def dismiss_proposal(
    request: Request,
    body: Pair,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("leads:write"),
) -> Response:
    """Close the open proposals between two leads; they are not proposed again."""
    async with app_of(request).db.begin() as tx:

        async def act() -> dict[str, int]:
            closed = await store.close_proposals(tx, [str(body.from_lead_id)], [str(body.into_lead_id)], "dismissed")
            if not closed:
                raise Problem(404, "There is no open proposal between these leads")
            return {"dismissed": closed}

        return await idempotent(tx, request, caller, key=idempotency_key, status=200, act=act)


def _part(lead_id: str, row: Mapping[str, Any], *, with_contact: bool) -> Part:
    features = LeadFeatures.FromString(row["features"])
    kinds = row["keys"] or []
    return Part(
        lead_id=lead_id,
        created_at=row["created_at"],
        source_id=row["source_id"],
        touches=row["touches"],
        channels=sorted(row["channels"] or []),
        keys={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        consent_marketing=features.consent_marketing,
        features=plain(features),
        contact=plain(contact_of(row)) if with_contact else None,
    )


def _proposal(row: Mapping[str, Any]) -> ProposalOut:
    # The older lead stays canonical; ids grow with time.
    into, out_of = sorted((row["low_lead"], row["high_lead"]))
    return ProposalOut(
        from_lead_id=out_of,
        into_lead_id=into,
        kind=row["kind"],
        score=row["score"],
        state=row["state"],
        proposed_at=row["proposed_at"],
        receipt_id=row["receipt_id"],
    )
