"""A cluster in which one broker has read of a new topic and another has not yet."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from baton_kit.topics import TopicUnknown, apply_topics, plan_topics

UNKNOWN = 3


@dataclass(frozen=True)
class Topic:
    name: str = "told.v1"
    partitions: int = 1
    config: dict[str, str] = field(default_factory=dict)


@dataclass
class Cluster:
    """Answers as a cluster of three does: settings are asked of a broker that is `behind` for so many questions."""

    behind: int
    created: bool = False

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [1, 2, 3]}

    async def describe_topics(self, names: Any = None) -> list[dict[str, Any]]:
        partitions = [{"leader": 1, "replicas": [1, 2, 3]}]
        return [{"topic": "told.v1", "partitions": partitions}] if self.created else []

    async def describe_configs(self, resources: Any) -> list[Any]:
        self.behind -= 1
        code = UNKNOWN if self.behind >= 0 else 0
        entries = [("min.insync.replicas", "2", False, 1)]
        return [SimpleNamespace(resources=[(code, None, 2, "told.v1", entries)])]

    async def create_topics(self, topics: Any) -> Any:
        self.created = True
        return SimpleNamespace(topic_errors=[("told.v1", 0)])


async def test_a_new_topic_is_waited_for_until_every_broker_that_is_asked_knows_it() -> None:
    cluster = Cluster(behind=3)
    [action] = await apply_topics(cluster, [Topic()])  # type: ignore[arg-type, list-item]
    assert action.kind == "create"
    assert cluster.behind < 0


async def test_a_plan_says_of_a_topic_that_a_broker_does_not_know_which_it_is() -> None:
    with pytest.raises(TopicUnknown, match=r"told\.v1"):
        await plan_topics(Cluster(behind=1, created=True), [Topic()])  # type: ignore[arg-type, list-item]
