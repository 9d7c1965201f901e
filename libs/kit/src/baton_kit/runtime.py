"""A process of a service: named tasks under one group, one role, one way to stop."""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Generic

import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp

from baton_kit import migration, ring, telemetry, vitals
from baton_kit.apply import App, KitApp, Subscription
from baton_kit.consumer import Consumer
from baton_kit.db import open_database, raw
from baton_kit.health import Check, Note, create_ops
from baton_kit.migration import LANES
from baton_kit.outages import is_outage
from baton_kit.policy import ALL, create_api_key
from baton_kit.published import Published
from baton_kit.relay import Relay
from baton_kit.settings import ServiceSettings, load_settings
from baton_kit.telemetry import log
from baton_kit.web import Server, server

DRAIN_SECONDS = 25

Task = Callable[[App], Awaitable[None]]
Command = Callable[[App, list[str]], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Service(Generic[App]):
    """What a service is made of; `python -m <package> <role>` runs one role of it."""

    name: str
    package: str
    settings: type[ServiceSettings]
    open_app: Callable[[Any], AbstractAsyncContextManager[App]]
    create_api: Callable[[App], FastAPI]
    create_public: Callable[[App], ASGIApp] | None = None
    subscriptions: tuple[Subscription[App], ...] = ()
    api_tasks: Mapping[str, Task[App]] = field(default_factory=lambda: MappingProxyType({}))
    worker_tasks: Mapping[str, Task[App]] = field(default_factory=lambda: MappingProxyType({}))
    worker_notes: Mapping[str, Callable[[App], Awaitable[str]]] = field(default_factory=lambda: MappingProxyType({}))
    commands: Mapping[str, Command[App]] = field(default_factory=lambda: MappingProxyType({}))


def run(service: Service[App], argv: list[str] | None = None) -> int:
    """Run one role until it is told to stop; returns the exit code: 0 done, 1 failed, 2 called wrongly."""
    arguments = sys.argv[1:] if argv is None else argv
    roles = ["api", "worker", "migrate", *service.commands]
    if not arguments or arguments[0] not in roles:
        print(f"usage: python -m {service.package} {{{'|'.join(roles)}}}", file=sys.stderr)  # noqa: T201
        return 2
    role, rest = arguments[0], arguments[1:]
    settings = load_settings(service.settings)
    if role == "migrate":
        migrate(service, settings)
        return 0
    provider = telemetry.configure(
        service=service.name,
        role=role,
        log_level=settings.log_level,
        otlp_endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_sample_ratio,
    )
    try:
        if role in service.commands:
            return uvloop.run(_command(service, settings, service.commands[role], rest))
        uvloop.run(_serve(service, settings, role))
        return 0
    except Exception as error:
        found = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        log.error("process_failed", errors=[type(e).__name__ for e in found], exc_info=error)
        return 1
    finally:
        provider.shutdown()


def migrate(service: Service[App], settings: ServiceSettings) -> None:
    """Bring the database to the newest revision and store the operator's first key, if one is configured."""
    migration.migrate(service.package, url=settings.database.url.get_secret_value())
    if settings.bootstrap_api_key is not None:
        asyncio.run(_store_first_key(service, settings, settings.bootstrap_api_key.get_secret_value()))


async def _store_first_key(service: Service[App], settings: ServiceSettings, key: str) -> None:
    db = open_database(settings.database, application_name=f"{service.name}.migrate", pooled=False)
    async with db.begin() as tx:
        await create_api_key(tx, name="operator", scopes=[ALL], key=key)
    await db.close()


async def _command(service: Service[App], settings: ServiceSettings, command: Command[App], rest: list[str]) -> int:
    async with service.open_app(settings) as app:
        return await command(app, rest)


async def _serve(service: Service[App], settings: ServiceSettings, role: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async with service.open_app(settings) as app:
        parts = api_parts(service, app) if role == "api" else worker_parts(service, app)
        checks = {"database": _database_check(app), "stopping": _stopping_check(stop), **parts.checks}
        if settings.http.ops_port is not None:
            parts.servers["ops"] = server(
                create_ops(checks, notes=parts.notes),
                host=settings.http.ops_host,
                port=settings.http.ops_port,
                drain_seconds=1,
            )
        leave_to_the_process()
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(task, name=name) for name, task in parts.tasks.items()}
            serving = {name: group.create_task(_served(s, name), name=name) for name, s in parts.servers.items()}
            log.info("process_started", tasks=sorted([*tasks, *serving]))
            await stop.wait()

            # Whatever does not hear its cancellation must not keep the process beyond its time.
            loop.call_later(DRAIN_SECONDS + 2, os._exit, 1)
            # 1. Not ready any more; 2. finish the requests under way; 3. stop the work; 4. go.
            log.info("process_stops")
            started = time.monotonic()
            fronts = [name for name in serving if name != "ops"]
            for name in fronts:
                parts.servers[name].should_exit = True
            await asyncio.wait([serving[name] for name in fronts] or [asyncio.create_task(asyncio.sleep(0))],
                               timeout=DRAIN_SECONDS)  # fmt: skip
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values() or [asyncio.create_task(asyncio.sleep(0))],
                               timeout=max(1.0, DRAIN_SECONDS - (time.monotonic() - started)))  # fmt: skip
            for release in parts.releases:
                await release()
            for task in serving.values():
                if not task.done():
                    task.cancel()


