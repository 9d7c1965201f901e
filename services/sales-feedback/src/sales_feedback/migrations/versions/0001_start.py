"""The kit's tables and those of handoffs, deals and CRMs."""

from alembic import op

from baton_kit.migration import create_kit_schema_v1

revision = "0001"
down_revision = None

_TABLES = [
    """
    CREATE TABLE contact (
        lead_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        body BYTEA,
        erased_at TIMESTAMP WITH TIME ZONE,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (lead_id)
    )
    """,
    """
    CREATE TABLE crm (
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        secrets BYTEA NOT NULL,
        mapping JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE rep (
        id TEXT NOT NULL,
        position BIGINT GENERATED ALWAYS AS IDENTITY,
        name TEXT NOT NULL,
        external_ids JSONB NOT NULL,
        active BOOLEAN NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (position)
    )
    """,
    """
    CREATE TABLE rotation (
        id SMALLINT NOT NULL,
        last_position BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE crm_deal (
        crm_id TEXT NOT NULL,
        crm_deal_id TEXT NOT NULL,
        seen JSONB NOT NULL,
        lead_id TEXT,
        state TEXT NOT NULL,
        reason TEXT,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (crm_id, crm_deal_id),
        FOREIGN KEY(crm_id) REFERENCES crm (id)
    )
    """,
    "CREATE INDEX crm_deal_waiting ON crm_deal (lead_id) WHERE state = 'pending'",
    """
    CREATE TABLE crm_receipt (
        id TEXT NOT NULL,
        crm_id TEXT,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        body BYTEA,
        bytes INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        PRIMARY KEY (id),
        FOREIGN KEY(crm_id) REFERENCES crm (id)
    )
    """,
    "CREATE INDEX crm_receipt_body ON crm_receipt (received_at) WHERE body IS NOT NULL",
    "CREATE INDEX crm_receipt_state ON crm_receipt (state, id)",
    """
    CREATE TABLE handoff (
        id TEXT NOT NULL,
        lead_id TEXT NOT NULL,
        cycle BIGINT NOT NULL,
        state TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        rep_id TEXT,
        decision_id TEXT NOT NULL,
        agreement_id TEXT NOT NULL,
        agreement_version BIGINT NOT NULL,
        agreement_digest TEXT NOT NULL,
        activation_seq BIGINT NOT NULL,
        score BIGINT NOT NULL,
        threshold BIGINT NOT NULL,
        reasons JSONB NOT NULL,
        attempts_agreed BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        offered_at TIMESTAMP WITH TIME ZONE NOT NULL,
        accept_due_at TIMESTAMP WITH TIME ZONE,
        first_response_due_at TIMESTAMP WITH TIME ZONE,
        accepted_at TIMESTAMP WITH TIME ZONE,
        first_response_at TIMESTAMP WITH TIME ZONE,
        ended_at TIMESTAMP WITH TIME ZONE,
        reason TEXT,
        reason_family TEXT,
        return_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id),
        CONSTRAINT handoff_lead_cycle UNIQUE (lead_id, cycle),
        FOREIGN KEY(rep_id) REFERENCES rep (id)
    )
    """,
    "CREATE INDEX handoff_rep ON handoff (rep_id, id)",
    "CREATE INDEX handoff_state ON handoff (state, id)",
    "CREATE INDEX handoff_waiting ON handoff (offered_at, id) WHERE rep_id IS NULL AND state = 'offered'",
    """
    CREATE TABLE crm_entry (
        receipt_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        crm_id TEXT NOT NULL,
        key TEXT NOT NULL,
        crm_deal_id TEXT,
        state TEXT NOT NULL,
        reason TEXT,
        PRIMARY KEY (receipt_id, number),
        FOREIGN KEY(receipt_id) REFERENCES crm_receipt (id),
        FOREIGN KEY(crm_id) REFERENCES crm (id)
    )
    """,
    "CREATE INDEX crm_entry_deal ON crm_entry (crm_id, crm_deal_id)",
    "CREATE UNIQUE INDEX crm_entry_key ON crm_entry (crm_id, key) WHERE state <> 'duplicate'",
    """
    CREATE TABLE deal (
        id TEXT NOT NULL,
        lead_id TEXT NOT NULL,
        handoff_id TEXT,
        sequence BIGINT NOT NULL,
        state TEXT NOT NULL,
        stage TEXT,
        amount_minor BIGINT,
        currency TEXT,
        product TEXT,
        rep_id TEXT,
        reason TEXT,
        crm TEXT NOT NULL,
        crm_id TEXT,
        crm_deal_id TEXT,
        opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
        closed_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id),
        CONSTRAINT deal_in_crm UNIQUE (crm_id, crm_deal_id),
        FOREIGN KEY(handoff_id) REFERENCES handoff (id)
    )
    """,
    "CREATE INDEX ix_deal_handoff_id ON deal (handoff_id)",
    "CREATE INDEX ix_deal_lead_id ON deal (lead_id)",
    """
    CREATE TABLE feedback (
        id TEXT NOT NULL,
        handoff_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        kind TEXT NOT NULL,
        rep_id TEXT,
        reason TEXT,
        reason_family TEXT,
        first_response BOOLEAN NOT NULL,
        means TEXT,
        reached BOOLEAN NOT NULL,
        return_at TIMESTAMP WITH TIME ZONE,
        note_id TEXT,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT feedback_handoff_sequence UNIQUE (handoff_id, sequence),
        FOREIGN KEY(handoff_id) REFERENCES handoff (id)
    )
    """,
    "CREATE INDEX feedback_reason ON feedback (kind, reason_family, reason)",
    """
    CREATE TABLE handoff_change (
        handoff_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        state TEXT NOT NULL,
        previous_state TEXT,
        rep_id TEXT,
        reason TEXT,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (handoff_id, sequence),
        FOREIGN KEY(handoff_id) REFERENCES handoff (id)
    )
    """,
    """
    CREATE TABLE note (
        id TEXT NOT NULL,
        lead_id TEXT NOT NULL,
        handoff_id TEXT NOT NULL,
        text TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(handoff_id) REFERENCES handoff (id)
    )
    """,
    "CREATE INDEX ix_note_handoff_id ON note (handoff_id)",
    "CREATE INDEX ix_note_lead_id ON note (lead_id)",
    """
    CREATE TABLE deal_change (
        deal_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        lead_id TEXT NOT NULL,
        state TEXT NOT NULL,
        outcome TEXT,
        stage TEXT,
        amount_minor BIGINT,
        currency TEXT,
        reason TEXT,
        closed_at TIMESTAMP WITH TIME ZONE,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (deal_id, sequence),
        FOREIGN KEY(deal_id) REFERENCES deal (id)
    )
    """,
    # Whose turn it is: one row, for ever.
    "INSERT INTO rotation (id, last_position) VALUES (1, 0)",
]


def upgrade() -> None:
    create_kit_schema_v1(op)
    for statement in _TABLES:
        op.execute(statement)
