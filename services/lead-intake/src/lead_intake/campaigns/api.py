"""Routes of campaigns: records with what they planned and reached, a sheet of many, and the worklist."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from baton_kit.db import Tx
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake.api.answers import PROBLEM_BODY, PROBLEMS, Body, Moment, app_of
from lead_intake.app import App
from lead_intake.campaigns import change, sheet, store
from lead_intake.campaigns.campaign import MOST_CAMPAIGNS, Campaign, kept, problems
from lead_intake.campaigns.matching import BadKey, key_of

router = APIRouter()

Code = Annotated[str, Path(max_length=64, description="The campaign's code.")]
IfMatch = Annotated[str | None, Header(max_length=40, description='The `ETag` that was read: `"1"`.')]
PRECONDITIONS: dict[int | str, dict[str, Any]] = {
    412: {"description": "The campaign was changed since", **PROBLEM_BODY},
    428: {"description": "Say which version was read", **PROBLEM_BODY},
}
EXAMPLE: dict[str, Any] = {
    "name": "Autumn webinar",
    "owner_department": "marketing",
    "owner_person": "anna",
    "product": "handoff",
    "segment": "smb-dach",
    "starts_on": "2026-09-01",
    "ends_on": "2026-11-30",
    "planned_spend_minor": 1_200_000,
    "currency": "EUR",
    "planned_leads": 80,
    "keys": ["utm:autumn-webinar", "campaign_id:google/20481234567"],
}


class CampaignFields(Body):
    """What is planned, and which touches are the campaign's own."""

    name: str = Field(max_length=400)
    owner_department: str = Field(default="", max_length=40, description="marketing, sales or nothing")
    owner_person: str = Field(default="", max_length=100, description="The id of a person, not a name")
    product: str = Field(default="", max_length=100)
    segment: str = Field(default="", max_length=100)
    starts_on: date | None = Field(default=None, description="First day, UTC, included")
    ends_on: date | None = Field(default=None, description="Last day, UTC, included")
    planned_spend_minor: int | None = Field(default=None, description="In minor units of `currency`")
    currency: str = Field(default="", max_length=10, description="ISO 4217")
    planned_leads: int | None = None
    keys: list[Annotated[str, Field(max_length=500)]] = Field(
        default=[],
        max_length=500,
        description="What touches carry: `utm:…`, `campaign_id:google/…`, `adgroup_id:…`, `ad_id:…`, `form_id:form/…`",
    )
    archived: bool = Field(default=False, description="Out of the lists; its touches and keys stay its own")

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})


class NewCampaign(CampaignFields):
    """A campaign and the code that it keeps for ever."""

    code: str = Field(max_length=100, description="Lower-case letters, digits and -", examples=["autumn-webinar"])

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "autumn-webinar", **EXAMPLE}]})


class ReachedOut(BaseModel):
    """What a campaign has brought so far."""

    touches: int
    leads: int = Field(description="Persons with at least one of these touches; merged leads are one")


class CampaignOut(BaseModel):
    """A campaign. `version` is its ETag."""

    code: str
    version: int
    name: str
    owner_department: str
    owner_person: str
    product: str
    segment: str
    starts_on: date | None
    ends_on: date | None
    planned_spend_minor: int | None
    currency: str
    planned_leads: int | None
    keys: list[str]
    archived: bool
    created_at: Moment
    changed_at: Moment
    reached: ReachedOut


class CampaignChangeOut(BaseModel):
    """A version of a campaign."""

    version: int
    changed_at: Moment
    changed_by: str = Field(description="The id of the API key")
    campaign: dict[str, Any] = Field(description="The whole record as it was then")


class MatchingOut(BaseModel):
    """How far earlier touches follow the campaigns."""

    version: int = Field(description="Raised with every change of keys or periods")
    done: bool
    finished_at: Moment | None
    touches_read: int
    touches_regrouped: int


class SheetDone(BaseModel):
    """What a sheet changed, or would change."""

    dry_run: bool
    created: list[str]
    changed: list[str]
    unchanged: int


class ImportedOrder(Body):
    """Make records of an export's campaigns."""

    source: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="The source of the import")
    dry_run: bool = False


class ImportedDone(BaseModel):
    """The records that were made, or would be."""

    dry_run: bool
    created: list[str]
    claimed: int = Field(description="Campaigns of the export whose name a campaign had already")


class UnmatchedOut(BaseModel):
    """Touches without a campaign, by the key they are known by."""

    key: str
    touches: int = Field(description=f"Counted to {store.COUNTED_TO}")
    more: bool = Field(description="There are more touches than were counted; `leads` is of the counted ones")
    leads: int
    first_seen: Moment
    last_seen: Moment
    ignored: bool
    example: dict[str, str] = Field(description="Of the last touch: page, source_id, channel, UTM values, ids")


