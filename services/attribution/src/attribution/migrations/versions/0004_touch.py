"""How touches are grouped after their own event, and the versions of the channel rules."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = [
    "ALTER TABLE touch ADD COLUMN within_visit boolean DEFAULT false NOT NULL",
    """
    CREATE TABLE touch_group (
        touch_id text NOT NULL,
        sequence bigint NOT NULL,
        lead_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        channel text NOT NULL,
        campaign text NOT NULL,
        rules_version bigint NOT NULL,
        cause text NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (touch_id, sequence)
    )
    """,
    "CREATE INDEX touch_group_lead ON touch_group (lead_id)",
    "CREATE INDEX touch_group_known ON touch_group USING brin (known_seq) WITH (pages_per_range = 16)",
    """
    CREATE TABLE channel_rules (
        version bigint PRIMARY KEY,
        changed_at timestamptz,
        regrouped bigint NOT NULL,
        to_regroup bigint
    )
    """,
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
