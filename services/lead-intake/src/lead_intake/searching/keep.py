"""Keep the words of every contact, from the contact topic: a delivery is not delayed by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from lead_intake.searching import store
from lead_intake.searching.words import words_of

if TYPE_CHECKING:
    from lead_intake.app import App


async def contacts_changed(tx: Tx, app: App, received: Sequence[Received[ContactChanged]]) -> None:
    """Keep the words of the latest contact of each lead, and none of a person that is forgotten."""
    keys = {e.key for e in received}
    gone = await forgotten.hold_shared(tx, keys)
    gone |= {e.key for e in received if e.tombstone}
    failpoint("intake.search.held")
    latest: dict[str, tuple[int, str]] = {}
    for e in received:
        if e.key not in gone and e.body.sequence > latest.get(e.key, (0, ""))[0]:
            latest[e.key] = (e.body.sequence, words_of(e.body))
    await store.put(tx, latest)
    await store.drop(tx, gone)
    failpoint("intake.search.kept")
