"""Back up every database and the contact topic as one consistent picture, while the system runs.

The relays are held for a moment: what any consumer has applied was then committed by its producer before the first
snapshot was taken. So no restored consumer knows an event that its restored producer does not, and what a consumer has
not applied yet lies in the producer's outbox and is published again.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from baton_cli import postgres_tools
from baton_cli.kafka import partitions_of
from baton_kit import broker
from baton_kit.settings import KafkaSettings

FORMAT = "baton.backup/1"
CONTACT_TOPIC = "baton.contact.v1"
HELD_SECONDS = 30
Say = Callable[[str], None]

# A higher epoch fences the present holder; the lease keeps every other one away until it is given back.
_HOLD = """
UPDATE outbox_cursor SET epoch = epoch + 1, holder = 'backup',
    lease_until = clock_timestamp() + make_interval(secs => $1)
"""
_LET_GO = "UPDATE outbox_cursor SET holder = NULL, lease_until = NULL WHERE holder = 'backup'"


class CannotBackUp(Exception):
    """There is nothing to back up where it should be; the text says what is missing."""


async def back_up(databases: Mapping[str, str], kafka: KafkaSettings, folder: Path, *, say: Say) -> dict[str, Any]:
    """Write a backup into a new folder (mode 0700: it holds personal data); returns its manifest.

    `databases` maps a service to the URL of its database, by a role that may read all of it. Raises ToolFailed, and
    FileExistsError when the folder is there already.
    """
    folder.mkdir(mode=0o700, parents=True)  # noqa: ASYNC240 - once, in a command of its own
    connections: dict[str, asyncpg.Connection] = {}
    try:
        for name, url in databases.items():
            connections[name] = await asyncpg.connect(url)
        # 1. Hold every relay, then fix a snapshot of every database, then let the relays go: well under a second.
        for connection in connections.values():
            await connection.execute(_HOLD, HELD_SECONDS)
        taken_at = datetime.now(UTC)
        snapshots = {}
        try:
            for name, connection in connections.items():
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                snapshots[name] = await connection.fetchval("SELECT pg_export_snapshot()")
        finally:
            await _let_go(databases)
        say("the state of all databases is fixed; the relays go on")

        # 2. The contact topic up to its present end, beside the dumps.
        dumps = [_dump(name, databases[name], snapshots[name], folder, say=say) for name in databases]
        contacts, *files = await asyncio.gather(_contacts(kafka, folder / "contacts.jsonl.gz", say=say), *dumps)
    except BaseException:
        # Half a backup helps nobody, and its name is wanted for the next try.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        for connection in connections.values():
            await connection.close()
    manifest = {
        "format": FORMAT,
        "taken_at": taken_at.isoformat().replace("+00:00", "Z"),
        "databases": dict(zip(databases, files, strict=True)),
        "contacts": contacts,
    }
    _write_private(folder / "manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")
    return manifest


async def _let_go(databases: Mapping[str, str]) -> None:
    for url in databases.values():
        connection = await asyncpg.connect(url)
        await connection.execute(_LET_GO)
        await connection.close()


async def _dump(name: str, url: str, snapshot: str, folder: Path, *, say: Say) -> dict[str, Any]:
    path = folder / f"{name}.dump"
    _write_private(path, b"")
    await postgres_tools.run(
        "pg_dump", ["--format=custom", f"--snapshot={snapshot}", "--no-owner", f"--file={path}"], url=url
    )
    say(f"{name} is dumped ({path.stat().st_size / 1e6:.1f} MB)")
    return {"file": path.name, "sha256": digest_of(path)}


async def _contacts(kafka: KafkaSettings, path: Path, *, say: Say) -> dict[str, Any]:
    partitions = await partitions_of(kafka, [CONTACT_TOPIC])
    if not partitions:
        # Without it the backup would look complete and hold no contact.
        raise CannotBackUp(f"Kafka has no topic {kafka.topic_prefix}{CONTACT_TOPIC}")
    consumer = AIOKafkaConsumer(
        **broker.connection(kafka, client_id="baton.backup"), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        count = 0
        with _open_private(path) as raw, gzip.open(raw, "wt") as file:
            left = {tp for tp in partitions if await consumer.position(tp) < ends[tp]}
            while left:
                for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                    for record in records:
                        if record.offset < ends[tp]:
                            file.write(json.dumps(_as_json(record)) + "\n")
                            count += 1
                left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()
    say(f"{count} contact records are kept")
    return {"file": path.name, "sha256": digest_of(path), "records": count}


def _as_json(record: Any) -> dict[str, Any]:
    return {
        "key": base64.b64encode(record.key).decode(),
        "value": None if record.value is None else base64.b64encode(record.value).decode(),
        "headers": [[name, base64.b64encode(value).decode()] for name, value in record.headers],
    }


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _write_private(path: Path, content: bytes) -> None:
    with _open_private(path) as file:
        file.write(content)
