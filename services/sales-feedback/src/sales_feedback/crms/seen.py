"""What a CRM said about one deal so far, and what that means. Pure.

Webhooks come late, twice and in any order. Each field keeps the value with the latest time; merging is commutative
and idempotent, so that every order of the same deliveries ends in the same state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from sales_feedback.crms import mapping as crm_mapping
from sales_feedback.crms.mapping import StageState
from sales_feedback.deals.deal import DealState, Target
from sales_feedback.money import NotMoney, minor_units
from sales_feedback.times import Unreadable, read_time


class Field(StrEnum):
    """The fields of a deal that matter here, under one name for every CRM."""

    STAGE = "stage"
    PIPELINE = "pipeline"
    STATUS = "status"
    AMOUNT = "amount"
    CURRENCY = "currency"
    CLOSED_AT = "closed_at"
    OPENED_AT = "opened_at"
    REASON = "reason"
    LEAD_ID = "lead_id"
    OWNER = "owner"
    PRODUCT = "product"
    DELETED = "deleted"
    COMPANY_ID = "company_id"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A value with the time the CRM gave it. The order is total, so that equal times settle the same way everywhere."""

    at: datetime
    tie: str
    value: str

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("a time without zone orders nothing")


Seen = Mapping[Field, Mark]

OTHER_WORDS = "(forgotten)"
"""Stands where a reason in somebody's own words stood: it still is one."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one entry of a delivery says about one deal; an empty value means that the CRM emptied the field."""

    deal_id: str
    at: datetime
    tie: str
    values: Mapping[Field, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a delivery. `key` is the same when the CRM sends it again.

    `observation` is None for an entry that says nothing about deals, or that is unreadable: then `problem` says why,
    without the value.
    """

    key: str
    observation: Observation | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the fields seen so far mean. `waits_for` says what is missing before the deal can count."""

    lead_id: str | None = None
    target: Target | None = None
    opened_at: datetime | None = None
    owner: str | None = None
    at: datetime | None = None
    deleted: bool = False
    problem: str | None = None


def merge(seen: Seen, observations: Sequence[Observation]) -> dict[Field, Mark]:
    """The latest value of each field, whatever the order of the observations."""
    merged = dict(seen)
    for observation in observations:
        for name, value in observation.values.items():
            mark = Mark(observation.at, observation.tie, value)
            if name not in merged or merged[name] < mark:
                merged[name] = mark
    return merged


def read(seen: Seen, mapping: crm_mapping.Mapping) -> Reading:
    """The state of the deal as the CRM has it now.

    A deal that is won or lost needs a currency only when it has an amount. Money is exact or a problem: it is never
    rounded.
    """
    values = {name: mark.value for name, mark in seen.items()}
    lead_id = values.get(Field.LEAD_ID, "").strip() or None
    latest = max((mark.at for mark in seen.values()), default=None)
    deleted = values.get(Field.DELETED) == "true"
    state = DealState.OPEN if deleted else _state(values, mapping)

    currency = values.get(Field.CURRENCY, "").strip().upper() or mapping.currency
    amount_text = values.get(Field.AMOUNT, "").strip()
    try:
        amount = None
        if amount_text:
            if currency is None:
                raise NotMoney("the CRM names no currency and the mapping has none")
            amount = minor_units(amount_text, currency)
        opened_at = _time(values, Field.OPENED_AT)
        closed_at = _time(values, Field.CLOSED_AT)
    except (NotMoney, Unreadable) as error:
        return Reading(lead_id=lead_id, at=latest, deleted=deleted, problem=str(error))

    if closed_at is None or latest is None or closed_at > latest:
        # An expected close date stays in the field after the close: the close itself is when it was told.
        closed_at = _closed_by(seen)
    reason_text = values.get(Field.REASON, "").strip()
    target = Target(
        state=state,
        stage=("deleted" if deleted else values.get(Field.STAGE)) or None,
        amount_minor=amount,
        currency=currency,
        reason=mapping.lost_reasons.get(reason_text, "other") if reason_text else None,
        product=_code(values.get(Field.PRODUCT, "")),
        rep_id=None,
        closed_at=closed_at if state is not DealState.OPEN else None,
        crm_company_id=values.get(Field.COMPANY_ID, "").strip()[:200] or None,
    )
    owner = values.get(Field.OWNER) or None
    return Reading(lead_id, target, opened_at, owner, latest, deleted)


def without_free_text(seen: Seen, mapping: crm_mapping.Mapping) -> dict[Field, Mark]:
    """The same without what a person of sales wrote in words; it means the same to `read`."""

    def plain(name: Field, text: str) -> str:
        if name is Field.REASON and text.strip() and text.strip() not in mapping.lost_reasons:
            return OTHER_WORDS
        return (_code(text) or "") if name is Field.PRODUCT else text

    return {name: replace(mark, value=plain(name, mark.value)) for name, mark in seen.items()}


def _state(values: Mapping[Field, str], mapping: crm_mapping.Mapping) -> DealState:
    status = values.get(Field.STATUS)
    if status is not None:
        return DealState(status) if status in {"won", "lost"} else DealState.OPEN
    stage = values.get(Field.STAGE, "")
    own = mapping.pipelines.get(values.get(Field.PIPELINE, ""))
    # The pipeline often comes in a webhook of its own, later: stage ids are unique in an account.
    pipelines = [own] if own is not None else list(mapping.pipelines.values())
    found = next((stages[stage] for stages in pipelines if stage in stages), StageState.OPEN)
    return DealState(found.value)


def _closed_by(seen: Seen) -> datetime | None:
    marks = [seen[name] for name in (Field.STAGE, Field.STATUS) if name in seen]
    return max((mark.at for mark in marks), default=None)


def _time(values: Mapping[Field, str], name: Field) -> datetime | None:
    text = values.get(name, "").strip()
    return read_time(text) if text else None


def _code(text: str) -> str | None:
    # Events carry codes, not text: what is no code stays in the CRM.
    text = text.strip()
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    return text if 0 < len(text) <= 64 and plain.isascii() and plain.isalnum() else None
