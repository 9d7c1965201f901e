"""The tables of the service, the kit's included."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from baton_kit.forgotten import add_forgotten_table
from baton_kit.tables import add_edges_table, add_kit_tables

metadata = MetaData()
kit = add_kit_tables(metadata)
erased_lead = add_forgotten_table(metadata)

TIME = DateTime(timezone=True)

person = Table(
    "person",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("department", Text, nullable=False),
    Column("public_key", JSONB, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("created_at", TIME, nullable=False),
)

agreement = Table(
    "agreement",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("agreement_id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("proposed_at", TIME, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Index("agreement_version", "version", unique=True),
)

signature = Table(
    "signature",
    metadata,
    Column("digest", Text, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("department", Text, nullable=False),
    Column("person_id", Text, nullable=False),
    Column("signed_at", TIME, nullable=False),
    Column("jws", Text, nullable=False),
    PrimaryKeyConstraint("digest", "round", "department", name="signature_pkey"),
)

activation = Table(
    "activation",
    metadata,
    Column("activation_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("activated_at", TIME, nullable=False),
)

history = Table(
    "history",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

lead = Table(
    "lead",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("created_at", TIME),
    Column("test", Boolean, nullable=False),
    Column("features", JSONB, nullable=False),
    Column("features_sequence", BigInteger, nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("cycle_state", Text, nullable=False),
    Column("ended_at", TIME),
    Column("return_at", TIME),
    Column("activation_seq", BigInteger),
    Column("outcome", Text),
    Column("score", BigInteger),
    Column("stopped_by", Text),
    Column("decision_id", Text),
    Column("next_change_at", TIME),
    Column("account_id", Text, nullable=False, server_default=text("''")),
    Column("account_sequence", BigInteger, nullable=False, server_default=text("0")),
    Index("lead_due", "next_change_at", postgresql_where=text("next_change_at IS NOT NULL")),
    Index(
        "lead_waiting",
        "id",
        postgresql_where=text(
            "activation_seq IS NULL AND created_at IS NOT NULL AND NOT test AND cycle_state = 'open'"
        ),
    ),
)

touch = Table(
    "touch",
    metadata,
    Column("lead_id", Text, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    Column("id", Text, nullable=False),
    Column("fields", JSONB, nullable=False),
    PrimaryKeyConstraint("lead_id", "occurred_at", "id", name="touch_pkey"),
)

decision = Table(
    "decision",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", TIME, nullable=False),
    Column("activation_seq", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("threshold", BigInteger, nullable=False),
    Column("stopped_by", Text, nullable=False),
    Column("rules", ARRAY(Text), nullable=False),
    Column("evaluator_version", BigInteger, nullable=False),
    Column("snapshot_digest", Text, nullable=False),
    Column("snapshot", LargeBinary, nullable=False),
    Column("canonical", LargeBinary, nullable=False),
    Index("decision_of_lead", "lead_id", "sequence"),
)

qualified = Table(
    "qualified",
    metadata,
    Column("lead_id", Text, nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("at", TIME, nullable=False),
    PrimaryKeyConstraint("lead_id", "cycle", name="qualified_pkey"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reason_family", Text, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    Column("return_at", TIME),
    Column("activation_seq", BigInteger, nullable=False),
    Column("rep_id", Text, nullable=False, server_default=text("''")),
    Index("feedback_of_lead", "lead_id", "cycle"),
)

deal = Table(
    "deal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("closed_at", TIME, nullable=False),
    Index("deal_of_lead", "lead_id"),
)

merge_edge = add_edges_table(metadata)
account_edge = add_edges_table(metadata, "account_edge")

# Whether the handoff of a lead's cycle rests, because sales works the person under another of its leads.
resting_handoff = Table(
    "resting_handoff",
    metadata,
    Column("lead_id", Text, nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("superseded", Boolean, nullable=False),
    PrimaryKeyConstraint("lead_id", "cycle", name="resting_handoff_pkey"),
)
