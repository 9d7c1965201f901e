"""The internal API: sources, receipts, leads. Webhooks are in `public`."""

import base64
import binascii
import hashlib
import json
import re
import secrets as random_secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import phonenumbers
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from google.protobuf.json_format import MessageToDict
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.api import create_fastapi
from baton_kit.ids import new_id
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import mapping as mappings
from lead_intake import store
from lead_intake.app import App
from lead_intake.delivery import Incoming, Outcome, Source, Unparsable
from lead_intake.entry import Entry, entry_of, stored_key
from lead_intake.sources import PROVIDERS
from lead_intake.touches import TOUCH_KINDS

router = APIRouter()

Moment = Annotated[
    datetime,
    PlainSerializer(lambda t: t.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str),
]
SourceId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]

_PROBLEM = {"content": {"application/problem+json": {"schema": {"type": "object"}}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request cannot be read", **_PROBLEM},
    401: {"description": "An API key is needed", **_PROBLEM},
    403: {"description": "The key does not allow this", **_PROBLEM},
    404: {"description": "There is nothing here", **_PROBLEM},
    409: {"description": "It stands otherwise", **_PROBLEM},
    422: {"description": "The request is not valid", **_PROBLEM},
    503: {"description": "The database is away", **_PROBLEM},
}


class Body(BaseModel):
    """A request body: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


class NewSource(Body):
    """A source to be added."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", examples=["site-form"])
    provider: str = Field(examples=["generic"])
    name: str = Field(default="", max_length=200)
    default_region: str = Field(default="", max_length=2, examples=["DE"])
    secrets: list[str] = Field(default_factory=list, max_length=10)
    mapping: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, str] = Field(default_factory=dict)


class SourceChange(Body):
    """What to change of a source; `rotate_token` gives the address a new token, shown once."""

    name: str | None = Field(default=None, max_length=200)
    default_region: str | None = Field(default=None, max_length=2)
    mapping: dict[str, Any] | None = None
    settings: dict[str, str] | None = None
    rotate_token: bool = False


class NewSecret(Body):
    """A secret that is valid beside the others."""

    secret: str = Field(max_length=500)


class Secret(BaseModel):
    """A secret without its value."""

    id: str
    created_at: Moment


class SourceOut(BaseModel):
    """A source. `webhook_url` carries the token only in the answer that made it."""

    id: str
    provider: str
    name: str
    default_region: str
    mapping: dict[str, Any]
    settings: dict[str, str]
    secrets: list[Secret]
    webhook_url: str
    created_at: Moment


class Trial(Body):
    """A delivery to be tried; `body` is text, or base64 with `base64` true."""

    content_type: str = Field(default="application/json", max_length=200)
    body: str = Field(max_length=400_000)
    base64: bool = False
    headers: dict[str, str] = Field(default_factory=dict)
    mapping: dict[str, Any] | None = None


class TrialEntry(BaseModel):
    """What would be made of an entry."""

    key: str
    outcome: str
    reason: str
    identities: list[str]
    features: dict[str, Any]
    channel: str
    page: str
    fields: list[str]


class TrialOut(BaseModel):
    """What would be made of a delivery; nothing was stored."""

    reason: str
    entries: list[TrialEntry]


class ReceiptOut(BaseModel):
    """A receipt without its body; `size` is the body's length in bytes."""

    id: str
    source_id: str
    received_at: Moment
    state: str
    reason: str
    entries: int
    content_type: str
    size: int | None


class ReceiptEntry(BaseModel):
    """An entry and how it ended; `first_receipt_id` is the receipt that it repeats."""

    ordinal: int
    key: str
    outcome: str
    reason: str
    lead_id: str | None
    first_receipt_id: str | None


class ReceiptDetail(ReceiptOut):
    """A receipt with its entries."""

    items: list[ReceiptEntry]


class Balance(BaseModel):
    """The ledger of a source: `entries` is the sum of all outcomes when nothing is lost."""

    source_id: str
    entries: int
    created: int = 0
    matched: int = 0
    touch_only: int = 0
    duplicate: int = 0
    refused: int = 0
    quarantined: int = 0
    pending: int = 0
    test: int = 0
    balanced: bool


class Balances(BaseModel):
    """All sources' ledgers, read in one snapshot."""

    as_of: Moment
    balanced: bool
    items: list[Balance]


class LeadOut(BaseModel):
    """A lead and what the criteria see of it. It names no person."""

    id: str
    source_id: str
    receipt_id: str
    created_at: Moment
    sequence: int
    features: dict[str, Any]


