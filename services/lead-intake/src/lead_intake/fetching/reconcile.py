"""Compare a source with its provider's own list, and hand in the leads that the push missed.

A missed lead is put into the words in which its push would have told of it and goes the way of every delivery, under
the same key: a push that comes late after all is its repeat, and so is a second run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import httpx2
from prometheus_client import Counter

from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import delivery_of
from lead_intake.fetching import store
from lead_intake.fetching.calls import CallFailed, Throttled, TokenRefused, open_http
from lead_intake.fetching.fetch import PROBE, pause_of
from lead_intake.fetching.notice import Notice
from lead_intake.fetching.providers import LISTING, Listing, api_of, interval
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS

if TYPE_CHECKING:
    from lead_intake.app import App

IDLE_S = 5.0
OVERLAP = timedelta(hours=2)
"""Leads may show in the list later than they were made."""
DEEP = timedelta(days=3)
DEEP_EVERY = timedelta(days=1)
FORMS_MET = timedelta(days=90)
RETRY = timedelta(minutes=5)

FOUND = Counter("baton_intake_reconciled_total", "Leads that the push missed and the provider's list had", ["source"])


async def reconcile_for_ever(app: App) -> None:
    """Compare every source in its interval; an outage of our own database is waited out."""
    async with open_http(app.settings) as http:
        while True:
            try:
                done = await reconcile_next(app, http)
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("not_reconciled", error=type(error).__name__)
                done = False
            if not done:
                await asyncio.sleep(IDLE_S)


async def reconcile_next(app: App, http: httpx2.AsyncClient) -> bool:
    """Compare one source that is due; False when none is."""
    await app.sources.refresh()
    sources = {id: source for id, source in app.sources.all().items() if _compared(source)}
    if not sources:
        return False
    now = app.clock.now()
    async with app.db.begin() as tx:
        await store.begin_reconciling(tx, sorted(sources), at=now)
        await store.insert_state(tx, sorted(sources), at=now)
        run = await store.claim_run(tx, now=now, among=sorted(sources))
    if run is None:
        return False
    failpoint("reconcile.claimed")
    await _reconcile(app, http, source=sources[run.source_id], run=run, now=now)
    return True


def _compared(source: Source) -> bool:
    # Without a token there is nothing to be asked with: the state of the source says so already.
    return interval(source) is not None and bool(source.credentials.get("access_token"))


async def _reconcile(app: App, http: httpx2.AsyncClient, *, source: Source, run: store.Run, now: datetime) -> None:
    listing = LISTING[source.provider]
    every = interval(source) or DEEP_EVERY
    deep = run.deep_at is None or now - run.deep_at >= DEEP_EVERY
    since = run.watermark - (DEEP if deep and run.deep_at is not None else OVERLAP)
    api = api_of(http, source, settings=app.settings)
    async with app.db.begin() as tx:
        forms = await store.forms_met(tx, source.id, since=now - FORMS_MET)
    listed = found = 0
    try:
        async for notices in listing.listed(api, since=since, until=now, forms=forms):
            failpoint("reconcile.listed")
            kept = await _hand_in(app, listing, source=source, run=run, notices=notices)
            if kept is None:
                return  # another worker has this source since
            listed, found = listed + len(notices), found + kept
    except CallFailed as failed:
        await _failed(app, source, run=run, failed=failed, now=now)
        return
    except Exception as error:
        if is_outage(error):
            raise
        # A fault of ours on this list must not keep the others from being compared.
        log.error("not_reconciled", source=source.id, error=type(error).__name__)
        await _failed(app, source, run=run, failed=CallFailed("fault"), now=now)
        return
    async with app.db.begin() as tx:
        await store.finish_run(
            tx,
            run,
            now=now,
            due_at=now + every,
            watermark=now,
            deep_at=now if deep else run.deep_at,
            listed=listed,
            found=found,
        )
        await store.answered_well(tx, source.id, at=now)
        if api.rest:
            await store.pause(tx, source.id, until=now + api.rest, reason="near_limit", throttled=0)
        failpoint("reconcile.before_finish")
    log.info("reconciled", source=source.id, listed=listed, found=found)


async def _hand_in(
    app: App, listing: Listing, *, source: Source, run: store.Run, notices: Sequence[Notice]
) -> int | None:
    """Keep a page of the list and receive what the ledger never met, in one transaction; None when the run is lost."""
    if not notices:
        return 0
    now = app.clock.now()
    rows = {n.key: store.Listed(n.key, n.form_id, min(n.occurred_at, now)) for n in notices}
    async with app.db.begin() as tx:
        if not await store.hold_run(tx, run):
            return None
        missed = await store.note_listed(tx, source.id, listed=list(rows.values()), at=now)
        lost = [n for key, n in {n.key: n for n in notices}.items() if key in missed]
        if lost:
            provider = PROVIDERS[source.provider]
            deliveries = []
            for body in listing.bodies(lost):
                headers = {"content-type": "application/json"}
                incoming = Incoming("LIST", "", headers, body, "", now)
                deliveries.append(delivery_of(incoming, source, provider.parse(incoming, source), body=body))
            await receive(tx, app, deliveries)
            for delivery in deliveries:
                keys = [entry.key for entry in delivery.entries]
                await store.note_handed_in(tx, source.id, keys=keys, receipt_id=delivery.receipt_id)
        failpoint("reconcile.before_commit")
    failpoint("reconcile.after_commit")
    if lost:
        FOUND.labels(source.id).inc(len(lost))
        log.warning("push_missed_leads", source=source.id, leads=len(lost))
    return len(lost)


async def _failed(app: App, source: Source, *, run: store.Run, failed: CallFailed, now: datetime) -> None:
    due_at = now + RETRY
    async with app.db.begin() as tx:
        if isinstance(failed, TokenRefused):
            await store.token_refused(tx, source.id, at=now, reason=failed.reason, until=now + PROBE)
        elif isinstance(failed, Throttled):
            state = await store.lock_state(tx, source.id)
            throttled = state.throttled + 1 if state else 1
            due_at = now + pause_of(throttled, wait=failed.wait)
            await store.pause(tx, source.id, until=due_at, reason=failed.reason, throttled=throttled)
        await store.fail_run(tx, run, now=now, due_at=due_at, reason=failed.reason)
    log.warning("not_reconciled", source=source.id, reason=failed.reason)
