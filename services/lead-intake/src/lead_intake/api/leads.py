"""Leads, as intake knows them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit import forgotten
from baton_kit.edges import Families, families_of
from baton_kit.pages import CursorParam, Limit, Page
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import store
from lead_intake.accounts.api import AccountRef, refs_of
from lead_intake.accounts.store import EDGES
from lead_intake.api.answers import PROBLEM_BODY, PROBLEMS, Moment, app_of, before, page_of, plain
from lead_intake.merging.edge import merges as merges_of
from lead_intake.merging.store import LEADS

router = APIRouter()


class LeadOut(BaseModel):
    """A lead and what the criteria see of it. It names no person.

    `canonical_lead_id` is the lead itself unless it was merged into another one; the facts under it stay its own.
    """

    id: str
    canonical_lead_id: str
    source_id: str
    receipt_id: str
    created_at: Moment
    sequence: int
    features: dict[str, Any]
    account: AccountRef | None = Field(description="The company: the lead's own, else the person's; canonical.")
    origin_account_id: str | None = Field(description="The account that the lead itself came to, before any merge.")


class TouchOut(BaseModel):
    """One contact with marketing; `origin_lead_id` is the lead that it came for."""

    touch_id: str
    origin_lead_id: str
    occurred_at: Moment
    sequence: int
    source_id: str
    kind: str = Field(description="form, ad_click, visit, email, call, event or chat")
    channel: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    campaign_id: str
    adgroup_id: str
    ad_id: str
    form_id: str
    page: str
    referrer_domain: str
    referrer_host: str
    click_kinds: list[str] = Field(description="Kinds of the click ids; the ids are the contact's")
    within_visit: bool = Field(description="A further step of a visit that began with another touch")
    action: str
    campaign: str = Field(description="The code of the campaign it was matched to, empty for none")
    channel_rules_version: int | None = Field(description="Null where too little was kept to group it anew")
    receipt_id: str


class LeadDetail(LeadOut):
    """A lead with its touches and those of every lead that was merged with it; the first and the last by time.

    First and last are of those that began a visit.
    """

    merged_lead_ids: list[str] = Field(description="All leads of the person, this one included.")
    first_touch: TouchOut | None
    last_touch: TouchOut | None
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


@router.get("/v1/leads", operation_id="list_leads", summary="List the leads", tags=["leads"], responses=PROBLEMS)
async def list_leads(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    account_id: UUID | None = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[LeadOut]:
    """Leads, newest first; with `account_id` those of the account and of all that are one company with it."""
    async with app_of(request).db.begin() as tx:
        accounts = None
        if account_id is not None:
            accounts = (await families_of(tx, [str(account_id)], table=EDGES)).members(str(account_id))
        rows = await store.leads(tx, before=before(cursor), limit=limit + 1, accounts=accounts)
        ids = [r["id"] for r in rows]
        whole, companies = await families_of(tx, ids), await refs_of(tx, ids)
    return page_of(request, response, [_lead_out(r, whole, companies) for r in rows], limit)


@router.get("/v1/leads/{id}", operation_id="get_lead", summary="Show a lead", tags=["leads"], responses=PROBLEMS)
async def get_lead(request: Request, id: UUID, caller: Caller = requires("leads:read")) -> LeadDetail:
    """One lead with its own features, and the touches of the person."""
    async with app_of(request).db.begin() as tx:
        row = await store.lead(tx, str(id))
        whole = await families_of(tx, [str(id)])
        touches = await store.touches(tx, whole.members(str(id)))
        companies = await refs_of(tx, [str(id)])
    if row is None:
        raise Problem(404, "There is no such lead")
    told = [_touch_out(t) for t in touches]
    first, last = _ends(told)
    return LeadDetail(
        **_lead_out(row, whole, companies).model_dump(),
        merged_lead_ids=list(whole.members(str(id))),
        first_touch=first,
        last_touch=last,
        touches=told,
    )


@router.get(
    "/v1/leads/{id}/contact",
    operation_id="get_contact",
    summary="Show the contact of a lead",
    tags=["contacts"],
    responses=PROBLEMS | {410: {"description": "The person was forgotten", **PROBLEM_BODY}},
)
async def get_contact(request: Request, id: UUID, caller: Caller = requires("contacts:read")) -> dict[str, Any]:
    """The person behind a lead, as told so far."""
    async with app_of(request).db.begin() as tx:
        contact = await store.contact(tx, str(id))
        gone = await forgotten.one(tx, str(id)) if contact is None else None
    if gone is not None:
        raise Problem(410, "The person was forgotten", detail="The erasure log says when and why.")
    if contact is None:
        raise Problem(404, "There is no such contact")
    return plain(contact)


@router.get(
    "/v1/leads/{id}/timeline",
    operation_id="lead_timeline",
    summary="What marketing did about a lead",
    tags=["leads"],
    responses=PROBLEMS,
)
async def lead_timeline(request: Request, id: UUID, caller: Caller = requires("leads:read")) -> Timeline:
    """Creation, touches and merges of a lead and of all that were merged with it; empty where it is unknown."""
    app = app_of(request)
    async with app.db.begin() as tx:
        gone = await forgotten.one(tx, str(id))
        whole = await families_of(tx, [str(id)])
        members = whole.members(str(id))
        rows = await store.leads_by_id(tx, members)
        touches = await store.touches(tx, members)
        merges = await merges_of(tx, LEADS, ids=[str(id)], active=None, before=None, limit=200)
    items = [
        TimelineItem(
            at=t["occurred_at"],
            kind="touch",
            title=f"{t['kind'].capitalize().replace('_', ' ')} by way of {t['channel']}",
            detail={
                k: t[k]
                for k in ("touch_id", "origin_lead_id", "source_id", "channel", "utm_source", "utm_medium",
                          "utm_campaign", "page", "referrer_domain", "receipt_id")
                if t[k]
            },
        )
        for t in touches
    ]  # fmt: skip
    created = [
        TimelineItem(
            at=row["created_at"],
            kind="lead_created",
            title=f"Lead created from {row['source_id']}",
            detail={"origin_lead_id": row["id"], "source_id": row["source_id"], "receipt_id": row["receipt_id"]},
        )
        for row in rows
    ]
    merged = [item for row in merges for item in _merge_items(row)]
    if gone is not None:
        items.append(
            TimelineItem(
                at=gone["erased_at"],
                kind="erased",
                title="The person was forgotten",
                detail={"erasure_id": gone["erasure_id"], "reason": gone["reason"]},
            )
        )
    items = sorted([*created, *items, *merged], key=lambda i: i.at)
    return Timeline(lead_id=str(id), as_of=app.clock.now(), items=items)


def _touch_out(row: Mapping[str, Any]) -> TouchOut:
    told = dict(row)
    version = told.pop("rules_version")
    return TouchOut(**told | {"click_kinds": told["click_kinds"].split(), "channel_rules_version": version})


def _ends(touches: list[TouchOut]) -> tuple[TouchOut | None, TouchOut | None]:
    """Which touch came first and which last; where all lie within visits, those."""
    began = [t for t in touches if not t.within_visit] or touches
    in_time = sorted(began, key=lambda t: (t.occurred_at, t.touch_id))
    return (in_time[0], in_time[-1]) if in_time else (None, None)


def _merge_items(row: Mapping[str, Any]) -> list[TimelineItem]:
    both = {k: row[k] for k in ("from_lead_id", "into_lead_id")} | {"merge_id": row["id"]}
    items = [
        TimelineItem(
            at=row["merged_at"],
            kind="lead_merged",
            title="Leads merged",
            detail=both | {"decided_by": row["decided_by"], "reason": row["reason"]},
        )
    ]
    if row["undone_at"] is not None:
        items.append(
            TimelineItem(
                at=row["undone_at"],
                kind="lead_unmerged",
                title="Merge undone",
                detail=both | {"decided_by": row["undone_by"], "reason": row["undone_reason"]},
            )
        )
    return items


def _lead_out(row: Mapping[str, Any], whole: Families, companies: Mapping[str, AccountRef]) -> LeadOut:
    features = plain(LeadFeatures.FromString(row["features"]))
    told = {k: v for k, v in dict(row).items() if k not in ("features", "account_id")}
    return LeadOut(
        **told,
        canonical_lead_id=whole.root(row["id"]),
        features=features,
        account=companies.get(row["id"]),
        origin_account_id=row["account_id"],
    )
