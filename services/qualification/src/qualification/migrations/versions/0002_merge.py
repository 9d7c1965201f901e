"""Edges between leads that are one person, and handoffs that rest while they are."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    create_edges_v1(op)
    op.execute(
        """
        CREATE TABLE resting_handoff (
            lead_id TEXT NOT NULL,
            cycle BIGINT NOT NULL,
            sequence BIGINT NOT NULL,
            superseded BOOLEAN NOT NULL,
            CONSTRAINT resting_handoff_pkey PRIMARY KEY (lead_id, cycle)
        )
        """
    )
