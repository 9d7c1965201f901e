"""Who may sign."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from qualification import people, store
from qualification.api.answers import app_of, only

router = APIRouter()


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
    responses=only(409, 422),
)  # fmt: skip
async def add_person(request: Request, body: NewPerson, caller: Caller = requires("people:write")) -> PersonAdded:
    """Make a signing key for the person, kept under seal, and an API key that shows who calls."""
    app = app_of(request)
    async with app.db.begin() as tx:
        row, api_key = await people.add_person(tx, app, id=body.id, name=body.name, department=body.department)
    return PersonAdded(person_id=row.id, department=row.department, api_key=api_key)


@router.get(
    "/v1/people", operation_id="list_people", summary="List the people who may sign", tags=["people"], responses=only()
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
    async with app_of(request).db.begin() as tx:
        rows = await store.people(tx, after=after[0] if after else None, limit=limit + 1)
    items = [
        Person(person_id=p.id, name=p.name, department=p.department, public_key=p.public_key, created_at=p.created_at)
        for p in rows[:limit]
    ]
    next_cursor = encode_cursor(rows[limit - 1].id) if len(rows) > limit else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)
