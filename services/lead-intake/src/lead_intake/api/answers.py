"""What the routes of the internal API share: shapes, problems, pages."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request, Response
from google.protobuf.json_format import MessageToDict
from pydantic import BaseModel, ConfigDict, PlainSerializer

from baton_kit.pages import Page, decode_cursor, encode_cursor, link_next
from baton_kit.problems import Problem
from lead_intake.app import App

Moment = Annotated[
    datetime,
    PlainSerializer(lambda t: t.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str),
]
SourceId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]

PROBLEM_BODY: dict[str, Any] = {"content": {"application/problem+json": {"schema": {"type": "object"}}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request cannot be read", **PROBLEM_BODY},
    401: {"description": "An API key is needed", **PROBLEM_BODY},
    403: {"description": "The key does not allow this", **PROBLEM_BODY},
    404: {"description": "There is nothing here", **PROBLEM_BODY},
    409: {"description": "It stands otherwise", **PROBLEM_BODY},
    422: {"description": "The request is not valid", **PROBLEM_BODY},
    503: {"description": "The database is away", **PROBLEM_BODY},
}


class Body(BaseModel):
    """A request body: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


def app_of(request: Request) -> App:
    """The composition that the process was opened with."""
    app: App = request.app.state.baton
    return app


def plain(message: Any) -> dict[str, Any]:
    """A protobuf message as JSON values, under the names of the contract."""
    fields: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {name: _number(value, message.DESCRIPTOR.fields_by_name[name]) for name, value in fields.items()}


def _number(value: Any, field: Any) -> Any:
    # protobuf's JSON writes int64 as text; these are small.
    return int(value) if field.cpp_type == field.CPPTYPE_INT64 and isinstance(value, str) else value


def before(cursor: str | None) -> str | None:
    """The id that the next page comes before; a cursor that is none of ours is a problem 400."""
    position = decode_cursor(cursor, kinds=[str])
    if position is None:
        return None
    try:
        return str(UUID(position[0]))
    except ValueError:
        raise Problem(400, "The cursor is not valid", detail="Start again without `cursor`.") from None


def page_of(request: Request, response: Response, items: list[Any], limit: int) -> Page[Any]:
    """A page of what was read with `limit + 1`, and the link to the next one."""
    more = len(items) > limit
    items = items[:limit]
    next_cursor = encode_cursor(items[-1].id) if more else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)
