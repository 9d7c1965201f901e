"""Routes of handoffs and reps."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from google.protobuf.json_format import MessageToDict
from pydantic import BaseModel, Field

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit.db import Tx
from baton_kit.edges import families_of
from baton_kit.idempotency import IdempotencyKey, idempotent
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from sales_feedback.accounts.store import accounts_of_leads, canonical
from sales_feedback.app import App
from sales_feedback.handoffs import answer, store
from sales_feedback.handoffs.handoff import Handoff, Means, State
from sales_feedback.handoffs.rep import Rep
from sales_feedback.http import (
    Body,
    Code,
    Id,
    IfMatch,
    Label,
    Moment,
    Note,
    PathId,
    QueryId,
    Text,
    app_of,
    domain_problems,
    problems,
    versions_of,
    with_etag,
)

router = APIRouter()


class AgreementView(BaseModel):
    """The version of the agreement under which the lead qualified."""

    agreement_id: str
    version: int
    digest: str
    activation_seq: int


class ReasonView(BaseModel):
    """A reason sales may give, and its family."""

    code: str
    family: str


class HandoffView(BaseModel):
    """A handoff; `version` is its ETag, `possible` what may be asked for now."""

    id: str
    lead_id: str
    cycle: int
    version: int
    state: str
    possible: list[str]
    rep_id: str | None
    decision_id: str
    score: int
    threshold: int
    agreement: AgreementView
    reasons: list[ReasonView]
    offered_at: Moment
    accept_due_at: Moment | None
    first_response_due_at: Moment | None
    accepted_at: Moment | None
    first_response_at: Moment | None
    attempts: int
    attempts_agreed: int
    ended_at: Moment | None
    reason: str | None
    reason_family: str | None
    return_at: Moment | None
    account_id: str | None = Field(description="The company: the lead's own account, else the person's; canonical.")
    superseded_by: str | None = Field(
        default=None, description="While the handoff rests: the one of the same person that sales works instead."
    )


class ChangeView(BaseModel):
    """One step of a handoff."""

    version: int
    state: str
    previous_state: str | None
    rep_id: str | None
    reason: str | None
    occurred_at: Moment


class NoteView(BaseModel):
    """What sales wrote."""

    id: str
    text: str
    created_at: Moment


class HandoffDetail(HandoffView):
    """A handoff with its history; contact and notes only for keys with contacts:read."""

    history: list[ChangeView]
    contact: dict[str, Any] | None = None
    merged_contacts: list[dict[str, Any]] | None = Field(
        default=None, description="What the person told under other leads, each with its own consents."
    )
    notes: list[NoteView] | None = None


class RepBody(Body):
    """A rep. Sent again with the same id, it replaces the former; the place in the round stays."""

    id: Id = Field(examples=["olga"])
    name: Text = Field(examples=["Olga"])
    external_ids: dict[Label, Text] = Field(default={}, max_length=20, examples=[{"hubspot": "901"}])
    active: bool = True


class RepView(BaseModel):
    """A rep; an inactive one gets no new handoffs."""

    id: str
    name: str
    external_ids: dict[str, str]
    active: bool


class AcceptBody(Body):
    """Without rep_id, the assigned rep accepts. A time still to come counts as now."""

    rep_id: Id | None = None
    occurred_at: Moment | None = None


class RejectBody(Body):
    """`reason` is one of the handoff's reasons; the note stays here."""

    reason: Code = Field(examples=["too_small"])
    note: Note | None = None


class RecycleBody(Body):
    """`return_at`: not before this time."""

    reason: Code = Field(examples=["next_year"])
    return_at: Moment | None = None
    note: Note | None = None


class ContactBody(Body):
    """A contact with the customer; `reached` when the person answered."""

    means: Means
    reached: bool
    occurred_at: Moment | None = None
    note: Note | None = None


@router.get(
    "/v1/reps",
    operation_id="list_reps",
    summary="List reps",
    tags=["reps"],
    response_model=Page[RepView],
    responses=problems(400),
)
async def list_reps(
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("reps:read"),
) -> Page[RepView]:
    """Reps by id."""
    position = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        reps = await store.list_reps(tx, after=position[0] if position else None, limit=limit + 1)
    page = Page(
        items=[_rep_view(one) for one in reps[:limit]],
        next_cursor=encode_cursor(reps[limit - 1].id) if len(reps) > limit else None,
    )
    link_next(request, response, page.next_cursor)
    return page


@router.post(
    "/v1/reps",
    operation_id="put_rep",
    summary="Add a rep, or replace one",
    tags=["reps"],
    response_model=RepView,
    status_code=201,
    responses={200: {"model": RepView, "description": "The rep was known and is replaced."}, **problems()},
)
async def put_rep(
    request: Request, response: Response, body: RepBody, caller: Caller = requires("reps:write")
) -> RepView:
    """A new active rep is next to be served where handoffs wait."""
    app = app_of(request)
    rep = Rep(body.id, body.name, body.external_ids, active=body.active)
    async with app.db.begin() as tx:
        is_new = await store.put_rep(tx, rep, at=app.clock.now())
    response.status_code = 201 if is_new else 200
    return _rep_view(rep)


