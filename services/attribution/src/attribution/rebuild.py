"""Make the projection anew from the facts, or hold the one in use against what the facts say."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from attribution import store
from attribution.contribution import Credit, Deal, Projection, Total, TotalKey, credits_of, totals_of
from attribution.credit import credit_anew
from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_models.weights import Parameters

if TYPE_CHECKING:
    from attribution.app import App

PAGE: Final = 2_000
"""Deals read, credited and written at a time."""
LISTED: Final = 1_000
"""Differences that a verification lists; it counts the rest."""


class AlreadyRebuilding(Exception):
    """Another rebuild is under way; wait for its end."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A new projection is in use: everything up to `position` is in it."""

    generation_id: int
    position: int
    deals: int
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where increment and rebuild disagree: a credit of a deal, or a total. None is "no such row"."""

    kind: str
    place: Mapping[str, str | int | None]
    stored: Sequence[int | None] | None
    rebuilt: Sequence[int | None] | None


@dataclass(slots=True)
class Verification:
    """What the comparison found, as of `position`: every deal and every total was compared."""

    position: int
    deals: int = 0
    totals: int = 0
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Say whether increment and rebuild agree to the cent."""
        return self.differing == 0

    def add(self, difference: Difference) -> None:
        """Count a difference, and list it while the list is not too long."""
        self.differing += 1
        if len(self.differences) < LISTED:
            self.differences.append(difference)


async def rebuild(app: "App", parameters: Parameters | None = None) -> Rebuilt:
    """Compute every deal's credits from the facts and put them in the place of the present ones, in one transaction.

    Reports read the old projection until the commit and the new one after it. Batches go on meanwhile; only the last
    step, which catches up with what they wrote, makes them wait. Without `parameters` the present ones stay.
    Raises AlreadyRebuilding.
    """
    async with app.db.begin() as tx:
        if not await store.one_rebuild_at_a_time(tx):
            raise AlreadyRebuilding
        await store.no_time_limit(tx)
        # 1. Up to the last committed position the facts stand still: they can be read page by page.
        start = await store.position(tx)
        present = await store.current_projection(tx)
        projection = await store.open_projection(tx, parameters or present.parameters, at=app.clock.now())
        totals: dict[TotalKey, Total] = defaultdict(lambda: Total(0, 0))
        after: str | None = ""
        deals = 0
        while after is not None:
            page, after = await _page(tx, projection, after=after, position=start)
            credits = [credit for found in page.values() for credit in found]
            await store.copy_credits(tx, projection, credits)
            _add(totals, totals_of(credits, projection))
            deals += len(page)
        await store.add_to_totals(tx, projection, totals)
        failpoint("rebuild.before_catch_up")

        # 2. Nobody writes from here on: what came since is credited like any batch, then the two change places.
        end = await store.next_position(tx, at=app.clock.now())
        await credit_anew(tx, projection, await store.leads_changed_after(tx, start))
        await store.make_current(tx, projection)
        failpoint("rebuild.before_commit")
    await _sweep(app)
    return Rebuilt(projection.generation_id, end, deals, projection.parameters)


async def _sweep(app: "App", *, limit: int = 20_000) -> None:
    while True:
        async with app.db.begin() as tx:
            if not await store.delete_retired(tx, limit=limit):
                return


async def verify(app: "App") -> Verification:
    """Compare the projection in use with one computed from the facts, in one snapshot; changes nothing."""
    async with app.db.begin() as tx:
        await store.one_snapshot(tx)
        await store.no_time_limit(tx)
        projection = await store.current_projection(tx)
        found = Verification(await store.position(tx))
        totals: dict[TotalKey, Total] = defaultdict(lambda: Total(0, 0))
        before: str = ""
        after: str | None = ""
        while after is not None:
            before = after
            rebuilt, after = await _page(tx, projection, after=before, position=found.position)
            stored = await store.credits_page(tx, projection, after=before, until=after)
            for difference in _credit_differences(stored, rebuilt, projection):
                found.add(difference)
            _add(totals, totals_of([c for credits in rebuilt.values() for c in credits], projection))
            found.deals += len(rebuilt)
        stored_totals = await store.stored_totals(tx, projection)
        found.totals = len(totals)
        for difference in _total_differences(stored_totals, totals):
            found.add(difference)
        return found


async def _page(
    tx: Tx, projection: Projection, *, after: str, position: int
) -> tuple[dict[str, tuple[Credit, ...]], str | None]:
    """Return the credits of the next deals from the facts, and the id to go on after: None at the end."""
    deals: list[Deal] = await store.deals_page(tx, after=after, position=position, limit=PAGE)
    touches = await store.touches_of(tx, {deal.lead_id for deal in deals}, position=position)
    credits = {deal.deal_id: credits_of(deal, touches.get(deal.lead_id, []), projection) for deal in deals}
    return credits, deals[-1].deal_id if len(deals) == PAGE else None


def _add(totals: dict[TotalKey, Total], more: Mapping[TotalKey, Total]) -> None:
    for cell, total in more.items():
        present = totals[cell]
        totals[cell] = Total(present.credit_minor + total.credit_minor, present.deals + total.deals)


def _credit_differences(
    stored: Mapping[str, tuple[Credit, ...]], rebuilt: Mapping[str, tuple[Credit, ...]], projection: Projection
) -> Iterator[Difference]:
    for deal_id in sorted({*stored, *rebuilt}):
        ours, theirs = stored.get(deal_id, ()), rebuilt.get(deal_id, ())
        if ours == theirs:
            continue
        length = max(len(ours), len(theirs))
        for ours_row, theirs_row in zip(_padded(ours, length), _padded(theirs, length), strict=True):
            if ours_row == theirs_row:
                continue
            shown = theirs_row or ours_row
            yield Difference(
                "credit",
                {
                    "deal_id": deal_id,
                    "touch_id": shown.touch_id if shown else None,
                    "models": ",".join(projection.models),
                },
                ours_row.credits if ours_row else None,
                theirs_row.credits if theirs_row else None,
            )


def _padded(credits: Sequence[Credit], length: int) -> list[Credit | None]:
    return [*credits, *([None] * (length - len(credits)))]


def _total_differences(stored: Mapping[TotalKey, Total], rebuilt: Mapping[TotalKey, Total]) -> Iterator[Difference]:
    for cell in sorted({*stored, *rebuilt}, key=lambda c: (c.model, c.dimension, c.key, c.currency, c.closed_on)):
        ours, theirs = stored.get(cell), rebuilt.get(cell)
        if ours != theirs:
            place = {
                "model": cell.model,
                "by": cell.dimension,
                "key": cell.key,
                "currency": cell.currency,
                "closed_on": cell.closed_on.isoformat(),
            }
            yield Difference("total", place, _numbers(ours), _numbers(theirs))


def _numbers(total: Total | None) -> tuple[int, int] | None:
    return None if total is None else (total.credit_minor, total.deals)
