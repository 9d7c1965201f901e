"""Merges that can be undone, and proposals with their grounds."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0004"
down_revision = "0003"

_STATEMENTS = [
    """
    CREATE TABLE merge_decision (
        merge_id UUID NOT NULL,
        version BIGINT NOT NULL,
        decided_by TEXT NOT NULL,
        reason TEXT NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (merge_id, version)
    )
    """,
    "ALTER TABLE proposed_merge ADD COLUMN kind TEXT DEFAULT 'keys' NOT NULL",
    "ALTER TABLE proposed_merge ADD COLUMN score SMALLINT DEFAULT 100 NOT NULL",
    "ALTER TABLE proposed_merge ADD COLUMN state TEXT DEFAULT 'open' NOT NULL",
    # The table holds what people have to look at: it is small, and the index is made in an instant.
    "CREATE INDEX proposed_merge_open ON proposed_merge (proposed_at, person_low, person_high) WHERE state = 'open'",
    # A trusted extension: the owner of the database may make it.
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    """
    CREATE TABLE likeness (
        lead_id UUID NOT NULL,
        name TEXT NOT NULL,
        company TEXT NOT NULL,
        PRIMARY KEY (lead_id),
        FOREIGN KEY(lead_id) REFERENCES contact (lead_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX likeness_company ON likeness USING gin (company gin_trgm_ops)",
    "CREATE TABLE likeness_round (the_only SMALLINT NOT NULL, after_lead UUID, "
    "started_at TIMESTAMP WITH TIME ZONE, PRIMARY KEY (the_only))",
    """
    CREATE TABLE shared_key (
        key TEXT NOT NULL,
        shared BOOLEAN NOT NULL,
        added_by TEXT NOT NULL,
        added_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (key)
    )
    """,
    """
    CREATE TABLE key_name (
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT key_name_pkey PRIMARY KEY (key, name)
    )
    """,
    "INSERT INTO likeness_round (the_only) VALUES (1)",
]


def upgrade() -> None:
    create_edges_v1(op)
    for statement in _STATEMENTS:
        op.execute(statement)
