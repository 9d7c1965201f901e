"""Search over REST: the term is in the body, because addresses of requests are written to logs."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import normalise
from lead_intake.accounts.api import AccountRef, refs_of
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of
from lead_intake.entry import stored_key
from lead_intake.searching import store
from lead_intake.searching.words import patterns_of

router = APIRouter()


def _plain(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character is not text")
    return text


class Search(Body):
    """What is known of the person or the firm."""

    term: Annotated[str, Field(min_length=2, max_length=200), AfterValidator(_plain)] = Field(
        description="Name, company, e-mail address, phone number, or the id by which a provider or CRM knows the lead"
    )
    region: str = Field(default="", pattern="^([A-Z]{2})?$", description="Where a number without country code is from")
    limit: int = Field(default=20, ge=1, le=50)


class Found(BaseModel):
    """A lead and the person behind it."""

    lead_id: str
    created_at: Moment
    source_id: str
    full_name: str
    company_name: str
    emails: list[str]
    phones: list[str]
    account: AccountRef | None = Field(description="The company that the lead belongs to; `GET /v1/accounts/{id}`")


class Finds(BaseModel):
    """The newest leads that match; `more` when there are others: say more of the person."""

    items: list[Found]
    more: bool


@router.post(
    "/v1/leads/search",
    operation_id="search_leads",
    summary="Find leads by name, company, e-mail, phone or CRM id",
    tags=["contacts"],
    responses=PROBLEMS,
)
async def search_leads(request: Request, body: Search, caller: Caller = requires("contacts:read")) -> Finds:
    """Leads, newest first. Names and companies are found a moment after they came, the rest at once."""
    email, (phone, _) = normalise.email(body.term), normalise.phone(body.term, body.region)
    identities = [f"email:{email.lower()}"] if email else []
    identities.append(f"crm_id:{normalise.text(body.term, 200)}")
    if phone:
        identities.append(f"phone:{phone}")
    patterns = patterns_of(body.term)
    key = stored_key(body.term.strip())
    if not (patterns or identities or key):
        raise Problem(422, "There is nothing to look for", detail="Say a name, a company, an address or a number.")
    async with app_of(request).db.begin() as tx:
        identities += [f"crm_id:{crm}:{normalise.text(body.term.strip(), 200)}" for crm in await store.crms(tx)]
        rows = await store.find(tx, patterns=patterns, identities=identities, key=key, limit=body.limit + 1)
        companies = await refs_of(tx, [row["id"] for row in rows])
    items = []
    for row in rows[: body.limit]:
        contact = ContactChanged.FromString(row["data"])
        items.append(
            Found(
                lead_id=row["id"],
                created_at=row["created_at"],
                source_id=row["source_id"],
                full_name=contact.full_name,
                company_name=contact.company_name,
                emails=list(contact.emails),
                phones=list(contact.phones),
                account=companies.get(row["id"]),
            )
        )
    return Finds(items=items, more=len(rows) > body.limit)
