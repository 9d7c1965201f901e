"""Lookups at providers: credentials, jobs and their limits, providers' lists, orders to forget."""

from alembic import op

revision = "0003"
down_revision = "0001"

_STATEMENTS = [
    """
    CREATE TABLE source_credential (
        source_id TEXT NOT NULL,
        name TEXT NOT NULL,
        sealed BYTEA NOT NULL,
        set_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT source_credential_pkey PRIMARY KEY (source_id, name),
        FOREIGN KEY(source_id) REFERENCES source (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE fetch_job (
        id UUID NOT NULL,
        source_id TEXT NOT NULL,
        provider TEXT NOT NULL,
        receipt_id UUID NOT NULL,
        ordinal SMALLINT NOT NULL,
        key TEXT NOT NULL,
        lookup_id TEXT NOT NULL,
        form_id TEXT DEFAULT '' NOT NULL,
        about JSONB NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        state TEXT NOT NULL,
        reason TEXT DEFAULT '' NOT NULL,
        attempt INTEGER NOT NULL,
        malformed INTEGER NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        lease_until TIMESTAMP WITH TIME ZONE,
        epoch BIGINT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        settled_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE UNIQUE INDEX fetch_job_entry ON fetch_job (receipt_id, ordinal)
    """,
    """
    CREATE INDEX fetch_job_due ON fetch_job (source_id, due_at)
    WHERE state = 'waiting'
    """,
    """
    CREATE INDEX fetch_job_expires ON fetch_job (expires_at)
    WHERE state = 'waiting'
    """,
    """
    CREATE INDEX fetch_job_key ON fetch_job (source_id, key)
    """,
    """
    CREATE TABLE fetch_state (
        source_id TEXT NOT NULL,
        served_at TIMESTAMP WITH TIME ZONE NOT NULL,
        allowance DOUBLE PRECISION NOT NULL,
        refilled_at TIMESTAMP WITH TIME ZONE NOT NULL,
        paused_until TIMESTAMP WITH TIME ZONE,
        pause_reason TEXT DEFAULT '' NOT NULL,
        throttled INTEGER NOT NULL,
        token_invalid_since TIMESTAMP WITH TIME ZONE,
        token_reason TEXT DEFAULT '' NOT NULL,
        last_ok_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (source_id)
    )
    """,
    """
    CREATE TABLE erase_request (
        source_id TEXT NOT NULL,
        key TEXT NOT NULL,
        receipt_id UUID NOT NULL,
        requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
        done_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT erase_request_pkey PRIMARY KEY (source_id, key)
    )
    """,
    """
    CREATE INDEX erase_request_open ON erase_request (requested_at)
    WHERE done_at IS NULL
    """,
    """
    CREATE TABLE provider_lead (
        source_id TEXT NOT NULL,
        key TEXT NOT NULL,
        form_id TEXT DEFAULT '' NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        listed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        receipt_id UUID,
        CONSTRAINT provider_lead_pkey PRIMARY KEY (source_id, key)
    )
    """,
    """
    CREATE INDEX provider_lead_day ON provider_lead (source_id, occurred_at)
    """,
    """
    CREATE TABLE reconcile_state (
        source_id TEXT NOT NULL,
        watermark TIMESTAMP WITH TIME ZONE NOT NULL,
        deep_at TIMESTAMP WITH TIME ZONE,
        due_at TIMESTAMP WITH TIME ZONE NOT NULL,
        lease_until TIMESTAMP WITH TIME ZONE,
        epoch BIGINT NOT NULL,
        ran_at TIMESTAMP WITH TIME ZONE,
        failed_since TIMESTAMP WITH TIME ZONE,
        reason TEXT DEFAULT '' NOT NULL,
        listed BIGINT NOT NULL,
        found BIGINT NOT NULL,
        PRIMARY KEY (source_id)
    )
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
