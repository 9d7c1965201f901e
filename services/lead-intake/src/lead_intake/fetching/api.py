"""Lookups at providers: tokens, what waits and why, and the comparison with the provider's own list."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from baton_kit.db import Tx
from baton_kit.pages import CursorParam, Limit, Page
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake import store as intake_store
from lead_intake.api.answers import PROBLEMS, Body, Moment, SourceId, app_of, before, page_of
from lead_intake.fetching import store
from lead_intake.fetching.fetch import retry
from lead_intake.fetching.providers import ASKED, CREDENTIALS, LISTING, SOMETIMES_ASKED

router = APIRouter()

CredentialName = Annotated[str, Path(pattern=r"^[a-z_]{1,40}$")]
MOST_DAYS = 90
MOST_RETRIED = 1_000

ADVICE: Mapping[str, str] = {
    "no_token": "Give the source its access token: `baton source credential ID access_token --file FILE`.",
    "no_advertiser_id": "Set `advertiser_id` in the source's settings.",
    "token_expired": "The token ran out. Make a new one at the provider and give it to the source.",
    "password_changed": "The token ended with a changed password. Make a new one, best of a system user.",
    "permission_missing": "The token may not read leads. Grant the permission at the provider.",
    "forbidden": "The token may not read leads. Grant the scope or the role at the provider.",
}


class Credential(BaseModel):
    """A credential without its value."""

    name: str
    set_at: Moment


class FetchingOut(BaseModel):
    """How lookups for a source stand. `state` is ready, token_invalid, no_token or throttled."""

    state: str
    since: Moment | None = None
    reason: str = ""
    detail: str = ""
    paused_until: Moment | None = None
    waiting: int = 0
    oldest_waiting_at: Moment | None = None
    last_ok_at: Moment | None = None


class NewCredential(Body):
    """A value to be sealed."""

    value: str = Field(min_length=8, max_length=4_000)


class FetchOut(BaseModel):
    """A lookup. `state` is waiting, done or quarantined; `reason` says why the last attempt brought nothing."""

    id: str
    source_id: str
    provider: str
    receipt_id: str
    ordinal: int
    key: str
    form_id: str
    state: str
    reason: str
    attempt: int
    due_at: Moment
    expires_at: Moment
    created_at: Moment
    settled_at: Moment | None


class RetryOrder(Body):
    """Which quarantined lookups are to wait again: by ids or by filter; all of them where nothing is given."""

    ids: list[UUID] | None = Field(default=None, max_length=200)
    source: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    reason: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,60}$")
    dry_run: bool = False


class Retried(BaseModel):
    """How many wait again, and how many of the chosen are still quarantined (send the order again)."""

    retried: int
    left: int


class ComparedDay(BaseModel):
    """One day (UTC) and form. `provider` leads are listed by the provider; `taken` of them became leads, touches or
    tests here, the others are pending, quarantined, refused, or `missing`: never heard of. `only_here` were pushed and
    taken, but the provider does not list them.
    """

    day: date
    form_id: str
    provider: int = 0
    taken: int = 0
    pending: int = 0
    quarantined: int = 0
    refused: int = 0
    missing: int = 0
    only_here: int = 0
    differs: bool = False


class Comparison(BaseModel):
    """A source beside its provider's own list, as of the last run."""

    source_id: str
    as_of: Moment
    ran_at: Moment | None
    next_at: Moment | None
    failed_since: Moment | None
    reason: str
    differences: int
    items: list[ComparedDay]


@router.put(
    "/v1/sources/{id}/credentials/{name}",
    operation_id="put_credential",
    summary="Give a source a credential",
    tags=["sources"],
    responses=PROBLEMS,
)
async def put_credential(
    request: Request,
    id: SourceId,
    name: CredentialName,
    body: NewCredential,
    caller: Caller = requires("sources:write"),
) -> Credential:
    """Seal a credential in place of an earlier one. With a new access token all that waits for it is tried at once."""
    app = app_of(request)
    now = app.clock.now()
    if not body.value.isprintable() or not body.value.isascii():
        raise Problem(
            422,
            "The credential is not valid",
            errors=[{"pointer": "/value", "detail": "plain characters without spaces around or line breaks"}],
        )
    async with app.db.begin() as tx:
        await _check_name(tx, id, name)
        sealed = app.sources.sealed_credential(id, name, value=body.value.strip())
        await store.put_credential(tx, source_id=id, name=name, sealed=sealed, at=now)
        if name == "access_token":
            await store.release_source(tx, id, at=now)
        await intake_store.raise_source_version(tx)
    await app.sources.refresh()
    return Credential(name=name, set_at=now)


