"""Contact data of the leads, kept for the sales call and for nothing else."""

from collections.abc import Sequence

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_kit import forgotten
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint
from sales_feedback.app import App
from sales_feedback.erasing import store as erasing_store
from sales_feedback.handoffs import store


async def contacts_changed(tx: Tx, app: App, events: Sequence[Received[ContactChanged]]) -> None:
    """Keep the latest contact of each lead; a tombstone empties it, and the notes and raw bodies about it, for good.

    What comes for an erased lead afterwards changes nothing.
    """
    latest: dict[str, tuple[int, bytes]] = {}
    erased: list[str] = []
    for event in events:
        if event.tombstone:
            erased.append(event.key)
        elif event.key not in latest or latest[event.key][0] < event.body.sequence:
            latest[event.key] = (event.body.sequence, event.body.SerializeToString(deterministic=True))
    now = app.clock.now()
    gone = await forgotten.hold_shared(tx, latest)
    await store.put_contacts(tx, {k: v for k, v in latest.items() if k not in erased and k not in gone}, at=now)
    failpoint("sales.contact.kept")
    if erased:
        await erasing_store.lock_handoffs(tx, erased)
        await erasing_store.empty_contacts(tx, erased, at=now)
        await erasing_store.delete_notes(tx, erased)
        await erasing_store.empty_bodies(tx, sorted(set(erased)))
    failpoint("sales.contact.erased")
