"""One contact from several inquiries. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from baton.lead.v1.contact_pb2 import ContactChanged

MOST = 10
"""Addresses, numbers and consents kept of each kind; the newest stay."""
MOST_CLICKS = 50

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SINGLE = (
    "full_name",
    "first_name",
    "last_name",
    "company_name",
    "job_title",
    "country",
    "language",
    "message",
)


def merged(known: ContactChanged, told: ContactChanged, *, newer: bool) -> ContactChanged:
    """The contact after a further inquiry: a newer one overwrites, an older one only fills what is empty."""
    result = ContactChanged()
    result.CopyFrom(known)
    for name in _SINGLE:
        value = getattr(told, name)
        if value and (newer or not getattr(result, name)):
            setattr(result, name, value)
    for name in ("emails", "phones"):
        values = list(getattr(result, name))
        values += [v for v in getattr(told, name) if v not in values]
        getattr(result, name)[:] = values[-MOST:]
    seen = {(c.kind, c.value) for c in result.click_ids}
    clicks = [*result.click_ids, *(c for c in told.click_ids if (c.kind, c.value) not in seen)]
    del result.click_ids[:]
    result.click_ids.extend(clicks[-MOST_CLICKS:])
    standing = {c.purpose: c.granted for c in result.consents}
    consents = [*result.consents, *(c for c in told.consents if standing.get(c.purpose) is not c.granted)]
    del result.consents[:]
    result.consents.extend(consents[-MOST:])
    return result


def stamped(contact: ContactChanged, *, lead_id: str, person_id: str, sequence: int, at: datetime) -> ContactChanged:
    """A copy with its identity and version."""
    result = ContactChanged()
    result.CopyFrom(contact)
    result.lead_id, result.person_id, result.sequence = lead_id, person_id, sequence
    result.occurred_at.CopyFrom(stamp(at))
    return result


def stamp(at: datetime) -> Timestamp:
    """Like `FromDatetime`, which asks the calendar, at a third of its cost; `at` is aware."""
    since = at - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)
