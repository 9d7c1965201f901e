"""The HTTP edge: agreements, signatures, people, decisions, reports."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from baton_agreement.canonical import digest_of
from baton_agreement.document import MAX_BYTES, DocumentRefused
from baton_agreement.history import Entry, first_flaw
from baton_agreement.schema import json_schema
from baton_kit import edges, forgotten
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from baton_kit.raw_body import BodyRefused, read_body
from qualification import accounts, people, store, verify
from qualification.app import App
from qualification.pages import Language, page_of
from qualification.pages import Page as AgreementPage
from qualification.plan import Measured, leads_needed, plan_from_csv
from qualification.propose import MadeBy, propose
from qualification.sign import sign

router = APIRouter()

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the canonical bytes, lower-case hex.")]
LeadId = Annotated[str, Path(min_length=1, max_length=200, pattern="^[^\\x00]+$")]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        401: "No valid API key.",
        403: "The key lacks the scope.",
        404: "Nothing is known under this name.",
        409: "Not possible in the present state; the detail says what is.",
        422: "The request is not valid; `errors` name the places.",
    }.items()
}


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: PROBLEMS[status] for status in (401, 403, *statuses)}


def _app(request: Request) -> App:
    app: App = request.app.state.baton
    return app


def _not_found(what: str) -> Problem:
    return Problem(404, f"No such {what}", detail="Check the id; it is known once its event has arrived.")


def _refused(refused: DocumentRefused) -> Problem:
    errors = [
        {
            "pointer": flaw.pointer,
            "detail": flaw.detail,
            **({"line": flaw.line} if flaw.line else {}),
            **({"column": flaw.column} if flaw.column else {}),
        }
        for flaw in refused.flaws[:100]
    ]
    return Problem(
        422,
        "The agreement is not valid",
        detail="Correct the places named in `errors` and propose it again.",
        errors=errors,  # type: ignore[arg-type]  # lines and columns are numbers
    )


# --- People --------------------------------------------------------------------------------------------------------


class NewPerson(BaseModel):
    """A person who may sign."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern="^[a-z][a-z0-9._-]{0,62}$", examples=["anna"])
    name: str = Field(min_length=1, max_length=200, pattern="^[^\\x00]+$", examples=["Anna Weber"])
    department: Literal["marketing", "sales"]


class PersonAdded(BaseModel):
    """The person's own key, shown once."""

    person_id: str
    department: str
    api_key: str


class Person(BaseModel):
    """A person who may sign, with the public part of the signing key (JWK)."""

    person_id: str
    name: str
    department: str
    public_key: dict[str, Any]
    created_at: datetime


@router.post(
    "/v1/people", operation_id="add_person", summary="Add a person who may sign", tags=["people"], status_code=201,
    responses=_only(409, 422),
)  # fmt: skip
async def add_person(request: Request, body: NewPerson, caller: Caller = requires("people:write")) -> PersonAdded:
    """Make a signing key for the person, kept under seal, and an API key that shows who calls."""
    app = _app(request)
    async with app.db.begin() as tx:
        row, api_key = await people.add_person(tx, app, id=body.id, name=body.name, department=body.department)
    return PersonAdded(person_id=row.id, department=row.department, api_key=api_key)


@router.get(
    "/v1/people", operation_id="list_people", summary="List the people who may sign", tags=["people"], responses=_only()
)
async def list_people(
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("people:read"),
) -> Page[Person]:
    """List people by id."""
    after = decode_cursor(cursor, kinds=[str])
    async with _app(request).db.begin() as tx:
        rows = await store.people(tx, after=after[0] if after else None, limit=limit + 1)
    items = [
        Person(person_id=p.id, name=p.name, department=p.department, public_key=p.public_key, created_at=p.created_at)
        for p in rows[:limit]
    ]
    next_cursor = encode_cursor(rows[limit - 1].id) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


# --- Agreements ----------------------------------------------------------------------------------------------------


class Proposed(BaseModel):
    """Where a proposed document stands."""

    agreement_id: str
    version: int
    digest: str
    state: str


class SignatureShown(BaseModel):
    """One signature: compact JWS over the digest."""

    person_id: str
    department: str
    signed_at: datetime
    jws: str


class AgreementShown(Proposed):
    """An agreement with its signatures."""

    round: int = Field(description="How often these bytes were proposed; signatures belong to one round.")
    proposed_at: datetime
    proposed_by: str
    signatures: list[SignatureShown]
    activation_seq: int | None = Field(description="Of its latest activation.")
    activated_at: datetime | None
    document: dict[str, Any]


