"""B3: the qualification worker draining a backlog, against the same loop with the inbox claim only."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaProducer
from google.protobuf.timestamp_pb2 import Timestamp

from baton.catalogue import TOPICS
from baton.lead.v1.lead_pb2 import LeadCreated, LeadFeatures
from baton_kit import broker
from baton_kit.apply import Subscription
from baton_kit.consumer import Consumer
from baton_kit.db import Tx
from baton_kit.envelope import Received, encode_headers
from baton_kit.ids import new_id
from baton_kit.runtime import leave_to_the_process
from baton_kit.settings import DatabaseSettings, KafkaSettings
from baton_kit.topics import apply_topics
from baton_local.stack import Stack
from qualification.app import open_app
from qualification.service import SERVICE

from .result import Figure, Say

TOPIC = "baton.lead.v1"
COUNTRIES = ["DE", "AT", "CH", "NL", "PL", "GB", "FR", "ES", "US", "RU"]
LEVELS = ["", "owner", "c_level", "vp", "director", "manager", "specialist"]


async def measure(stack: Stack, say: Say, *, rounds: int, leads: int) -> Figure:
    """Measure B3 in this process, on the stack's servers; the agreement in force decides."""
    figure = Figure(
        "B3",
        "qualification worker draining a backlog, 20-rule agreement",
        "leads/s",
        "ratio >= 0.3; >= 2,000 leads/s",
    )
    for n in range(rounds):
        prefix = f"bench{secrets.token_hex(3)}."
        await fill(stack, prefix=prefix, leads=leads)
        subject = await drain(stack, list(SERVICE.subscriptions), prefix=prefix, leads=leads)
        bare = await drain(stack, [claims_only()], prefix=prefix, leads=leads)
        figure.pairs.append((subject, bare))
        say(f"B3 {n + 1}/{rounds}: {subject:,.0f}/s of {bare:,.0f}/s = {subject / bare:.2f}")
    result = figure.as_json()
    figure.met = result["ratio"] >= 0.3 and result["value"] >= 2000
    return figure


def claims_only() -> Subscription[Any]:
    """Return the same loop with handlers that do nothing: position, locks and claims remain."""

    async def nothing(tx: Tx, app: Any, events: Sequence[Received[Any]]) -> None:
        return None

    [subscription] = [s for s in SERVICE.subscriptions if TOPIC in s.topics]
    return Subscription(
        group=f"bench.floor.{secrets.token_hex(3)}",
        topics=subscription.topics,
        handlers=dict.fromkeys(subscription.handlers, nothing),
        ignores=subscription.ignores,
        largest_batch=subscription.largest_batch,
    )


async def fill(stack: Stack, *, prefix: str, leads: int) -> None:
    """Put a backlog of new leads on topics of their own."""
    settings = KafkaSettings(bootstrap_servers=stack.bootstrap_servers, topic_prefix=prefix)
    admin = broker.admin(settings, client_id="bench")
    await admin.start()
    await apply_topics(admin, TOPICS.values(), prefix=prefix)
    await admin.close()
    producer: AIOKafkaProducer = broker.producer(settings, client_id="bench")
    await producer.start()
    at = datetime.now(UTC) - timedelta(hours=1)
    sent = []
    for n in range(leads):
        body = lead(n, at=at)
        headers = encode_headers(
            id=new_id(), type=body.DESCRIPTOR.full_name, source="/bench", key=body.lead_id,
            occurred_at=at, traceparent=None, replay=False,
        )  # fmt: skip
        sent.append(
            await producer.send(
                prefix + TOPIC, key=body.lead_id.encode(), value=body.SerializeToString(), headers=headers
            )
        )
    await asyncio.gather(*sent)
    await producer.stop()


def lead(n: int, *, at: datetime) -> LeadCreated:
    """Return the n-th lead; about a half of them qualify."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return LeadCreated(
        lead_id=new_id(),
        sequence=1,
        occurred_at=stamp,
        source_id="bench",
        provider="typeform",
        form_id="demo",
        receipt_id=new_id(),
        features=LeadFeatures(
            tables_version=1,
            has_email=True,
            has_phone=n % 3 > 0,
            has_name=True,
            has_company=True,
            email_kind=["business", "free", "business", "role"][n % 4],
            country=COUNTRIES[n % len(COUNTRIES)],
            language="de",
            employees=[0, 10, 50, 250, 1000][n % 5],
            job_level=LEVELS[n % len(LEVELS)],
            job_function=["marketing", "it", "sales"][n % 3],
            timeline=["now", "quarter", "", "later"][n % 4],
            budget=[0, 5000, 20000][n % 3],
            channel="paid_search",
            provider="typeform",
            form_id="demo",
        ),
    )


async def drain(stack: Stack, subscriptions: Sequence[Subscription[Any]], *, prefix: str, leads: int) -> float:
    """Return leads a second from the first poll until the backlog is applied."""
    settings = SERVICE.settings(
        database=DatabaseSettings(url=stack.database_url("qualification")),
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers, topic_prefix=prefix),
        seal_key=stack.secrets.seal_key,
        log_level="error",
    )
    async with open_app(settings) as app:
        consumers = [
            # Positions are kept by group and topic: a group of this run's own begins at the beginning.
            Consumer(app, replace_group(s, f"{s.group}.{prefix}"), client_id="bench")
            for s in subscriptions
        ]
        leave_to_the_process()  # as a worker does when it starts
        tasks = [asyncio.create_task(c.run()) for c in consumers]
        while sum(c.applied for c in consumers) == 0:  # noqa: ASYNC110 - the loop under test has no event for this
            await asyncio.sleep(0.001)
        first, began = sum(c.applied for c in consumers), time.perf_counter()
        while (applied := sum(c.applied for c in consumers)) < leads:
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)
        rate = (applied - first) / (time.perf_counter() - began)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return rate


def replace_group(subscription: Subscription[Any], group: str) -> Subscription[Any]:
    """Return the subscription under another group."""
    return Subscription(
        group=group,
        topics=subscription.topics,
        handlers=subscription.handlers,
        ignores=subscription.ignores,
        largest_batch=subscription.largest_batch,
    )
