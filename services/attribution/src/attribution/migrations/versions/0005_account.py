"""Which company leads and deals belong to, and which accounts are one company."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = [
    "ALTER TABLE lead ADD COLUMN account_id text DEFAULT '' NOT NULL",
    "ALTER TABLE deal_version ADD COLUMN account_id text DEFAULT '' NOT NULL",
    """
    CREATE TABLE lead_account (
        lead_id text NOT NULL,
        sequence bigint NOT NULL,
        account_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (lead_id, sequence)
    )
    """,
    """
    CREATE TABLE account_merge (
        merge_id text NOT NULL,
        version bigint NOT NULL,
        account_id text NOT NULL,
        into_account_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        active boolean NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (merge_id, version)
    )
    """,
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
