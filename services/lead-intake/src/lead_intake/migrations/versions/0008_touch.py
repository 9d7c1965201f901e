"""What touches are grouped by, versions of the channel rules, and visitors who are not known yet."""

import json
from importlib.resources import files

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS = [
    # Touches that stand already keep their channel: not all that it was derived from was kept of them.
    """
    ALTER TABLE touch
        ADD COLUMN adgroup_id TEXT DEFAULT '' NOT NULL,
        ADD COLUMN ad_id TEXT DEFAULT '' NOT NULL,
        ADD COLUMN referrer_host TEXT DEFAULT '' NOT NULL,
        ADD COLUMN click_kinds TEXT DEFAULT '' NOT NULL,
        ADD COLUMN within_visit BOOLEAN DEFAULT FALSE NOT NULL,
        ADD COLUMN action TEXT DEFAULT '' NOT NULL,
        ADD COLUMN campaign TEXT DEFAULT '' NOT NULL,
        ADD COLUMN rules_version BIGINT
    """,
    # It holds no row yet. Deliveries wait while the table is read for it.
    "CREATE INDEX touch_rules ON touch (rules_version) WHERE rules_version IS NOT NULL",
    """
    CREATE TABLE channel_rules (
        version BIGINT NOT NULL,
        digest TEXT NOT NULL,
        document TEXT NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        changed_by TEXT NOT NULL,
        touches_read BIGINT NOT NULL,
        touches_regrouped BIGINT NOT NULL,
        restated_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (version)
    )
    """,
    """
    CREATE TABLE visitor (
        key TEXT NOT NULL,
        person_id UUID NOT NULL,
        seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (key)
    )
    """,
    "CREATE INDEX visitor_person ON visitor (person_id)",
    """
    CREATE TABLE visit (
        touch_id UUID NOT NULL,
        receipt_id UUID NOT NULL,
        ordinal SMALLINT NOT NULL,
        source_id TEXT NOT NULL,
        provider TEXT NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        anonymous_key TEXT NOT NULL,
        user_key TEXT NOT NULL,
        origin TEXT NOT NULL,
        PRIMARY KEY (touch_id)
    )
    """,
    "CREATE INDEX visit_anonymous ON visit (anonymous_key) WHERE anonymous_key <> ''",
    "CREATE INDEX visit_user ON visit (user_key) WHERE user_key <> ''",
    "CREATE INDEX visit_received ON visit (received_at)",
    """
    CREATE TABLE stitch (
        key TEXT NOT NULL,
        noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (key)
    )
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
    # The file of this version never changes: later defaults are files of their own.
    document = json.loads(files("lead_intake").joinpath("channel_rules_1.json").read_text("utf-8"))
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    op.execute(
        sa.text(
            "INSERT INTO channel_rules (version, digest, document, changed_at, changed_by, touches_read, "
            "touches_regrouped, restated_at) "
            "VALUES (1, encode(sha256(convert_to(:document, 'UTF8')), 'hex'), :document, now(), '', 0, 0, now())"
        ).bindparams(document=text)
    )
