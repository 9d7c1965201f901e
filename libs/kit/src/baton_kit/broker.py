"""Clients of Kafka with every setting made explicit that a loss hides behind."""

import asyncio
import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient

from baton_kit.settings import KafkaSettings

PRODUCER = {
    # The client's defaults are acks=1 without idempotence: both lose acknowledged events.
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": 0,
    "max_batch_size": 256 * 1024,
    "max_request_size": 1_048_576,
    "compression_type": "lz4",
    "request_timeout_ms": 10_000,
}
CONSUMER = {
    # The position lives in the service's database; Kafka's own is written for lag displays only.
    "enable_auto_commit": False,
    # A position outside the log alarms and waits for a person; it never jumps.
    "auto_offset_reset": "none",
    "max_poll_interval_ms": 300_000,
    "heartbeat_interval_ms": 2_000,
    "fetch_max_wait_ms": 100,
    "fetch_max_bytes": 16 * 1024 * 1024,
    "max_partition_fetch_bytes": 2 * 1024 * 1024,
    "isolation_level": "read_committed",
}


def connection(settings: KafkaSettings, *, client_id: str) -> dict[str, Any]:
    """Return the arguments by which any client reaches the cluster."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
        "metadata_max_age_ms": 30_000,
        "retry_backoff_ms": 100,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = ssl.create_default_context(cafile=settings.ssl_cafile)
    if settings.sasl_mechanism is not None:
        password = settings.sasl_password
        arguments |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return arguments


def producer(settings: KafkaSettings, *, client_id: str) -> AIOKafkaProducer:
    """Make a producer that has nothing acknowledged which the cluster could lose."""
    return AIOKafkaProducer(**connection(settings, client_id=client_id), **PRODUCER)


async def abandon(client: AIOKafkaProducer) -> None:
    """Close a producer without sending what waits in it: that stays in the outbox, and is sent again from there.

    The client's own `stop` flushes first, for ever while Kafka is away, and would send behind its successor's back.
    """
    client._closed = True
    routine = client._sender.sender_task
    if routine is not None:
        routine.cancel()
    await client.client.close()
    if routine is not None:
        await asyncio.wait([routine], timeout=2)


def consumer(
    settings: KafkaSettings,
    *,
    client_id: str,
    group: str,
    topics: list[str],
    listener: ConsumerRebalanceListener,
) -> AIOKafkaConsumer:
    """Make a member of a group; `listener` must seek on assignment."""
    made = AIOKafkaConsumer(
        **connection(settings, client_id=client_id),
        **CONSUMER,
        group_id=group,
        session_timeout_ms=settings.session_timeout_ms,
        rebalance_timeout_ms=settings.session_timeout_ms,
        request_timeout_ms=max(20_000, settings.session_timeout_ms * 2),
    )
    made.subscribe(topics, listener=listener)
    return made


def admin(settings: KafkaSettings, *, client_id: str) -> AIOKafkaAdminClient:
    """Make an administrator's client."""
    return AIOKafkaAdminClient(**connection(settings, client_id=client_id))
