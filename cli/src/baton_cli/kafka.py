"""How the command reaches Kafka: by the settings it shares with the services."""

from collections.abc import Collection

from aiokafka import TopicPartition
from pydantic import ValidationError

from baton_cli.client import reason_of
from baton_cli.output import Failed
from baton_cli.settings import Settings
from baton_kit import broker
from baton_kit.settings import KafkaSettings


def kafka_settings(settings: Settings) -> KafkaSettings:
    """The connection, checked. Raises Failed."""
    try:
        return KafkaSettings.model_validate(dict(settings.kafka))
    except ValidationError as error:
        wrong = ", ".join(str(e["loc"][0]) for e in error.errors(include_input=False))
        raise Failed(
            f"the settings of Kafka are wrong: {wrong}", "They come from BATON_KAFKA__… and `kafka` in cli.json."
        ) from None


def unreachable(settings: KafkaSettings, error: BaseException) -> Failed:
    """What to say when Kafka does not answer."""
    return Failed(
        f"Kafka cannot be reached at {settings.bootstrap_servers} ({reason_of(error)})",
        "Is it running, and is BATON_KAFKA__BOOTSTRAP_SERVERS right? `baton doctor` checks everything.",
    )


async def partitions_of(settings: KafkaSettings, topics: Collection[str]) -> list[TopicPartition]:
    """All partitions of the topics, which are named without the prefix; of those that exist. Raises KafkaError."""
    wanted = {settings.topic_prefix + name for name in topics}
    admin = broker.admin(settings, client_id="baton.describe")
    try:
        await admin.start()
        # Of all topics: asked for one that is missing, a broker would be asked to create it.
        return sorted(
            TopicPartition(found["topic"], partition["partition"])
            for found in await admin.describe_topics()
            if found["topic"] in wanted
            for partition in found["partitions"]
        )
    finally:
        await admin.close()
