"""The values that travel from the door to the ledger: what came in, what it says, what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from lead_intake.channels import DEFAULT_RULES, ChannelRules

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Outcome(StrEnum):
    """How an entry ends. The sum over all outcomes is the number of entries, at all times."""

    CREATED = "created"
    MATCHED = "matched"
    TOUCH_ONLY = "touch_only"
    UPDATED = "updated"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    PENDING = "pending"
    TEST = "test"


class Unparsable(Exception):
    """A body that cannot be read. `reason` is a code of a closed list and never quotes the body."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Incoming:
    """One HTTP request as it stood on the wire. Header names are lower case; `url` is the public address."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    token: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """A configured door: which provider sends, how it proves itself and how its fields are read.

    `rules` are the channel rules in force, by which what comes in is grouped.
    """

    id: str
    provider: str
    name: str = ""
    default_region: str = ""
    secrets: tuple[str, ...] = ()
    token_digest: bytes = b""
    mapping: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    settings: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    shared_keys: frozenset[str] = frozenset()
    credentials: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    rules: ChannelRules = field(default=DEFAULT_RULES, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Lookup:
    """What has to be asked of the provider before an entry can be decided: ids only, it names no person."""

    id: str
    form_id: str = ""
    about: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a tracker tells of a visitor, who may be unknown.

    Without `touch` it only tells who the visitor is. `within` says that the visit began with an earlier touch; `action`
    is what was done, as a code, and `user_id` the site's own id of the person.
    """

    touch: bool = True
    within: bool = False
    action: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What one entry of a delivery says, in the provider-independent names of `mapping.FIELDS`.

    `key` is the provider's id of the entry ("" when there is none). `refused` and `quarantined` carry a
    reason code when the entry itself, not the whole body, cannot be taken. `continues` is the key of the entry that
    this one carries on (a booking that was moved): what it does not say of its origin, that one said. `lookup` says
    that the provider told of the entry without its contents. `forgets` is the key of an entry whose person is to be
    forgotten. `visit` says that a tracker tells of it, so that it need not name anybody. `update` says that
    something is told of a known person without any contact with marketing: it makes neither a lead nor a touch.
    """

    key: str
    fields: Mapping[str, str]
    answers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    occurred_at: datetime | None = None
    test: bool = False
    refused: str = ""
    quarantined: str = ""
    continues: str = ""
    lookup: Lookup | None = None
    forgets: str = ""
    visit: Visit | None = None
    update: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a delivery: the receipt and the outcome of each entry in order."""

    receipt_id: str
    outcomes: tuple[Outcome, ...]
    reason: str = ""
    lead_ids: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, ready to be sent."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
