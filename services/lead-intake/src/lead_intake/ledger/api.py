"""The ledger over REST: entries, reasons, repair, trial, balance, a provider's own count."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from baton_kit.ids import new_id
from baton_kit.pages import CursorParam, Limit, Page, decode_cursor, encode_cursor, link_next
from baton_kit.policy import Caller, requires
from baton_kit.problems import Problem
from lead_intake.api.answers import PROBLEMS, Body, Moment, app_of, before, page_of
from lead_intake.api.sources import TrialEntry, check_source, source_row, trial_entry
from lead_intake.delivery import Outcome, Source
from lead_intake.ledger import count, replay, store
from lead_intake.ledger.compare import Theirs, compare
from lead_intake.ledger.hours import time_of
from lead_intake.ledger.reasons import REASONS, reason_of
from lead_intake.ledger.reread import Reread, open_ordinals, reread
from lead_intake.ledger.store import Counted, StoredEntry, StoredReceipt, Wanted

router = APIRouter()

SourceParam = Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Only of this source.")]
OutcomeName = Literal[
    "created", "matched", "touch_only", "updated", "duplicate", "refused", "quarantined", "pending", "test"
]
ReasonParam = Annotated[str | None, Query(pattern=r"^[a-z0-9_]{1,64}$", description="Only with this reason.")]
MomentParam = Annotated[datetime | None, Query(description="RFC 3339; receipts from it on, or before it.")]
DRY = 500
"""Receipts that a dry run reads again."""


class EntryOut(BaseModel):
    """An entry of any receipt and how it ended."""

    receipt_id: str
    ordinal: int
    source_id: str
    received_at: Moment
    key: str
    outcome: str
    reason: str
    lead_id: str | None
    first_receipt_id: str | None


class ReasonOut(BaseModel):
    """A code of the closed list: what it means and what to do. `repair`: a replay can help after the remedy."""

    code: str
    repair: bool
    meaning: dict[str, str] = Field(examples=[{"en": "The body is no JSON.", "ru": "Тело не является JSON."}])
    remedy: dict[str, str]


class ReasonCount(ReasonOut):
    """How many entries of a source stand with this outcome and reason."""

    source_id: str
    outcome: str
    count: int
    oldest_at: Moment
    newest_at: Moment


class ReasonCounts(BaseModel):
    """Entries that became no lead, by source, outcome and reason, the most frequent first."""

    as_of: Moment
    items: list[ReasonCount]


class ReplayOrder(Body):
    """How one receipt is to be replayed. `release` says: what looked like spam or a test is none."""

    release: bool = False


class SettledEntry(BaseModel):
    """An entry that the replay settled."""

    ordinal: int
    key: str
    outcome: str
    reason: str
    lead_id: str | None


class ReplayedOut(BaseModel):
    """What the replay did. Nothing in `settled`: nothing was open, or it still waits for `reason`."""

    receipt_id: str
    state: str
    reason: str
    settled: list[SettledEntry]


class ReplayMany(Body):
    """Which receipts: every one with an open entry that fits. Without any field: all."""

    outcome: Literal["quarantined", "refused", "test"] | None = None
    reason: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,64}$")
    source: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    since: datetime | None = None
    until: datetime | None = None
    release: bool = False
    dry_run: bool = False


class ReplayOut(BaseModel):
    """A replay of many: `done` of `total` receipts; of them `settled`, still `waiting`, or `failed` (see the log)."""

    id: str | None
    state: str = Field(examples=["running", "done", "dry_run"])
    total: int
    done: int = 0
    settled: int = 0
    waiting: int = 0
    failed: int = 0
    without_body: int = Field(default=0, description="Receipts that fit and of which nothing is kept.")
    would_make: dict[str, int] = Field(
        default_factory=dict, description="Dry run: entries of the first receipts by what would become of them."
    )
    requested_at: Moment | None = None
    moved_at: Moment | None = None


class Candidate(Body):
    """What to try; what is not given is as saved."""

    mapping: dict[str, Any] | None = None
    settings: dict[str, str] | None = None
    default_region: str | None = Field(default=None, max_length=2)
    release: bool = False


class FieldDifference(BaseModel):
    """Where the candidate reads an entry otherwise than the saved source."""

    field: str
    saved: Any
    candidate: Any


class TriedEntry(BaseModel):
    """An entry as it stands, and as the candidate reads it."""

    ordinal: int
    stands: SettledEntry | None
    open: bool = Field(description="Whether a replay may settle it: what is settled stays as it is.")
    candidate: TrialEntry | None
    differences: list[FieldDifference]


class TriedOut(BaseModel):
    """What the candidate makes of a stored receipt. Nothing was stored."""

    receipt_id: str
    reason: str
    saved_reason: str
    entries: list[TriedEntry]


class Balance(BaseModel):
    """The ledger of a source: `entries` is the sum of all outcomes when nothing is lost."""

    source_id: str
    entries: int
    created: int = 0
    matched: int = 0
    touch_only: int = 0
    updated: int = 0
    duplicate: int = 0
    refused: int = 0
    quarantined: int = 0
    pending: int = 0
    test: int = 0
    balanced: bool


class BreakOut(BaseModel):
    """A place where the ledger does not add up: in an hour of a source, by law sum, missing or leads."""

    source_id: str
    hour: Moment
    law: str
    expected: int
    found: int
    found_at: Moment | None


class Balances(BaseModel):
    """All sources' ledgers and their sum, read in one snapshot, and what the permanent count has found."""

    as_of: Moment
    balanced: bool
    items: list[Balance]
    total: Balance
    breaks: list[BreakOut]
    counted_to: Moment | None
    gone_through_at: Moment | None


