"""The erasure log, the words by which leads are found, and indexes for what an erasure looks for."""

from alembic import op

from baton_kit.forgotten import create_forgotten_v1

revision = "0006"
down_revision = "0005"

_STATEMENTS = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    """
    CREATE TABLE lead_search (
        lead_id UUID NOT NULL,
        sequence BIGINT NOT NULL,
        words TEXT NOT NULL,
        PRIMARY KEY (lead_id)
    )
    """,
    "CREATE INDEX lead_search_words ON lead_search USING gin (words gin_trgm_ops)",
    # Both hold few of the table's rows: a repeat, and what became no lead. Deliveries wait while they are made.
    "CREATE INDEX receipt_entry_repeats ON receipt_entry (lead_id) WHERE outcome = 'duplicate'",
    "CREATE INDEX receipt_entry_leadless ON receipt_entry (receipt_id) WHERE lead_id IS NULL AND outcome <> 'refused'",
]


def upgrade() -> None:
    create_forgotten_v1(op)
    for statement in _STATEMENTS:
        op.execute(statement)
