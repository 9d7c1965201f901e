"""The erasure log as a restore needs it: read from wherever it still is, and written into databases that went back."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from baton.lead.v1.lead_pb2 import LeadErased
from baton_cli.kafka import partitions_of
from baton_kit import broker
from baton_kit.forgotten import SCHEMA_V1
from baton_kit.settings import KafkaSettings

TOPIC = "baton.erasure.v1"
COLUMNS = ("lead_id", "erasure_id", "sequence", "reason", "asked_at", "key_id", "erased_at")
Erasures = dict[str, dict[str, Any]]

_NOTE = """
INSERT INTO erased_lead (lead_id, erasure_id, sequence, reason, asked_at, key_id, erased_at)
SELECT lead_id, erasure_id, sequence, reason, asked_at, key_id, erased_at
FROM jsonb_populate_recordset(NULL::erased_lead, $1::text::jsonb)
ON CONFLICT (lead_id) DO NOTHING
"""
# Nobody reads the outbox now: what it would publish of them again is taken out, instead of waiting for the ring.
_UNSAY = "DELETE FROM outbox WHERE topic = $2 AND value IS NOT NULL AND key = ANY($1::text[])"
_UNPARK = "DELETE FROM parked WHERE topic = $2 AND key = ANY($1::text[])"
_FREE = """
DELETE FROM parked_key k WHERE k.key = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM parked p WHERE p.consumer = k.consumer AND p.key = k.key AND p.reason <> 'unrouted')
"""


class BadExport(ValueError):
    """The file is no exported erasure log; the text says in which line."""


async def erasure_log(kafka: KafkaSettings, databases: Mapping[str, str], exported: Path | None) -> Erasures:
    """Every forgotten lead that the topic, the databases as they are now, or an exported log knows of.

    A database that is empty or wrecked knows of none. Raises BadExport and KafkaError.
    """
    found: Erasures = {}
    for one in [*(read_export(exported) if exported else ()), *await _of_topic(kafka)]:
        found.setdefault(one["lead_id"], one)
    for url in databases.values():
        for one in await _of_database(url):
            found.setdefault(one["lead_id"], one)
    return found


async def forget(connection: asyncpg.Connection, erasures: Erasures, *, contact_topic: str) -> None:
    """Put erasures in force in a restored database: reads hide these persons, and the service deletes them first."""
    if not erasures:
        return
    async with connection.transaction():
        for statement in SCHEMA_V1:  # the backup may be older than the log
            await connection.execute(statement)
        await connection.execute(_NOTE, json.dumps(list(erasures.values())))
        for statement in (_UNSAY, _UNPARK):
            await connection.execute(statement, list(erasures), contact_topic)
        await connection.execute(_FREE, list(erasures))


def read_export(path: Path) -> Iterable[dict[str, Any]]:
    """The lines of `baton person erasures --export log.jsonl`. Raises BadExport."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            told = json.loads(line)
            yield {"sequence": 1, **{name: told[name] for name in COLUMNS if name != "sequence"}}
        except (ValueError, KeyError, TypeError):
            raise BadExport(f"line {number} of {path} is no line of an exported erasure log (JSON lines)") from None


async def _of_topic(kafka: KafkaSettings) -> list[dict[str, Any]]:
    partitions = await partitions_of(kafka, [TOPIC])
    consumer = AIOKafkaConsumer(
        **broker.connection(kafka, client_id="baton.restore"), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    told: list[dict[str, Any]] = []
    try:
        if partitions:
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            left = {tp for tp in partitions if await consumer.position(tp) < ends[tp]}
            while left:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    told += [_as_row(LeadErased.FromString(record.value)) for record in records if record.value]
                left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()
    return told


async def _of_database(url: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT to_regclass('erased_lead') IS NOT NULL"):
            return []
        rows = await connection.fetch("SELECT to_jsonb(e)::text AS row FROM erased_lead e")
    finally:
        await connection.close()
    return [{name: found[name] for name in COLUMNS} for found in (json.loads(row["row"]) for row in rows)]


def _as_row(body: LeadErased) -> dict[str, Any]:
    return {
        "lead_id": body.lead_id,
        "erasure_id": body.erasure_id,
        "sequence": body.sequence,
        "reason": body.reason,
        "asked_at": _time(body.asked_at.ToDatetime(tzinfo=UTC)) if body.HasField("asked_at") else None,
        "key_id": body.key_id,
        "erased_at": _time(body.occurred_at.ToDatetime(tzinfo=UTC)),
    }


def _time(at: datetime) -> str:
    return at.isoformat()
