"""The tables. Facts are only ever inserted; credits and totals are a projection of them that can be made anew."""

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

from attribution.facts import (
    AccountFact,
    AccountMergeFact,
    DealFact,
    DecisionFact,
    Fact,
    FeedbackFact,
    GroupFact,
    HandoffFact,
    LeadFact,
    MergeFact,
    QualifiedFact,
    TouchFact,
)
from baton_kit.forgotten import add_forgotten_table
from baton_kit.tables import add_kit_tables

metadata = MetaData()
kit = add_kit_tables(metadata)
erased_lead = add_forgotten_table(metadata)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _time(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _known_seq() -> Column[int]:
    """The position at which the fact became known; what was known at position n is what carries at most n."""
    return Column("known_seq", BigInteger, nullable=False)


# The counter of positions. Whoever writes a fact holds this row until the commit.
known_position = Table(
    "known_position",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    _number("value"),
    _time("moved_at"),
    CheckConstraint("one", name="known_position_one"),
)

lead = Table(
    "lead",
    metadata,
    Column("lead_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    _time("occurred_at"),
    _text("source_id"),
    _text("provider"),
    _text("form_id"),
    _text("channel"),
    _text("country"),
    _text("product"),
    _text("industry"),
    _number("employees"),
    _flag("test"),
    Column("account_id", Text, nullable=False, server_default=text("''")),
    _known_seq(),
)

touch = Table(
    "touch",
    metadata,
    Column("touch_id", Text, primary_key=True),
    _text("lead_id"),
    _time("occurred_at"),
    _text("kind"),
    _text("channel"),
    _text("campaign"),
    _text("utm_source"),
    _text("utm_medium"),
    _text("utm_campaign"),
    _text("campaign_id"),
    _text("adgroup_id"),
    _text("ad_id"),
    _text("form_id"),
    _text("page"),
    _text("referrer_domain"),
    _text("source_id"),
    _text("provider"),
    _flag("test"),
    Column("within_visit", Boolean, nullable=False, server_default=text("false")),
    _known_seq(),
    Index("touch_lead", "lead_id"),
    Index("touch_known", "known_seq", postgresql_using="brin", postgresql_with={"pages_per_range": 16}),
)

# What intake says of a touch later: of several rows about one touch the highest sequence counts.
touch_group = Table(
    "touch_group",
    metadata,
    Column("touch_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    _text("lead_id"),
    _time("occurred_at"),
    _text("channel"),
    _text("campaign"),
    _number("rules_version"),
    _text("cause"),
    _known_seq(),
    Index("touch_group_lead", "lead_id"),
    Index("touch_group_known", "known_seq", postgresql_using="brin", postgresql_with={"pages_per_range": 16}),
)

# The versions of the channel rules: how many touches each regroups (null while intake is at it), and how many of them
# are known here.
channel_rules = Table(
    "channel_rules",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("changed_at", DateTime(timezone=True)),
    _number("regrouped"),
    Column("to_regroup", BigInteger),
)

decision = Table(
    "decision",
    metadata,
    Column("decision_id", Text, primary_key=True),
    _text("lead_id"),
    _number("cycle"),
    _time("evaluated_at"),
    _text("kind"),
    _text("outcome"),
    _number("score"),
    _text("agreement_digest"),
    _number("activation_seq"),
    _known_seq(),
    Index("decision_lead", "lead_id"),
)

qualified = Table(
    "qualified",
    metadata,
    Column("lead_id", Text, primary_key=True),
    Column("cycle", BigInteger, primary_key=True),
    _time("occurred_at"),
    _text("decision_id"),
    _number("score"),
    _text("agreement_digest"),
    _number("activation_seq"),
    _known_seq(),
)

handoff_version = Table(
    "handoff_version",
    metadata,
    Column("handoff_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    _text("lead_id"),
    _number("cycle"),
    _time("occurred_at"),
    _text("state"),
    _text("rep_id"),
    _text("reason"),
    _known_seq(),
    Index("handoff_version_lead", "lead_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", Text, primary_key=True),
    _text("lead_id"),
    _text("handoff_id"),
    _number("cycle"),
    _time("occurred_at"),
    _text("kind"),
    _text("rep_id"),
    _text("reason"),
    _text("reason_family"),
    _flag("first_response"),
    _known_seq(),
    Index("feedback_lead", "lead_id"),
)

deal_version = Table(
    "deal_version",
    metadata,
    Column("deal_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    _text("lead_id"),
    _time("occurred_at"),
    _text("handoff_id"),
    _text("outcome"),
    _number("amount_minor"),
    _text("currency"),
    Column("opened_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    _text("reason"),
    _text("rep_id"),
    _text("product"),
    _text("crm"),
    _text("agreement_digest"),
    Column("account_id", Text, nullable=False, server_default=text("''")),
    _known_seq(),
    Index("deal_version_lead", "lead_id"),
    Index("deal_version_known", "known_seq", postgresql_using="brin", postgresql_with={"pages_per_range": 16}),
)

merge_version = Table(
    "merge_version",
    metadata,
    Column("merge_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    _text("lead_id"),
    _text("into_lead_id"),
    _time("occurred_at"),
    _flag("active"),
    _known_seq(),
    Index("merge_version_lead", "lead_id"),
    Index("merge_version_into", "into_lead_id"),
    Index("merge_version_known", "known_seq"),
)

# The accounts of leads that changed after their creation, and which accounts are one company: for buying groups.
lead_account = Table(
    "lead_account",
    metadata,
    Column("lead_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    _text("account_id"),
    _time("occurred_at"),
    _known_seq(),
)

account_merge = Table(
    "account_merge",
    metadata,
    Column("merge_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    _text("account_id"),
    _text("into_account_id"),
    _time("occurred_at"),
    _flag("active"),
    _known_seq(),
)

# One computed projection with its parameters; a rebuild makes a new one beside the current and swaps them.
generation = Table(
    "generation",
    metadata,
    Column("generation_id", Integer, Identity(always=True), primary_key=True),
    _text("state"),
    Column("lookback_days", Integer),
    Column("half_life_hours", Integer, nullable=False),
    Column("models", ARRAY(Text), nullable=False),
    _time("created_at"),
    CheckConstraint("state IN ('building', 'current', 'retired')", name="generation_state"),
    Index("generation_current", "state", unique=True, postgresql_where=text("state = 'current'")),
)

# `credits` stand in the order of the generation's models: minor units, null where a model gives no weight.
deal_credit = Table(
    "deal_credit",
    metadata,
    Column("generation_id", ForeignKey("generation.generation_id"), primary_key=True),
    Column("deal_id", Text, primary_key=True),
    Column("place", SmallInteger, primary_key=True),
    _text("lead_id"),
    Column("touch_id", Text),
    _text("channel"),
    _text("campaign"),
    _text("currency"),
    Column("closed_on", Date, nullable=False),
    Column("credits", ARRAY(BigInteger), nullable=False),
)

credit_total = Table(
    "credit_total",
    metadata,
    Column("generation_id", ForeignKey("generation.generation_id"), primary_key=True),
    Column("model", Text, primary_key=True),
    Column("dimension", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("closed_on", Date, primary_key=True),
    _number("credit_minor"),
    _number("deals"),
)

TABLE_OF: Final[dict[type[Fact], Table]] = {
    LeadFact: lead,
    TouchFact: touch,
    GroupFact: touch_group,
    DecisionFact: decision,
    QualifiedFact: qualified,
    HandoffFact: handoff_version,
    FeedbackFact: feedback,
    DealFact: deal_version,
    MergeFact: merge_version,
    AccountFact: lead_account,
    AccountMergeFact: account_merge,
}
"""Each kind of fact and its table: the same names in the same order, and `known_seq` behind them."""