class Assignment(Body):
    """Give a key of the worklist to a campaign; with `create`, to one that is made if there is none of its code."""

    key: str = Field(max_length=500, examples=["utm:autumn-webinar"])
    campaign: str = Field(max_length=100, examples=["autumn-webinar"])
    create: CampaignFields | None = None


class Ignoring(Body):
    """Leave a key of the worklist without a campaign, or heed it again."""

    key: str = Field(max_length=500, examples=["utm:internal-test"])
    ignored: bool = True


class Ignored(BaseModel):
    """Whether a key is ignored."""

    key: str
    ignored: bool


@router.get(
    "/v1/campaigns",
    operation_id="list_campaigns",
    summary="List campaigns",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def list_campaigns(
    request: Request,
    response: Response,
    archived: Annotated[bool, Query(description="The archived ones instead of the others.")] = False,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("sources:read"),
) -> Page[CampaignOut]:
    """Campaigns by their codes, each with what it has reached."""
    position = decode_cursor(cursor, kinds=[str])
    async with app_of(request).db.begin() as tx:
        found = await store.page(tx, archived=archived, after=position[0] if position else "", limit=limit + 1)
        reached = await store.reached(tx, [one.campaign.code for one in found[:limit]])
    next_cursor = encode_cursor(found[limit - 1].campaign.code) if len(found) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=[_out(one, reached) for one in found[:limit]], next_cursor=next_cursor)