def leave_to_the_process() -> None:
    """Take what was made so far out of garbage collection: it lives as long as the process, and is much to look at."""
    gc.collect()
    gc.freeze()


@dataclass(slots=True)
class Parts:
    """What a role consists of."""

    tasks: dict[str, Coroutine[Any, Any, None]] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)
    releases: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


def api_parts(service: Service[App], app: App) -> Parts:
    """Return the HTTP listeners and the tasks that must share their process."""
    http = app.settings.http
    parts = Parts(tasks={name: _named(task(app)) for name, task in service.api_tasks.items()})
    if http.port is not None:
        parts.servers["api"] = server(service.create_api(app), host=http.host, port=http.port)
    if http.public_port is not None and service.create_public is not None:
        parts.servers["public"] = server(
            service.create_public(app), host=http.public_host or http.host, port=http.public_port
        )
    return parts


def worker_parts(service: Service[App], app: App) -> Parts:
    """Return the relay of each lane, the consumers, the ring's maintenance, the gauges, and the service's own tasks."""
    relays = [Relay(app.db, app.settings.kafka, lane=lane) for lane in LANES]
    consumers = [Consumer(app, s, client_id=f"{service.name}.worker") for s in service.subscriptions]
    return Parts(
        tasks={
            **{f"relay.{relay.lane}": relay.run() for relay in relays},
            **{f"consumer.{c.subscription.group}": c.run() for c in consumers},
            "ring": ring.maintain(app.db, held=Published(app.db, app.settings.kafka)),
            "vitals": vitals.measure(app.db),
            **{name: _named(task(app)) for name, task in service.worker_tasks.items()},
        },
        checks={
            **{f"relay.{relay.lane}": _relay_check(relay) for relay in relays},
            **{f"consumer.{c.subscription.group}": _consumer_check(c) for c in consumers},
        },
        notes={name: partial(note, app) for name, note in service.worker_notes.items()},
        releases=[_release(relay) for relay in relays],
    )


async def _named(work: Awaitable[None]) -> None:
    await work


async def _served(one: Server, name: str) -> None:
    try:
        await one.serve()
    except SystemExit:
        # uvicorn exits where it should raise: the port is taken.
        log.error("listener_failed", listener=name, hint="its address cannot be used; is another process on the port?")
        raise RuntimeError(name) from None


def _release(relay: Relay) -> Callable[[], Awaitable[None]]:
    async def release() -> None:
        try:
            await relay.release()
        except Exception as error:
            if not is_outage(error):
                raise
            log.info("lease_left_to_run_out", lane=relay.lane)

    return release


def _database_check(app: KitApp) -> Check:
    async def check() -> str | None:
        try:
            async with asyncio.timeout(2), app.db.begin() as tx:
                await (await raw(tx)).fetchval("SELECT 1")
        except Exception as error:
            if not is_outage(error):
                raise
            return f"the database does not answer ({type(error).__name__})"
        return None

    return check


def _stopping_check(stop: asyncio.Event) -> Check:
    async def check() -> str | None:
        return "the process is stopping" if stop.is_set() else None

    return check


def _relay_check(relay: Relay) -> Check:
    async def check() -> str | None:
        return None if relay.healthy else "the relay cannot reach Kafka or its database"

    return check


def _consumer_check(consumer: Consumer[Any]) -> Check:
    async def check() -> str | None:
        return None if consumer.healthy else consumer.reason

    return check
