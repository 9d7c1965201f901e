"""Change campaigns: one version each, noted with who made it; earlier touches follow by `restate`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import uniform
from typing import TYPE_CHECKING

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from lead_intake import store as sources
from lead_intake.campaigns import store
from lead_intake.campaigns.campaign import MOST_CAMPAIGNS, Campaign, slug
from lead_intake.campaigns.matching import Claim, key_of, rivals
from lead_intake.campaigns.store import Stored

if TYPE_CHECKING:
    from lead_intake.app import App

ATTEMPTS = 30


class Busy(Exception):
    """Touches are being written without a pause; try again."""


class Overtaken(Exception):
    """The campaign was changed by somebody else since it was read."""

    def __init__(self, version: int) -> None:
        super().__init__(str(version))
        self.version = version


class Taken(Exception):
    """Keys that other campaigns have: (the claim that was wanted, the claim that stands)."""

    def __init__(self, pairs: Sequence[tuple[Claim, Claim]]) -> None:
        super().__init__(str(len(pairs)))
        self.pairs = pairs


class TooMany(Exception):
    """More than MOST_CAMPAIGNS."""


@asynccontextmanager
async def changing(app: App) -> AsyncIterator[Tx]:
    """One transaction that has the campaigns alone. Raises Busy.

    Deliveries wait behind whoever waits for it. So it waits a quarter of a second at a time and lets them pass in
    between: an import holds its share for a whole chunk.
    """
    for _ in range(ATTEMPTS):
        async with app.db.begin() as tx:
            if await store.hold(tx):
                failpoint("campaigns.after_lock")
                yield tx
                failpoint("campaigns.before_commit")
                return
        await asyncio.sleep(uniform(0.05, 0.25))  # noqa: S311 - so that two do not meet again
    raise Busy


async def save(
    tx: Tx, app: App, wanted: Sequence[Campaign], *, by: str, read: Mapping[str, int] | None = None
) -> list[Stored]:
    """Keep these campaigns (each `kept`, its code once), all or none; what changes nothing is no version.

    `read` says by code which version a change was made to, 0 for a new one; without it whatever stands is changed. The
    caller has the campaigns alone. Raises Overtaken, Taken, TooMany.
    """
    present = await store.campaigns(tx, [one.code for one in wanted])
    changed = [one for one in wanted if one.code not in present or present[one.code].campaign != one]
    for one in changed:
        stands = present[one.code].version if one.code in present else 0
        if read is not None and read[one.code] != stands:
            raise Overtaken(stands)
    if sum(one.code not in present for one in changed) + await store.count(tx) > MOST_CAMPAIGNS:
        raise TooMany

    # What the others claim, as it will stand: those that are changed as well count with what they will be.
    claims = [claim for one in changed for claim in one.claims]
    codes = {one.code for one in changed}
    others = [claim for claim in await store.claimants(tx, [c.key for c in claims]) if claim.code not in codes]
    if pairs := rivals(claims, others):
        raise Taken(pairs)

    at = app.clock.now()
    done = {
        one.code: Stored(
            one,
            present[one.code].version + 1 if one.code in present else 1,
            present[one.code].created_at if one.code in present else at,
            at,
        )
        for one in changed
    }
    if done:
        await store.write(tx, list(done.values()), by=by)
        failpoint("campaigns.after_write")
    if any(one.claims != (present[one.code].campaign.claims if one.code in present else ()) for one in changed):
        await store.heed(tx, {claim.key for claim in claims})
        await store.raise_version(tx, at=at)
        await sources.raise_source_version(tx)
        failpoint("campaigns.after_version")
    return [done.get(one.code) or present[one.code] for one in wanted]


async def assign(tx: Tx, app: App, key: str, *, to: Campaign, by: str) -> Stored:
    """Give a key to a campaign, which is made where there is none of its code; given again, nothing changes.

    The caller has the campaigns alone. Raises Taken, TooMany.
    """
    present = (await store.campaigns(tx, [to.code])).get(to.code)
    campaign = to if present is None else present.campaign
    [stored] = await save(tx, app, [replace(campaign, keys=tuple(sorted({*campaign.keys, key})))], by=by)
    return stored


async def records_of(tx: Tx, source_id: str) -> tuple[list[Campaign], int]:
    """Records for the campaigns of an imported export that none claims yet, and how many are claimed already."""
    names = {key_of(f"utm:{name}"): name for name in reversed(await store.imported(tx, source_id))}
    claimed = {claim.key for claim in await store.claimants(tx, names)}
    taken = await store.codes(tx)
    made = []
    for key in sorted(set(names) - claimed):
        code = slug(names[key], taken)
        taken.add(code)
        made.append(Campaign(code=code, name=names[key], keys=(key,)))
    return made, len(claimed & set(names))