class SignatureOrder(BaseModel):
    """What the person signs: the digest that was shown to them."""

    model_config = ConfigDict(extra="forbid")

    digest: str = Field(pattern="^[0-9a-f]{64}$")


class SignatureGiven(BaseModel):
    """What the signature led to."""

    agreement_id: str
    version: int
    digest: str
    department: str
    person_id: str
    state: str = Field(description="`proposed` until both departments signed, then `active`.")
    activation_seq: int | None = None


class HistoryEntry(BaseModel):
    """One entry of the hash chain; `entry` is the text whose SHA-256 is `hash`."""

    seq: int
    entry: str
    prev_hash: str
    hash: str


class HistoryVerified(BaseModel):
    """Whether the whole history is as it was written."""

    intact: bool
    entries: int
    flaw: str | None


@router.post(
    "/v1/agreements", operation_id="propose_agreement", summary="Propose an agreement", tags=["agreements"],
    status_code=201, responses=_only(422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/yaml": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        }
    },
)  # fmt: skip
async def propose_agreement(
    request: Request,
    made_by: Annotated[
        MadeBy, Query(description="`machine` for an amendment drafted by a program: it may touch no fixed duty.")
    ] = "people",
    caller: Caller = requires("agreements:write"),
) -> Proposed:
    """Store a document, YAML or JSON, so that it can be signed. The schema is at `/v1/agreements/schema`."""
    app = _app(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/yaml", "application/x-yaml", "text/yaml"):
        raise Problem(415, "Send YAML or JSON", detail="Use Content-Type application/yaml or application/json.")
    try:
        raw = await read_body(request, limit=MAX_BYTES)
    except BodyRefused as error:
        raise Problem(error.status, "The document was not taken", detail=error.reason) from None
    try:
        async with app.db.begin() as tx:
            kind_read: Literal["yaml", "json"] = "json" if kind == "application/json" else "yaml"
            row = await propose(tx, app, raw, format=kind_read, caller=caller, made_by=made_by)
    except DocumentRefused as refused:
        raise _refused(refused) from None
    return Proposed(agreement_id=row.agreement_id, version=row.version, digest=row.digest, state=row.state)


@router.get(
    "/v1/agreements", operation_id="list_agreements", summary="List agreements", tags=["agreements"], responses=_only()
)
async def list_agreements(
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("agreements:read"),
) -> Page[Proposed]:
    """List agreements, the highest version first."""
    before = decode_cursor(cursor, kinds=[int])
    async with _app(request).db.begin() as tx:
        rows = await store.agreements(tx, before=before[0] if before else None, limit=limit + 1)
    items = [
        Proposed(agreement_id=r.agreement_id, version=r.version, digest=r.digest, state=r.state) for r in rows[:limit]
    ]
    next_cursor = encode_cursor(rows[limit - 1].version) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.get(
    "/v1/agreements/schema", operation_id="agreement_schema", summary="The JSON Schema of an agreement",
    tags=["agreements"], responses=_only(),
)  # fmt: skip
async def agreement_schema(caller: Caller = requires("agreements:read")) -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    return json_schema()


@router.get(
    "/v1/agreements/active", operation_id="active_agreement", summary="The agreement in force", tags=["agreements"],
    responses=_only(404),
)  # fmt: skip
async def active_agreement(request: Request, caller: Caller = requires("agreements:read")) -> AgreementShown:
    """Return the agreement in force."""
    async with _app(request).db.begin() as tx:
        newest = await store.newest_activation(tx)
        if newest is None:
            raise Problem(404, "No agreement is in force", detail="Propose one and let both departments sign it.")
        return await _shown(tx, newest.digest)


@router.get(
    "/v1/agreements/history", operation_id="agreement_history", summary="The history of the agreements",
    tags=["agreements"], responses=_only(),
)  # fmt: skip
async def agreement_history(
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("agreements:read"),
) -> Page[HistoryEntry]:
    """List the entries of the hash chain in their order."""
    after = decode_cursor(cursor, kinds=[int])
    async with _app(request).db.begin() as tx:
        rows = await store.history(tx, after=after[0] if after else 0, limit=limit + 1)
    items = [HistoryEntry(seq=s, entry=e.decode(), prev_hash=p, hash=h) for s, e, p, h in rows[:limit]]
    next_cursor = encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.post(
    "/v1/agreements/history/verification", operation_id="verify_history", summary="Verify the history",
    tags=["agreements"], responses=_only(),
)  # fmt: skip
async def verify_history(request: Request, caller: Caller = requires("agreements:read")) -> HistoryVerified:
    """Check every hash, digest and signature of the history, from the entries alone."""
    entries: list[Entry] = []
    async with _app(request).db.begin() as tx:
        while page := await store.history(tx, after=len(entries) and entries[-1].seq, limit=1_000):
            entries += [Entry(*row) for row in page]
    flaw = first_flaw(entries)
    return HistoryVerified(intact=flaw is None, entries=len(entries), flaw=flaw)


@router.get(
    "/v1/agreements/{digest}", operation_id="get_agreement", summary="One agreement", tags=["agreements"],
    responses=_only(404, 422),
)  # fmt: skip
async def get_agreement(
    request: Request, digest: Digest, caller: Caller = requires("agreements:read")
) -> AgreementShown:
    """Return the document, its state and its signatures."""
    async with _app(request).db.begin() as tx:
        return await _shown(tx, digest)


@router.get(
    "/v1/agreements/{digest}/canonical", operation_id="canonical_agreement", summary="The signed bytes",
    tags=["agreements"], responses=_only(404, 422), response_class=Response,
)  # fmt: skip
async def canonical_agreement(
    request: Request, digest: Digest, caller: Caller = requires("agreements:read")
) -> Response:
    """Return the canonical bytes (RFC 8785); their SHA-256 is the digest."""
    async with _app(request).db.begin() as tx:
        row = await store.agreement(tx, digest)
    if row is None:
        raise _not_found("agreement")
    return Response(row.document, media_type="application/json")


@router.get(
    "/v1/agreements/{digest}/page", operation_id="agreement_page", summary="An agreement in plain sentences",
    tags=["agreements"], responses=_only(404, 422), response_class=Response,
)  # fmt: skip
async def agreement_page(
    request: Request,
    digest: Digest,
    language: Annotated[Language, Query(description="Language of the sentences.")] = "en",
    page: Annotated[AgreementPage, Query(description="The whole, or what one department owes.")] = "all",
    caller: Caller = requires("agreements:read"),
) -> Response:
    """Return Markdown written from the signed bytes: the same bytes give the same text."""
    async with _app(request).db.begin() as tx:
        row = await store.agreement(tx, digest)
    if row is None:
        raise _not_found("agreement")
    return Response(page_of(row.document, language=language, page=page), media_type="text/markdown")


@router.post(
    "/v1/agreements/plan", operation_id="read_plan", summary="Read a plan from CSV", tags=["agreements"],
    responses=_only(422),
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def read_plan(request: Request, caller: Caller = requires("agreements:read")) -> list[dict[str, Any]]:
    """Return the section `plan` of a CSV with the columns month, product, segment, rep, deals. Nothing is stored."""
    try:
        return plan_from_csv(await read_body(request, limit=MAX_BYTES))
    except BodyRefused as error:
        raise Problem(error.status, "The plan was not taken", detail=error.reason) from None
    except DocumentRefused as refused:
        raise _refused(refused) from None


class PlannedLeads(BaseModel):
    """Qualified leads a week for one row of the plan, with a 95 % interval; null where nothing limits it."""

    month: str
    product: str | None
    segment: str | None
    rep: str | None
    deals: int
    expected: int | None
    low: int
    high: int | None


@router.get(
    "/v1/agreements/{digest}/plan", operation_id="planned_leads", summary="The leads that the plan needs",
    tags=["agreements"], responses=_only(404, 422),
)  # fmt: skip
async def planned_leads(
    request: Request,
    digest: Digest,
    qualified: Annotated[int, Query(ge=0, le=10**9, description="Qualified leads whose outcome is known.")],
    won: Annotated[int, Query(ge=0, le=10**9, description="How many of these became won deals.")],
    caller: Caller = requires("agreements:read"),
) -> list[PlannedLeads]:
    """Turn the plan of deals into qualified leads a week, by the conversion that was measured."""
    if won > qualified:
        raise Problem(422, "More won than qualified", detail="Count in `won` only leads that `qualified` counts too.")
    async with _app(request).db.begin() as tx:
        row = await store.agreement(tx, digest)
    if row is None:
        raise _not_found("agreement")
    plan = json.loads(row.document).get("plan", [])
    needs = leads_needed(plan, Measured(qualified=qualified, won=won))
    return [PlannedLeads(**asdict(need)) for need in needs]


@router.post(
    "/v1/agreements/{digest}/signatures", operation_id="sign_agreement", summary="Sign an agreement",
    tags=["agreements"], status_code=201, responses=_only(404, 409, 422),
)  # fmt: skip
async def sign_agreement(
    request: Request, digest: Digest, body: SignatureOrder, caller: Caller = requires("agreements:sign")
) -> SignatureGiven:
    """Sign with the person's own key. The second department's signature brings the agreement into force."""
    app = _app(request)
    async with app.db.begin() as tx:
        done = await sign(tx, app, digest=digest, said=body.digest, caller=caller)
    return SignatureGiven(
        agreement_id=done.agreement.agreement_id,
        version=done.agreement.version,
        digest=digest,
        department=done.signature.department,
        person_id=done.signature.person_id,
        state="active" if done.activation else "proposed",
        activation_seq=done.activation.activation_seq if done.activation else None,
    )


async def _shown(tx: Any, digest: str) -> AgreementShown:
    row = await store.agreement(tx, digest)
    if row is None:
        raise _not_found("agreement")
    signed = await store.signatures(tx, digest, row.round)
    activations = await store.activations_of(tx, digest)
    last = activations[-1] if activations else None
    return AgreementShown(
        agreement_id=row.agreement_id,
        version=row.version,
        digest=row.digest,
        state=row.state,
        round=row.round,
        proposed_at=row.proposed_at,
        proposed_by=row.proposed_by,
        signatures=[
            SignatureShown(person_id=s.person_id, department=s.department, signed_at=s.signed_at, jws=s.jws)
            for s in signed
        ],
        activation_seq=last.activation_seq if last else None,
        activated_at=last.activated_at if last else None,
        document=json.loads(row.document),
    )


# --- Decisions -----------------------------------------------------------------------------------------------------


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
    tags=["decisions"], responses=_only(404, 422),
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
    async with _app(request).db.begin() as tx:
        rows = await store.decisions_of(tx, lead_id, before=before[0] if before else None, limit=limit + 1)
        if not rows and not await store.lead_exists(tx, lead_id):
            raise _not_found("lead")
    next_cursor = encode_cursor(rows[limit - 1]["sequence"]) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=[_decision_shown(row) for row in rows[:limit]], next_cursor=next_cursor)


@router.get(
    "/v1/decisions/{decision_id}", operation_id="get_decision", summary="One decision", tags=["decisions"],
    responses=_only(404, 422),
)  # fmt: skip
async def get_decision(
    request: Request, decision_id: LeadId, caller: Caller = requires("decisions:read")
) -> DecisionShown:
    """Return a decision with what was judged."""
    async with _app(request).db.begin() as tx:
        row = await store.decision(tx, decision_id)
    if row is None:
        raise _not_found("decision")
    return _decision_shown(row)


@router.post(
    "/v1/decisions/{decision_id}/verification", operation_id="verify_decision", summary="Make a decision again",
    tags=["decisions"], responses=_only(404, 409, 422),
)  # fmt: skip
async def verify_decision(
    request: Request, decision_id: LeadId, caller: Caller = requires("decisions:read")
) -> Verification:
    """Judge the stored snapshot again by the version that decided then, and compare the bytes. Nothing is stored."""
    app = _app(request)
    async with app.db.begin() as tx:
        row = await store.decision(tx, decision_id)
        if row is None:
            raise _not_found("decision")
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
    tags=["decisions"], responses=_only(422),
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
    app = _app(request)
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


# --- Timeline and reports ------------------------------------------------------------------------------------------


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
    "/v1/leads/{lead_id}", operation_id="get_lead", summary="Where a lead stands", tags=["leads"],
    responses=_only(404, 422),
)  # fmt: skip
async def get_lead(request: Request, lead_id: LeadId, caller: Caller = requires("leads:read")) -> LeadShown:
    """Return the lead's cycle, its last decision and its account."""
    async with _app(request).db.begin() as tx:
        found = await store.lead(tx, lead_id)
        if found is None:
            raise _not_found("lead")
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
    responses=_only(404, 422),
)  # fmt: skip
async def lead_timeline(request: Request, lead_id: LeadId, caller: Caller = requires("leads:read")) -> Timeline:
    """Return the latest 200 decisions about the lead, and when it was handed over."""
    app = _app(request)
    async with app.db.begin() as tx:
        decisions = await store.decisions_of(tx, lead_id, before=None, limit=200)
        handed_over = await store.qualified_of(tx, lead_id)
        gone = await forgotten.one(tx, lead_id)
        if not decisions and not await store.lead_exists(tx, lead_id):
            raise _not_found("lead")
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


@router.get(
    "/v1/reports/decisions", operation_id="report_decisions", summary="Decisions by outcome and by rule",
    tags=["reports"], responses=_only(),
)  # fmt: skip
async def report_decisions(request: Request, caller: Caller = requires("reports:read")) -> DecisionReport:
    """Return counts by outcome and by rule, with what sales answered."""
    app = _app(request)
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
