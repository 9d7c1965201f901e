"""Facts, the counter of positions, and the projection of credits."""

from alembic import op

from baton_kit.migration import create_kit_schema_v1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE known_position (
        one boolean PRIMARY KEY DEFAULT true CONSTRAINT known_position_one CHECK (one),
        value bigint NOT NULL,
        moved_at timestamptz NOT NULL
    )
    """,
    "INSERT INTO known_position (value, moved_at) VALUES (0, now())",
    """
    CREATE TABLE lead (
        lead_id text NOT NULL,
        sequence bigint NOT NULL,
        occurred_at timestamptz NOT NULL,
        source_id text NOT NULL,
        provider text NOT NULL,
        form_id text NOT NULL,
        channel text NOT NULL,
        country text NOT NULL,
        product text NOT NULL,
        industry text NOT NULL,
        employees bigint NOT NULL,
        test boolean NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (lead_id, sequence)
    )
    """,
    """
    CREATE TABLE touch (
        touch_id text PRIMARY KEY,
        lead_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        kind text NOT NULL,
        channel text NOT NULL,
        campaign text NOT NULL,
        utm_source text NOT NULL,
        utm_medium text NOT NULL,
        utm_campaign text NOT NULL,
        campaign_id text NOT NULL,
        adgroup_id text NOT NULL,
        ad_id text NOT NULL,
        form_id text NOT NULL,
        page text NOT NULL,
        referrer_domain text NOT NULL,
        source_id text NOT NULL,
        provider text NOT NULL,
        test boolean NOT NULL,
        known_seq bigint NOT NULL
    )
    """,
    "CREATE INDEX touch_lead ON touch (lead_id)",
    # Positions only grow and rows are only added: a few pages of BRIN find what is new.
    "CREATE INDEX touch_known ON touch USING brin (known_seq) WITH (pages_per_range = 16)",
    """
    CREATE TABLE decision (
        decision_id text PRIMARY KEY,
        lead_id text NOT NULL,
        cycle bigint NOT NULL,
        evaluated_at timestamptz NOT NULL,
        kind text NOT NULL,
        outcome text NOT NULL,
        score bigint NOT NULL,
        agreement_digest text NOT NULL,
        activation_seq bigint NOT NULL,
        known_seq bigint NOT NULL
    )
    """,
    "CREATE INDEX decision_lead ON decision (lead_id)",
    """
    CREATE TABLE qualified (
        lead_id text NOT NULL,
        cycle bigint NOT NULL,
        occurred_at timestamptz NOT NULL,
        decision_id text NOT NULL,
        score bigint NOT NULL,
        agreement_digest text NOT NULL,
        activation_seq bigint NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (lead_id, cycle)
    )
    """,
    """
    CREATE TABLE handoff_version (
        handoff_id text NOT NULL,
        sequence bigint NOT NULL,
        lead_id text NOT NULL,
        cycle bigint NOT NULL,
        occurred_at timestamptz NOT NULL,
        state text NOT NULL,
        rep_id text NOT NULL,
        reason text NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (handoff_id, sequence)
    )
    """,
    "CREATE INDEX handoff_version_lead ON handoff_version (lead_id)",
    """
    CREATE TABLE feedback (
        feedback_id text PRIMARY KEY,
        lead_id text NOT NULL,
        handoff_id text NOT NULL,
        cycle bigint NOT NULL,
        occurred_at timestamptz NOT NULL,
        kind text NOT NULL,
        rep_id text NOT NULL,
        reason text NOT NULL,
        reason_family text NOT NULL,
        first_response boolean NOT NULL,
        known_seq bigint NOT NULL
    )
    """,
    "CREATE INDEX feedback_lead ON feedback (lead_id)",
    """
    CREATE TABLE deal_version (
        deal_id text NOT NULL,
        sequence bigint NOT NULL,
        lead_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        handoff_id text NOT NULL,
        outcome text NOT NULL,
        amount_minor bigint NOT NULL,
        currency text NOT NULL,
        opened_at timestamptz,
        closed_at timestamptz,
        reason text NOT NULL,
        rep_id text NOT NULL,
        product text NOT NULL,
        crm text NOT NULL,
        agreement_digest text NOT NULL,
        known_seq bigint NOT NULL,
        PRIMARY KEY (deal_id, sequence)
    )
    """,
    "CREATE INDEX deal_version_lead ON deal_version (lead_id)",
    "CREATE INDEX deal_version_known ON deal_version USING brin (known_seq) WITH (pages_per_range = 16)",
    """
    CREATE TABLE generation (
        generation_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        state text NOT NULL
            CONSTRAINT generation_state CHECK (state IN ('building', 'current', 'retired')),
        lookback_days integer,
        half_life_hours integer NOT NULL,
        models text[] NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX generation_current ON generation (state) WHERE state = 'current'",
    """
    INSERT INTO generation (state, lookback_days, half_life_hours, models, created_at)
    VALUES ('current', 90, 168,
            ARRAY['first', 'last', 'last_non_direct', 'linear', 'position', 'time_decay'], now())
    """,
    """
    CREATE TABLE deal_credit (
        generation_id integer NOT NULL REFERENCES generation,
        deal_id text NOT NULL,
        place smallint NOT NULL,
        lead_id text NOT NULL,
        touch_id text,
        channel text NOT NULL,
        campaign text NOT NULL,
        currency text NOT NULL,
        closed_on date NOT NULL,
        credits bigint[] NOT NULL,
        PRIMARY KEY (generation_id, deal_id, place)
    )
    """,
    """
    CREATE TABLE credit_total (
        generation_id integer NOT NULL REFERENCES generation,
        model text NOT NULL,
        dimension text NOT NULL,
        key text NOT NULL,
        currency text NOT NULL,
        closed_on date NOT NULL,
        credit_minor bigint NOT NULL,
        deals bigint NOT NULL,
        PRIMARY KEY (generation_id, model, dimension, key, currency, closed_on)
    )
    """,
]


def upgrade() -> None:
    create_kit_schema_v1(op)
    for statement in STATEMENTS:
        op.execute(statement)
