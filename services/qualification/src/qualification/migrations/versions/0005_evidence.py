"""Who answered, and how deals ended: the evidence for and against rules."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE feedback ADD COLUMN rep_id text DEFAULT '' NOT NULL")
    op.execute(
        """
        CREATE TABLE deal (
            id TEXT NOT NULL,
            lead_id TEXT NOT NULL,
            sequence BIGINT NOT NULL,
            outcome TEXT NOT NULL,
            closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT deal_pkey PRIMARY KEY (id)
        )
        """
    )
    op.execute("CREATE INDEX deal_of_lead ON deal (lead_id)")
