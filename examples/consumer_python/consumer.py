"""Print every qualified lead and every closed deal once: a system of your own that lives on Baton's events.

    KAFKA=127.0.0.1:19092 python consumer.py

Delivery is at least once; the ids kept in `crm-sync.sqlite` make it once. Event types, fields and enum values
that this program does not know are passed over: they are how the contract grows.
"""

import asyncio
import contextlib
import os
import signal
import sqlite3

from aiokafka import AIOKafkaConsumer
from google.protobuf.message import Message

from baton.catalogue import TOPIC_OF
from baton.qualification.v1.qualification_pb2 import LeadQualified
from baton.sales.v1.sales_pb2 import DealClosed, DealOutcome

WANTED: dict[str, type[Message]] = {m.DESCRIPTOR.full_name: m for m in (LeadQualified, DealClosed)}


def effect(event: Message) -> None:
    """What your system does with one event. Keep it in the transaction of `claimed` to have it once."""
    if isinstance(event, LeadQualified):
        print(f"qualified {event.lead_id} score={event.score} threshold={event.threshold}", flush=True)
    elif isinstance(event, DealClosed) and event.outcome == DealOutcome.DEAL_OUTCOME_WON:
        print(f"won {event.deal_id} {event.amount_minor} {event.currency} (minor units)", flush=True)


async def consume(seen: sqlite3.Connection) -> None:
    prefix = os.environ.get("KAFKA_TOPIC_PREFIX", "")
    consumer = AIOKafkaConsumer(
        *{prefix + TOPIC_OF[name] for name in WANTED},
        bootstrap_servers=os.environ.get("KAFKA", "127.0.0.1:19092"),
        group_id="crm-sync.print",  # <your service>.<what for>
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # the topics keep their events for ever: start at the first
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    async with consumer:
        async for record in consumer:
            headers = {key: value.decode() for key, value in record.headers}
            event = WANTED.get(headers.get("ce_type", ""))
            if event is not None:
                with seen:  # one transaction: the claim and the effect
                    claim = "INSERT INTO claimed VALUES (?) ON CONFLICT DO NOTHING"
                    if seen.execute(claim, [headers["ce_id"]]).rowcount:
                        effect(event.FromString(record.value))
            await consumer.commit()


if __name__ == "__main__":
    database = sqlite3.connect(os.environ.get("SEEN", "crm-sync.sqlite"))
    database.execute("CREATE TABLE IF NOT EXISTS claimed (ce_id TEXT PRIMARY KEY)")
    with contextlib.suppress(asyncio.CancelledError):  # SIGTERM
        asyncio.run(consume(database))
