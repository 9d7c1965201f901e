"""The kit's tables and the toy's own."""

from alembic import op

from baton_kit.migration import create_kit_schema_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_kit_schema_v1(op)
    op.execute("CREATE TABLE note (key text NOT NULL, n integer NOT NULL, told text NOT NULL, PRIMARY KEY (key, told))")
