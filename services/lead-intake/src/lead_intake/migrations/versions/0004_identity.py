"""Merges that can be undone, and proposals with their grounds."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0004"
down_revision = "0001"

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
    "ALTER TABLE proposed_merge ALTER COLUMN receipt_id DROP NOT NULL",
    # The table holds what people have to look at: it is small, and the index is made in an instant.
    "CREATE INDEX proposed_merge_open ON proposed_merge (proposed_at, person_low, person_high) WHERE state = 'open'",
]


def upgrade() -> None:
    create_edges_v1(op)
    for statement in _STATEMENTS:
        op.execute(statement)
