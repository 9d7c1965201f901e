"""Which company leads belong to."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    create_edges_v1(op, table="account_edge")
    op.execute("ALTER TABLE lead ADD COLUMN account_id text DEFAULT '' NOT NULL")
    op.execute("ALTER TABLE lead ADD COLUMN account_sequence bigint DEFAULT 0 NOT NULL")
