"""Which company leads and deals belong to."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0008"
down_revision = "0007"

_STATEMENTS = [
    "ALTER TABLE deal ADD COLUMN crm_company_id TEXT",
    """
    CREATE TABLE lead_account (
        lead_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        account_id TEXT NOT NULL,
        PRIMARY KEY (lead_id)
    )
    """,
    """
    CREATE TABLE company_account (
        crm TEXT NOT NULL,
        crm_company_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        account_id TEXT NOT NULL,
        PRIMARY KEY (crm, crm_company_id)
    )
    """,
]


def upgrade() -> None:
    create_edges_v1(op, table="account_edge")
    for statement in _STATEMENTS:
        op.execute(statement)
