"""Edges between leads that are one person, and handoffs that rest while they are."""

from alembic import op

from baton_kit.edges import create_edges_v1

revision = "0002"
down_revision = "0001"

_STATEMENTS = [
    "ALTER TABLE handoff ADD COLUMN superseded_by TEXT",
    "ALTER TABLE handoff ADD COLUMN superseded_from TEXT",
]


def upgrade() -> None:
    create_edges_v1(op)
    for statement in _STATEMENTS:
        op.execute(statement)
