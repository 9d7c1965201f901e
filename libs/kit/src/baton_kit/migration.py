"""Migrations: the kit's tables as one step, and what every service's `migrations/env.py` and `migrate` role need."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.config import Config

# alembic is imported where it is used: of all roles only `migrate` needs it, and it takes a quarter of a start.

RING = 10
"""Slots of a lane's ring."""
LANES = {"live": 0, "bulk": RING}
"""Lane to its first slot."""
SHARDS = 64

_KIT_V1 = [
    """
    CREATE TABLE outbox (
        slot smallint NOT NULL,
        id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
        shard smallint NOT NULL,
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        appended_at timestamptz NOT NULL DEFAULT now(),
        event_id text NOT NULL,
        topic text NOT NULL,
        key text NOT NULL,
        headers bytea NOT NULL,
        value bytea
    ) PARTITION BY LIST (slot)
    """,
    "CREATE INDEX outbox_window ON outbox (xid, id)",
    *(f"CREATE TABLE outbox_s{slot:02d} PARTITION OF outbox FOR VALUES IN ({slot})" for slot in range(2 * RING)),
    """
    CREATE TABLE outbox_ring (
        lane text PRIMARY KEY,
        slot smallint NOT NULL,
        since timestamptz NOT NULL DEFAULT now()
    )
    """,
    "INSERT INTO outbox_ring (lane, slot) VALUES ('live', 0), ('bulk', 10)",
    """
    CREATE TABLE outbox_cursor (
        lane text NOT NULL,
        shard_from smallint NOT NULL,
        shard_to smallint NOT NULL,
        snap_from pg_snapshot NOT NULL,
        snap_to pg_snapshot,
        last_id bigint NOT NULL DEFAULT 0,
        replayed_to pg_snapshot,
        holder text,
        epoch bigint NOT NULL DEFAULT 0,
        lease_until timestamptz,
        system_identifier text,
        timeline text,
        PRIMARY KEY (lane, shard_from)
    )
    """,
    """
    INSERT INTO outbox_cursor (lane, shard_from, shard_to, snap_from)
    VALUES ('live', 0, 63, '1:1:'), ('bulk', 0, 63, '1:1:')
    """,
    """
    CREATE TABLE inbox (
        consumer text NOT NULL,
        event_id text NOT NULL,
        outcome text NOT NULL,
        claimed_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id)
    )
    """,
    """
    CREATE TABLE consumer_offset (
        consumer text NOT NULL,
        topic text NOT NULL,
        partition integer NOT NULL,
        next_offset bigint NOT NULL,
        moved_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT consumer_offset_pkey PRIMARY KEY (consumer, topic, partition)
    )
    """,
    """
    CREATE TABLE parked (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        consumer text NOT NULL,
        topic text NOT NULL,
        partition integer NOT NULL,
        "offset" bigint NOT NULL,
        key text NOT NULL,
        event_id text,
        type text,
        reason text NOT NULL,
        detail text NOT NULL DEFAULT '',
        raw_key bytea,
        headers bytea NOT NULL,
        value bytea,
        parked_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX parked_key_order ON parked (consumer, key, id)",
    'CREATE UNIQUE INDEX parked_position ON parked (consumer, topic, partition, "offset")',
    """
    CREATE TABLE parked_key (
        consumer text NOT NULL,
        key text NOT NULL,
        since timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT parked_key_pkey PRIMARY KEY (consumer, key)
    )
    """,
    """
    CREATE TABLE api_key (
        id text PRIMARY KEY,
        digest bytea NOT NULL UNIQUE,
        name text NOT NULL,
        scopes text[] NOT NULL,
        person_id text,
        department text,
        created_at timestamptz NOT NULL DEFAULT now(),
        revoked_at timestamptz
    )
    """,
    """
    CREATE TABLE idempotency_key (
        caller text NOT NULL,
        key text NOT NULL,
        digest bytea NOT NULL,
        status integer NOT NULL,
        body bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT idempotency_key_pkey PRIMARY KEY (caller, key)
    )
    """,
    "CREATE INDEX idempotency_key_age ON idempotency_key (created_at)",
]


def create_kit_schema_v1(op: Any) -> None:
    """Create the kit's tables; called in the first revision of every service."""
    for statement in _KIT_V1:
        op.execute(statement)


def run_env(metadata: sa.MetaData) -> None:
    """Be the whole of a service's `migrations/env.py`: one transaction, short lock waits, safe to run twice at once."""
    from alembic import context

    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    url = context.config.attributes["url"].replace("postgresql://", "postgresql+asyncpg://", 1)
    import asyncio  # only the online mode connects

    from sqlalchemy.ext.asyncio import create_async_engine

    def migrate(connection: sa.Connection) -> None:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_name=_not_a_ring_partition,
            compare_server_default=False,
        )
        with context.begin_transaction():
            connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
            # Two migrators at once: the second waits here and then finds nothing to do.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('baton.migrate', 0))"))
            context.run_migrations()

    async def connect() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
        await engine.dispose()

    asyncio.run(connect())


def _not_a_ring_partition(name: str | None, type_: str, _parents: object) -> bool:
    return not (type_ == "table" and name is not None and name.startswith("outbox_s"))


def alembic_config(package: str, *, url: str) -> "Config":
    """Return the alembic configuration of a service whose migrations lie in `<package>/migrations`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_of(package)))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def migrations_of(package: str) -> Path:
    """Return the folder of a service's migrations."""
    return Path(str(importlib.resources.files(package))) / "migrations"


def migrate(package: str, *, url: str) -> None:
    """Bring the database to the newest revision. Safe to run twice, also at the same time."""
    from alembic import command

    command.upgrade(alembic_config(package, url=url), "head")


def check(package: str, *, url: str) -> None:
    """Fail when the tables of the code differ from what the migrations make."""
    from alembic import command

    command.check(alembic_config(package, url=url))


def sql(package: str, revisions: Sequence[str] = ("head",)) -> None:
    """Print the migrations as SQL, for review and linting."""
    from alembic import command

    for revision in revisions:
        command.upgrade(alembic_config(package, url="postgresql://"), revision, sql=True)
