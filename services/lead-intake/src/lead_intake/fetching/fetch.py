"""Ask providers about pending entries: claim, call, and settle the entry on the path of every other inquiry.

Nothing is held during a call but a lease. Whoever settles must still hold it: a job that another worker has claimed
since is left to that one. An entry ends once, in the transaction that ends its job.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx2
from prometheus_client import Counter, Gauge

from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.delivery import Lookup, Outcome, Source
from lead_intake.entry import Entry, entry_of
from lead_intake.fetching import store
from lead_intake.fetching.calls import (
    CallFailed,
    Impossible,
    Malformed,
    NotThere,
    Throttled,
    TokenRefused,
    open_http,
)
from lead_intake.fetching.job import MOST_MALFORMED, Job, wait_of
from lead_intake.fetching.providers import ASKED, api_of, per_minute
from lead_intake.resettle import Again, resettle

if TYPE_CHECKING:
    from lead_intake.app import App

IDLE_S = 0.5
TIDY_S = 60.0
PROBE = timedelta(minutes=15)
"""After a refused token one call in so long finds out whether it is good again."""
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
KEPT = timedelta(days=90)
EXPIRED = "fetch_expired"

FETCHES = Counter("baton_intake_fetches_total", "Lookups at providers", ["provider", "result"])
WAITING = Gauge("baton_intake_fetch_waiting", "Entries that wait for a lookup", ["source"])
OLDEST = Gauge("baton_intake_fetch_oldest_seconds", "How long the oldest of them waits", ["source"])
TOKEN_INVALID = Gauge("baton_intake_fetch_token_invalid", "1 while the provider refuses a source's token", ["source"])


async def fetch_for_ever(app: App) -> None:
    """Work off what is due, several at once; an outage of our own database is waited out."""
    async with open_http(app.settings) as http, asyncio.TaskGroup() as group:
        running: set[asyncio.Task[None]] = set()
        while True:
            free = app.settings.fetches_at_once - len(running)
            claimed: list[tuple[Source, Job]] = []
            try:
                if free > 0:
                    claimed = await claim(app, most=free)
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("fetches_not_claimed", error=type(error).__name__)
            for source, job in claimed:
                task = group.create_task(_survived(app, http, source=source, job=job))
                running.add(task)
                task.add_done_callback(running.discard)
            if not claimed:
                await asyncio.sleep(IDLE_S)


async def tidy_for_ever(app: App) -> None:
    """Quarantine what waited too long, forget what is long done, and measure what waits."""
    while True:
        try:
            while await expire(app):
                pass
            async with app.db.begin() as tx:
                await store.forget_old(tx, before=app.clock.now() - KEPT, most=1_000)
            await measure(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("fetches_not_tidied", error=type(error).__name__)
        await asyncio.sleep(TIDY_S)


async def claim(app: App, *, most: int) -> list[tuple[Source, Job]]:
    """Lease what is due for the source that waited longest, within what it may ask; empty when nothing is due."""
    await app.sources.refresh()
    sources = {id: source for id, source in app.sources.all().items() if source.provider in ASKED}
    now = app.clock.now()
    async with app.db.begin() as tx:
        state = await store.lock_due_source(tx, now=now, among=sorted(sources))
        if state is None:
            return []
        source = sources[state.source_id]
        bucket = state.allowance.refilled(per_minute=per_minute(source), burst=store.BURST, now=now)
        # While the token is refused, one call finds out whether it still is.
        wanted = 1 if state.token_invalid_since else min(most, int(bucket.left))
        jobs = await store.claim_jobs(tx, source.id, now=now, most=max(wanted, 0)) if wanted > 0 else []
        await store.save_allowance(tx, source.id, allowance=bucket.less(len(jobs)), at=now)
    failpoint("fetch.claimed")
    return [(source, job) for job in jobs]


async def work(app: App, http: httpx2.AsyncClient, *, source: Source, job: Job) -> None:
    """Ask about one entry and write what came of it."""
    api = api_of(http, source, settings=app.settings)
    try:
        inquiry = await ASKED[source.provider].lead(api, job)
    except Throttled as refused:
        FETCHES.labels(source.provider, "throttled").inc()
        await _pause(app, source, job=job, wait=refused.wait, reason=refused.reason)
    except TokenRefused as refused:
        FETCHES.labels(source.provider, "token_refused").inc()
        await _token_refused(app, job, reason=refused.reason)
    except (NotThere, Impossible) as refused:
        FETCHES.labels(source.provider, "impossible").inc()
        await _settle(app, job, source=source, entry=_quarantined(job, refused.reason), well=True, rest=api.rest)
    except CallFailed as failed:
        FETCHES.labels(source.provider, "failed").inc()
        await _again_later(app, job, failed=failed)
    else:
        failpoint("fetch.answered")
        FETCHES.labels(source.provider, "found").inc()
        entry = entry_of(inquiry, source, key=job.key, received_at=job.received_at)
        await _settle(app, job, source=source, entry=entry, well=True, rest=api.rest)


async def expire(app: App) -> int:
    """Quarantine a hundred entries that waited beyond their limit, and say how many."""
    now = app.clock.now()
    async with app.db.begin() as tx:
        jobs = await store.hold_expired(tx, now=now, most=100)
        if not jobs:
            return 0
        await resettle(tx, app, [_again(job, _quarantined(job, EXPIRED)) for job in jobs])
        await store.settle_jobs(tx, [(job.id, "quarantined", EXPIRED) for job in jobs], at=now)
        failpoint("fetch.before_expire_commit")
    log.warning("fetches_expired", jobs=len(jobs))
    return len(jobs)


async def retry(
    app: App, *, ids: Sequence[str] | None, source: str | None, reason: str | None, most: int = 10_000
) -> int:
    """Let quarantined lookups wait again, by id or by filter, under their own receipts; says how many do.

    One whose lead has come another way since ends as its repeat. Done twice, it changes nothing the second time.
    """
    done, after = 0, None
    while done < most:
        now = app.clock.now()
        async with app.db.begin() as tx:
            jobs = await store.hold_quarantined(tx, ids=ids, source=source, reason=reason, after=after, most=100)
            if not jobs:
                break
            ended = await resettle(tx, app, [_again(job, _pending(job)) for job in jobs])
            waiting = [j.id for j, s in zip(jobs, ended, strict=True) if s and s.outcome is Outcome.PENDING]
            rest = [j.id for j in jobs if j.id not in set(waiting)]
            expires_at = now + timedelta(hours=app.settings.fetch_age_limit_hours)
            await store.reopen_jobs(tx, waiting, at=now, expires_at=expires_at)
            await store.settle_jobs(tx, [(id, "done", "") for id in rest], at=now)
            failpoint("fetch.before_retry_commit")
        done += len(waiting)
        after = jobs[-1].id
    return done


async def measure(app: App) -> None:
    """Write the gauges."""
    now = app.clock.now()
    async with app.db.begin() as tx:
        waiting = await store.waiting(tx)
        states = await store.states(tx)
    for state in states:
        count, oldest = waiting.get(state.source_id, (0, now))
        WAITING.labels(state.source_id).set(count)
        OLDEST.labels(state.source_id).set(max(0.0, (now - oldest).total_seconds()))
        TOKEN_INVALID.labels(state.source_id).set(1 if state.token_invalid_since else 0)


async def _survived(app: App, http: httpx2.AsyncClient, *, source: Source, job: Job) -> None:
    try:
        await work(app, http, source=source, job=job)
    except Exception as error:
        # Our database is away, or the fault is ours: the lease runs out and the job comes again.
        level = log.warning if is_outage(error) else log.error
        level("fetch_not_settled", source=source.id, job=job.id, error=type(error).__name__)
        if not is_outage(error):
            FETCHES.labels(source.provider, "fault").inc()


async def _settle(app: App, job: Job, *, source: Source, entry: Entry, well: bool, rest: timedelta) -> None:
    now = app.clock.now()
    was_invalid = False
    async with app.settling, app.db.begin() as tx:
        if not await store.hold(tx, job):
            return
        failpoint("fetch.held")
        # What is to be forgotten is not brought in by an answer that was under way.
        asked = {(job.source_id, job.key), (job.source_id, job.about.get("erased_as", job.key))}
        if await store.erase_requested(tx, sorted(asked)):
            entry = Entry(job.key, job.occurred_at, outcome=Outcome.REFUSED, reason="erase_requested")
        [ended] = await resettle(tx, app, [_again(job, entry)])
        quarantined = ended is not None and ended.outcome is Outcome.QUARANTINED
        state = "quarantined" if quarantined else "done"
        await store.settle_jobs(tx, [(job.id, state, ended.reason if ended else "")], at=now)
        if well:
            was_invalid = await store.answered_well(tx, job.source_id, at=now)
        if rest:
            await store.pause(tx, job.source_id, until=now + rest, reason="near_limit", throttled=0)
        failpoint("fetch.before_commit")
    failpoint("fetch.after_commit")
    if was_invalid:
        log.info("token_good_again", source=job.source_id)


async def _again_later(app: App, job: Job, *, failed: CallFailed) -> None:
    malformed = job.malformed + isinstance(failed, Malformed)
    if malformed >= MOST_MALFORMED:
        entry = _quarantined(job, "fetch_malformed")
        await _settle(app, job, source=Source(job.source_id, job.provider), entry=entry, well=False, rest=timedelta())
        return
    due_at = app.clock.now() + wait_of(job.attempt, jitter=random.random())  # noqa: S311 - spreads, decides nothing
    async with app.settling, app.db.begin() as tx:
        await store.postpone(tx, job, due_at=due_at, reason=failed.reason, attempt=job.attempt + 1, malformed=malformed)
    log.info("fetch_postponed", source=job.source_id, job=job.id, reason=failed.reason, attempt=job.attempt + 1)


async def _pause(app: App, source: Source, *, job: Job, wait: timedelta | None, reason: str) -> None:
    """Rest for the whole source; the job itself has used up none of its attempts."""
    now = app.clock.now()
    async with app.settling, app.db.begin() as tx:
        state = await store.lock_state(tx, source.id)
        rests = state is not None and state.paused_until is not None and state.paused_until > now
        # Several calls under way hear the same refusal: it counts once.
        throttled = (state.throttled if state else 0) + (0 if rests else 1)
        until = now + pause_of(throttled, wait=wait)
        await store.pause(tx, source.id, until=until, reason=reason, throttled=throttled)
        await store.postpone(tx, job, due_at=until, reason=reason, attempt=job.attempt, malformed=job.malformed)
    log.info("source_throttled", source=source.id, reason=reason, seconds=int((until - now).total_seconds()))


def pause_of(throttled: int, *, wait: timedelta | None) -> timedelta:
    """How long to rest: what the provider says, else half a minute that doubles with each refusal in a row."""
    return (
        max(wait, timedelta(seconds=1))
        if wait is not None
        else min(FIRST_PAUSE * 2 ** min(throttled - 1, 10), LONGEST_PAUSE)
    )


async def _token_refused(app: App, job: Job, *, reason: str) -> None:
    now = app.clock.now()
    async with app.settling, app.db.begin() as tx:
        await store.token_refused(tx, job.source_id, at=now, reason=reason, until=now + PROBE)
        await store.postpone(tx, job, due_at=now, reason=reason, attempt=job.attempt, malformed=job.malformed)
    log.warning("token_invalid", source=job.source_id, reason=reason)


def _again(job: Job, entry: Entry) -> Again:
    return Again(job.receipt_id, job.ordinal, job.source_id, job.provider, job.received_at, entry)


def _quarantined(job: Job, reason: str) -> Entry:
    return Entry(job.key, job.occurred_at, outcome=Outcome.QUARANTINED, reason=reason)


def _pending(job: Job) -> Entry:
    lookup = Lookup(job.lookup_id, job.form_id, job.about)
    return Entry(job.key, job.occurred_at, outcome=Outcome.PENDING, lookup=lookup)
