"""The erasure log."""

from alembic import op

from baton_kit.forgotten import create_forgotten_v1

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    create_forgotten_v1(op)