@router.delete(
    "/v1/sources/{id}/credentials/{name}",
    status_code=204,
    operation_id="remove_credential",
    summary="Take a credential from a source",
    tags=["sources"],
    responses=PROBLEMS,
)
async def remove_credential(
    request: Request, id: SourceId, name: CredentialName, caller: Caller = requires("sources:write")
) -> None:
    """Remove a credential; what needs it waits."""
    app = app_of(request)
    async with app.db.begin() as tx:
        await _check_name(tx, id, name)
        if not await store.delete_credential(tx, source_id=id, name=name):
            raise Problem(404, "The source has no such credential")
        await intake_store.raise_source_version(tx)
    await app.sources.refresh()


@router.get(
    "/v1/fetches",
    operation_id="list_fetches",
    summary="List lookups at providers",
    tags=["fetches"],
    responses=PROBLEMS,
)
async def list_fetches(
    request: Request,
    response: Response,
    caller: Caller = requires("receipts:read"),
    state: Annotated[str | None, Query(pattern="^(waiting|done|quarantined)$")] = None,
    source: Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = None,
    reason: Annotated[str | None, Query(pattern=r"^[a-z0-9_]{1,60}$")] = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[FetchOut]:
    """Lookups, newest first."""
    async with app_of(request).db.begin() as tx:
        rows = await store.jobs(tx, state=state, source=source, reason=reason, before=before(cursor), limit=limit + 1)
    return page_of(request, response, [FetchOut(**dict(r)) for r in rows], limit)


@router.post(
    "/v1/fetches/retry",
    operation_id="retry_fetches",
    summary="Let quarantined lookups wait again",
    tags=["fetches"],
    responses=PROBLEMS,
)
async def retry_fetches(request: Request, body: RetryOrder, caller: Caller = requires("receipts:write")) -> Retried:
    """At most a thousand at once, under their own receipts; the second time changes nothing."""
    app = app_of(request)
    ids = [str(id) for id in body.ids] if body.ids is not None else None
    done = 0
    if not body.dry_run:
        done = await retry(app, ids=ids, source=body.source, reason=body.reason, most=MOST_RETRIED)
    async with app.db.begin() as tx:
        left = await store.count_quarantined(tx, ids=ids, source=body.source, reason=body.reason)
    return Retried(retried=done, left=left)


@router.get(
    "/v1/sources/{id}/reconciliation",
    operation_id="get_reconciliation",
    summary="Compare a source with its provider's own list",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def get_reconciliation(
    request: Request,
    id: SourceId,
    caller: Caller = requires("receipts:read"),
    since: Annotated[date | None, Query(description="First day (UTC); a week ago where it is not given.")] = None,
    until: Annotated[date | None, Query(description="Last day (UTC); today where it is not given.")] = None,
) -> Comparison:
    """By day and form: what the provider lists, what became of it, and where the two differ."""
    app = app_of(request)
    now = app.clock.now()
    last = until or now.date()
    first = since or last - timedelta(days=7)
    if not timedelta() <= last - first <= timedelta(days=MOST_DAYS):
        raise Problem(
            422,
            "The days are not valid",
            detail=f"`since` is not after `until`, and at most {MOST_DAYS} days before it.",
        )
    async with app.db.begin() as tx:
        row = await _source(tx, id)
        if row.provider not in LISTING:
            raise Problem(
                409, f"{row.provider} lists no leads", detail=f"Possible for sources of {', '.join(sorted(LISTING))}."
            )
        rows = await store.comparison(
            tx, id, since=_midnight(first, now), until=_midnight(last + timedelta(days=1), now)
        )
        run = await store.reconcile_state(tx, id)
    items = compared(rows)
    return Comparison(
        source_id=id,
        as_of=now,
        ran_at=run["ran_at"] if run else None,
        next_at=run["due_at"] if run else None,
        failed_since=run["failed_since"] if run else None,
        reason=run["reason"] if run else "",
        differences=sum(item.missing + item.quarantined + item.only_here for item in items),
        items=items,
    )


@router.post(
    "/v1/sources/{id}/reconciliation",
    status_code=202,
    operation_id="run_reconciliation",
    summary="Compare a source with its provider's list as soon as possible",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def run_reconciliation(request: Request, id: SourceId, caller: Caller = requires("receipts:write")) -> Comparison:
    """Bring the next run forward; its result is at the same address by GET."""
    app = app_of(request)
    now = app.clock.now()
    async with app.db.begin() as tx:
        row = await _source(tx, id)
        if row.provider not in LISTING:
            raise Problem(
                409, f"{row.provider} lists no leads", detail=f"Possible for sources of {', '.join(sorted(LISTING))}."
            )
        await store.begin_reconciling(tx, [id], at=now)
        await store.reconcile_now(tx, id, at=now)
    return await get_reconciliation(request, id, caller, None, None)


def compared(rows: list[Mapping[str, Any]]) -> list[ComparedDay]:
    """The counts of (day, form, outcome) as one row a day and form."""
    days: dict[tuple[date, str], ComparedDay] = {}
    for row in rows:
        day = days.setdefault((row["day"], row["form_id"]), ComparedDay(day=row["day"], form_id=row["form_id"]))
        outcome, count = str(row["outcome"]), int(row["count"])
        if outcome == "only_here":
            day.only_here += count
        else:
            day.provider += count
            name = outcome if outcome in ("pending", "quarantined", "refused", "missing") else "taken"
            setattr(day, name, getattr(day, name) + count)
        day.differs = bool(day.missing or day.quarantined or day.only_here)
    return list(days.values())


async def fetchings(tx: Tx, rows: list[intake_store.SourceRow]) -> dict[str, FetchingOut]:
    """How lookups stand, by source; those that need none are not in it."""
    waiting = await store.waiting(tx)
    states = {state.source_id: state for state in await store.states(tx)}
    given = {(source_id, name) for source_id, name, _, _ in await store.credentials(tx)}
    found = {}
    for row in rows:
        if row.provider not in ASKED:
            continue
        state = states.get(row.id)
        count, oldest = waiting.get(row.id, (0, None))
        if row.provider in SOMETIMES_ASKED and not count and (row.id, "access_token") not in given:
            continue
        out = FetchingOut(state="ready", waiting=count, oldest_waiting_at=oldest)
        if state is not None:
            out.last_ok_at, out.paused_until = state.last_ok_at, state.paused_until
        if (row.id, "access_token") not in given:
            out.state, out.reason = "no_token", "no_token"
            out.since = state.token_invalid_since if state else None
        elif state is not None and state.token_invalid_since is not None:
            out.state, out.reason, out.since = "token_invalid", state.token_reason, state.token_invalid_since
        elif state is not None and state.throttled and state.paused_until is not None:
            out.state, out.reason = "throttled", state.pause_reason
        out.detail = _detail(out)
        found[row.id] = out
    return found


def _detail(out: FetchingOut) -> str:
    if out.state == "ready":
        return ""
    if out.state == "throttled":
        return "The provider asked for a pause. It goes on by itself."
    since = f" since {_z(out.since)}" if out.since else ""
    advice = ADVICE.get(out.reason, "Make a new token at the provider and give it to the source.")
    return f"{out.state}{since}: {out.reason}. {out.waiting} entries wait, none is lost. {advice}"


def _z(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _midnight(day: date, now: datetime) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)


async def _check_name(tx: Tx, id: str, name: str) -> None:
    possible = CREDENTIALS.get((await _source(tx, id)).provider, frozenset())
    if name not in possible:
        raise Problem(
            404,
            "There is no such credential",
            detail=f"Possible are {', '.join(sorted(possible))}."
            if possible
            else "Sources of this provider need none.",
        )


async def _source(tx: Tx, id: str) -> intake_store.SourceRow:
    rows = await intake_store.sources(tx, id=id)
    if not rows:
        raise Problem(404, "There is no such source")
    return rows[0]