class Accepted(Body):
    """An hour of a source in which receipts are missing, and a person knows why."""

    source_id: str
    hour: datetime


class ProviderCount(Body):
    """What the provider counted on a day; without `form` for all forms together."""

    day: date
    form: str = Field(default="", max_length=500)
    count: int = Field(ge=0, le=10_000_000)


class ProviderCounts(Body):
    """A provider's own count, with the time zone of its days."""

    source: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    time_zone: str = Field(default="UTC", max_length=64, examples=["Europe/Berlin"])
    counts: list[ProviderCount] = Field(min_length=1, max_length=10_000)


class CountDifference(BaseModel):
    """`difference` is theirs minus ours: positive, and something did not arrive."""

    day: date
    form: str
    theirs: int
    ours: int
    difference: int


class Comparison(BaseModel):
    """Theirs against ours by day and form; `apart` are entries that became no touch, by the day on which they came."""

    source: str
    agrees: bool
    items: list[CountDifference]
    apart: dict[date, dict[str, int]]


assert set(Outcome) == set(Balance.model_fields) - {"source_id", "entries", "balanced"}  # noqa: S101


# --- lists -----------------------------------------------------------------------------------------------------------


@router.get(
    "/v1/receipts/entries",
    operation_id="list_entries",
    summary="List entries by how they ended",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def list_entries(
    request: Request,
    response: Response,
    caller: Caller = requires("receipts:read"),
    outcome: Annotated[OutcomeName | None, Query(description="Only with this outcome.")] = None,
    reason: ReasonParam = None,
    source: SourceParam = None,
    since: MomentParam = None,
    until: MomentParam = None,
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[EntryOut]:
    """Entries, those of the newest receipt first."""
    wanted = Wanted(outcome, reason, source, _aware(since, "since"), _aware(until, "until"))
    position = decode_cursor(cursor, kinds=[str, int])
    async with app_of(request).db.begin() as tx:
        rows = await store.list_entries(
            tx, wanted, before=(_uuid(position[0]), position[1]) if position else None, limit=limit + 1
        )
    items = [EntryOut(**dict(r)) for r in rows[:limit]]
    following = encode_cursor(items[-1].receipt_id, items[-1].ordinal) if len(rows) > limit else None
    link_next(request, response, following)
    return Page(items=items, next_cursor=following)


@router.get(
    "/v1/receipts/reasons",
    operation_id="count_reasons",
    summary="Count what became no lead, with what to do",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def count_reasons(
    request: Request,
    caller: Caller = requires("receipts:read"),
    outcome: Annotated[
        Literal["refused", "quarantined", "pending", "test"] | None, Query(description="Only with this outcome.")
    ] = None,
    reason: ReasonParam = None,
    source: SourceParam = None,
    since: MomentParam = None,
    until: MomentParam = None,
) -> ReasonCounts:
    """Entries that became no lead, by source, outcome and reason, each with its remedy."""
    app = app_of(request)
    wanted = Wanted(outcome, reason, source, _aware(since, "since"), _aware(until, "until"))
    async with app.db.begin() as tx:
        rows = await store.count_reasons(tx, wanted)
    items = [
        ReasonCount(
            **_reason(r["reason"]),
            source_id=r["source_id"],
            outcome=r["outcome"],
            count=r["count"],
            oldest_at=time_of(r["oldest"]),
            newest_at=time_of(r["newest"]),
        )
        for r in rows
    ]
    return ReasonCounts(as_of=app.clock.now(), items=items)


@router.get(
    "/v1/receipts/reasons/catalogue",
    operation_id="list_reasons",
    summary="List the reasons that exist",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def list_reasons(request: Request, caller: Caller = requires("receipts:read")) -> Page[ReasonOut]:
    """The closed list of reasons; it comes on one page."""
    return Page(items=[ReasonOut(**_reason(code)) for code in REASONS])


# --- repair ----------------------------------------------------------------------------------------------------------


@router.post(
    "/v1/receipts/replay",
    status_code=202,
    operation_id="replay_receipts",
    summary="Replay what a filter names, or all that waits",
    tags=["receipts"],
    responses=PROBLEMS | {200: {"description": "A dry run", "model": ReplayOut}},
)
async def replay_receipts(
    request: Request, response: Response, body: ReplayMany, caller: Caller = requires("receipts:write")
) -> ReplayOut:
    """Ask for a replay; the worker runs it, and `GET /v1/receipts/replays/{id}` tells how far it is."""
    app = app_of(request)
    wanted = Wanted(body.outcome, body.reason, body.source, _aware(body.since, "since"), _aware(body.until, "until"))
    if body.outcome == "test" and not body.release:
        raise Problem(422, "Tests are replayed only to release them", detail="Set `release` to true.")
    async with app.db.begin() as tx:
        total, without_body, last = await store.count_repairable(tx, wanted)
        if not body.dry_run:
            job = await store.insert_replay(
                tx,
                wanted,
                id=new_id(),
                release=body.release,
                total=total,
                until=last or _NO_RECEIPT,
                at=app.clock.now(),
            )
            response.headers["Location"] = f"/v1/receipts/replays/{job.id}"
            return _replay_out(job, without_body=without_body)
        ids = await store.repairable(tx, wanted, after=None, until=last or _NO_RECEIPT, limit=DRY)
        found = [r for id in ids if (r := await store.stored_receipt(tx, id))]
    await app.sources.refresh()
    response.status_code = 200
    would = replay.dry(app, found, release=body.release)
    return ReplayOut(id=None, state="dry_run", total=total, without_body=without_body, would_make=would)


@router.get(
    "/v1/receipts/replays",
    operation_id="list_replays",
    summary="List the replays of many",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def list_replays(
    request: Request,
    response: Response,
    caller: Caller = requires("receipts:read"),
    limit: Limit = 50,
    cursor: CursorParam = None,
) -> Page[ReplayOut]:
    """Replays, newest first."""
    async with app_of(request).db.begin() as tx:
        found = await store.replays(tx, before=before(cursor), limit=limit + 1)
    return page_of(request, response, [_replay_out(job) for job in found], limit)


@router.get(
    "/v1/receipts/replays/{id}",
    operation_id="get_replay",
    summary="Show how far a replay is",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def get_replay(request: Request, id: UUID, caller: Caller = requires("receipts:read")) -> ReplayOut:
    """One replay of many."""
    async with app_of(request).db.begin() as tx:
        job = await store.replay(tx, str(id))
    if job is None:
        raise Problem(404, "There is no such replay")
    return _replay_out(job)


@router.post(
    "/v1/receipts/{id}/replay",
    operation_id="replay_receipt",
    summary="Replay one receipt",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def replay_receipt(
    request: Request, id: UUID, body: ReplayOrder, caller: Caller = requires("receipts:write")
) -> ReplayedOut:
    """Receive the open entries of a receipt again under its old identity; what is settled stays as it is."""
    app = app_of(request)
    await app.sources.refresh()
    try:
        async with app.db.begin() as tx:
            done = await replay.replay_receipt(tx, app, str(id), release=body.release)
    except replay.NothingKept:
        raise _nothing_kept() from None
    if done is None:
        raise Problem(404, "There is no such receipt")
    return ReplayedOut(
        receipt_id=done.receipt_id,
        state=done.state,
        reason=done.reason,
        settled=[_entry(e) for e in done.settled],
    )


@router.post(
    "/v1/receipts/{id}/try",
    operation_id="try_receipt",
    summary="Try a mapping on a stored receipt",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def try_receipt(
    request: Request, id: UUID, body: Candidate, caller: Caller = requires("sources:write")
) -> TriedOut:
    """Read a stored receipt under a mapping or settings that are not saved yet, and say what would differ."""
    app = app_of(request)
    await app.sources.refresh()
    async with app.db.begin() as tx:
        receipt = await store.stored_receipt(tx, str(id))
    if receipt is None:
        raise Problem(404, "There is no such receipt")
    saved = app.sources.get(receipt.source_id)
    if saved is None:
        raise Problem(404, "There is no such source any more")
    candidate = _candidate(saved, body)
    incoming = replay.request_of(app, receipt)
    if incoming is None:
        raise _nothing_kept()
    as_saved = reread(receipt, incoming, saved, prove=False)
    tried = reread(receipt, incoming, candidate, release=body.release, prove=False)
    open_now = open_ordinals(receipt, release=body.release)
    return TriedOut(
        receipt_id=receipt.id,
        reason=tried.reason,
        saved_reason=as_saved.reason,
        entries=[
            _tried(receipt, as_saved, tried, ordinal, is_open=ordinal in open_now)
            for ordinal in sorted({*tried.entries, *(e.ordinal for e in receipt.entries)})
        ],
    )


# --- balance ---------------------------------------------------------------------------------------------------------


@router.get(
    "/v1/receipts/balance",
    operation_id="balance_receipts",
    summary="Show that nothing was lost",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def balance_receipts(request: Request, caller: Caller = requires("receipts:read")) -> Balances:
    """Entries and outcomes of each source and of all, of one moment; they agree at all times."""
    app = app_of(request)
    async with app.db.begin() as tx:
        found = await count.standing(tx)
    broken = {b.source_id for b in found.breaks}
    total = Counted()
    for counted in found.sums.values():
        total.add(counted)
    items = [_balance(id, c, broken=id in broken) for id, c in sorted(found.sums.items()) if c.receipts or c.entries]
    return Balances(
        as_of=app.clock.now(),
        balanced=not broken and all(i.balanced for i in items),
        items=items,
        total=_balance("", total, broken=bool(broken)),
        breaks=[BreakOut(**dataclasses.asdict(b)) for b in found.breaks],
        counted_to=found.counted_to,
        gone_through_at=found.gone_through,
    )


@router.post(
    "/v1/receipts/balance/accept",
    operation_id="accept_missing",
    summary="End the alarm of an hour whose missing receipts are explained",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def accept_missing(request: Request, body: Accepted, caller: Caller = requires("receipts:write")) -> Balance:
    """Take what is there in that hour for all there is. Sums that do not agree cannot be accepted."""
    hour = _aware(body.hour, "hour")
    async with app_of(request).db.begin() as tx:
        standing = [b for b in await store.breaks(tx) if (b.source_id, b.hour) == (body.source_id, hour)]
        if not any(b.law == "missing" for b in standing):
            raise Problem(404, "Nothing is missing there", detail="GET /v1/receipts/balance lists `breaks`.")
        counted = await count.accept(tx, body.source_id, standing[0].hour)
    return _balance(body.source_id, counted, broken=any(b.law != "missing" for b in standing))


@router.post(
    "/v1/receipts/reconcile",
    operation_id="reconcile_receipts",
    summary="Compare with a provider's own count",
    tags=["receipts"],
    responses=PROBLEMS,
)
async def reconcile(request: Request, body: ProviderCounts, caller: Caller = requires("receipts:read")) -> Comparison:
    """Compare by day (as the provider dates its leads) and form; every difference is listed."""
    days = [c.day for c in body.counts]
    since, until = min(days), max(days)
    if (until - since).days > 400:
        raise Problem(422, "The days are too far apart", detail="Compare at most 400 days at once.")
    async with app_of(request).db.begin() as tx:
        await source_row(tx, body.source)
        if not await store.zone_known(tx, body.time_zone):
            raise Problem(
                422,
                "The time zone is not known",
                errors=[{"pointer": "/time_zone", "detail": "a name such as Europe/Berlin"}],
            )
        ours = await store.touches_by_day(tx, source=body.source, since=since, until=until, zone=body.time_zone)
        apart = await store.apart_by_day(tx, source=body.source, since=since, until=until, zone=body.time_zone)
    found = compare([Theirs(c.day, c.form, c.count) for c in body.counts], ours)
    return Comparison(
        source=body.source,
        agrees=not any(d.difference for d in found),
        items=[
            CountDifference(day=d.day, form=d.form, theirs=d.theirs, ours=d.ours, difference=d.difference)
            for d in found
        ],
        apart={day: counts for day, counts in sorted(apart.items()) if day in set(days)},
    )


# --- shapes ----------------------------------------------------------------------------------------------------------

_NO_RECEIPT = "00000000-0000-0000-0000-000000000000"


def _nothing_kept() -> Problem:
    return Problem(
        409, "Nothing is kept of this receipt", detail="Its body has had its time. Let the provider send it again."
    )


def _aware(moment: datetime | None, name: str) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        errors = [{"pointer": f"/{name}", "detail": "Add `Z` or an offset."}]
        raise Problem(422, "The time has no zone", errors=errors)
    return moment.astimezone(UTC) if moment else None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Problem(400, "The cursor is not valid", detail="Start again without `cursor`.") from None


def _reason(code: str) -> dict[str, Any]:
    reason = reason_of(code)
    if not code:
        return {"code": "", "repair": False, "meaning": {}, "remedy": {}}
    return {
        "code": code,
        "repair": reason.repair,
        "meaning": {"en": reason.en, "ru": reason.ru},
        "remedy": {"en": reason.remedy_en, "ru": reason.remedy_ru},
    }


def _replay_out(job: store.Replay, *, without_body: int = 0) -> ReplayOut:
    names = ("id", "state", "total", "done", "settled", "waiting", "failed", "requested_at", "moved_at")
    return ReplayOut(**{name: getattr(job, name) for name in names}, without_body=without_body)


def _entry(e: StoredEntry) -> SettledEntry:
    return SettledEntry(ordinal=e.ordinal, key=e.key, outcome=e.outcome, reason=e.reason, lead_id=e.lead_id)


def _balance(source_id: str, counted: Counted, *, broken: bool) -> Balance:
    return Balance(
        source_id=source_id, entries=counted.entries, balanced=counted.balanced and not broken, **counted.outcomes
    )


def _candidate(saved: Source, body: Candidate) -> Source:
    mapping = saved.mapping if body.mapping is None else body.mapping
    settings = saved.settings if body.settings is None else body.settings
    region = saved.default_region if body.default_region is None else body.default_region.upper()
    check_source(saved.provider, mapping, settings, region, [], adding=False)
    return dataclasses.replace(saved, mapping=mapping, settings=settings, default_region=region)


def _tried(receipt: StoredReceipt, saved: Reread, tried: Reread, ordinal: int, *, is_open: bool) -> TriedEntry:
    stands = next((e for e in receipt.entries if e.ordinal == ordinal), None)
    then, now = _trial(tried, ordinal), _trial(saved, ordinal)
    differences = []
    if then is not None:
        old = now.model_dump() if now is not None else {}
        differences = [
            FieldDifference(field=name, saved=old.get(name), candidate=value)
            for name, value in then.model_dump().items()
            if name not in ("features", "key") and old.get(name) != value
        ]
        features = old.get("features", {})
        differences += [
            FieldDifference(field=f"features.{name}", saved=features.get(name), candidate=value)
            for name, value in then.features.items()
            if features.get(name) != value
        ]
    return TriedEntry(
        ordinal=ordinal,
        stands=_entry(stands) if stands else None,
        open=is_open or stands is None,
        candidate=then,
        differences=differences,
    )


def _trial(found: Reread, ordinal: int) -> TrialEntry | None:
    entry = found.entries.get(ordinal)
    return None if entry is None else trial_entry(entry, sorted(found.inquiries[ordinal].fields))
