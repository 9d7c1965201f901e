"""What attribution knows: one record per fact, as it stands in the table of the same columns.

Facts are inserted and never changed. Where an event states the latest version of something (a deal, a handoff), every
version is kept and the highest sequence counts, so that the order of arrival never matters.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LeadFact:
    """A lead was created; `test` leads are in no report. `account_id` is the company it came to, "" for none."""

    lead_id: str
    sequence: int
    occurred_at: datetime
    source_id: str
    provider: str
    form_id: str
    channel: str
    country: str
    product: str
    industry: str
    employees: int
    test: bool
    account_id: str


@dataclass(frozen=True, slots=True)
class TouchFact:
    """A lead met marketing; `campaign` is the key reports show, the ids are those of the ad platform.

    `within_visit` is a further step of a visit that another touch began: engagement, in no journey.
    """

    touch_id: str
    lead_id: str
    occurred_at: datetime
    kind: str
    channel: str
    campaign: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    campaign_id: str
    adgroup_id: str
    ad_id: str
    form_id: str
    page: str
    referrer_domain: str
    source_id: str
    provider: str
    test: bool
    within_visit: bool


@dataclass(frozen=True, slots=True)
class GroupFact:
    """A touch belongs to another channel or campaign than was said before; the highest sequence counts.

    `campaign` is empty where the touch belongs to none: the name in its own link counts then.
    """

    touch_id: str
    sequence: int
    lead_id: str
    occurred_at: datetime
    channel: str
    campaign: str
    rules_version: int
    cause: str


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """The criteria were applied to a lead, under the agreement's activation named."""

    decision_id: str
    lead_id: str
    cycle: int
    evaluated_at: datetime
    kind: str
    outcome: str
    score: int
    agreement_digest: str
    activation_seq: int


@dataclass(frozen=True, slots=True)
class QualifiedFact:
    """A lead met the criteria in a cycle and was handed to sales."""

    lead_id: str
    cycle: int
    occurred_at: datetime
    decision_id: str
    score: int
    agreement_digest: str
    activation_seq: int


@dataclass(frozen=True, slots=True)
class HandoffFact:
    """One version of a handoff: the state it reached and, when it was turned down, why."""

    handoff_id: str
    sequence: int
    lead_id: str
    cycle: int
    occurred_at: datetime
    state: str
    rep_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FeedbackFact:
    """What sales learned about a lead."""

    feedback_id: str
    lead_id: str
    handoff_id: str
    cycle: int
    occurred_at: datetime
    kind: str
    rep_id: str
    reason: str
    reason_family: str
    first_response: bool


@dataclass(frozen=True, slots=True)
class DealFact:
    """One version of a deal: won, lost or open again. `amount_minor` is in minor units of `currency`."""

    deal_id: str
    sequence: int
    lead_id: str
    occurred_at: datetime
    handoff_id: str
    outcome: str
    amount_minor: int
    currency: str
    opened_at: datetime | None
    closed_at: datetime | None
    reason: str
    rep_id: str
    product: str
    crm: str
    agreement_digest: str
    account_id: str


@dataclass(frozen=True, slots=True)
class MergeFact:
    """One version of a merge: while the highest is `active`, `lead_id` belongs to `into_lead_id`."""

    merge_id: str
    version: int
    lead_id: str
    into_lead_id: str
    occurred_at: datetime
    active: bool


@dataclass(frozen=True, slots=True)
class AccountFact:
    """A known lead belongs to an account since this version of it; what it came with stands in its LeadFact."""

    lead_id: str
    sequence: int
    account_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class AccountMergeFact:
    """One version of a merge of accounts: while the highest is `active`, `account_id` belongs to `into_account_id`."""

    merge_id: str
    version: int
    account_id: str
    into_account_id: str
    occurred_at: datetime
    active: bool


Fact = (
    LeadFact
    | TouchFact
    | GroupFact
    | DecisionFact
    | QualifiedFact
    | HandoffFact
    | FeedbackFact
    | DealFact
    | MergeFact
    | AccountFact
    | AccountMergeFact
)
