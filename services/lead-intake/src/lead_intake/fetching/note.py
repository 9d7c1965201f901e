"""Note beside an entry what it still needs: a job where the provider has to be asked, an order to forget a person.

Called on the transaction that writes the receipt, so that no pending entry is ever without its job.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from baton_kit.db import Direct, Tx
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from lead_intake.delivery import Outcome
from lead_intake.entry import Delivery
from lead_intake.fetching import store

if TYPE_CHECKING:
    from lead_intake.app import App


async def note(
    tx: Tx | Direct, app: App, *, deliveries: Sequence[Delivery], outcomes: Sequence[Sequence[Outcome]]
) -> None:
    """Write a job for every entry that is pending, and an order for every person who is to be forgotten."""
    # From now: what is received again by a replay gets its time anew.
    now, limit = app.clock.now(), timedelta(hours=app.settings.fetch_age_limit_hours)
    jobs, orders = [], []
    for delivery, each in zip(deliveries, outcomes, strict=True):
        for place, (entry, outcome) in enumerate(zip(delivery.entries, each, strict=True)):
            ordinal = place if entry.ordinal is None else entry.ordinal
            if entry.lookup is not None and outcome is Outcome.PENDING:
                jobs.append(
                    store.NewJob(
                        new_id(), delivery.source_id, delivery.provider, delivery.receipt_id, ordinal, entry.key,
                        entry.lookup.id, entry.lookup.form_id, entry.lookup.about, entry.occurred_at,
                        delivery.received_at, now + limit,
                    )
                )  # fmt: skip
            if entry.forgets:
                orders.append((delivery.source_id, entry.forgets, delivery.receipt_id, delivery.received_at))
    failpoint("fetch.before_note")
    await store.insert_jobs(tx, jobs)
    await store.insert_erase_requests(tx, orders)
