"""Bring a cluster's topics to what the catalogue says, and say beforehand what that would change."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError, for_code

_SET_ON_TOPIC = 1  # config_source DYNAMIC_TOPIC_CONFIG: set on the topic itself, not inherited


class TopicDefinition(Protocol):
    """What a catalogue says about one topic; `config` are Kafka topic settings by name."""

    @property
    def name(self) -> str: ...
    @property
    def partitions(self) -> int: ...
    @property
    def config(self) -> Mapping[str, str]: ...


class ActionKind(StrEnum):
    """What has to happen to a topic. A WARNING is for a person: nothing is changed."""

    CREATE = "create"
    ALTER = "alter"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class TopicAction:
    """One difference between catalogue and cluster; `detail` says it in words, `config` is what to write."""

    kind: ActionKind
    topic: str
    detail: str
    partitions: int = 0
    replication: int = 0
    config: Mapping[str, str] | None = None


class TopicError(RuntimeError):
    """The cluster refused a change; the text names topic and reason."""


class TopicUnknown(TopicError):
    """The broker that was asked does not know the topic."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"{topic}: {UnknownTopicOrPartitionError.__name__}")
        self.topic = topic


async def plan_topics(
    admin: AIOKafkaAdminClient, topics: Iterable[TopicDefinition], *, prefix: str = ""
) -> list[TopicAction]:
    """Compare the catalogue with the cluster and change nothing; an empty list means that they agree.

    Replication is 3 with min.insync.replicas 2, or what a smaller cluster can give. The partition count of a
    topic that exists never changes, because the order per key would be lost: a difference is a WARNING.
    """
    brokers = len((await admin.describe_cluster())["brokers"])
    replication = min(3, brokers)
    insync = {"min.insync.replicas": "2" if replication == 3 else "1"}
    wanted = {prefix + topic.name: topic for topic in topics}
    existing = {found["topic"]: found for found in await admin.describe_topics() if found["topic"] in wanted}
    settings = await _settings_of(admin, sorted(existing))

    actions: list[TopicAction] = []
    for name, topic in sorted(wanted.items()):
        config = insync | dict(topic.config)
        if name not in existing:
            actions.append(_creation(name, topic, replication=replication, config=config))
            continue
        different = {key: value for key, value in config.items() if settings[name].get(key) != value}
        if different:
            changes = ", ".join(
                f"{key}: {settings[name].get(key, 'unset')} -> {value}" for key, value in sorted(different.items())
            )
            actions.append(TopicAction(ActionKind.ALTER, name, changes, config=different))
        actions.extend(_warnings(name, topic, existing[name]["partitions"], replication=replication))
    return actions


async def apply_topics(
    admin: AIOKafkaAdminClient, topics: Collection[TopicDefinition], *, prefix: str = ""
) -> list[TopicAction]:
    """Create what is missing and alter settings that differ; return what `plan_topics` found. Repeatable.

    On return every topic is there with a leader for each partition, and the settings are in force. Settings
    that the catalogue does not name stay as an operator set them. Raises TopicError when the cluster refuses;
    another process that creates the same topic at the same time is no error.
    """
    actions = await plan_topics(admin, topics, prefix=prefix)
    await _create(admin, [action for action in actions if action.kind is ActionKind.CREATE])
    await _alter(admin, [action for action in actions if action.kind is ActionKind.ALTER])
    changed = {action.topic for action in actions if action.kind is not ActionKind.WARNING}
    if changed:
        await _settled(admin, [topic for topic in topics if prefix + topic.name in changed], prefix=prefix)
    return actions


