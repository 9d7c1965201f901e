"""Accounts, their merges, and what is proposed to be merged."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from baton_kit.db import Tx
from baton_kit.edges import families_of
from baton_kit.idempotency import IdempotencyKey, idempotent
from baton_kit.pages import CursorParam, Limit, Page, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake.accounts import store
from lead_intake.accounts.keys import COMPANY, DOMAIN, TAX
from lead_intake.accounts.preview import preview
from lead_intake.accounts.store import ACCOUNTS
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of, before, page_of
from lead_intake.channels import site_of
from lead_intake.merging import merge as merging
from lead_intake.merging.answers import after_pair, problem, who
from lead_intake.merging.edge import merge_of
from lead_intake.merging.edge import merges as merges_of

router = APIRouter()

MOST_SHOWN = 100
"""Leads and merges shown with an account; the newest."""

MergeReason = Literal["same_company", "same_tax_number", "import", "other"]
UndoReason = Literal["different_companies", "mistake", "other"]
Word = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class AccountRef(BaseModel):
    """The canonical account of a lead; `name` is the web domain where no name was told."""

    id: str
    name: str


class CompanyId(BaseModel):
    """By which id a CRM knows the account."""

    crm: str
    id: str


class AccountOut(BaseModel):
    """An account: a company. `canonical_account_id` is itself unless it was merged into another one."""

    id: str
    canonical_account_id: str
    name: str
    created_at: Moment


class AccountMergeOut(BaseModel):
    """A merge: active until it is undone; `decided_by` and `undone_by` are ids of persons, keys or rules."""

    id: str
    from_account_id: str
    into_account_id: str
    version: int
    active: bool
    decided_by: str
    reason: str
    merged_at: Moment
    undone_by: str | None
    undone_reason: str | None
    undone_at: Moment | None


class AccountDetail(AccountOut):
    """An account with all that belongs to it: accounts merged with it, and their keys and leads."""

    merged_account_ids: list[str] = Field(description="All accounts of the company, this one included.")
    domains: list[str]
    company_ids: list[CompanyId]
    tax_numbers: list[str] | None = Field(description="Country code and number; null without contacts:read")
    leads_total: int
    lead_ids: list[str] = Field(description="The newest 100; `GET /v1/leads?account_id=` pages through all.")
    merges: list[AccountMergeOut] = Field(description="The newest 100, undone ones included.")


class AccountPair(Body):
    """Two accounts: the one that would no longer be canonical, and the one it would belong to."""

    from_account_id: UUID
    into_account_id: UUID


class AccountMergeOrder(AccountPair):
    """A merge and why."""

    reason: MergeReason = "same_company"


class AccountUndoOrder(Body):
    """Why a merge is undone."""

    reason: UndoReason = "different_companies"


class AccountPart(BaseModel):
    """What one account brings; tax numbers need contacts:read."""

    account_id: str
    name: str
    created_at: Moment
    leads: int
    domains: list[str]
    company_ids: list[CompanyId]
    tax_numbers: list[str] | None


class AccountPreviewOut(BaseModel):
    """What a merge would join. `possible` is false where it cannot be; `why` is a code and `detail` says what can."""

    possible: bool
    why: str
    detail: str
    canonical_account_id: str
    tax_numbers_contradict: bool = Field(description="Both have a tax number of one country: probably two companies.")
    from_accounts: list[AccountPart]
    into_accounts: list[AccountPart]


class AccountProposalOut(BaseModel):
    """Two accounts that may be one: `keys` where one inquiry or lead named both, `tax` until the rule looked at it."""

    from_account_id: str = Field(description="The younger account.")
    from_name: str
    into_account_id: str
    into_name: str
    kind: str
    state: str
    proposed_at: Moment
    receipt_id: str


@router.get(
    "/v1/accounts", operation_id="list_accounts", summary="List accounts", tags=["accounts"], responses=PROBLEMS
)
async def list_accounts(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    domain: Word = None,
    crm: Word = None,
    company_id: Word = None,
    name: Word = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[AccountOut]:
    """Accounts, newest first: by web domain, by a CRM's id of the company (`crm` and `company_id`), or by name."""
    if (crm is None) != (company_id is None):
        raise Problem(422, "`crm` and `company_id` go together", detail="An id means nothing without its CRM.")
    keys: list[str] | None = None
    if domain is not None or company_id is not None:
        keys = [] if domain is None else [DOMAIN + site_of(domain).domain]
        keys += [] if company_id is None else [f"{COMPANY}{crm}:{company_id}"]
    pattern = None if name is None else f"%{_literal(name)}%"
    async with app_of(request).db.begin() as tx:
        rows = await store.accounts(tx, keys=keys, name=pattern, before=before(cursor), limit=limit + 1)
        ids = [row["id"] for row in rows]
        whole, named = await families_of(tx, ids, table=store.EDGES), await store.names(tx, ids)
    items = [
        AccountOut(
            id=row["id"],
            canonical_account_id=whole.root(row["id"]),
            name=named.get(row["id"], ""),
            created_at=row["created_at"],
        )
        for row in rows
    ]
    return page_of(request, response, items, limit)


