"""Exports that are imported."""

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = [
    """
    CREATE TABLE import_file (
        id UUID NOT NULL,
        source_id TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        layout JSONB NOT NULL,
        layout_digest TEXT NOT NULL,
        digest TEXT NOT NULL,
        size BIGINT NOT NULL,
        trial TEXT,
        state TEXT NOT NULL,
        reason TEXT DEFAULT '' NOT NULL,
        received BIGINT NOT NULL,
        position BIGINT NOT NULL,
        records BIGINT NOT NULL,
        header JSONB,
        counts JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        finished_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX import_file_waiting ON import_file (source_id, id) WHERE state IN ('waiting', 'running')",
    "CREATE INDEX import_file_digest ON import_file (source_id, digest)",
    """
    CREATE TABLE import_part (
        import_id UUID NOT NULL,
        position BIGINT NOT NULL,
        data BYTEA NOT NULL,
        CONSTRAINT import_part_pkey PRIMARY KEY (import_id, position),
        FOREIGN KEY(import_id) REFERENCES import_file (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE import_error (
        import_id UUID NOT NULL,
        record BIGINT NOT NULL,
        column_name TEXT DEFAULT '' NOT NULL,
        code TEXT NOT NULL,
        CONSTRAINT import_error_pkey PRIMARY KEY (import_id, record),
        FOREIGN KEY(import_id) REFERENCES import_file (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE import_trial (
        trial TEXT NOT NULL,
        key BIGINT NOT NULL,
        noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT import_trial_pkey PRIMARY KEY (trial, key)
    )
    """,
    "CREATE INDEX import_trial_age ON import_trial (noted_at)",
    """
    CREATE TABLE import_campaign (
        source_id TEXT NOT NULL,
        id TEXT NOT NULL,
        utm_source TEXT DEFAULT '' NOT NULL,
        utm_medium TEXT DEFAULT '' NOT NULL,
        utm_campaign TEXT DEFAULT '' NOT NULL,
        CONSTRAINT import_campaign_pkey PRIMARY KEY (source_id, id)
    )
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