async def _settled(
    admin: AIOKafkaAdminClient, topics: Collection[TopicDefinition], *, prefix: str, within: float = 30
) -> None:
    # The controller answers before the brokers have read its log; until then they know of nothing.
    deadline = time.monotonic() + within
    names = [prefix + topic.name for topic in topics]
    while True:
        topic, reason = names[0], "a partition has no leader"
        try:
            left = [a for a in await plan_topics(admin, topics, prefix=prefix) if a.kind is not ActionKind.WARNING]
            if left:
                topic, reason = left[0].topic, left[0].detail
            else:
                described = await admin.describe_topics(names)
                if all(t["partitions"] and all(p["leader"] >= 0 for p in t["partitions"]) for t in described):
                    return
        except TopicUnknown as unknown:
            # Each question goes to some broker: one may have read of the topic, and the next not yet.
            topic, reason = unknown.topic, "a broker does not know it yet"
        if time.monotonic() > deadline:
            raise TopicError(f"{topic}: not in force after {within:.0f} s: {reason}")
        await asyncio.sleep(0.05)


def _creation(name: str, topic: TopicDefinition, *, replication: int, config: Mapping[str, str]) -> TopicAction:
    settings = " ".join(f"{key}={value}" for key, value in sorted(config.items()))
    return TopicAction(
        ActionKind.CREATE,
        name,
        f"{topic.partitions} partitions, replication {replication}, {settings}",
        partitions=topic.partitions,
        replication=replication,
        config=config,
    )


def _warnings(
    name: str, topic: TopicDefinition, partitions: Sequence[Mapping[str, Any]], *, replication: int
) -> list[TopicAction]:
    found = []
    if len(partitions) != topic.partitions:
        text = (
            f"has {len(partitions)} partitions, the catalogue says {topic.partitions}: left alone, because "
            "changing it would break the order per key; more partitions mean a new topic with a migration"
        )
        found.append(TopicAction(ActionKind.WARNING, name, text))
    thinnest = min((len(partition["replicas"]) for partition in partitions), default=replication)
    if thinnest < replication:
        text = f"has {thinnest} replica(s) on a cluster that can hold {replication}: reassign its partitions"
        found.append(TopicAction(ActionKind.WARNING, name, text))
    return found


async def cleanup_policies(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, str]:
    """The `cleanup.policy` in force of each topic."""
    return {name: found["cleanup.policy"] for name, found in (await _settings_of(admin, names)).items()}


async def _settings_of(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings in force of each topic."""
    return {
        name: {entry[0]: entry[1] for entry in entries} for name, entries in (await _entries_of(admin, names)).items()
    }


async def _entries_of(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    entries: dict[str, list[tuple[Any, ...]]] = {}
    for response in responses:
        for code, message, _, name, found in response.resources:
            _raise_for(code, message, name)
            entries[name] = found
    return entries


async def _create(admin: AIOKafkaAdminClient, actions: Sequence[TopicAction]) -> None:
    if not actions:
        return
    response = await admin.create_topics(
        [
            NewTopic(action.topic, action.partitions, action.replication, topic_configs=dict(action.config or {}))
            for action in actions
        ]
    )
    for name, code, *rest in response.topic_errors:
        if code != 36:  # TOPIC_ALREADY_EXISTS: someone else was quicker
            _raise_for(code, rest[0] if rest else None, name)


async def _alter(admin: AIOKafkaAdminClient, actions: Sequence[TopicAction]) -> None:
    if not actions:
        return
    # The request replaces all settings of a topic at once, so those set by others are sent along.
    entries = await _entries_of(admin, [action.topic for action in actions])
    resources = []
    for action in actions:
        own = {entry[0]: entry[1] for entry in entries[action.topic] if entry[3] == _SET_ON_TOPIC}
        resources.append(
            ConfigResource(ConfigResourceType.TOPIC, action.topic, configs={**own, **(action.config or {})})
        )
    for response in await admin.alter_configs(resources):
        for code, message, _, name in response.resources:
            _raise_for(code, message, name)


def _raise_for(code: int, message: str | None, topic: str) -> None:
    if code == UnknownTopicOrPartitionError.errno:
        raise TopicUnknown(topic)
    if code != 0:
        raise TopicError(f"{topic}: {message or for_code(code).__name__}")
