"""Visits say whom they may speak of, so that forgetting a person does not read all that nobody left."""

from alembic import op

revision = "0012"
down_revision = "0011"

_STATEMENTS = [
    # Visits that wait already mention nothing: their bodies go below, so that none of them speaks of anybody.
    "ALTER TABLE visit ADD COLUMN mentions BIGINT[] DEFAULT '{}' NOT NULL",
    "CREATE INDEX visit_mentions ON visit USING gin (mentions) WHERE mentions <> '{}'",
    """
    UPDATE receipt SET body = NULL
    WHERE body IS NOT NULL AND state = 'settled' AND id IN (SELECT receipt_id FROM visit)
    """,
    """
    CREATE INDEX receipt_entry_unread ON receipt_entry (receipt_id)
    WHERE lead_id IS NULL AND outcome IN ('quarantined', 'pending', 'test')
    """,
    """
    CREATE INDEX receipt_entry_of_nobody ON receipt_entry (first_receipt_id)
    WHERE lead_id IS NULL AND outcome = 'duplicate'
    """,
    # Nobody reads by it any more but the version before this one, when it forgets somebody: slower, and right.
    """
    -- squawk-ignore require-concurrent-index-deletion
    DROP INDEX receipt_entry_leadless
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
