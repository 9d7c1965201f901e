"""The kit's tables in a service's database: what `migration.py` creates, for statements and checks to refer to."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in SQL."""
        return "xid8"


class PgSnapshot(UserDefinedType[str]):
    """PostgreSQL's snapshot of the transactions in progress."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in SQL."""
        return "pg_snapshot"


ischema_names["xid8"] = Xid8
ischema_names["pg_snapshot"] = PgSnapshot


@dataclass(frozen=True, slots=True)
class KitTables:
    """The kit's tables that a service's statements may refer to."""

    outbox: Table
    inbox: Table
    consumer_offset: Table
    parked: Table
    parked_key: Table
    api_key: Table
    idempotency_key: Table


def _time(name: str, *, nullable: bool = False, default: str | None = None) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=text(default) if default else None)


def add_kit_tables(metadata: MetaData) -> KitTables:
    """Add the kit's tables to a service's metadata."""
    outbox = Table(
        "outbox",
        metadata,
        Column("slot", SmallInteger, nullable=False),
        Column("id", BigInteger, Identity(always=True, cache=1), nullable=False),
        Column("shard", SmallInteger, nullable=False),
        Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
        _time("appended_at", default="now()"),
        Column("event_id", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("headers", LargeBinary, nullable=False),
        Column("value", LargeBinary),
        Index("outbox_window", "xid", "id"),
        postgresql_partition_by="LIST (slot)",
    )
    Table(
        "outbox_ring",
        metadata,
        Column("lane", Text, primary_key=True),
        Column("slot", SmallInteger, nullable=False),
        _time("since", default="now()"),
    )
    Table(
        "outbox_cursor",
        metadata,
        Column("lane", Text, primary_key=True),
        Column("shard_from", SmallInteger, primary_key=True),
        Column("shard_to", SmallInteger, nullable=False),
        Column("snap_from", PgSnapshot, nullable=False),
        Column("snap_to", PgSnapshot),
        Column("last_id", BigInteger, nullable=False, server_default=text("0")),
        Column("replayed_to", PgSnapshot),
        Column("holder", Text),
        Column("epoch", BigInteger, nullable=False, server_default=text("0")),
        _time("lease_until", nullable=True),
        Column("system_identifier", Text),
        Column("timeline", Text),
    )
    inbox = Table(
        "inbox",
        metadata,
        Column("consumer", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("outcome", Text, nullable=False),
        _time("claimed_at", default="now()"),
        PrimaryKeyConstraint("consumer", "event_id", name="inbox_pkey"),
    )
    consumer_offset = Table(
        "consumer_offset",
        metadata,
        Column("consumer", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("next_offset", BigInteger, nullable=False),
        _time("moved_at", default="now()"),
        PrimaryKeyConstraint("consumer", "topic", "partition", name="consumer_offset_pkey"),
    )
    parked = Table(
        "parked",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("consumer", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("key", Text, nullable=False),
        Column("event_id", Text),
        Column("type", Text),
        Column("reason", Text, nullable=False),
        Column("detail", Text, nullable=False, server_default=text("''")),
        Column("raw_key", LargeBinary),
        Column("headers", LargeBinary, nullable=False),
        Column("value", LargeBinary),
        _time("parked_at", default="now()"),
        Index("parked_key_order", "consumer", "key", "id"),
        Index("parked_position", "consumer", "topic", "partition", "offset", unique=True),
    )
    parked_key = Table(
        "parked_key",
        metadata,
        Column("consumer", Text, nullable=False),
        Column("key", Text, nullable=False),
        _time("since", default="now()"),
        PrimaryKeyConstraint("consumer", "key", name="parked_key_pkey"),
    )
    api_key = Table(
        "api_key",
        metadata,
        Column("id", Text, primary_key=True),
        Column("digest", LargeBinary, nullable=False, unique=True),
        Column("name", Text, nullable=False),
        Column("scopes", ARRAY(Text), nullable=False),
        Column("person_id", Text),
        Column("department", Text),
        _time("created_at", default="now()"),
        _time("revoked_at", nullable=True),
    )
    idempotency_key = Table(
        "idempotency_key",
        metadata,
        Column("caller", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("digest", LargeBinary, nullable=False),
        Column("status", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        _time("created_at", default="now()"),
        PrimaryKeyConstraint("caller", "key", name="idempotency_key_pkey"),
        Index("idempotency_key_age", "created_at"),
    )
    return KitTables(outbox, inbox, consumer_offset, parked, parked_key, api_key, idempotency_key)


def add_edges_table(metadata: MetaData, name: str = "merge_edge") -> Table:
    """Add a table of `edges.py` to the metadata of a service that follows merges."""
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        Column("source", Text, nullable=False),
        Column("target", Text, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("active", Boolean, nullable=False),
        Index(f"{name}_source", "source", postgresql_where=text("active")),
        Index(f"{name}_target", "target", postgresql_where=text("active")),
    )
