"""Rows of exports that wait for their lead, and whom an export under way does not bring back."""

from alembic import op

revision = "0013"
down_revision = "0012"

_STATEMENTS = [
    """
    CREATE TABLE import_waiting (
        receipt_id UUID NOT NULL,
        ordinal SMALLINT NOT NULL,
        source_id TEXT NOT NULL,
        import_id UUID NOT NULL,
        record BIGINT NOT NULL,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        fact BYTEA NOT NULL,
        digests BYTEA[] NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        lead_id UUID,
        CONSTRAINT import_waiting_pkey PRIMARY KEY (receipt_id, ordinal)
    )
    """,
    "CREATE INDEX import_waiting_digests ON import_waiting USING gin (digests) WHERE lead_id IS NULL",
    "CREATE INDEX import_waiting_found ON import_waiting (receipt_id, ordinal) WHERE lead_id IS NOT NULL",
    "CREATE INDEX import_waiting_age ON import_waiting (received_at)",
    """
    CREATE TABLE import_forgotten (
        digest BYTEA NOT NULL,
        noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (digest)
    )
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
