"""The ledger's own tables: requests kept for repair, totals an hour, broken laws, replays, marks of steady work."""

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = [
    """
    CREATE TABLE receipt_request (
        receipt_id UUID NOT NULL,
        source_id TEXT NOT NULL,
        unproven BOOLEAN NOT NULL,
        size INTEGER NOT NULL,
        sealed BYTEA NOT NULL,
        PRIMARY KEY (receipt_id)
    )
    """,
    """
    CREATE INDEX receipt_request_unproven ON receipt_request (source_id, receipt_id) INCLUDE (size) WHERE unproven
    """,
    # The rare outcomes only: an entry that made a lead or a touch costs nothing more to write.
    """
    CREATE INDEX receipt_entry_apart ON receipt_entry (outcome, receipt_id)
    WHERE outcome IN ('duplicate', 'refused', 'quarantined', 'pending', 'test')
    """,
    """
    CREATE TABLE ledger_hour (
        source_id TEXT NOT NULL,
        hour TIMESTAMP WITH TIME ZONE NOT NULL,
        receipts BIGINT NOT NULL,
        entries BIGINT NOT NULL,
        created BIGINT NOT NULL,
        matched BIGINT NOT NULL,
        touch_only BIGINT NOT NULL,
        duplicate BIGINT NOT NULL,
        refused BIGINT NOT NULL,
        quarantined BIGINT NOT NULL,
        pending BIGINT NOT NULL,
        test BIGINT NOT NULL,
        CONSTRAINT ledger_hour_pkey PRIMARY KEY (source_id, hour)
    )
    """,
    """
    CREATE INDEX ledger_hour_hour ON ledger_hour (hour)
    """,
    """
    CREATE TABLE ledger_change (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        hour TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE ledger_break (
        source_id TEXT NOT NULL,
        hour TIMESTAMP WITH TIME ZONE NOT NULL,
        law TEXT NOT NULL,
        expected BIGINT NOT NULL,
        found BIGINT NOT NULL,
        found_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT ledger_break_pkey PRIMARY KEY (source_id, hour, law)
    )
    """,
    """
    CREATE TABLE ledger_mark (
        name TEXT NOT NULL,
        reached TIMESTAMP WITH TIME ZONE NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE replay (
        id UUID NOT NULL,
        state TEXT NOT NULL,
        wanted JSONB NOT NULL,
        release BOOLEAN NOT NULL,
        total INTEGER NOT NULL,
        done INTEGER NOT NULL,
        settled INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        last_receipt UUID,
        until_receipt UUID NOT NULL,
        requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
        moved_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX replay_open ON replay (id) WHERE state = 'running'
    """,
    # Whatever changes or removes entries says of which hour, also a person with psql: that hour is counted anew.
    # Only what is not an insert, so that intake pays nothing.
    """
    CREATE FUNCTION ledger_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format(
            'INSERT INTO ledger_change (hour) '
            'SELECT DISTINCT date_trunc(''hour'', uuid_extract_timestamp(%I), ''UTC'') FROM gone '
            'WHERE uuid_extract_timestamp(%I) IS NOT NULL', TG_ARGV[0], TG_ARGV[0]);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER receipt_entry_updated AFTER UPDATE ON receipt_entry REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_note_change('receipt_id')
    """,
    """
    CREATE TRIGGER receipt_entry_deleted AFTER DELETE ON receipt_entry REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_note_change('receipt_id')
    """,
    """
    CREATE TRIGGER receipt_deleted AFTER DELETE ON receipt REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_note_change('id')
    """,
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
