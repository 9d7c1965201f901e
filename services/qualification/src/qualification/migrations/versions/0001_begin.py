"""The kit's tables, agreements with their signatures, leads with their touches and decisions."""

from alembic import op

from baton_kit.migration import create_kit_schema_v1

revision = "0001"
down_revision = None

STATEMENTS = [
    """
    CREATE TABLE person (
        id text PRIMARY KEY,
        name text NOT NULL,
        department text NOT NULL,
        public_key jsonb NOT NULL,
        sealed_key bytea NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE agreement (
        digest text PRIMARY KEY,
        agreement_id text NOT NULL,
        version bigint NOT NULL,
        document bytea NOT NULL,
        state text NOT NULL,
        round bigint NOT NULL,
        proposed_at timestamptz NOT NULL,
        proposed_by text NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX agreement_version ON agreement (version)",
    """
    CREATE TABLE signature (
        digest text NOT NULL,
        round bigint NOT NULL,
        department text NOT NULL,
        person_id text NOT NULL,
        signed_at timestamptz NOT NULL,
        jws text NOT NULL,
        CONSTRAINT signature_pkey PRIMARY KEY (digest, round, department)
    )
    """,
    """
    CREATE TABLE activation (
        activation_seq bigint PRIMARY KEY,
        digest text NOT NULL,
        round bigint NOT NULL,
        activated_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE history (
        seq bigint PRIMARY KEY,
        entry bytea NOT NULL,
        prev_hash text NOT NULL,
        hash text NOT NULL
    )
    """,
    """
    CREATE FUNCTION history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the history is append-only';
    END
    $$
    """,
    """
    CREATE TRIGGER history_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION history_is_append_only()
    """,
    """
    CREATE TABLE lead (
        id text PRIMARY KEY,
        sequence bigint NOT NULL,
        created_at timestamptz,
        test boolean NOT NULL,
        features jsonb NOT NULL,
        features_sequence bigint NOT NULL,
        cycle bigint NOT NULL,
        cycle_state text NOT NULL,
        ended_at timestamptz,
        return_at timestamptz,
        activation_seq bigint,
        outcome text,
        score bigint,
        stopped_by text,
        decision_id text,
        next_change_at timestamptz
    )
    """,
    "CREATE INDEX lead_due ON lead (next_change_at) WHERE next_change_at IS NOT NULL",
    """
    CREATE INDEX lead_waiting ON lead (id)
    WHERE activation_seq IS NULL AND created_at IS NOT NULL AND NOT test AND cycle_state = 'open'
    """,
    """
    CREATE TABLE touch (
        lead_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        id text NOT NULL,
        fields jsonb NOT NULL,
        CONSTRAINT touch_pkey PRIMARY KEY (lead_id, occurred_at, id)
    )
    """,
    """
    CREATE TABLE decision (
        id text PRIMARY KEY,
        lead_id text NOT NULL,
        sequence bigint NOT NULL,
        cycle bigint NOT NULL,
        kind text NOT NULL,
        at timestamptz NOT NULL,
        activation_seq bigint NOT NULL,
        digest text NOT NULL,
        outcome text NOT NULL,
        score bigint NOT NULL,
        threshold bigint NOT NULL,
        stopped_by text NOT NULL,
        rules text[] NOT NULL,
        evaluator_version bigint NOT NULL,
        snapshot_digest text NOT NULL,
        snapshot bytea NOT NULL,
        canonical bytea NOT NULL
    )
    """,
    "CREATE INDEX decision_of_lead ON decision (lead_id, sequence)",
    """
    CREATE TABLE qualified (
        lead_id text NOT NULL,
        cycle bigint NOT NULL,
        decision_id text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT qualified_pkey PRIMARY KEY (lead_id, cycle)
    )
    """,
    """
    CREATE TABLE feedback (
        id text PRIMARY KEY,
        lead_id text NOT NULL,
        cycle bigint NOT NULL,
        sequence bigint NOT NULL,
        kind text NOT NULL,
        reason text NOT NULL,
        reason_family text NOT NULL,
        occurred_at timestamptz NOT NULL,
        return_at timestamptz,
        activation_seq bigint NOT NULL
    )
    """,
    "CREATE INDEX feedback_of_lead ON feedback (lead_id, cycle)",
]


def upgrade() -> None:
    create_kit_schema_v1(op)
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: decisions and signatures are not thrown away")
