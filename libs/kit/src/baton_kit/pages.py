"""Lists in pages: an opaque cursor, a stable order, never an offset."""

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request, Response
from pydantic import BaseModel

from baton_kit.problems import Problem

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="Items a page.")]
CursorParam = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None = None


def encode_cursor(*position: str | int) -> str:
    """Return the position behind the last item of a page as an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *, kinds: Sequence[type]) -> list[Any] | None:
    """Return what `encode_cursor` was given, checked for its types; None for the first page. Raises Problem 400."""
    if cursor is None:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        position = None
    if (
        not isinstance(position, list)
        or len(position) != len(kinds)
        or any(type(part) is not kind for part, kind in zip(position, kinds, strict=True))
        or any(isinstance(part, str) and "\x00" in part for part in position)
        or any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in position)
    ):
        raise Problem(400, "The cursor is not valid", detail="Start again without `cursor`.")
    return position


def link_next(request: Request, response: Response, next_cursor: str | None) -> None:
    """Set `Link: rel="next"` beside the body's `next_cursor`."""
    if next_cursor is not None:
        url = request.url.include_query_params(cursor=next_cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
