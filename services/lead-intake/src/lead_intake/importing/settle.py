"""Settle the rows of exports that waited for their lead, under the receipts they came with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.history_pb2 import DealImported, FeedbackImported
from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from baton_kit.outbox import Lane
from lead_intake.delivery import Outcome
from lead_intake.entry import Entry, Person
from lead_intake.importing import store
from lead_intake.importing.store import Waiting
from lead_intake.importing.wait import FORGOTTEN
from lead_intake.resettle import Again, resettle
from lead_intake.touches import NOWHERE

if TYPE_CHECKING:
    from lead_intake.app import App

MOST = 500
"""Rows that are settled in a transaction."""

_FACTS: Mapping[str, type[DealImported] | type[FeedbackImported]] = {"deal": DealImported, "feedback": FeedbackImported}


async def settle_waiting(tx: Tx, app: App) -> int | None:
    """Settle the next rows whose lead has come, and refuse those that waited too long; how many, or None for none."""
    before = app.clock.now() - timedelta(days=app.settings.import_wait_days)
    held = await store.hold_waiting(tx, before=before, most=MOST)
    if not held:
        return None
    failpoint("import.waiting_held")
    again = [Again(w.receipt_id, w.ordinal, w.source_id, "import", w.received_at, _entry(w)) for w in held]
    ended = await resettle(tx, app, again, lane=Lane.BULK)
    moves: dict[str, Counter[str]] = {}
    for w, settled in zip(held, ended, strict=True):
        if settled is not None:
            moves.setdefault(w.import_id, Counter()).update({Outcome.PENDING.value: -1, settled.outcome.value: 1})
    refused = [(w, s.reason) for w, s in zip(held, ended, strict=True) if s and s.outcome is Outcome.REFUSED]
    await store.end_waiting(tx, held, refused=refused, moves=moves)
    failpoint("import.waiting_settled")
    return len(held)


def _entry(w: Waiting) -> Entry:
    if not w.known_by:
        reason = FORGOTTEN if w.lead_id else "unknown_lead"
        return Entry(w.key, w.occurred_at, outcome=Outcome.REFUSED, reason=reason)
    person = Person(
        identities=(w.known_by,),
        features=LeadFeatures(),
        consent_told=None,
        origin=NOWHERE,
        contact=ContactChanged(),
        person_id="",
        lead_id="",
        touch_id="",
        created_event="",
        touch_event=new_id(),
        contact_event="",
        only_known=True,
        fact=_FACTS[w.kind].FromString(w.fact),
    )
    return Entry(w.key, w.occurred_at, person=person)
