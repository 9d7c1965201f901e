"""An inquiry that carries on an earlier one (a booking that was moved) keeps the origin of the first.

The provider loses the UTM values on the way; without them the touch would count as direct and take the credit from the
campaign. Read before the delivery is queued, so that the transaction of intake stays as it is: an earlier entry that
is not committed yet is not found, and the order of the two was never promised.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from baton_kit.outages import is_outage
from lead_intake import store
from lead_intake.delivery import Inquiry, Source
from lead_intake.entry import stored_key
from lead_intake.group_commit import Busy

if TYPE_CHECKING:
    from lead_intake.app import App

_ORIGIN = ("utm_source", "utm_medium", "utm_campaign")
LONGEST_READ_S = 0.8


async def with_origin(app: App, source: Source, inquiries: Sequence[Inquiry]) -> list[Inquiry]:
    """The inquiries, with the origin of what they carry on where they tell none. Raises `Busy` in an outage."""
    keys = sorted({stored_key(i.continues) for i in inquiries if _needs_origin(i)})
    if not keys:
        return list(inquiries)
    try:
        async with asyncio.timeout(LONGEST_READ_S), app.db.begin() as tx:
            origins = await store.origins(tx, source_id=source.id, keys=keys)
    except Exception as error:
        if isinstance(error, TimeoutError) or is_outage(error):
            raise Busy from error
        raise
    return [
        dataclasses.replace(i, fields={**origins.get(stored_key(i.continues), {}), **i.fields})
        if _needs_origin(i)
        else i
        for i in inquiries
    ]


def _needs_origin(inquiry: Inquiry) -> bool:
    return bool(inquiry.continues) and not any(inquiry.fields.get(name) for name in _ORIGIN)