class TouchOut(BaseModel):
    """One contact with marketing."""

    touch_id: str
    occurred_at: Moment
    sequence: int
    source_id: str
    kind: str = Field(description="form, ad_click, visit, email, call, event or chat")
    channel: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    campaign_id: str
    form_id: str
    page: str
    referrer_domain: str
    receipt_id: str


class LeadDetail(LeadOut):
    """A lead with its touches."""

    touches: list[TouchOut]


class TimelineItem(BaseModel):
    """One thing that happened."""

    at: Moment
    service: str = "lead-intake"
    kind: str
    title: str
    detail: dict[str, Any]


class Timeline(BaseModel):
    """What this service knows about a lead, in the order of time, without a word of the person."""

    lead_id: str
    as_of: Moment
    items: list[TimelineItem]


# --- sources ---------------------------------------------------------------------------------------------------------


@router.get(
    "/v1/sources", operation_id="list_sources", summary="List the sources", tags=["sources"], responses=PROBLEMS
)
async def list_sources(request: Request, caller: Caller = requires("sources:read")) -> Page[SourceOut]:
    """All sources; there are few, so that they come on one page."""
    async with _app(request).db.begin() as tx:
        rows = await store.sources(tx)
    return Page(items=[_source_out(row) for row in rows])


@router.post(
    "/v1/sources",
    status_code=201,
    operation_id="add_source",
    summary="Add a source",
    tags=["sources"],
    responses=PROBLEMS,
)
async def add_source(request: Request, body: NewSource, caller: Caller = requires("sources:write")) -> SourceOut:
    """Add a source. Without secrets its address carries a token, which is shown in this answer only."""
    app = _app(request)
    _check(body.provider, body.mapping, body.settings, body.default_region, body.secrets, adding=True)
    token = "" if body.secrets else random_secrets.token_urlsafe(24)
    now = app.clock.now()
    secrets = tuple((new_id(), app.sources.sealed(body.id, s), now) for s in body.secrets)
    row = store.SourceRow(
        body.id,
        body.provider,
        body.name,
        body.default_region.upper(),
        body.mapping,
        body.settings,
        hashlib.sha256(token.encode()).digest() if token else None,
        now,
        secrets,
    )
    async with app.db.begin() as tx:
        if not await store.insert_source(tx, row):
            raise Problem(409, "There is a source with this id", detail="Choose another id, or change that source.")
        for id, sealed, at in secrets:
            await store.insert_secret(tx, id=id, source_id=body.id, sealed=sealed, created_at=at)
        await store.raise_source_version(tx)
    await app.sources.refresh()
    return _source_out(row, token=token)


@router.get(
    "/v1/sources/{id}", operation_id="get_source", summary="Show a source", tags=["sources"], responses=PROBLEMS
)
async def get_source(request: Request, id: SourceId, caller: Caller = requires("sources:read")) -> SourceOut:
    """One source."""
    async with _app(request).db.begin() as tx:
        return _source_out(await _source(tx, id))


@router.patch(
    "/v1/sources/{id}", operation_id="change_source", summary="Change a source", tags=["sources"], responses=PROBLEMS
)
async def change_source(
    request: Request, id: SourceId, body: SourceChange, caller: Caller = requires("sources:write")
) -> SourceOut:
    """Change a source; what is not given stays."""
    app = _app(request)
    token = ""
    async with app.db.begin() as tx:
        await store.lock_source(tx, id)
        old = await _source(tx, id)
        digest = old.token_digest
        if body.rotate_token:
            token = random_secrets.token_urlsafe(24)
            digest = hashlib.sha256(token.encode()).digest()
        row = store.SourceRow(
            id,
            old.provider,
            old.name if body.name is None else body.name,
            old.default_region if body.default_region is None else body.default_region.upper(),
            old.mapping if body.mapping is None else body.mapping,
            old.settings if body.settings is None else body.settings,
            digest,
            old.created_at,
            old.secrets,
        )
        _check(row.provider, row.mapping, row.settings, row.default_region, [], adding=False)
        await store.update_source(tx, row)
        await store.raise_source_version(tx)
    await app.sources.refresh()
    return _source_out(row, token=token)


