"""What the worker does by itself, beside the events."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from baton_kit.db import Tx
from baton_kit.idempotency import forget_old_keys
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from sales_feedback.app import App
from sales_feedback.crms import store as crm_store
from sales_feedback.crms.settle import settle_waiting
from sales_feedback.handoffs.offer import assign_waiting

FULL_ROUND = 200
LONGEST_WAIT = timedelta(days=90)


async def assign(app: App) -> None:
    """Give handoffs without a rep to the reps, as soon as there is one."""
    await _repeat(app, "assign", assign_waiting, every=app.settings.poll_seconds)


async def settle(app: App) -> None:
    """Settle CRM deals whose lead has come."""
    await _repeat(app, "settle", settle_waiting, every=app.settings.poll_seconds)


async def tidy(app: App) -> None:
    """Forget raw bodies and idempotency keys whose time is over."""
    await _repeat(app, "tidy", forget_old, every=600)


async def forget_old(tx: Tx, app: App) -> int:
    """Forget what is kept for a time only."""
    await forget_old_keys(tx)
    now = app.clock.now()
    return await crm_store.empty_old_bodies(
        tx, settled_before=now - timedelta(days=app.settings.body_days), waiting_before=now - LONGEST_WAIT
    )


async def _repeat(app: App, name: str, act: Callable[[Tx, App], Awaitable[int]], *, every: float) -> None:
    while True:
        done = 0
        try:
            async with app.db.begin() as tx:
                done = await act(tx, app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("task_waits", task=name, error=type(error).__name__)
        await asyncio.sleep(0 if done >= FULL_ROUND else every)
