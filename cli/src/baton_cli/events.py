"""`baton events`: facts as they pass on Kafka, decoded."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from google.protobuf.json_format import MessageToDict

from baton.catalogue import EVENTS, TOPICS
from baton_cli import output
from baton_cli.client import settings_of
from baton_cli.kafka import kafka_settings, partitions_of, unreachable
from baton_cli.moments import moment
from baton_cli.output import Json, when
from baton_kit import broker
from baton_kit.envelope import Undecodable, decode, rfc3339, type_of
from baton_kit.settings import KafkaSettings

app = typer.Typer(name="events", no_args_is_help=True, help="Facts as they pass on Kafka.")
BACKLOG = "15m"


@app.command()
def tail(
    ctx: typer.Context,
    *,
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic; repeat for several.")] = None,
    type_name: Annotated[str | None, typer.Option("--type", help="Only this type: LeadQualified.")] = None,
    lead: Annotated[str | None, typer.Option(help="Only this lead.")] = None,
    since: Annotated[str, typer.Option(help="From when on: 10m, 2h, 3d ago, or an RFC 3339 time.")] = BACKLOG,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, or end with the log.")] = True,
    contacts: Annotated[bool, typer.Option("--contacts", help="Also contact data: persons are named then.")] = False,
    as_json: Json = False,
) -> None:
    """Print events as they come, decoded: lists by their length, with --json whole, one object a line. Ctrl-C ends it.

    Example: `baton events tail --type LeadQualified --since 1h`
    """
    chosen = topic or [name for name, found in TOPICS.items() if contacts or not found.restricted]
    unknown = [name for name in chosen if name not in TOPICS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(TOPICS)}", param_hint="--topic")
    restricted = [name for name in chosen if TOPICS[name].restricted]
    if restricted and not contacts:
        raise typer.BadParameter(f"{restricted[0]} names persons: say --contacts as well", param_hint="--topic")
    settings = kafka_settings(settings_of(ctx))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            _tail(
                settings, chosen, start=moment(since), type_name=type_name, lead=lead, limit=limit, follow=follow,
                as_json=as_json,
            )
        )  # fmt: skip


async def _tail(
    settings: KafkaSettings,
    topics: list[str],
    *,
    start: datetime,
    type_name: str | None,
    lead: str | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    shown = 0
    # Closed here, not when the loop ends: an end by --limit would leave its connections open.
    async with contextlib.aclosing(events(settings, topics, start=start, follow=follow)) as found:
        async for event in found:
            if type_name is not None and str(event["type"]).rsplit(".", 1)[-1] != type_name.rsplit(".", 1)[-1]:
                continue
            if lead is not None and event["key"] != lead:
                continue
            if as_json:
                output.json_line(event)
            else:
                short = str(event["type"]).rsplit(".", 1)[-1]
                output.line(f"{when(event['time'])}  {short:<18} {event['key']}  {_brief(event['data'])}".rstrip())
            shown += 1
            if shown == limit:
                return


def _brief(data: dict[str, Any] | None) -> str:
    """What an event says, in one line: lists and objects by their size; `--json` shows everything."""
    if data is None:
        return "forgotten"
    plain = {name: value for name, value in data.items() if name not in ("lead_id", "occurred_at")}
    return output.described(
        {name: f"[{len(value)}]" if isinstance(value, (list, dict)) else value for name, value in plain.items()}
    )


async def events(
    settings: KafkaSettings, topics: list[str], *, start: datetime, follow: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield decoded events from `start` on; without `follow` up to the present end of the log. Raises Failed."""
    consumer = AIOKafkaConsumer(**broker.connection(settings, client_id="baton.tail"), enable_auto_commit=False)
    try:
        partitions = await partitions_of(settings, topics)
        if not partitions:
            raise output.Failed("the topics are not there yet", "`baton topics apply` creates them.")
        await consumer.start()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(start.timestamp() * 1000)))
        for tp in partitions:
            consumer.seek(tp, found[tp].offset if found.get(tp) else ends[tp])
        left = {tp for tp in partitions if found.get(tp) and found[tp].offset < ends[tp]}
        quiet_since = time.monotonic()
        while follow or left:
            polled = await consumer.getmany(timeout_ms=250)
            for tp, records in polled.items():
                for record in records:
                    yield _decoded(record, prefix=settings.topic_prefix)
                if await consumer.position(tp) >= ends[tp]:
                    left.discard(tp)
            quiet_since = time.monotonic() if polled else quiet_since
            if not follow and time.monotonic() - quiet_since > 10:
                raise output.Failed("Kafka stopped answering before the end of the log", "`baton doctor` says why.")
    except (KafkaError, OSError) as error:
        raise unreachable(settings, error) from None
    finally:
        await consumer.stop()


def _decoded(record: Any, *, prefix: str) -> dict[str, Any]:
    plain = {
        "topic": record.topic.removeprefix(prefix),
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
    }
    try:
        name = type_of(record.headers)
        if name not in EVENTS:
            return {**plain, "type": name, "id": None, "time": None, "data": {}}
        event = decode(
            headers=record.headers, key=record.key, value=record.value, types=EVENTS, topic=record.topic,
            partition=record.partition, offset=record.offset,
        )  # fmt: skip
    except Undecodable as error:
        return {**plain, "type": "undecodable", "id": None, "time": None, "data": {"reason": str(error)}}
    data = None if event.tombstone else MessageToDict(event.body, preserving_proto_field_name=True)
    return {
        **plain, "type": event.type, "id": event.id, "time": rfc3339(event.occurred_at), "replay": event.replay,
        "traceparent": event.traceparent, "data": data,
    }  # fmt: skip