@router.post(
    "/v1/sources/{id}/secrets",
    status_code=201,
    operation_id="add_secret",
    summary="Add a secret beside the active ones",
    tags=["sources"],
    responses=PROBLEMS,
)
async def add_secret(
    request: Request, id: SourceId, body: NewSecret, caller: Caller = requires("sources:write")
) -> Secret:
    """Add a secret: from now on a delivery may be signed with it or with an older one."""
    app = _app(request)
    secret_id, now = new_id(), app.clock.now()
    async with app.db.begin() as tx:
        await store.lock_source(tx, id)
        row = await _source(tx, id)
        if problem := PROVIDERS[row.provider].secret_problem(body.secret):
            raise _invalid([("/secret", problem)])
        if len(row.secrets) >= 10:
            raise Problem(409, "There are ten secrets already", detail="Remove one that is not used any more.")
        await store.insert_secret(
            tx, id=secret_id, source_id=id, sealed=app.sources.sealed(id, body.secret), created_at=now
        )
        await store.raise_source_version(tx)
    await app.sources.refresh()
    return Secret(id=secret_id, created_at=now)


@router.delete(
    "/v1/sources/{id}/secrets/{secret_id}",
    status_code=204,
    operation_id="remove_secret",
    summary="Remove a secret",
    tags=["sources"],
    responses=PROBLEMS,
)
async def remove_secret(
    request: Request, id: SourceId, secret_id: UUID, caller: Caller = requires("sources:write")
) -> None:
    """Remove a secret. The last proof of a source stays: an open door would take anything."""
    app = _app(request)
    async with app.db.begin() as tx:
        await store.lock_source(tx, id)
        row = await _source(tx, id)
        if not await store.delete_secret(tx, id=str(secret_id), source_id=id):
            raise Problem(404, "The source has no such secret")
        if len(row.secrets) == 1 and (row.token_digest is None or PROVIDERS[row.provider].NEEDS_SECRET):
            raise Problem(409, "It is the last secret", detail="Add the new one first.")
        await store.raise_source_version(tx)
    await app.sources.refresh()


@router.post(
    "/v1/sources/{id}/test",
    operation_id="test_source",
    summary="Show what would be made of a delivery",
    tags=["sources"],
    responses=PROBLEMS,
)
async def try_source(
    request: Request, id: SourceId, body: Trial, caller: Caller = requires("sources:write")
) -> TrialOut:
    """Read a delivery as the door would, without a signature, and store nothing."""
    app = _app(request)
    async with app.db.begin() as tx:
        row = await _source(tx, id)
    mapping = row.mapping if body.mapping is None else body.mapping
    _check(row.provider, mapping, row.settings, row.default_region, [], adding=False)
    source = Source(id, row.provider, row.name, row.default_region, mapping=mapping, settings=row.settings)
    headers = {k.lower(): v for k, v in body.headers.items()} | {"content-type": body.content_type}
    try:
        raw_body = base64.b64decode(body.body, validate=True) if body.base64 else body.body.encode()
    except (binascii.Error, ValueError):
        raise _invalid([("/body", "no base64, or text that is no Unicode")]) from None
    incoming = Incoming("POST", "", headers, raw_body, "", app.clock.now())
    try:
        inquiries = PROVIDERS[row.provider].parse(incoming, source)
    except Unparsable as error:
        return TrialOut(reason=error.reason, entries=[])
    return TrialOut(
        reason="",
        entries=[
            _trial_entry(entry_of(i, source, key=stored_key(i.key), received_at=incoming.received_at), sorted(i.fields))
            for i in inquiries
        ],
    )


# --- receipts --------------------------------------------------------------------------------------------------------


