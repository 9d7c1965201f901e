"""Where the time of a lead goes in qualification: `python -m tests.bench.profile_b3`, without Kafka.

Applies batches as the consumer does, on a PostgreSQL of its own, first with the service's handlers and then with the
claims only. Prints microseconds a lead: wall, this process's CPU, and each statement as PostgreSQL counts it.
With `--distinct` no two leads have the same features, so that no kept answer is used twice.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from baton_kit.apply import Batch, Subscription, apply_batches
from baton_kit.db import raw
from baton_kit.envelope import event
from baton_kit.runtime import leave_to_the_process
from baton_kit.testing import FakeRecord, Harness, open_harness, record
from baton_local.postgres import Postgres
from baton_local.process import free_ports
from qualification.app import App
from qualification.service import SERVICE

from .b3_qualification import TOPIC, claims_only, lead
from .prepare import AGREEMENT

BATCH, WARM, MEASURED = 500, 1_000, 10_000


async def measure(server: Postgres, *, calls: bool, distinct: bool) -> None:
    """Print the figures of one run."""
    say = Console(width=120, highlight=False, markup=False).print
    async with open_harness(SERVICE, server, at=datetime.now(UTC)) as h:
        await agree(h)
        async with h.db.begin() as tx:
            await (await raw(tx)).execute("CREATE EXTENSION pg_stat_statements")
        at = datetime.now(UTC) - timedelta(hours=1)
        leads = [lead(n, at=at) for n in range(WARM + 2 * MEASURED)]
        if distinct:
            for n, x in enumerate(leads):  # on the same side of the agreement's only limit of a budget
                x.features.budget = 10_000 + n if x.features.budget >= 10_000 else -1 - n
        records = [record(event(x, key=x.lead_id, occurred_at=at), offset=n) for n, x in enumerate(leads)]
        leave_to_the_process()
        for name, subscription in (("qualification", SERVICE.subscriptions[0]), ("claims only", claims_only())):
            await apply(h, subscription, records[:WARM])
            async with h.db.begin() as tx:
                await (await raw(tx)).execute("SELECT pg_stat_statements_reset()")
            wall, cpu = time.perf_counter(), time.process_time()
            await apply(h, subscription, records[WARM : WARM + MEASURED])
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            say(f"{name}: wall {wall / MEASURED * 1e6:.1f}, Python {cpu / MEASURED * 1e6:.1f} microseconds a lead")
            for row in await h.fetch(
                "SELECT total_exec_time * 1000 / $1::float8, wal_bytes / $1::float8, left(query, 60) "
                "FROM pg_stat_statements ORDER BY 1 DESC LIMIT 8",
                MEASURED,
            ):
                say(f"  {row[0]:6.1f} {row[1]:6.0f} bytes of WAL  {' '.join(row[2].split())}")
        if calls:
            profile = cProfile.Profile()
            with profile:
                await apply(h, SERVICE.subscriptions[0], records[WARM + MEASURED :])
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)


async def agree(h: Harness[App]) -> None:
    """Put the bench's agreement into force."""
    yaml = {"Content-Type": "application/yaml"}
    answer = await h.api.post("/v1/agreements", content=AGREEMENT.read_bytes(), headers=yaml)
    digest = answer.raise_for_status().json()["digest"]
    for department in ("marketing", "sales"):
        person = {"id": department, "name": department, "department": department}
        made = (await h.api.post("/v1/people", json=person)).raise_for_status()
        key = {"Authorization": f"Bearer {made.json()['api_key']}"}
        signed = await h.api.post(f"/v1/agreements/{digest}/signatures", json={"digest": digest}, headers=key)
        signed.raise_for_status()


async def apply(h: Harness[App], subscription: Subscription[Any], records: list[FakeRecord]) -> None:
    """Apply the records batch by batch, a transaction each."""
    for n in range(0, len(records), BATCH):
        async with h.db.begin() as tx:
            await apply_batches(tx, h.app, subscription, [Batch(TOPIC, 0, records[n : n + BATCH])])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile_b3")
    parser.add_argument("--calls", action="store_true", help="also profile the calls; slows them down unevenly")
    parser.add_argument("--distinct", action="store_true", help="leads of which no two are alike")
    chosen = parser.parse_args()
    settings = {"shared_preload_libraries": "pg_stat_statements"}
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "data", port=free_ports(1)[0], password="bench", settings=settings)
        with server:
            uvloop.run(measure(server, calls=chosen.calls, distinct=chosen.distinct))


if __name__ == "__main__":
    main()
