"""Merge accounts that one tax number names as one company; the only merge that nobody has to ask for.

A delivery whose tax number is one account's and whose domain or company id is another's proposes it; here, in a
transaction of its own, it is done where no tax number speaks against it. What a person undid stays undone: a closed
proposal does not come again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from baton_kit import edges
from baton_kit.failpoint import failpoint
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake.accounts import store
from lead_intake.accounts.resolve import one_country_one_number
from lead_intake.merging.edge import lock_merges
from lead_intake.merging.merge import merge

if TYPE_CHECKING:
    from lead_intake.app import App

PAUSE_S = 5.0


async def unite_next(app: App) -> bool:
    """Follow the proposal that waits longest, or leave it to people; False when none waits."""
    async with app.db.begin() as tx:
        await lock_merges(tx, store.ACCOUNTS)
        pair = await store.next_by_tax_number(tx)
        failpoint("account.unite.after_read")
        if pair is None:
            return False
        whole = await edges.families_of(tx, pair, table=store.EDGES)
        numbers = await store.tax_numbers(tx, whole.everyone(pair))
        # The older account stays canonical; ids grow with time.
        into, out_of = sorted(whole.root(id) for id in pair)
        if into == out_of:
            await store.close_proposals(tx, [pair[0]], [pair[1]], "merged")
        elif one_country_one_number(numbers):
            await merge(
                tx, app, store.ACCOUNTS, source=out_of, target=into, by="rule:tax_number", reason="same_tax_number"
            )
        else:
            await store.leave_to_people(tx, *pair)
        failpoint("account.unite.before_commit")
    return True


async def unite_for_ever(app: App) -> None:
    """Run `unite_next` beside everything else; an outage is waited out."""
    while True:
        more = False
        try:
            more = await unite_next(app)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("accounts_wait_for_database", error=type(error).__name__)
        if not more:
            await asyncio.sleep(PAUSE_S)
