"""Merges of leads, every version of them, with the position at which it became known."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = [
    """
    CREATE TABLE merge_version (
        merge_id text NOT NULL,
        version bigint NOT NULL,
        lead_id text NOT NULL,
        into_lead_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        active boolean NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (merge_id, version)
    )
    """,
    "CREATE INDEX merge_version_lead ON merge_version (lead_id)",
    "CREATE INDEX merge_version_into ON merge_version (into_lead_id)",
    "CREATE INDEX merge_version_known ON merge_version (known_seq)",
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