@router.get(
    "/v1/receipts", operation_id="list_receipts", summary="List the receipts", tags=["receipts"], responses=PROBLEMS
)
async def list_receipts(
    request: Request,
    response: Response,
    caller: Caller = requires("receipts:read"),
    state: Annotated[str | None, Query(pattern="^(settled|quarantined|pending|refused)$")] = None,
    source: Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[ReceiptOut]:
    """Receipts, newest first."""
    async with _app(request).db.begin() as tx:
        rows = await store.receipts(tx, state=state, source=source, before=_before(cursor), limit=limit + 1)
    return _page(request, response, [ReceiptOut(**dict(r)) for r in rows], limit)


@router.get(
    "/v1/receipts/balance",
    operation_id="balance_receipts",
    summary="Show that nothing was lost",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def balance_receipts(request: Request, caller: Caller = requires("receipts:read")) -> Balances:
    """Entries and outcomes of each source; they agree at all times."""
    app = _app(request)
    async with app.db.begin() as tx:
        rows = await store.balance(tx)
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row["source_id"], {})[row["outcome"]] = int(row["count"])
    items = []
    for source_id, found in sorted(counts.items()):
        entries = found.pop("entries", 0)
        items.append(Balance(source_id=source_id, entries=entries, balanced=entries == sum(found.values()), **found))
    return Balances(as_of=app.clock.now(), balanced=all(i.balanced for i in items), items=items)


@router.get(
    "/v1/receipts/{id}", operation_id="get_receipt", summary="Show a receipt", tags=["receipts"], responses=PROBLEMS
)
async def get_receipt(request: Request, id: UUID, caller: Caller = requires("receipts:read")) -> ReceiptDetail:
    """One receipt with its entries."""
    async with _app(request).db.begin() as tx:
        found = await store.receipt(tx, str(id))
    if found is None:
        raise Problem(404, "There is no such receipt")
    return ReceiptDetail(**dict(found[0]), items=[ReceiptEntry(**dict(e)) for e in found[1]])


# --- leads -----------------------------------------------------------------------------------------------------------


@router.get("/v1/leads", operation_id="list_leads", summary="List the leads", tags=["leads"], responses=PROBLEMS)
async def list_leads(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[LeadOut]:
    """Leads, newest first."""
    async with _app(request).db.begin() as tx:
        rows = await store.leads(tx, before=_before(cursor), limit=limit + 1)
    return _page(request, response, [_lead_out(r) for r in rows], limit)


@router.get("/v1/leads/{id}", operation_id="get_lead", summary="Show a lead", tags=["leads"], responses=PROBLEMS)
async def get_lead(request: Request, id: UUID, caller: Caller = requires("leads:read")) -> LeadDetail:
    """One lead with its features and touches."""
    async with _app(request).db.begin() as tx:
        row = await store.lead(tx, str(id))
        touches = await store.touches(tx, str(id))
    if row is None:
        raise Problem(404, "There is no such lead")
    return LeadDetail(**_lead_out(row).model_dump(), touches=[TouchOut(**dict(t)) for t in touches])


@router.get(
    "/v1/leads/{id}/contact",
    operation_id="get_contact",
    summary="Show the contact of a lead",
    tags=["contacts"],
    responses=PROBLEMS,
)
async def get_contact(request: Request, id: UUID, caller: Caller = requires("contacts:read")) -> dict[str, Any]:
    """The person behind a lead, as told so far."""
    async with _app(request).db.begin() as tx:
        contact = await store.contact(tx, str(id))
    if contact is None:
        raise Problem(404, "There is no such contact")
    return _plain(contact)


@router.get(
    "/v1/leads/{id}/timeline",
    operation_id="lead_timeline",
    summary="What marketing did about a lead",
    tags=["leads"],
    responses=PROBLEMS,
)
async def lead_timeline(request: Request, id: UUID, caller: Caller = requires("leads:read")) -> Timeline:
    """Creation and touches of a lead; empty where it is unknown."""
    app = _app(request)
    async with app.db.begin() as tx:
        row = await store.lead(tx, str(id))
        touches = await store.touches(tx, str(id))
    items = [
        TimelineItem(
            at=t["occurred_at"],
            kind="touch",
            title=f"{t['kind'].capitalize().replace('_', ' ')} by way of {t['channel']}",
            detail={
                k: t[k]
                for k in ("touch_id", "source_id", "channel", "utm_source", "utm_medium", "utm_campaign", "page",
                          "referrer_domain", "receipt_id")
                if t[k]
            },
        )
        for t in touches
    ]  # fmt: skip
    if row is not None:
        items.insert(
            0,
            TimelineItem(
                at=row["created_at"],
                kind="lead_created",
                title=f"Lead created from {row['source_id']}",
                detail={"source_id": row["source_id"], "receipt_id": row["receipt_id"]},
            ),
        )
    return Timeline(lead_id=str(id), as_of=app.clock.now(), items=sorted(items, key=lambda i: i.at))


def create_api(app: App) -> FastAPI:
    """The service's API."""
    return create_fastapi(
        app,
        title="Baton lead-intake",
        version="1.0.0",
        description="Sources, receipts and leads. Deliveries themselves go to the public listener.",
        routers=[router],
    )


# --- between the store and the answers -------------------------------------------------------------------------------


def _app(request: Request) -> App:
    app: App = request.app.state.baton
    return app


async def _source(tx: Any, id: str) -> store.SourceRow:
    rows = await store.sources(tx, id=id)
    if not rows:
        raise Problem(404, "There is no such source")
    return rows[0]


def _source_out(row: store.SourceRow, *, token: str = "") -> SourceOut:
    url = f"/v1/webhooks/{row.id}"
    if row.token_digest is not None:
        url += f"/{token or '{token}'}"
    return SourceOut(
        id=row.id,
        provider=row.provider,
        name=row.name,
        default_region=row.default_region,
        mapping=dict(row.mapping),
        settings=dict(row.settings),
        secrets=[Secret(id=id, created_at=at) for id, _, at in row.secrets],
        webhook_url=url,
        created_at=row.created_at,
    )


def _check(
    provider: str,
    mapping: Mapping[str, Any],
    settings: Mapping[str, str],
    region: str,
    secrets: list[str],
    *,
    adding: bool,
) -> None:
    faults: list[tuple[str, str]] = []
    if provider not in PROVIDERS:
        raise _invalid([("/provider", f"possible are {', '.join(PROVIDERS)}")])
    if "\\u0000" in json.dumps([mapping, settings, secrets]):
        raise _invalid([("", "NUL characters cannot be stored")])
    if region and region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        faults.append(("/default_region", "a country code of two letters, such as DE"))
    faults += mappings.problems(mapping)
    for n, secret in enumerate(secrets):
        if problem := PROVIDERS[provider].secret_problem(secret):
            faults.append((f"/secrets/{n}", problem))
    if adding and PROVIDERS[provider].NEEDS_SECRET and not secrets:
        faults.append(("/secrets", f"{provider} always signs: give at least one"))
    possible = {"signature_header", "signature_encoding", "signature_prefix", "secret_header", "touch_kind"}
    faults += [
        (f"/settings/{name}", f"possible are {', '.join(sorted(possible))}") for name in settings.keys() - possible
    ]
    for name in ("signature_header", "secret_header"):
        if name in settings and not re.fullmatch(r"[A-Za-z0-9-]{1,60}", settings[name]):
            faults.append((f"/settings/{name}", "the name of a header"))
    if settings.get("signature_encoding", "hex") not in ("hex", "base64"):
        faults.append(("/settings/signature_encoding", "hex or base64"))
    if settings.get("touch_kind", "form") not in TOUCH_KINDS:
        faults.append(("/settings/touch_kind", f"possible are {', '.join(sorted(TOUCH_KINDS))}"))
    if faults:
        raise _invalid(faults)


def _invalid(faults: list[tuple[str, str]]) -> Problem:
    return Problem(
        422,
        "The source is not valid",
        detail="Correct the fields named in `errors` and send the request again.",
        errors=[{"pointer": pointer, "detail": detail} for pointer, detail in faults],
    )


def _trial_entry(entry: Entry, fields: list[str]) -> TrialEntry:
    p = entry.person
    return TrialEntry(
        key=entry.key,
        outcome=entry.outcome.value if entry.outcome else "created_or_matched",
        reason=entry.reason,
        identities=list(p.identities) if p else [],
        features=_plain(p.features) if p else {},
        channel=p.origin.channel if p else "",
        page=p.origin.page if p else "",
        fields=fields,
    )


def _lead_out(row: Mapping[str, Any]) -> LeadOut:
    features = _plain(LeadFeatures.FromString(row["features"]))
    return LeadOut(**{k: v for k, v in dict(row).items() if k != "features"}, features=features)


def _plain(message: Any) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {name: _number(value, message.DESCRIPTOR.fields_by_name[name]) for name, value in plain.items()}


def _number(value: Any, field: Any) -> Any:
    # protobuf's JSON writes int64 as text; these are small.
    return int(value) if field.cpp_type == field.CPPTYPE_INT64 and isinstance(value, str) else value


def _before(cursor: str | None) -> str | None:
    position = decode_cursor(cursor, kinds=[str])
    if position is None:
        return None
    try:
        return str(UUID(position[0]))
    except ValueError:
        raise Problem(400, "The cursor is not valid", detail="Start again without `cursor`.") from None


def _page(request: Request, response: Response, items: list[Any], limit: int) -> Page[Any]:
    more = len(items) > limit
    items = items[:limit]
    next_cursor = encode_cursor(items[-1].id) if more else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


assert set(Outcome) == set(Balance.model_fields) - {"source_id", "entries", "balanced"}  # noqa: S101
