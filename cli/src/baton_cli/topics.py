"""`baton topics`: the topics on Kafka as the catalogue defines them."""

import asyncio
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError

from baton.catalogue import TOPICS
from baton_cli import output
from baton_cli.client import settings_of
from baton_cli.kafka import kafka_settings, unreachable
from baton_cli.output import DryRun, Failed, Json, Yes
from baton_kit import broker
from baton_kit.topics import ActionKind, TopicAction, TopicError, apply_topics, plan_topics

app = typer.Typer(name="topics", no_args_is_help=True, help="The topics on Kafka.")


@app.command()
def apply(
    ctx: typer.Context,
    *,
    strimzi: Annotated[bool, typer.Option("--strimzi", help="Print KafkaTopic resources instead.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Create the topics of the catalogue and bring their settings up to date. The partition count never changes.

    Example: `baton topics apply --dry-run`
    """
    settings = kafka_settings(settings_of(ctx))
    if strimzi:
        output.line(as_strimzi(settings.topic_prefix))
        return
    plan = asyncio.run(_with_admin(settings, change=False))
    if not dry_run and any(action.kind is not ActionKind.WARNING for action in plan):
        if not as_json:
            _show(plan)
        output.confirm("Make these changes?", yes=yes)
        plan = asyncio.run(_with_admin(settings, change=True))
    if as_json:
        output.json_value(
            {
                "dry_run": dry_run,
                "actions": [{"kind": a.kind.value, "topic": a.topic, "detail": a.detail} for a in plan],
            }
        )
    elif dry_run:
        _show(plan)
    else:
        output.line("the topics are as the catalogue says")


def _show(plan: list[TopicAction]) -> None:
    rows = [[action.kind.value, action.topic, action.detail] for action in plan]
    output.table(["", "topic", "what"], rows, empty="nothing to do: the topics are as the catalogue says")


async def _with_admin(settings: Any, *, change: bool) -> list[TopicAction]:
    admin = broker.admin(settings, client_id="baton")
    try:
        await admin.start()
        work = apply_topics if change else plan_topics
        return await work(admin, list(TOPICS.values()), prefix=settings.topic_prefix)
    except TopicError as error:
        raise Failed(str(error)) from None
    except (KafkaError, OSError) as error:
        raise unreachable(settings, error) from None
    finally:
        await admin.close()


def as_strimzi(prefix: str) -> str:
    """The catalogue as KafkaTopic resources of Strimzi, for a cluster that is run by declarations."""
    resources = []
    for topic in TOPICS.values():
        config = "".join(f"\n    {name}: {value!r}" for name, value in sorted(topic.config.items()))
        resources.append(
            "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\n"
            f"metadata:\n  name: {(prefix + topic.name).lower()}\n"
            f"spec:\n  topicName: {prefix + topic.name}\n  partitions: {topic.partitions}\n  replicas: 3\n"
            f"  config:\n    min.insync.replicas: '2'{config}"
        )
    return "\n---\n".join(resources)
