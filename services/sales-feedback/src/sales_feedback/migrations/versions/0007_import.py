"""Answers of the time before Baton."""

from alembic import op

revision = "0007"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE imported_feedback (
            id TEXT NOT NULL,
            lead_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            reason TEXT,
            reason_family TEXT,
            reached BOOLEAN NOT NULL,
            occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
            recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
            PRIMARY KEY (id)
        )
        """
    )
    op.execute("CREATE INDEX ix_imported_feedback_lead_id ON imported_feedback (lead_id)")
