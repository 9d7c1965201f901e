"""What the routes of every feature have in common: ids, times, versions, and domain errors as problems."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from sqlalchemy.exc import IntegrityError

from baton_kit.outages import sqlstate
from baton_kit.problems import Problem
from sales_feedback.app import App
from sales_feedback.deals.close import KnownDeal, NoCurrency
from sales_feedback.deals.deal import DealNotPossible
from sales_feedback.handoffs.answer import NoRep, Stale, Unknown
from sales_feedback.handoffs.handoff import NotPossible, UnknownReason
from sales_feedback.money import DECIMALS, MAX_MINOR
from sales_feedback.times import EARLIEST, LATEST

_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"


def _plain(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character is not text")
    return text


def _moment(at: datetime) -> datetime:
    if not EARLIEST <= at < LATEST:
        raise ValueError("must lie between 1990 and 2200")
    return at.astimezone(UTC)


def _currency(code: str) -> str:
    if code not in DECIMALS:
        raise ValueError("must be an ISO 4217 code")
    return code


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


Id = Annotated[str, Field(pattern=_ID)]
PathId = Annotated[str, Path(pattern=_ID)]
QueryId = Annotated[str | None, Query(pattern=_ID)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""A code of a closed list: what goes into events is never free text."""
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Note = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_plain)]
Moment = Annotated[AwareDatetime, AfterValidator(_moment), PlainSerializer(_rfc3339, return_type=str, when_used="json")]
AmountMinor = Annotated[int, Field(ge=0, le=MAX_MINOR, strict=True)]
Currency = Annotated[str, AfterValidator(_currency)]
IfMatch = Annotated[
    str | None, Header(max_length=200, description='The `ETag` that was read: `"3"`. Optional; 412 when it is old.')
]


class Body(BaseModel):
    """A request body: what is not known is refused, so that a typo is not taken for silence."""

    model_config = ConfigDict(extra="forbid")


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    errors: list[dict[str, str]] = []
    trace_id: str | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the problems a route answers with, beside those that every route does."""
    return {
        status: {"description": _SAYS[status], "content": {"application/problem+json": {"schema": _PROBLEM}}}
        for status in sorted({401, 403, 422, *statuses})
    }


_PROBLEM = ProblemBody.model_json_schema()
_SAYS = {
    400: "The request lacks something, or its cursor is not valid.",
    401: "An API key is needed.",
    403: "The key does not carry the scope.",
    404: "There is no such thing.",
    409: "Not possible in this state; the detail says what is.",
    412: "What was read is not the current version.",
    422: "The request is not valid; `errors` point at the places.",
}


def app_of(request: Request) -> App:
    """The service's parts."""
    app: App = request.app.state.baton
    return app


def versions_of(if_match: str | None) -> frozenset[int] | None:
    """The versions that an If-Match header admits; None for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    return frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdigit() and len(tag) < 19)


def with_etag(response: Response) -> Response:
    """Set the ETag of an answer whose body names its `version`."""
    version = json.loads(bytes(response.body)).get("version")
    if version is not None:
        response.headers["ETag"] = f'"{version}"'
    return response


@contextlib.contextmanager
def domain_problems() -> Iterator[None]:
    """Answer the domain's refusals as problems that say what is possible now."""
    try:
        yield
    except NotPossible as error:
        raise Problem(
            409,
            "The handoff does not allow this now",
            type="/problems/handoff-state",
            detail=f"The handoff is {error.handoff.state}. {_possible(error.possible)}",
        ) from None
    except DealNotPossible as error:
        raise Problem(
            409,
            "The deal does not allow this now",
            type="/problems/deal-state",
            detail=f"The deal is {error.deal.state}. {_possible(error.possible)}",
        ) from None
    except UnknownReason as error:
        known = ", ".join(error.known) if error.known else "none"
        raise Problem(
            422,
            "The agreement names no such reason",
            type="/problems/unknown-reason",
            detail=f"Reasons under the agreement of this lead: {known}.",
            errors=[{"pointer": "/reason", "detail": "not a reason of the agreement"}],
        ) from None
    except Stale as error:
        raise Problem(
            412,
            "It has changed since it was read",
            type="/problems/stale",
            detail=f"The current version is {error.current}. Read it again and decide anew.",
        ) from None
    except NoRep:
        raise Problem(
            422,
            "Nobody is named who accepts",
            type="/problems/no-rep",
            detail="The handoff waits for a rep. Name one in rep_id.",
            errors=[{"pointer": "/rep_id", "detail": "needed while the handoff has no rep"}],
        ) from None
    except NoCurrency:
        raise Problem(
            422,
            "The deal has no currency yet",
            type="/problems/no-currency",
            detail="Open deals with amount_minor and currency, or close the deal with both.",
            errors=[{"pointer": "/amount_minor", "detail": "an amount needs a currency"}],
        ) from None
    except KnownDeal as error:
        raise Problem(
            409,
            "The CRM's deal is known already",
            type="/problems/known-deal",
            detail=f"Use /v1/deals/{error.deal_id}.",
        ) from None
    except Unknown as error:
        if error.what == "rep":
            raise Problem(
                422,
                "There is no such rep",
                type="/problems/unknown-rep",
                detail="GET /v1/reps lists them.",
                errors=[{"pointer": "/rep_id", "detail": "not a rep"}],
            ) from None
        raise Problem(404, f"There is no such {error.what}", type="/problems/unknown") from None
    except IntegrityError as error:
        if sqlstate(error) != "23505":
            raise
        raise Problem(409, "The same was done at the same moment", detail="Read it again.") from None


def _possible(actions: tuple[str, ...]) -> str:
    return f"Possible now: {', '.join(actions)}." if actions else "It has ended; nothing more is possible."
