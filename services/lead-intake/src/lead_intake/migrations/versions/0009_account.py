"""The companies that leads belong to, and their merges."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0009"
down_revision = "0013"

_STATEMENTS = [
    # Leads that stand already get their account with the next inquiry that names a company.
    "ALTER TABLE lead ADD COLUMN account_id UUID",
    # It holds no row yet. Deliveries wait while the table is read for it.
    "CREATE INDEX lead_account ON lead (account_id, id) WHERE account_id IS NOT NULL",
    """
    CREATE TABLE account (
        id UUID NOT NULL,
        name TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        sequence BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "CREATE TABLE account_key (key TEXT NOT NULL, account_id UUID NOT NULL, PRIMARY KEY (key))",
    "CREATE INDEX account_key_account ON account_key (account_id)",
    "CREATE UNIQUE INDEX account_key_tax ON account_key (account_id, substr(key, 1, 6)) WHERE key LIKE 'tax:%'",
    """
    CREATE TABLE account_proposal (
        low UUID NOT NULL,
        high UUID NOT NULL,
        receipt_id UUID NOT NULL,
        proposed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        kind TEXT NOT NULL,
        state TEXT DEFAULT 'open' NOT NULL,
        CONSTRAINT account_proposal_pkey PRIMARY KEY (low, high)
    )
    """,
    "CREATE INDEX account_proposal_open ON account_proposal (kind, proposed_at) WHERE state = 'open'",
    """
    CREATE TABLE account_decision (
        merge_id UUID NOT NULL,
        version BIGINT NOT NULL,
        decided_by TEXT NOT NULL,
        reason TEXT NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT account_decision_pkey PRIMARY KEY (merge_id, version)
    )
    """,
]


def upgrade() -> None:
    create_edges_v1(op, table="account_edge")
    for statement in _STATEMENTS:
        op.execute(statement)
