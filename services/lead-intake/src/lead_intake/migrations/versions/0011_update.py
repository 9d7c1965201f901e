"""Entries that tell on a known person without a touch: an outcome of their own."""

from alembic import op

revision = "0011"
down_revision = "0008"

_STATEMENTS = [
    "ALTER TABLE ledger_hour ADD COLUMN updated BIGINT DEFAULT 0 NOT NULL",
    # Each holds what its forerunner held and the new outcomes, so that the version before this one reads by it as well
    # and its forerunner can go at once. A drop waits for no reader longer than the runner's lock_timeout.
    """
    CREATE UNIQUE INDEX receipt_entry_taken ON receipt_entry (source_id, key)
    WHERE outcome IN ('created', 'matched', 'touch_only', 'updated', 'pending') OR reason = 'forgotten'
    """,
    """
    CREATE INDEX receipt_entry_touchless ON receipt_entry (lead_id) WHERE outcome IN ('duplicate', 'updated')
    """,
    """
    CREATE INDEX receipt_entry_rare ON receipt_entry (outcome, receipt_id)
    WHERE outcome IN ('updated', 'duplicate', 'refused', 'quarantined', 'pending', 'test')
    """,
    """
    -- squawk-ignore require-concurrent-index-deletion
    DROP INDEX receipt_entry_once
    """,
    """
    -- squawk-ignore require-concurrent-index-deletion
    DROP INDEX receipt_entry_repeats
    """,
    """
    -- squawk-ignore require-concurrent-index-deletion
    DROP INDEX receipt_entry_apart
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
