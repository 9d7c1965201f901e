"""Agreements, their signatures and their history."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from baton_agreement.document import MAX_BYTES, DocumentRefused
from baton_agreement.history import Entry, first_flaw
from baton_agreement.schema import json_schema
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from baton_kit.raw_body import BodyRefused, read_body
from qualification import store
from qualification.api.answers import Digest, app_of, not_found, only, refusal
from qualification.pages import Language, page_of
from qualification.pages import Page as AgreementPage
from qualification.plan import Measured, leads_needed, plan_from_csv
from qualification.propose import MadeBy, propose
from qualification.sign import sign

router = APIRouter()


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
    status_code=201, responses=only(422),
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
    app = app_of(request)
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
        raise refusal(refused) from None
    return Proposed(agreement_id=row.agreement_id, version=row.version, digest=row.digest, state=row.state)


@router.get(
    "/v1/agreements", operation_id="list_agreements", summary="List agreements", tags=["agreements"], responses=only()
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
    async with app_of(request).db.begin() as tx:
        rows = await store.agreements(tx, before=before[0] if before else None, limit=limit + 1)
    items = [
        Proposed(agreement_id=r.agreement_id, version=r.version, digest=r.digest, state=r.state) for r in rows[:limit]
    ]
    next_cursor = encode_cursor(rows[limit - 1].version) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.get(
    "/v1/agreements/schema", operation_id="agreement_schema", summary="The JSON Schema of an agreement",
    tags=["agreements"], responses=only(),
)  # fmt: skip
async def agreement_schema(caller: Caller = requires("agreements:read")) -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    return json_schema()


@router.get(
    "/v1/agreements/active", operation_id="active_agreement", summary="The agreement in force", tags=["agreements"],
    responses=only(404),
)  # fmt: skip
async def active_agreement(request: Request, caller: Caller = requires("agreements:read")) -> AgreementShown:
    """Return the agreement in force."""
    async with app_of(request).db.begin() as tx:
        newest = await store.newest_activation(tx)
        if newest is None:
            raise Problem(404, "No agreement is in force", detail="Propose one and let both departments sign it.")
        return await _shown(tx, newest.digest)


@router.get(
    "/v1/agreements/history", operation_id="agreement_history", summary="The history of the agreements",
    tags=["agreements"], responses=only(),
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
    async with app_of(request).db.begin() as tx:
        rows = await store.history(tx, after=after[0] if after else 0, limit=limit + 1)
    items = [HistoryEntry(seq=s, entry=e.decode(), prev_hash=p, hash=h) for s, e, p, h in rows[:limit]]
    next_cursor = encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.post(
    "/v1/agreements/history/verification", operation_id="verify_history", summary="Verify the history",
    tags=["agreements"], responses=only(),
)  # fmt: skip
async def verify_history(request: Request, caller: Caller = requires("agreements:read")) -> HistoryVerified:
    """Check every hash, digest and signature of the history, from the entries alone."""
    entries: list[Entry] = []
    async with app_of(request).db.begin() as tx:
        while page := await store.history(tx, after=len(entries) and entries[-1].seq, limit=1_000):
            entries += [Entry(*row) for row in page]
    flaw = first_flaw(entries)
    return HistoryVerified(intact=flaw is None, entries=len(entries), flaw=flaw)


@router.get(
    "/v1/agreements/{digest}", operation_id="get_agreement", summary="One agreement", tags=["agreements"],
    responses=only(404, 422),
)  # fmt: skip
async def get_agreement(
    request: Request, digest: Digest, caller: Caller = requires("agreements:read")
) -> AgreementShown:
    """Return the document, its state and its signatures."""
    async with app_of(request).db.begin() as tx:
        return await _shown(tx, digest)


@router.get(
    "/v1/agreements/{digest}/canonical", operation_id="canonical_agreement", summary="The signed bytes",
    tags=["agreements"], responses=only(404, 422), response_class=Response,
)  # fmt: skip
async def canonical_agreement(
    request: Request, digest: Digest, caller: Caller = requires("agreements:read")
) -> Response:
    """Return the canonical bytes (RFC 8785); their SHA-256 is the digest."""
    async with app_of(request).db.begin() as tx:
        row = await store.agreement(tx, digest)
    if row is None:
        raise not_found("agreement")
    return Response(row.document, media_type="application/json")


@router.get(
    "/v1/agreements/{digest}/page", operation_id="agreement_page", summary="An agreement in plain sentences",
    tags=["agreements"], responses=only(404, 422), response_class=Response,
)  # fmt: skip
async def agreement_page(
    request: Request,
    digest: Digest,
    language: Annotated[Language, Query(description="Language of the sentences.")] = "en",
    page: Annotated[AgreementPage, Query(description="The whole, or what one department owes.")] = "all",
    caller: Caller = requires("agreements:read"),
) -> Response:
    """Return Markdown written from the signed bytes: the same bytes give the same text."""
    async with app_of(request).db.begin() as tx:
        row = await store.agreement(tx, digest)
    if row is None:
        raise not_found("agreement")
    return Response(page_of(row.document, language=language, page=page), media_type="text/markdown")


@router.post(
    "/v1/agreements/plan", operation_id="read_plan", summary="Read a plan from CSV", tags=["agreements"],
    responses=only(422),
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def read_plan(request: Request, caller: Caller = requires("agreements:read")) -> list[dict[str, Any]]:
    """Return the section `plan` of a CSV with the columns month, product, segment, rep, deals. Nothing is stored."""
    try:
        return plan_from_csv(await read_body(request, limit=MAX_BYTES))
    except BodyRefused as error:
        raise Problem(error.status, "The plan was not taken", detail=error.reason) from None
    except DocumentRefused as refused:
        raise refusal(refused) from None


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
    tags=["agreements"], responses=only(404, 422),
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
    async with app_of(request).db.begin() as tx:
        row = await store.agreement(tx, digest)
    if row is None:
        raise not_found("agreement")
    plan = json.loads(row.document).get("plan", [])
    needs = leads_needed(plan, Measured(qualified=qualified, won=won))
    return [PlannedLeads(**asdict(need)) for need in needs]


@router.post(
    "/v1/agreements/{digest}/signatures", operation_id="sign_agreement", summary="Sign an agreement",
    tags=["agreements"], status_code=201, responses=only(404, 409, 422),
)  # fmt: skip
async def sign_agreement(
    request: Request, digest: Digest, body: SignatureOrder, caller: Caller = requires("agreements:sign")
) -> SignatureGiven:
    """Sign with the person's own key. The second department's signature brings the agreement into force."""
    app = app_of(request)
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
        raise not_found("agreement")
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