@router.get(
    "/v1/accounts/{id}", operation_id="get_account", summary="Show an account", tags=["accounts"], responses=PROBLEMS
)
async def get_account(request: Request, id: UUID, caller: Caller = requires("leads:read")) -> AccountDetail:
    """One account with the keys, leads and merges of all that are one company with it."""
    async with app_of(request).db.begin() as tx:
        whole = await families_of(tx, [str(id)], table=store.EDGES)
        members = whole.members(str(id))
        parts = await store.accounts_by_id(tx, members)
        if str(id) not in parts:
            raise Problem(404, "There is no such account")
        named = await store.names(tx, members)
        leads = await store.newest_leads(tx, members, limit=MOST_SHOWN)
        merges = await merges_of(tx, ACCOUNTS, ids=members, active=None, before=None, limit=MOST_SHOWN)
    keys = [key for part in parts.values() for key in part["keys"] or []]
    return AccountDetail(
        id=str(id),
        canonical_account_id=whole.root(str(id)),
        name=named[str(id)],
        created_at=parts[str(id)]["created_at"],
        merged_account_ids=list(members),
        domains=_domains(keys),
        company_ids=_company_ids(keys),
        tax_numbers=_tax_numbers(keys) if caller.may("contacts:read") else None,
        leads_total=sum(part["leads"] for part in parts.values()),
        lead_ids=leads,
        merges=[AccountMergeOut(**dict(m)) for m in merges],
    )


@router.post(
    "/v1/account-merges/preview",
    operation_id="preview_account_merge",
    summary="What a merge of accounts would join",
    tags=["accounts"],
    responses=PROBLEMS,
)
async def preview_account_merge(
    request: Request, body: AccountPair, caller: Caller = requires("leads:read")
) -> AccountPreviewOut:
    """Both sides with their leads and keys; nothing is changed."""
    async with app_of(request).db.begin() as tx:
        try:
            found = await preview(tx, str(body.from_account_id), str(body.into_account_id))
        except merging.Unknown as error:
            raise problem(error) from None
    with_tax = caller.may("contacts:read")
    return AccountPreviewOut(
        possible=not found.refused,
        why=found.refused,
        detail=found.detail,
        canonical_account_id=found.canonical,
        tax_numbers_contradict=found.contradicted,
        from_accounts=[_part(found.parts[id], with_tax=with_tax) for id in found.from_accounts],
        into_accounts=[_part(found.parts[id], with_tax=with_tax) for id in found.into_accounts],
    )


@router.post(
    "/v1/account-merges",
    status_code=201,
    operation_id="merge_accounts",
    summary="Merge two accounts",
    tags=["accounts"],
    response_model=AccountMergeOut,
    responses=PROBLEMS,
)
async def merge_accounts(
    request: Request,
    body: AccountMergeOrder,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("leads:write"),
) -> Response:
    """Let one account belong to another. No fact is rewritten, and it can be undone."""
    app = app_of(request)
    async with app.db.begin() as tx:

        async def act() -> AccountMergeOut:
            try:
                edge = await merging.merge(
                    tx,
                    app,
                    ACCOUNTS,
                    source=str(body.from_account_id),
                    target=str(body.into_account_id),
                    by=who(caller),
                    reason=body.reason,
                )
            except (merging.Unknown, merging.Refused) as error:
                raise problem(error) from None
            return AccountMergeOut(**dict(await merge_of(tx, ACCOUNTS, edge.id)))

        return await idempotent(tx, request, caller, key=idempotency_key, status=201, act=act)


@router.post(
    "/v1/account-merges/{id}/undo",
    operation_id="undo_account_merge",
    summary="Undo a merge of accounts",
    tags=["accounts"],
    response_model=AccountMergeOut,
    responses=PROBLEMS,
)
async def undo_account_merge(
    request: Request,
    id: UUID,
    body: AccountUndoOrder,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("leads:write"),
) -> Response:
    """Take a merge back: both accounts stand again as their own leads make them."""
    app = app_of(request)
    async with app.db.begin() as tx:

        async def act() -> AccountMergeOut:
            try:
                edge = await merging.undo(tx, app, ACCOUNTS, merge_id=str(id), by=who(caller), reason=body.reason)
            except (merging.Unknown, merging.Refused) as error:
                raise problem(error) from None
            return AccountMergeOut(**dict(await merge_of(tx, ACCOUNTS, edge.id)))

        return await idempotent(tx, request, caller, key=idempotency_key, status=200, act=act)


