"""The kit's tables and those of sources, receipts, identities, leads, contacts and touches."""

from alembic import op

from baton_kit.migration import create_kit_schema_v1

revision = "0001"
down_revision = None

_STATEMENTS = [
    """
    CREATE TABLE source (
        id TEXT NOT NULL,
        provider TEXT NOT NULL,
        name TEXT DEFAULT '' NOT NULL,
        default_region TEXT DEFAULT '' NOT NULL,
        mapping JSONB NOT NULL,
        settings JSONB NOT NULL,
        token_digest BYTEA,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE source_secret (
        id UUID NOT NULL,
        source_id TEXT NOT NULL,
        sealed BYTEA NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(source_id) REFERENCES source (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX source_secret_source ON source_secret (source_id)
    """,
    """
    CREATE TABLE source_version (
        the_only SMALLINT NOT NULL,
        version BIGINT NOT NULL,
        PRIMARY KEY (the_only),
        CONSTRAINT source_version_one_row CHECK (the_only = 1)
    )
    """,
    """
    CREATE TABLE receipt (
        id UUID NOT NULL,
        source_id TEXT NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        state TEXT NOT NULL,
        reason TEXT DEFAULT '' NOT NULL,
        entries SMALLINT NOT NULL,
        content_type TEXT DEFAULT '' NOT NULL,
        body BYTEA,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX receipt_source ON receipt (source_id, id)
    """,
    """
    CREATE INDEX receipt_waiting ON receipt (state, id)
    WHERE state <> 'settled'
    """,
    """
    CREATE TABLE receipt_entry (
        receipt_id UUID NOT NULL,
        ordinal SMALLINT NOT NULL,
        source_id TEXT NOT NULL,
        key TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT DEFAULT '' NOT NULL,
        lead_id UUID,
        first_receipt_id UUID,
        CONSTRAINT receipt_entry_pkey PRIMARY KEY (receipt_id, ordinal)
    )
    """,
    """
    CREATE UNIQUE INDEX receipt_entry_once ON receipt_entry (source_id, key)
    WHERE outcome IN ('created', 'matched', 'touch_only', 'pending')
    """,
    """
    CREATE TABLE identity_key (
        key TEXT NOT NULL,
        person_id UUID NOT NULL,
        PRIMARY KEY (key)
    )
    """,
    """
    CREATE INDEX identity_key_person ON identity_key (person_id)
    """,
    """
    CREATE TABLE lead (
        id UUID NOT NULL,
        person_id UUID NOT NULL,
        source_id TEXT NOT NULL,
        receipt_id UUID NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        sequence BIGINT NOT NULL,
        told_at TIMESTAMP WITH TIME ZONE NOT NULL,
        features BYTEA NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE UNIQUE INDEX lead_person ON lead (person_id)
    """,
    """
    CREATE TABLE contact (
        lead_id UUID NOT NULL,
        sequence BIGINT NOT NULL,
        data BYTEA NOT NULL,
        PRIMARY KEY (lead_id)
    )
    """,
    """
    CREATE TABLE touch (
        id UUID NOT NULL,
        lead_id UUID NOT NULL,
        receipt_id UUID NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        sequence BIGINT NOT NULL,
        source_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        channel TEXT NOT NULL,
        utm_source TEXT DEFAULT '' NOT NULL,
        utm_medium TEXT DEFAULT '' NOT NULL,
        utm_campaign TEXT DEFAULT '' NOT NULL,
        campaign_id TEXT DEFAULT '' NOT NULL,
        form_id TEXT DEFAULT '' NOT NULL,
        page TEXT DEFAULT '' NOT NULL,
        referrer_domain TEXT DEFAULT '' NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX touch_lead ON touch (lead_id, sequence)
    """,
    """
    CREATE TABLE proposed_merge (
        person_low UUID NOT NULL,
        person_high UUID NOT NULL,
        receipt_id UUID NOT NULL,
        proposed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT proposed_merge_pkey PRIMARY KEY (person_low, person_high)
    )
    """,
    "INSERT INTO source_version (the_only, version) VALUES (1, 1)",
]


def upgrade() -> None:
    create_kit_schema_v1(op)
    for statement in _STATEMENTS:
        op.execute(statement)