@router.get(
    "/v1/handoffs",
    operation_id="list_handoffs",
    summary="List handoffs, the newest first",
    tags=["handoffs"],
    response_model=Page[HandoffView],
    responses=problems(400),
)
async def list_handoffs(
    request: Request,
    response: Response,
    state: State | None = None,
    rep: QueryId = None,
    lead_id: QueryId = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("handoffs:read"),
) -> Page[HandoffView]:
    """Handoffs, by state, rep or lead; those of a lead with those of all leads that were merged with it."""
    position = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        found = await store.list_handoffs(
            tx,
            state=state,
            rep_id=rep,
            lead_ids=(await families_of(tx, [lead_id])).members(lead_id) if lead_id is not None else None,
            before=position[0] if position else None,
            limit=limit + 1,
        )
        shown = await _views(tx, found[:limit])
    page = Page(
        items=shown,
        next_cursor=encode_cursor(found[limit - 1].id) if len(found) > limit else None,
    )
    link_next(request, response, page.next_cursor)
    return page


@router.get(
    "/v1/handoffs/{handoff_id}",
    operation_id="get_handoff",
    summary="Read a handoff",
    tags=["handoffs"],
    response_model=HandoffDetail,
    response_model_exclude_unset=True,
    responses=problems(404),
)
async def get_handoff(
    request: Request, response: Response, handoff_id: PathId, caller: Caller = requires("handoffs:read")
) -> HandoffDetail:
    """A handoff with its history; with contacts:read, also whom to call and what was noted."""
    async with app_of(request).db.begin() as tx:
        found = await store.get_handoff(tx, handoff_id)
        if found is None:
            raise Problem(404, "There is no such handoff", type="/problems/unknown")
        changes = await store.history(tx, [found.id])
        [shown] = await _views(tx, [found])
        detail = HandoffDetail(**shown.model_dump(), history=[_change_view(dict(change)) for change in changes])
        if caller.may("contacts:read"):
            members = (await families_of(tx, [found.lead_id])).members(found.lead_id)
            # A restored row of a forgotten person may still wait to go: it is shown to nobody.
            gone = await store.erased_leads(tx, members)
            known = {
                lead_id: _contact_view(body)
                for lead_id, body in (await store.contact_bodies(tx, members)).items()
                if lead_id not in gone
            }
            detail.contact = known.pop(found.lead_id, None)
            detail.merged_contacts = list(known.values())
            detail.notes = [
                NoteView(id=note["id"], text=note["text"], created_at=note["created_at"])
                for note in ([] if found.lead_id in gone else await store.notes_of(tx, found.id))
            ]
    response.headers["ETag"] = f'"{found.sequence}"'
    return detail


@router.post(
    "/v1/handoffs/{handoff_id}/accept",
    operation_id="accept_handoff",
    summary="Accept a handoff",
    tags=["handoffs"],
    response_model=HandoffView,
    responses=problems(400, 404, 409, 412),
)
async def accept(
    request: Request,
    handoff_id: PathId,
    body: AcceptBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("handoffs:write"),
) -> Any:
    """The rep promises to work the lead in time."""

    async def act(tx: Tx, app: App) -> Handoff:
        return await answer.accept(
            tx, app, handoff_id, rep_id=body.rep_id, at=body.occurred_at, versions=versions_of(if_match)
        )

    return await _answer(request, caller, idempotency_key, act)


@router.post(
    "/v1/handoffs/{handoff_id}/reject",
    operation_id="reject_handoff",
    summary="Reject a handoff, with a reason",
    tags=["handoffs"],
    response_model=HandoffView,
    responses=problems(400, 404, 409, 412),
)
async def reject(
    request: Request,
    handoff_id: PathId,
    body: RejectBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("handoffs:write"),
) -> Any:
    """The reason is one of those the agreement names for this lead."""

    async def act(tx: Tx, app: App) -> Handoff:
        return await answer.reject(
            tx, app, handoff_id, reason=body.reason, note=body.note, versions=versions_of(if_match)
        )

    return await _answer(request, caller, idempotency_key, act)


@router.post(
    "/v1/handoffs/{handoff_id}/recycle",
    operation_id="recycle_handoff",
    summary="Give a lead back to nurture",
    tags=["handoffs"],
    response_model=HandoffView,
    responses=problems(400, 404, 409, 412),
)
async def recycle(
    request: Request,
    handoff_id: PathId,
    body: RecycleBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("handoffs:write"),
) -> Any:
    """Not now: with a reason, and perhaps a time before which the lead must not come back."""

    async def act(tx: Tx, app: App) -> Handoff:
        return await answer.recycle(
            tx,
            app,
            handoff_id,
            reason=body.reason,
            return_at=body.return_at,
            note=body.note,
            versions=versions_of(if_match),
        )

    return await _answer(request, caller, idempotency_key, act)


