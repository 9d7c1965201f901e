"""Bring a backup back, onto an empty machine or beside a log that is still there; services must be stopped."""

import base64
import gzip
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from baton.catalogue import TOPICS
from baton_cli import postgres_tools
from baton_cli.backup import CONTACT_TOPIC, FORMAT, digest_of
from baton_cli.erasures import erasure_log, forget
from baton_cli.kafka import partitions_of
from baton_kit import broker
from baton_kit.settings import KafkaSettings

Say = Callable[[str], None]
PAGE = 2_000

# The relay takes the next start for a changed database: rows get new transaction ids, the whole ring goes out again.
_REPUBLISH = "UPDATE outbox_cursor SET system_identifier = 'restored', holder = NULL, lease_until = NULL"


# An owner may not see what kind of session another role's is, but the server's own processes have no user.
_OTHERS = """
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
ORDER BY application_name
"""


class CannotRestore(Exception):
    """The backup is damaged, incomplete, or the target is in use; the text says what to do."""


async def restore(
    databases: Mapping[str, str], kafka: KafkaSettings, folder: Path, *, erasures: Path | None = None, say: Say
) -> dict[str, Any]:
    """Restore every database and the contact topic; returns what was done.

    Who was forgotten after the backup was taken stays so: the erasure log (the topic, the outbox of lead-intake as it
    stands before it is replaced, and an exported log in `erasures`) is written into every database before a service can
    start on it.

    Where the log is empty, consumers begin at its beginning: what the producers' outboxes hold is published again, and
    what was applied before the backup is dropped by the restored inboxes. Where the log is still there, consumers go on
    from their restored positions and read again what they lost. Raises CannotRestore and ToolFailed.
    """
    manifest = read_manifest(folder)
    missing = sorted(set(manifest["databases"]) - set(databases))
    if missing:
        raise CannotRestore(f"no database is configured for {', '.join(missing)}")
    for name in manifest["databases"]:
        await _must_be_idle(name, databases[name])

    # 0. Who was forgotten, by every source that knows of it, read before anything is replaced.
    forgotten = await erasure_log(kafka, databases, erasures)

    # 1. The databases, each in one transaction: all of it or nothing.
    for name, found in manifest["databases"].items():
        await postgres_tools.run(
            "pg_restore",
            ["--single-transaction", "--clean", "--if-exists", "--no-owner", "--dbname", _name(databases[name]),
             str(folder / found["file"])],
            url=databases[name],
        )  # fmt: skip
        say(f"{name} is restored")

    # 2. Relays publish the whole ring again; positions in a log that is gone mean nothing.
    log_is_empty = await _is_empty(kafka)
    for name in manifest["databases"]:
        connection = await asyncpg.connect(databases[name])
        await connection.execute(_REPUBLISH)
        if log_is_empty:
            await connection.execute("DELETE FROM consumer_offset")
        await forget(connection, forgotten, contact_topic=kafka.topic_prefix + CONTACT_TOPIC)
        await connection.close()
    say(f"{len(forgotten)} forgotten leads stay forgotten")

    # 3. Contacts that have left the ring are only in the topic.
    contacts = folder / manifest["contacts"]["file"]
    sent = await _send_contacts(kafka, contacts, without=forgotten) if log_is_empty else 0
    say(f"{sent} contact records are back on the topic" if log_is_empty else "the log is still there and is kept")
    return {"taken_at": manifest["taken_at"], "databases": sorted(manifest["databases"]), "contacts": sent,
            "forgotten": len(forgotten), "log": "empty" if log_is_empty else "kept"}  # fmt: skip


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest after checking every file against its digest. Raises CannotRestore."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        raise CannotRestore(f"{folder} holds no readable manifest.json: it is no complete backup") from None
    if manifest.get("format") != FORMAT:
        raise CannotRestore(f"this version reads {FORMAT} only")
    for found in [*manifest["databases"].values(), manifest["contacts"]]:
        path = folder / found["file"]
        if not path.exists() or digest_of(path) != found["sha256"]:
            raise CannotRestore(f"{found['file']} is missing or was changed")
    return manifest


async def _must_be_idle(name: str, url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        others = await connection.fetch(_OTHERS)
    finally:
        await connection.close()
    if others:
        who = ", ".join(row["application_name"] or "one without a name" for row in others)
        raise CannotRestore(f"the database of {name} is in use ({who}): stop the services first")


async def _is_empty(kafka: KafkaSettings) -> bool:
    partitions = await partitions_of(kafka, list(TOPICS))
    if not partitions:
        raise CannotRestore("Kafka has none of the topics: create them with `baton topics apply` first")
    consumer = AIOKafkaConsumer(**broker.connection(kafka, client_id="baton.restore"))
    await consumer.start()
    try:
        return not any((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()


async def _send_contacts(kafka: KafkaSettings, path: Path, *, without: Collection[str]) -> int:
    producer = broker.producer(kafka, client_id="baton.restore")
    await producer.start()
    sent = 0
    try:
        waiting: list[Any] = []
        with gzip.open(path, "rt") as file:
            for line in file:
                record = json.loads(line)
                if record["value"] is not None and base64.b64decode(record["key"]).decode() in without:
                    continue
                value = record["value"]
                waiting.append(
                    await producer.send(
                        kafka.topic_prefix + CONTACT_TOPIC,
                        key=base64.b64decode(record["key"]),
                        value=None if value is None else base64.b64decode(value),
                        headers=[(name, base64.b64decode(content)) for name, content in record["headers"]],
                    )
                )
                if len(waiting) == PAGE:
                    sent += await _acknowledged(waiting)
        sent += await _acknowledged(waiting)
    finally:
        await producer.stop()
    return sent


async def _acknowledged(waiting: list[Any]) -> int:
    for one in waiting:
        await one
    count = len(waiting)
    waiting.clear()
    return count


def _name(url: str) -> str:
    return postgres_tools.libpq_environment(url)["PGDATABASE"]
