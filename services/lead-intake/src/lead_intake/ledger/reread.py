"""Read a stored request again, under the source as it is now or as it would be. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lead_intake.delivery import Incoming, Inquiry, Outcome, Source, Unparsable
from lead_intake.door import verified
from lead_intake.entry import Delivery, Entry, delivery_of
from lead_intake.ledger.hours import derived_id
from lead_intake.ledger.store import StoredEntry, StoredReceipt
from lead_intake.sources import PROVIDERS

UNPROVEN = "signature"
_IDS = ("person_id", "lead_id", "touch_id", "created_event", "touch_event", "contact_event")
_VISITOR_IDS = ("touch_id", "touch_event", "contact_event")


@dataclass(frozen=True, slots=True)
class Reread:
    """What a stored request says now: its entries by ordinal, or the reason why it still says nothing.

    `body` is what is to be kept of it.
    """

    reason: str
    entries: Mapping[int, Entry]
    inquiries: tuple[Inquiry, ...]
    delivery: Delivery | None = None
    body: bytes | None = None


def reread(
    receipt: StoredReceipt,
    incoming: Incoming,
    source: Source,
    *,
    release: bool = False,
    prove: bool = True,
    said: Sequence[Inquiry] | None = None,
) -> Reread:
    """Read the request again with the identity of its receipt: same receipt id, same entry keys, derived new ids.

    A request whose sender was not proven is verified first, as of the time it came: what is forged stays refused. With
    `release` a person has said that what looked like spam or a test is none. `said` stands for what the request says,
    where somebody has read it already and knows more.
    """
    provider = PROVIDERS[source.provider]
    unproven = receipt.unproven
    if unproven and prove and not verified(provider, incoming, source):
        return Reread(UNPROVEN, {}, ())
    if release:
        source = dataclasses.replace(source, settings={**source.settings, "spam": "accept"})
    try:
        inquiries = provider.parse(incoming, source) if said is None else list(said)
    except Unparsable as error:
        return Reread(error.reason, {}, ())
    except Exception:
        return Reread("fault", {}, ())  # ours, as at the door: it waits until the fault is mended
    if release:
        inquiries = [dataclasses.replace(i, test=False) for i in inquiries]
    body = provider.kept(incoming)
    delivery = delivery_of(incoming, source, inquiries, body=body)
    delivery = dataclasses.replace(
        delivery, receipt_id=receipt.id, content_type=receipt.content_type or delivery.content_type
    )
    known = {entry.ordinal: entry for entry in receipt.entries}
    entries = {
        ordinal: _kept_identity(receipt.id, ordinal, entry, known.get(ordinal))
        for ordinal, entry in enumerate(delivery.entries)
    }
    return Reread("", entries, tuple(inquiries), delivery, body)


def open_ordinals(receipt: StoredReceipt, *, release: bool) -> set[int]:
    """The entries that a replay may settle: what is quarantined, was refused unproven, or is a test to be released."""
    may = {Outcome.QUARANTINED.value} | ({Outcome.TEST.value} if release else set())
    return {
        e.ordinal
        for e in receipt.entries
        if e.outcome in may or (receipt.unproven and e.outcome == Outcome.REFUSED and e.reason == UNPROVEN)
    }


def was_unreadable(receipt: StoredReceipt) -> bool:
    """Whether nothing of it was read: then it stands with one entry for all that it may hold."""
    return len(receipt.entries) == 1 and not receipt.entries[0].key


def _kept_identity(receipt_id: str, ordinal: int, entry: Entry, stored: StoredEntry | None) -> Entry:
    person: Any = entry.person
    if person is not None:
        person = dataclasses.replace(person, **{name: derived_id(receipt_id, f"{ordinal}:{name}") for name in _IDS})
    visitor: Any = entry.visitor
    if visitor is not None:
        told = {name: derived_id(receipt_id, f"{ordinal}:{name}") for name in _VISITOR_IDS}
        visitor = dataclasses.replace(visitor, **told)
    key = stored.key if stored is not None and stored.key else entry.key
    return dataclasses.replace(entry, key=key, person=person, visitor=visitor, ordinal=ordinal)
