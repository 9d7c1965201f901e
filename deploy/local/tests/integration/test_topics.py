"""The catalogue against a real cluster."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from baton import catalogue
from baton_kit.topics import ActionKind, TopicError, apply_topics, plan_topics
from baton_local.pytest_plugin import KafkaServer


@dataclass(frozen=True)
class Topic:
    name: str = "orders.v1"
    partitions: int = 3
    config: dict[str, str] = field(default_factory=lambda: {"retention.ms": "-1"})


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
async def admin(kafka_server: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap_servers)
    await client.start()
    yield client
    await client.close()


async def config_of(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in response.resources[0][4]}


async def test_the_catalogue_is_applied_once_and_then_nothing_is_left_to_do(
    admin: AIOKafkaAdminClient, prefix: str
) -> None:
    actions = await apply_topics(admin, catalogue.TOPICS.values(), prefix=prefix)
    assert {action.topic for action in actions} == {prefix + name for name in catalogue.TOPICS}
    assert {action.kind for action in actions} == {ActionKind.CREATE}
    assert await apply_topics(admin, catalogue.TOPICS.values(), prefix=prefix) == []
    contact = await config_of(admin, f"{prefix}baton.contact.v1")
    assert contact["cleanup.policy"] == "compact"
    assert contact["min.insync.replicas"] == "1"


async def test_a_plan_changes_nothing(admin: AIOKafkaAdminClient, prefix: str) -> None:
    assert [a.kind for a in await plan_topics(admin, [Topic()], prefix=prefix)] == [ActionKind.CREATE]
    assert f"{prefix}orders.v1" not in await admin.list_topics()


async def test_a_setting_that_differs_is_altered_and_those_of_the_operator_stay(
    admin: AIOKafkaAdminClient, prefix: str
) -> None:
    name = f"{prefix}orders.v1"
    await apply_topics(admin, [Topic(config={"retention.ms": "1000", "segment.bytes": "2097152"})], prefix=prefix)
    [action] = await apply_topics(admin, [Topic()], prefix=prefix)
    assert action.kind is ActionKind.ALTER
    assert action.detail == "retention.ms: 1000 -> -1"
    config = await config_of(admin, name)
    assert config["retention.ms"] == "-1"
    assert config["segment.bytes"] == "2097152"
    assert await plan_topics(admin, [Topic()], prefix=prefix) == []


async def test_the_partition_count_of_a_topic_never_changes(admin: AIOKafkaAdminClient, prefix: str) -> None:
    await apply_topics(admin, [Topic()], prefix=prefix)
    [action] = await apply_topics(admin, [replace(Topic(), partitions=6)], prefix=prefix)
    assert action.kind is ActionKind.WARNING
    assert "has 3 partitions, the catalogue says 6" in action.detail
    [topic] = await admin.describe_topics([f"{prefix}orders.v1"])
    assert len(topic["partitions"]) == 3


async def test_a_setting_that_kafka_refuses_names_the_topic(admin: AIOKafkaAdminClient, prefix: str) -> None:
    with pytest.raises(TopicError, match=rf"{prefix}orders\.v1"):
        await apply_topics(admin, [Topic(config={"retention.ms": "soon"})], prefix=prefix)