@router.post(
    "/v1/campaigns",
    status_code=201,
    operation_id="create_campaign",
    summary="Add a campaign",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def create_campaign(
    request: Request, response: Response, body: NewCampaign, caller: Caller = requires("sources:write")
) -> CampaignOut:
    """Add a campaign; the same one again is answered with what stands. Touches that carry its keys follow."""
    app = app_of(request)
    campaign = _checked(_campaign(body.code, body))
    async with _changing(app) as tx:
        try:
            [stored] = await change.save(tx, app, [campaign], by=caller.key_id, read={campaign.code: 0})
        except change.Overtaken:
            raise Problem(
                409, "The code is taken", detail="Choose another one, or change the campaign that has it with PUT."
            ) from None
        reached = await store.reached(tx, [campaign.code])
    response.headers["ETag"] = f'"{stored.version}"'
    return _out(stored, reached)


@router.get(
    "/v1/campaigns/matching",
    operation_id="get_campaign_matching",
    summary="Show how far earlier touches follow the campaigns",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def get_campaign_matching(request: Request, caller: Caller = requires("sources:read")) -> MatchingOut:
    """New touches follow at once, earlier ones in chunks behind what comes in."""
    async with app_of(request).db.begin() as tx:
        book = await store.book(tx)
    return MatchingOut(
        version=book.version,
        done=book.restated_at is not None,
        finished_at=book.restated_at,
        touches_read=book.touches_read,
        touches_regrouped=book.touches_regrouped,
    )


@router.post(
    "/v1/campaigns/sheet",
    operation_id="upload_campaigns",
    summary="Add and change campaigns by a sheet",
    tags=["campaigns"],
    responses={**PROBLEMS, 413: {"description": "The sheet is too large", **PROBLEM_BODY}},
    openapi_extra={"requestBody": {"content": {"text/csv": {"schema": {"type": "string"}}}, "required": True}},
)
async def upload_campaigns(
    request: Request,
    dry_run: Annotated[bool, Query(description="Say what would change, and change nothing.")] = False,
    caller: Caller = requires("sources:write"),
) -> SheetDone:
    """CSV in UTF-8 whose columns are the fields of a campaign, `code` among them; keys in a cell are divided by `;`.

    All rows or none: what is wrong is told by row and column. A missing column leaves what is known, an empty cell
    empties it. A campaign that the sheet does not name stays.
    """
    app = app_of(request)
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > sheet.LARGEST:
            raise Problem(413, "The sheet is too large", detail=f"At most {sheet.LARGEST} bytes are taken.")
    read = sheet.read(bytes(data))
    async with _changing(app) as tx:
        present = {code: one.campaign for code, one in (await store.campaigns(tx, read.rows)).items()}
        wanted: list[Campaign] = []
        for code, told in read.rows.items():
            one = replace(present.get(code) or Campaign(code=code, name=""), **told)
            faults = problems(one)
            read.faults += [(read.number_of[code], name, what) for name, what in faults]
            wanted.append(one if faults else kept(one))
        if read.faults:
            raise Problem(
                422,
                "The sheet is not valid",
                detail="Nothing was changed.",
                errors=[
                    {"pointer": f"/{row}/{column}" if column else f"/{row}", "detail": what}
                    for row, column, what in sorted(read.faults)[:200]
                ],
            )
        stored = await change.save(tx, app, wanted, by=caller.key_id)
        if dry_run:
            await tx.rollback()
    created = [one.campaign.code for one in stored if one.campaign.code not in present]
    changed = [one.code for one in wanted if one.code in present and present[one.code] != one]
    return SheetDone(
        dry_run=dry_run, created=created, changed=changed, unchanged=len(wanted) - len(created) - len(changed)
    )


@router.post(
    "/v1/campaigns/imported",
    operation_id="adopt_imported_campaigns",
    summary="Make records of the campaigns of an export",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def adopt_imported_campaigns(
    request: Request, body: ImportedOrder, caller: Caller = requires("sources:write")
) -> ImportedDone:
    """A record for each campaign of an imported export whose name none claims yet; its touches follow."""
    app = app_of(request)
    async with _changing(app) as tx:
        made, claimed = await change.records_of(tx, body.source)
        await change.save(tx, app, made, by=caller.key_id)
        if body.dry_run:
            await tx.rollback()
    return ImportedDone(dry_run=body.dry_run, created=[one.code for one in made], claimed=claimed)


@router.get(
    "/v1/campaigns/unmatched",
    operation_id="list_unmatched_touches",
    summary="List touches that belong to no campaign",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def list_unmatched_touches(
    request: Request,
    response: Response,
    ignored: Annotated[bool, Query(description="Those that somebody decided to ignore.")] = False,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("sources:read"),
) -> Page[UnmatchedOut]:
    """The worklist: by `utm_campaign`, or by the ad's ids where there is none. In the order of the keys."""
    position = decode_cursor(cursor, kinds=[str])
    after = position[0] if position else ""
    wanted: list[str] = []
    async with app_of(request).db.begin() as tx:
        while len(wanted) <= limit:
            found = await store.unmatched_keys(tx, after=after, limit=limit + 1)
            wanted += [key for key, is_ignored in found if is_ignored is ignored]
            if len(found) <= limit:
                break
            after = found[-1][0]
        items = await store.unmatched(tx, wanted[:limit])
    next_cursor = encode_cursor(wanted[limit - 1]) if len(wanted) > limit else None
    link_next(request, response, next_cursor)
    return Page(
        items=[
            UnmatchedOut(
                key=one.key,
                touches=one.touches,
                more=one.touches >= store.COUNTED_TO,
                leads=one.leads,
                first_seen=one.first_seen,
                last_seen=one.last_seen,
                ignored=ignored,
                example=dict(one.example),
            )
            for one in items
        ],
        next_cursor=next_cursor,
    )


@router.post(
    "/v1/campaigns/unmatched/assign",
    operation_id="assign_unmatched_touches",
    summary="Give touches of the worklist to a campaign",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def assign_unmatched_touches(
    request: Request, body: Assignment, caller: Caller = requires("sources:write")
) -> CampaignOut:
    """The campaign gets the key: touches that carry it follow, those that came and those that will."""
    app = app_of(request)
    key = _key(body.key)
    if body.create is None:
        to = Campaign(code=body.campaign, name="")
    else:
        to = _checked(_campaign(body.campaign, body.create), within="/create")
    async with _changing(app) as tx:
        if body.create is None and body.campaign not in await store.campaigns(tx, [body.campaign]):
            raise Problem(404, "There is no such campaign", detail="Send `create` to make it.")
        stored = await change.assign(tx, app, key, to=to, by=caller.key_id)
        reached = await store.reached(tx, [stored.campaign.code])
    return _out(stored, reached)


@router.post(
    "/v1/campaigns/unmatched/ignore",
    operation_id="ignore_unmatched_touches",
    summary="Leave touches of the worklist without a campaign",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def ignore_unmatched_touches(
    request: Request, body: Ignoring, caller: Caller = requires("sources:write")
) -> Ignored:
    """The key leaves the worklist, or comes back. The touches stay as they are."""
    app = app_of(request)
    key = _key(body.key)
    async with app.db.begin() as tx:
        if body.ignored:
            await store.ignore(tx, key, by=caller.key_id, at=app.clock.now())
        else:
            await store.heed(tx, [key])
    return Ignored(key=key, ignored=body.ignored)


@router.get(
    "/v1/campaigns/{code}",
    operation_id="get_campaign",
    summary="Show a campaign",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def get_campaign(
    request: Request, response: Response, code: Code, caller: Caller = requires("sources:read")
) -> CampaignOut:
    """What was planned, and what it has reached so far."""
    async with app_of(request).db.begin() as tx:
        stored = await _stored(tx, code)
        reached = await store.reached(tx, [code])
    response.headers["ETag"] = f'"{stored.version}"'
    return _out(stored, reached)


@router.put(
    "/v1/campaigns/{code}",
    operation_id="set_campaign",
    summary="Change a campaign",
    tags=["campaigns"],
    responses={**PROBLEMS, **PRECONDITIONS},
)
async def set_campaign(
    request: Request,
    response: Response,
    code: Code,
    body: CampaignFields,
    caller: Caller = requires("sources:write"),
    if_match: IfMatch = None,
) -> CampaignOut:
    """The whole record in the place of what stands. When keys or the period change, touches follow."""
    app = app_of(request)
    campaign = _checked(_campaign(code, body))
    read = _version(if_match)
    async with _changing(app) as tx:
        await _stored(tx, code)
        try:
            [stored] = await change.save(tx, app, [campaign], by=caller.key_id, read={code: read})
        except change.Overtaken as overtaken:
            raise Problem(
                412, "The campaign was changed since", detail=f"Read version {overtaken.version} and change that."
            ) from None
        reached = await store.reached(tx, [code])
    response.headers["ETag"] = f'"{stored.version}"'
    return _out(stored, reached)


@router.get(
    "/v1/campaigns/{code}/changes",
    operation_id="list_campaign_changes",
    summary="List the versions of a campaign",
    tags=["campaigns"],
    responses=PROBLEMS,
)
async def list_campaign_changes(
    request: Request,
    response: Response,
    code: Code,
    limit: Limit = 50,
    cursor: CursorParam = None,
    caller: Caller = requires("sources:read"),
) -> Page[CampaignChangeOut]:
    """Who changed what, newest first."""
    position = decode_cursor(cursor, kinds=[int])
    async with app_of(request).db.begin() as tx:
        await _stored(tx, code)
        found = await store.changes(tx, code, before=position[0] if position else None, limit=limit + 1)
    next_cursor = encode_cursor(found[limit - 1].version) if len(found) > limit else None
    link_next(request, response, next_cursor)
    return Page(
        items=[
            CampaignChangeOut(
                version=one.version,
                changed_at=one.changed_at,
                changed_by=one.changed_by,
                campaign=json.loads(one.document),
            )
            for one in found[:limit]
        ],
        next_cursor=next_cursor,
    )


@asynccontextmanager
async def _changing(app: App) -> AsyncIterator[Tx]:
    """`changing`, with what can be wrong as problems."""
    try:
        async with change.changing(app) as tx:
            yield tx
    except change.Taken as taken:
        raise Problem(
            409,
            "Another campaign has the key",
            detail="Take it away there first. A utm key can be shared by campaigns with a period each, if the periods "
            "have no day in common.",
            errors=[
                {"pointer": "/keys", "detail": f"{claim.key} of {claim.code}: {other.code} has {other.key}"}
                for claim, other in taken.pairs[:50]
            ],
        ) from None
    except change.TooMany:
        raise Problem(422, "There are too many campaigns", detail=f"At most {MOST_CAMPAIGNS} are kept.") from None
    except change.Busy:
        raise Problem(
            503,
            "Touches are being written without a pause",
            detail="Nothing was changed. Try again, after a running import if there is one.",
            headers={"Retry-After": "2"},
        ) from None


async def _stored(tx: Tx, code: str) -> store.Stored:
    found = None if "\x00" in code else (await store.campaigns(tx, [code])).get(code)
    if found is None:
        raise Problem(404, "There is no such campaign")
    return found


def _campaign(code: str, body: CampaignFields) -> Campaign:
    told = {name: getattr(body, name) for name in CampaignFields.model_fields}
    return Campaign(code=code, **{**told, "keys": tuple(body.keys)})


def _checked(campaign: Campaign, *, within: str = "") -> Campaign:
    faults = problems(campaign)
    if faults:
        raise Problem(
            422,
            "The campaign is not valid",
            detail="Nothing was changed.",
            errors=[{"pointer": f"{within}/{name}", "detail": what} for name, what in faults],
        )
    return kept(campaign)


def _key(text: str) -> str:
    try:
        return key_of(text)
    except BadKey as bad:
        raise Problem(
            422, "The key is not valid", detail=f"{bad}.", errors=[{"pointer": "/key", "detail": str(bad)}]
        ) from None


def _version(if_match: str | None) -> int:
    if if_match is None:
        raise Problem(428, "Say which version was read", detail='Send `If-Match` with the ETag: `"1"`.')
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not tag.isdecimal() or len(tag) > 18:
        raise Problem(412, "The campaign was changed since", detail="Read it and change that version.")
    return int(tag)


def _out(one: store.Stored, reached: Mapping[str, store.Reached]) -> CampaignOut:
    touches, leads = reached.get(one.campaign.code, store.Reached(0, 0))
    return CampaignOut(
        **one.campaign.document,
        version=one.version,
        created_at=one.created_at,
        changed_at=one.changed_at,
        reached=ReachedOut(touches=touches, leads=leads),
    )
