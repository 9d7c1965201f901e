"""The tables of sales-feedback; the kit's own stand beside them in the same database."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from baton_kit.forgotten import add_forgotten_table
from baton_kit.tables import add_edges_table, add_kit_tables

metadata = MetaData()
kit = add_kit_tables(metadata)
erased_lead = add_forgotten_table(metadata)
merge_edge = add_edges_table(metadata)
account_edge = add_edges_table(metadata, "account_edge")


def _time(name: str, *, nullable: bool = True) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


rep = Table(
    "rep",
    metadata,
    Column("id", Text, primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("external_ids", JSONB, nullable=False),
    Column("active", Boolean, nullable=False),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
)

# One row: who was served last. Whoever assigns holds its lock until the commit, so that turns are exact.
rotation = Table(
    "rotation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("last_position", BigInteger, nullable=False),
)

handoff = Table(
    "handoff",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("rep_id", Text, ForeignKey("rep.id")),
    Column("decision_id", Text, nullable=False),
    Column("agreement_id", Text, nullable=False),
    Column("agreement_version", BigInteger, nullable=False),
    Column("agreement_digest", Text, nullable=False),
    Column("activation_seq", BigInteger, nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("threshold", BigInteger, nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("attempts_agreed", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    _time("offered_at", nullable=False),
    _time("accept_due_at"),
    _time("first_response_due_at"),
    _time("accepted_at"),
    _time("first_response_at"),
    _time("ended_at"),
    Column("reason", Text),
    Column("reason_family", Text),
    _time("return_at"),
    # While it rests: the handoff that stays in its place, and the state it comes back to.
    Column("superseded_by", Text),
    Column("superseded_from", Text),
    UniqueConstraint("lead_id", "cycle", name="handoff_lead_cycle"),
    Index("handoff_state", "state", "id"),
    Index("handoff_rep", "rep_id", "id"),
    Index("handoff_waiting", "offered_at", "id", postgresql_where=text("rep_id IS NULL AND state = 'offered'")),
)

handoff_change = Table(
    "handoff_change",
    metadata,
    Column("handoff_id", Text, ForeignKey("handoff.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("state", Text, nullable=False),
    Column("previous_state", Text),
    Column("rep_id", Text),
    Column("reason", Text),
    _time("occurred_at", nullable=False),
    _time("recorded_at", nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("handoff_id", Text, ForeignKey("handoff.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("rep_id", Text),
    Column("reason", Text),
    Column("reason_family", Text),
    Column("first_response", Boolean, nullable=False),
    Column("means", Text),
    Column("reached", Boolean, nullable=False),
    _time("return_at"),
    Column("note_id", Text),
    _time("occurred_at", nullable=False),
    _time("recorded_at", nullable=False),
    UniqueConstraint("handoff_id", "sequence", name="feedback_handoff_sequence"),
    Index("feedback_reason", "kind", "reason_family", "reason"),
)

# Answers of the time before Baton, from an export: there is no handoff they could belong to.
imported_feedback = Table(
    "imported_feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("reason_family", Text),
    Column("reached", Boolean, nullable=False),
    _time("occurred_at", nullable=False),
    _time("recorded_at", nullable=False),
)

# Free text of sales. It never leaves this table, and goes when the person is erased.
note = Table(
    "note",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False, index=True),
    Column("handoff_id", Text, ForeignKey("handoff.id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    _time("created_at", nullable=False),
)

# `body` is the ContactChanged as it came (protobuf); a tombstone empties it for good.
contact = Table(
    "contact",
    metadata,
    Column("lead_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("body", LargeBinary),
    _time("erased_at"),
    _time("updated_at", nullable=False),
)

deal = Table(
    "deal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False, index=True),
    Column("handoff_id", Text, ForeignKey("handoff.id"), index=True),
    Column("sequence", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("product", Text),
    Column("rep_id", Text),
    Column("reason", Text),
    Column("crm", Text, nullable=False),
    Column("crm_id", Text),
    Column("crm_deal_id", Text),
    Column("crm_company_id", Text),
    _time("opened_at", nullable=False),
    _time("closed_at"),
    UniqueConstraint("crm_id", "crm_deal_id", name="deal_in_crm"),
)

deal_change = Table(
    "deal_change",
    metadata,
    Column("deal_id", Text, ForeignKey("deal.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("stage", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("reason", Text),
    _time("closed_at"),
    _time("occurred_at", nullable=False),
    _time("recorded_at", nullable=False),
)

# `secrets` is a sealed JSON list: any of them verifies, so that one can be rotated out.
crm = Table(
    "crm",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("mapping", JSONB, nullable=False),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
)

# `state` of a receipt and of its entries: applied, pending, duplicate, ignored, quarantined, refused.
crm_receipt = Table(
    "crm_receipt",
    metadata,
    Column("id", Text, primary_key=True),
    Column("crm_id", Text, ForeignKey("crm.id")),
    _time("received_at", nullable=False),
    Column("body", LargeBinary),
    Column("bytes", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Index("crm_receipt_state", "state", "id"),
    Index("crm_receipt_body", "received_at", postgresql_where=text("body IS NOT NULL")),
)

crm_entry = Table(
    "crm_entry",
    metadata,
    Column("receipt_id", Text, ForeignKey("crm_receipt.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("crm_id", Text, ForeignKey("crm.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("crm_deal_id", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    # A repeat is written down too, but only the first of a key counts.
    Index("crm_entry_key", "crm_id", "key", unique=True, postgresql_where=text("state <> 'duplicate'")),
    Index("crm_entry_deal", "crm_id", "crm_deal_id"),
)

# What the CRM said of a deal so far (`seen`: field to [time, tie, value]) and how far that went.
crm_deal = Table(
    "crm_deal",
    metadata,
    Column("crm_id", Text, ForeignKey("crm.id"), primary_key=True),
    Column("crm_deal_id", Text, primary_key=True),
    Column("seen", JSONB, nullable=False),
    Column("lead_id", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    _time("updated_at", nullable=False),
    Index("crm_deal_waiting", "lead_id", postgresql_where=text("state = 'pending'")),
)

# The account that a lead came to, as of the lead's version `sequence`.
lead_account = Table(
    "lead_account",
    metadata,
    Column("lead_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("account_id", Text, nullable=False),
)

# What a CRM's id of a company means.
company_account = Table(
    "company_account",
    metadata,
    Column("crm", Text, primary_key=True),
    Column("crm_company_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("account_id", Text, nullable=False),
)