@router.get(
    "/v1/account-merges",
    operation_id="list_account_merges",
    summary="List merges of accounts",
    tags=["accounts"],
    responses=PROBLEMS,
)
async def list_account_merges(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    account_id: UUID | None = None,
    active: Annotated[bool | None, Query()] = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[AccountMergeOut]:
    """Merges, newest first; the undone ones too, unless asked otherwise."""
    async with app_of(request).db.begin() as tx:
        rows = await merges_of(
            tx,
            ACCOUNTS,
            ids=None if account_id is None else [str(account_id)],
            active=active,
            before=before(cursor),
            limit=limit + 1,
        )
    return page_of(request, response, [AccountMergeOut(**dict(r)) for r in rows], limit)


@router.get(
    "/v1/account-proposals",
    operation_id="list_account_proposals",
    summary="Accounts that may be one company",
    tags=["accounts"],
    responses=PROBLEMS,
)
async def list_account_proposals(
    request: Request,
    response: Response,
    caller: Caller = requires("leads:read"),
    state: Annotated[Literal["open", "merged", "dismissed"], Query()] = "open",
    kind: Annotated[Literal["keys", "tax"] | None, Query()] = None,
    account_id: UUID | None = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[AccountProposalOut]:
    """Proposals; only equal tax numbers (`tax`) are merged by themselves, where no other one speaks against it."""
    after = after_pair(cursor)
    async with app_of(request).db.begin() as tx:
        rows = await store.proposals(
            tx,
            state=state,
            kind=kind,
            account_id=None if account_id is None else str(account_id),
            after=after,
            limit=limit + 1,
        )
    items = [_proposal(row) for row in rows[:limit]]
    next_cursor = encode_cursor(rows[limit - 1]["low"], rows[limit - 1]["high"]) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.post(
    "/v1/account-proposals/dismiss",
    operation_id="dismiss_account_proposal",
    summary="Say that two accounts are two companies",
    tags=["accounts"],
    response_model=dict[str, int],
    responses=PROBLEMS,
)
async def dismiss_account_proposal(
    request: Request,
    body: AccountPair,
    idempotency_key: IdempotencyKey = None,
    caller: Caller = requires("leads:write"),
) -> Response:
    """Close the open proposal between two accounts; it does not come again."""
    async with app_of(request).db.begin() as tx:

        async def act() -> dict[str, int]:
            closed = await store.close_proposals(
                tx, [str(body.from_account_id)], [str(body.into_account_id)], "dismissed"
            )
            if not closed:
                raise Problem(404, "There is no open proposal between these accounts")
            return {"dismissed": closed}

        return await idempotent(tx, request, caller, key=idempotency_key, status=200, act=act)


async def refs_of(tx: Tx, lead_ids: Sequence[str]) -> dict[str, AccountRef]:
    """The canonical accounts of leads, by lead: a lead's own, else that of another lead of the person, oldest first."""
    people = await families_of(tx, lead_ids)
    own = await store.accounts_of_leads(tx, people.everyone(lead_ids))
    chosen = {
        lead_id: next((own[m] for m in (lead_id, people.root(lead_id), *people.members(lead_id)) if m in own), "")
        for lead_id in lead_ids
    }
    whole = await families_of(tx, {id for id in chosen.values() if id}, table=store.EDGES)
    roots = {lead_id: whole.root(id) for lead_id, id in chosen.items() if id}
    named = await store.names(tx, sorted(set(roots.values())))
    return {lead_id: AccountRef(id=id, name=named.get(id, "")) for lead_id, id in roots.items()}


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _domains(keys: Sequence[str]) -> list[str]:
    return sorted(key.removeprefix(DOMAIN) for key in keys if key.startswith(DOMAIN))


def _company_ids(keys: Sequence[str]) -> list[CompanyId]:
    found = sorted(key.removeprefix(COMPANY).partition(":") for key in keys if key.startswith(COMPANY))
    return [CompanyId(crm=crm, id=id) for crm, _, id in found]


def _tax_numbers(keys: Sequence[str]) -> list[str]:
    return sorted(key.removeprefix(TAX) for key in keys if key.startswith(TAX))


def _part(row: Mapping[str, Any], *, with_tax: bool) -> AccountPart:
    keys = row["keys"] or []
    return AccountPart(
        account_id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        leads=row["leads"],
        domains=_domains(keys),
        company_ids=_company_ids(keys),
        tax_numbers=_tax_numbers(keys) if with_tax else None,
    )


def _proposal(row: Mapping[str, Any]) -> AccountProposalOut:
    # The older account stays canonical; ids grow with time.
    return AccountProposalOut(
        from_account_id=row["high"],
        from_name=row["high_name"],
        into_account_id=row["low"],
        into_name=row["low_name"],
        kind=row["kind"],
        state=row["state"],
        proposed_at=row["proposed_at"],
        receipt_id=row["receipt_id"],
    )
