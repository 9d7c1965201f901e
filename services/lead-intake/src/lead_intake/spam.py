"""What looks like spam is kept apart with its reason: quarantined, never deleted, and released by a person.

`honeypot` is a field of the source's mapping that people do not see. A source's settings say the rest:

* ``spam``: ``accept`` lets everything pass;
* ``disposable``: ``accept`` takes throw-away mailboxes (they still carry the feature ``email_kind=disposable``);
* ``source_per_minute``, ``address_per_hour``: how many entries are plausible, 0 for any number.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from lead_intake.delivery import Outcome, Result, Source
from lead_intake.feature_tables import DISPOSABLE

if TYPE_CHECKING:
    from lead_intake.entry import Delivery, Entry

SETTINGS: Final = frozenset({"spam", "disposable", "source_per_minute", "address_per_hour"})
ADDRESS_PER_HOUR: Final = 30
"""Nobody asks more often; a test person or a shared address does, and is then released by hand or by the setting."""
MOST_ADDRESSES: Final = 50_000


class SPAM(StrEnum):
    """The reasons of entries kept apart on suspicion."""

    HONEYPOT = "spam_honeypot"
    DISPOSABLE = "spam_disposable"
    SOURCE_RATE = "spam_rate_source"
    ADDRESS_RATE = "spam_rate_address"


def suspicion(told: Mapping[str, str], settings: Mapping[str, Any], *, email: str) -> str:
    """The reason to keep one entry apart, or "". Pure: it says the same at the door, in a trial and in a replay."""
    trap = told.get("honeypot")
    domain = email.rpartition("@")[2].lower()
    if not trap and domain not in DISPOSABLE:
        return ""
    if settings.get("spam") == "accept":
        return ""
    if trap and trap.strip():
        return SPAM.HONEYPOT
    return SPAM.DISPOSABLE if domain in DISPOSABLE and settings.get("disposable") != "accept" else ""


class Rates:
    """How often each source and each address came lately, in the memory of this process.

    Two fixed windows, the older one weighted by what is left of it, stand in for a sliding one. Each API process counts
    for itself, so that several allow as many times more; a restart begins anew. An entry that comes again (the sender
    was told 503, or repeats what it sent) is the ledger's to judge and counts once.
    """

    def __init__(self, *, most: int = MOST_ADDRESSES) -> None:
        self._most = most
        self._seen: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._passed: OrderedDict[tuple[str, str], None] = OrderedDict()

    def judged(self, delivery: Delivery, source: Source) -> Delivery:
        """The delivery with the entries quarantined that came too often; they count all the same."""
        settings = source.settings
        if settings.get("spam") == "accept":
            return delivery
        a_minute = int(settings.get("source_per_minute", 0))
        an_hour = int(settings.get("address_per_hour", ADDRESS_PER_HOUR))
        if not a_minute and not an_hour:
            return delivery
        held = {
            number: reason
            for number, entry in enumerate(delivery.entries)
            if (reason := self._reason(entry, delivery, a_minute=a_minute, an_hour=an_hour))
        }
        if not held:
            return delivery
        entries = tuple(
            dataclasses.replace(e, person=None, outcome=Outcome.QUARANTINED, reason=held[n]) if n in held else e
            for n, e in enumerate(delivery.entries)
        )
        return dataclasses.replace(delivery, entries=entries)

    def _reason(self, entry: Entry, delivery: Delivery, *, a_minute: int, an_hour: int) -> str:
        once = (delivery.source_id, entry.key)
        if entry.person is None or once in self._passed:
            return ""
        at = delivery.received_at
        if a_minute and self.count(f"source:{delivery.source_id}", at, seconds=60) > a_minute:
            return SPAM.SOURCE_RATE
        if an_hour:
            # Not by other keys: a system that sends each change of a record names its id as often as it changes.
            for key in entry.person.identities:
                if (
                    key.startswith(("email:", "phone:"))
                    and self.count(f"{delivery.source_id}\n{key}", at, seconds=3_600) > an_hour
                ):
                    return SPAM.ADDRESS_RATE
        self._passed[once] = None
        if len(self._passed) > self._most:
            self._passed.popitem(last=False)
        return ""

    def count(self, key: str, at: datetime, *, seconds: int) -> float:
        """Count one more and return how many came within the last `seconds`, this one included."""
        now = at.timestamp()
        window = int(now // seconds)
        last, before, here = self._seen.pop(key, (window, 0, 0))
        if window != last:
            before, here = (here if window == last + 1 else 0), 0
        self._seen[key] = (window, before, here + 1)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return here + 1 + before * (1 - (now % seconds) / seconds)


def told(delivery: Delivery, result: Result) -> Result:
    """What the sender hears: who fills the trap must not learn that it is one, so a held entry looks like any other."""
    if not result.reason.startswith("spam_"):
        return result
    outcomes = tuple(
        Outcome.CREATED if outcome is Outcome.QUARANTINED and entry.reason.startswith("spam_") else outcome
        for outcome, entry in zip(result.outcomes, delivery.entries, strict=True)
    )
    rest = next((e.reason for e in delivery.entries if e.reason and not e.reason.startswith("spam_")), "")
    return dataclasses.replace(result, outcomes=outcomes, reason=rest)
