"""One configured CRM, and what its kind brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sales_feedback.crms import hubspot, pipedrive
from sales_feedback.crms.delivery import Delivery
from sales_feedback.crms.mapping import Kind
from sales_feedback.crms.mapping import Mapping as CrmMapping
from sales_feedback.crms.seen import Entry


class Verify(Protocol):
    def __call__(self, delivery: Delivery, secrets: Sequence[str], *, now: datetime) -> bool: ...


class Read(Protocol):
    def __call__(self, body: bytes, mapping: CrmMapping, *, received_at: datetime) -> list[Entry]: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a kind of CRM must say of itself: whether a delivery is its own, and what the entries of it are."""

    verify: Verify
    entries: Read


DIALECTS: Mapping[Kind, Dialect] = {
    Kind.HUBSPOT: Dialect(hubspot.verify, hubspot.entries),
    Kind.PIPEDRIVE: Dialect(pipedrive.verify, pipedrive.entries),
}


@dataclass(frozen=True, slots=True)
class Crm:
    """`secrets` are all that verify now: client secrets (HubSpot) or "user:password" (Pipedrive)."""

    id: str
    kind: Kind
    mapping: CrmMapping
    secrets: tuple[str, ...] = ()