@router.post(
    "/v1/handoffs/{handoff_id}/contacts",
    operation_id="log_contact",
    summary="Log a contact with the customer",
    tags=["handoffs"],
    response_model=HandoffView,
    status_code=201,
    responses=problems(400, 404, 409, 412),
)
async def log_contact(
    request: Request,
    handoff_id: PathId,
    body: ContactBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    caller: Caller = requires("handoffs:write"),
) -> Any:
    """The earliest contact after the handoff is the first response."""

    async def act(tx: Tx, app: App) -> Handoff:
        return await answer.log_contact(
            tx,
            app,
            handoff_id,
            means=body.means,
            reached=body.reached,
            at=body.occurred_at,
            note=body.note,
            versions=versions_of(if_match),
        )

    return await _answer(request, caller, idempotency_key, act, status=201)


class RejectionCount(BaseModel):
    """Rejections with one reason."""

    family: str
    reason: str
    count: int


class RejectionReport(BaseModel):
    """Rejections by reason and by family of reasons."""

    as_of: Moment
    total: int
    by_family: dict[str, int]
    by_reason: list[RejectionCount]


class HandoffReport(BaseModel):
    """Handoffs by the state they are in; every state is named."""

    as_of: Moment
    total: int
    by_state: dict[str, int]


@router.get(
    "/v1/reports/rejections",
    operation_id="report_rejections",
    summary="Rejections by reason and family",
    tags=["reports"],
    response_model=RejectionReport,
    responses=problems(),
)
async def report_rejections(request: Request, caller: Caller = requires("reports:read")) -> RejectionReport:
    """Why sales declined, most frequent first."""
    app = app_of(request)
    async with app.db.begin() as tx:
        found = await store.rejections_by_reason(tx)
    families: dict[str, int] = {}
    for family, _reason, count in found:
        families[family] = families.get(family, 0) + count
    return RejectionReport(
        as_of=app.clock.now(),
        total=sum(families.values()),
        by_family=families,
        by_reason=[RejectionCount(family=family, reason=reason, count=count) for family, reason, count in found],
    )


@router.get(
    "/v1/reports/handoffs",
    operation_id="report_handoffs",
    summary="Handoffs by state",
    tags=["reports"],
    response_model=HandoffReport,
    responses=problems(),
)
async def report_handoffs(request: Request, caller: Caller = requires("reports:read")) -> HandoffReport:
    """How many handoffs stand where."""
    app = app_of(request)
    async with app.db.begin() as tx:
        counts = await store.counts_by_state(tx)
    by_state = {state.value: counts.get(state.value, 0) for state in State}
    return HandoffReport(as_of=app.clock.now(), total=sum(by_state.values()), by_state=by_state)


async def _views(tx: Tx, handoffs: Sequence[Handoff]) -> list[HandoffView]:
    accounts = await canonical(tx, await accounts_of_leads(tx, [one.lead_id for one in handoffs]))
    return [HandoffView(**view(one, account_id=accounts.get(one.lead_id))) for one in handoffs]


def view(one: Handoff, *, account_id: str | None) -> dict[str, Any]:
    """A handoff as the API shows it."""
    return {
        "id": one.id,
        "lead_id": one.lead_id,
        "cycle": one.cycle,
        "version": one.sequence,
        "state": one.state.value,
        "possible": [action.value for action in one.possible],
        "rep_id": one.rep_id,
        "decision_id": one.decision_id,
        "score": one.score,
        "threshold": one.threshold,
        "agreement": {
            "agreement_id": one.stamp.agreement_id,
            "version": one.stamp.version,
            "digest": one.stamp.digest,
            "activation_seq": one.stamp.activation_seq,
        },
        "reasons": [{"code": code, "family": family} for code, family in one.reasons.items()],
        "offered_at": one.offered_at,
        "accept_due_at": one.accept_due_at,
        "first_response_due_at": one.first_response_due_at,
        "accepted_at": one.accepted_at,
        "first_response_at": one.first_response_at,
        "attempts": one.attempts,
        "attempts_agreed": one.attempts_agreed,
        "ended_at": one.ended_at,
        "reason": one.reason,
        "reason_family": one.reason_family,
        "return_at": one.return_at,
        "account_id": account_id,
        "superseded_by": one.superseded_by,
    }


async def _answer(
    request: Request,
    caller: Caller,
    key: str | None,
    act: Callable[[Tx, App], Awaitable[Handoff]],
    *,
    status: int = 200,
) -> Response:
    app = app_of(request)
    with domain_problems():
        async with app.db.begin() as tx:

            async def once() -> HandoffView:
                [shown] = await _views(tx, [await act(tx, app)])
                return shown

            response = await idempotent(tx, request, caller, key=key, status=status, act=once)
    return with_etag(response)


def _rep_view(rep: Rep) -> RepView:
    return RepView(id=rep.id, name=rep.name, external_ids=dict(rep.external_ids), active=rep.active)


def _change_view(change: dict[str, Any]) -> ChangeView:
    return ChangeView(
        version=change["sequence"],
        state=change["state"],
        previous_state=change["previous_state"],
        rep_id=change["rep_id"],
        reason=change["reason"],
        occurred_at=change["occurred_at"],
    )


def _contact_view(body: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(ContactChanged.FromString(body), preserving_proto_field_name=True)
    return shown
