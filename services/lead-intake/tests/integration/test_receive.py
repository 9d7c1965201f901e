"""A batch does what its deliveries would have done one by one; nothing acknowledged is lost by a kill."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_samples import BODIES

from baton_kit.db import raw
from baton_kit.testing import SEAL_KEY, Harness
from lead_intake.app import App
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import Delivery, delivery_of
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS

SOURCE = Source("form", "generic", secrets=("x" * 8,), default_region="ES")
TABLES = ("receipt", "receipt_entry", "identity_key", "lead", "contact", "touch", "proposed_merge", "outbox")

PEOPLE = st.tuples(
    st.integers(0, 6),  # the provider's key: repeats happen
    st.sampled_from(["", "a@example.com", "b@example.com", "c@example.com"]),
    st.sampled_from(["", "+34600112201", "+34600112202", "+34600112203"]),
    st.sampled_from([{}, {"company": "Labs"}, {"job_title": "CEO"}, {"utm_source": "google"}]),
    st.integers(-2, 2),  # days: late ones happen
)


def deliveries_of(intake: Harness[App], people: Sequence[Any]) -> list[Delivery]:
    found = []
    for key, email, phone, more, days in people:
        at = intake.clock.now() + timedelta(days=days)
        body = BODIES["generic"](f"k{key}", email, phone, submitted_at=at.isoformat(), **more)
        incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", intake.clock.now())
        found.append(delivery_of(incoming, SOURCE, PROVIDERS["generic"].parse(incoming, SOURCE), body=body))
    return found


async def state_of(intake: Harness[App]) -> dict[str, Any]:
    """Everything stored, without what the database numbers by itself."""
    state: dict[str, Any] = {}
    for table in TABLES:
        columns = "event_id, topic, key, value" if table == "outbox" else "*"
        order = "key, id" if table == "outbox" else "1, 2"
        state[table] = [tuple(row) for row in await intake.fetch(f"SELECT {columns} FROM {table} ORDER BY {order}")]
    async with intake.db.begin() as tx:
        await (await raw(tx)).execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
    return state


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=st.lists(PEOPLE, min_size=1, max_size=10), cut=st.integers(0, 10))
async def test_a_batch_is_always_the_same_as_one_by_one(intake: Harness[App], people: list[Any], cut: int) -> None:
    deliveries = deliveries_of(intake, people)
    results = []
    for delivery in deliveries:
        async with intake.db.begin() as tx:
            results += await receive(tx, intake.app, [delivery])
    alone = await state_of(intake)
    batched = []
    for batch in (deliveries[:cut], deliveries[cut:]):
        if batch:
            async with intake.db.begin() as tx:
                batched += await receive(tx, intake.app, batch)
    together = await state_of(intake)
    assert batched == results
    for table in TABLES:
        assert together[table] == alone[table], table


async def test_a_killed_process_keeps_what_it_acknowledged_and_the_ledger_agrees(
    intake: Harness[App], tmp_path: Path
) -> None:
    program = tmp_path / "send.py"
    program.write_text(_SENDER)
    url = intake.app.settings.database.url.get_secret_value()
    environment = os.environ | {
        "BATON_DATABASE__URL": url,
        "BATON_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BATON_SEAL_KEY": SEAL_KEY,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    for place in ("intake.after_locks:3", "intake.after_insert:4", "intake.before_commit:5", "intake.after_commit:6"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), place, env=environment | {"BATON_FAILPOINT": place}, stdout=subprocess.PIPE
        )
        told, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == -signal.SIGKILL, place
        acknowledged = set(told.decode().split())
        assert acknowledged, place
        stored = {
            row["key"]
            for row in await intake.fetch(
                "SELECT key FROM receipt_entry WHERE outcome NOT IN ('duplicate', 'quarantined')"
            )
        }
        assert acknowledged <= stored, place
    balance = (await intake.api.get("/v1/receipts/balance")).json()
    assert balance["balanced"] is True
    [agree] = await intake.fetch(
        """
        SELECT (SELECT count(*) FROM lead) = (SELECT count(*) FROM receipt_entry WHERE outcome = 'created') AS leads,
               (SELECT count(*) FROM touch) = (SELECT count(*) FROM receipt_entry
                                               WHERE outcome IN ('created', 'matched', 'touch_only')) AS touches,
               (SELECT count(*) FROM contact) = (SELECT count(*) FROM lead) AS contacts,
               (SELECT count(DISTINCT key) FROM outbox) = (SELECT count(*) FROM lead) AS events
        """
    )
    assert all(agree.values())


_SENDER = """
import asyncio, sys
from datetime import UTC, datetime
from intake_samples import BODIES
from lead_intake.app import open_app
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import delivery_of
from lead_intake.settings import IntakeSettings
from lead_intake.sources import PROVIDERS

SOURCE = Source("form", "generic", secrets=("x" * 8,))

async def main():
    async with open_app(IntakeSettings()) as app:
        for n in range(500):
            batch = []
            for k in range(5):
                key = f"{sys.argv[1]}-{n}-{k}"
                body = BODIES["generic"](key, f"p{(n * 3 + k) % 40}@example.com")
                i = Incoming("POST", "", {"content-type": "application/json"}, body, "", datetime.now(UTC))
                d = delivery_of(i, SOURCE, PROVIDERS["generic"].parse(i, SOURCE), body=body)
                batch.append((key, app.commits.submit(app, d)))
            for key, future in batch:
                await future
                print(key, flush=True)

asyncio.run(main())
"""
