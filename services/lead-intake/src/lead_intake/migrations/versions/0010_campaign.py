"""Campaigns, the keys by which touches are theirs, and the worklist of touches that are nobody's."""

from alembic import op

revision = "0010"
down_revision = "0009"

_STATEMENTS = [
    # Touches that stand already get their key from the worker, which reads each once.
    "ALTER TABLE touch ADD COLUMN campaign_key TEXT DEFAULT '' NOT NULL",
    # Both hold no row yet, and each touch stands in at most one of them. Deliveries wait while the table is read.
    """
    CREATE INDEX touch_unmatched ON touch (campaign_key, occurred_at) INCLUDE (lead_id)
        WHERE campaign = '' AND campaign_key <> ''
    """,
    "CREATE INDEX touch_campaign ON touch (campaign, lead_id) WHERE campaign <> ''",
    """
    CREATE TABLE campaign (
        code TEXT NOT NULL,
        version BIGINT NOT NULL,
        name TEXT NOT NULL,
        owner_department TEXT NOT NULL,
        owner_person TEXT NOT NULL,
        product TEXT NOT NULL,
        segment TEXT NOT NULL,
        starts_on DATE,
        ends_on DATE,
        planned_spend_minor BIGINT,
        currency TEXT NOT NULL,
        planned_leads BIGINT,
        archived BOOLEAN NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (code)
    )
    """,
    """
    CREATE TABLE campaign_key (
        key TEXT NOT NULL,
        code TEXT NOT NULL,
        bare TEXT NOT NULL,
        CONSTRAINT campaign_key_pkey PRIMARY KEY (key, code),
        FOREIGN KEY(code) REFERENCES campaign (code)
    )
    """,
    "CREATE INDEX campaign_key_bare ON campaign_key (bare)",
    "CREATE INDEX campaign_key_code ON campaign_key (code)",
    """
    CREATE TABLE campaign_change (
        code TEXT NOT NULL,
        version BIGINT NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        changed_by TEXT NOT NULL,
        document TEXT NOT NULL,
        CONSTRAINT campaign_change_pkey PRIMARY KEY (code, version)
    )
    """,
    """
    CREATE TABLE campaign_ignored (
        key TEXT NOT NULL,
        ignored_by TEXT NOT NULL,
        ignored_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (key)
    )
    """,
    """
    CREATE TABLE campaign_book (
        the_only SMALLINT NOT NULL,
        version BIGINT NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        after_touch UUID,
        touches_read BIGINT NOT NULL,
        touches_regrouped BIGINT NOT NULL,
        restated_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (the_only),
        CONSTRAINT campaign_book_one_row CHECK (the_only = 1)
    )
    """,
    """
    INSERT INTO campaign_book (the_only, version, changed_at, touches_read, touches_regrouped, restated_at)
    SELECT 1, 1, now(), 0, 0, CASE WHEN EXISTS (SELECT FROM touch) THEN NULL ELSE now() END
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
