"""A backup, brought back onto an empty machine and in place: nothing is lost, and nothing happens twice.

Each test goes on from what the one before it left: the leads, the backup, the machine that is gone.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from baton.catalogue import EVENTS, TOPICS
from baton_demo.caught_up import caught_up, until
from baton_demo.place import Client, Memory, Place
from baton_demo.setup import agree, hire
from baton_local.services import ROLES
from baton_local.stack import Stack, running_stack

LEADS = 30
MODELS = ("first", "linear")


@dataclass(slots=True)
class Site:
    """The system, wherever it runs at the moment, and what is sent to it."""

    root: Path
    life: ExitStack = field(default_factory=ExitStack)
    running: Stack | None = None
    door: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    contacts: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def stack(self) -> Stack:
        assert self.running is not None
        return self.running

    @property
    def backup(self) -> Path:
        return self.root / "backup"

    def start(self, home: Path, *, servers_only: bool = False) -> None:
        made = running_stack(home, fsync=False, say=Console(file=sys.stderr).print, servers_only=servers_only)
        self.running = self.life.enter_context(made)

    def stop(self) -> None:
        self.life.close()
        self.running = None

    def move(self, home: Path, *, backup: Path) -> dict[str, Any]:
        """Lose this machine, and go on from a backup on an empty one; what the command says of it."""
        old = self.stack.home
        secrets = (old / "secrets.json").read_bytes()
        self.stop()
        shutil.rmtree(old)
        home.mkdir()
        (home / "secrets.json").write_bytes(secrets)
        (home / "secrets.json").chmod(0o600)
        self.start(home, servers_only=True)
        done = self.baton("restore", str(backup), "--yes", "--json")
        assert done.returncode == 0, done.stderr
        self.stack.start_roles()
        self.wait()
        restored: dict[str, Any] = json.loads(done.stdout)
        return restored

    def stop_roles(self) -> None:
        every = [(service, role) for service in self.stack.services for role in ROLES]
        with ThreadPoolExecutor(len(every)) as pool:
            assert all(pool.map(lambda one: self.stack.stop_role(*one), every))

    def baton(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "baton"), *words],
            env={**os.environ, "BATON_HOME": str(self.stack.home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ask(self, work: Any) -> Any:
        """Run `work(client)` and return what it returns."""

        async def go() -> Any:
            async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
                return await work(Client(Place.of(self.stack), http))

        return asyncio.run(go())

    def wait(self) -> None:
        self.ask(caught_up)

    def deliver(self, numbers: range) -> Counter[str]:
        """Send the leads of these numbers, the same bytes for the same number; what the ledger counts of it."""
        before = self.ledger()
        with httpx2.Client(timeout=30, trust_env=False) as http:
            for number in numbers:
                body = json.dumps(
                    {
                        "submission_id": f"delivery-{number}",
                        "name": f"Person {number}",
                        "email": f"person{number}@firm{number}.example.com",
                        "phone": f"+4930{number:07d}",
                        "job_title": "Head of Sales" if number % 3 else "Assistant",
                        "country": "DE",
                        "utm_source": "newsletter" if number % 2 else "google",
                        "utm_medium": "email" if number % 2 else "cpc",
                        "form_id": "demo" if number % 3 else "ebook",
                    }
                )
                answer = http.post(
                    self.stack.public_url("lead-intake") + self.door,
                    content=body,
                    headers={"content-type": "application/json"},
                )
                assert answer.status_code == 200, answer.text
        # Not the answers: a repeated delivery is told what the first one was told.
        after = self.ledger()
        return Counter({name: after[name] - before[name] for name in after if after[name] != before[name]})

    def ledger(self) -> Counter[str]:
        """How many entries ended how."""
        [found] = self.ask(_balance)
        counts = {name: n for name, n in found.items() if isinstance(n, int) and name not in ("balanced", "entries")}
        return Counter(counts)

    def counts(self) -> dict[str, Any]:
        """What each service says over REST."""

        async def read(client: Client) -> dict[str, Any]:
            decisions = await client.get("qualification", "/v1/reports/decisions")
            attribution = await client.get("attribution", "/v1/reports/attribution", model=list(MODELS), by="channel")
            return {
                "leads": sorted(one["id"] for one in await client.pages("lead-intake", "/v1/leads")),
                "balance": await _balance(client),
                "decisions": (decisions["decisions"], decisions["qualified"], decisions["by_outcome"]),
                "handoffs": {
                    one["id"]: (one["lead_id"], one["state"], one["version"])
                    for one in await client.pages("sales-feedback", "/v1/handoffs")
                },
                "deals": {
                    one["id"]: (one["state"], one["amount_minor"])
                    for one in await client.pages("sales-feedback", "/v1/deals")
                },
                "credits": attribution["rows"],
                "totals": attribution["totals"],
                "funnel": (await client.get("attribution", "/v1/reports/funnel"))["stages"],
            }

        found: dict[str, Any] = self.ask(read)
        return found

    def told(self) -> list[tuple[str, str, str, int]]:
        """Type, key, id and sequence of every event in the log."""
        return asyncio.run(_told(self.stack.bootstrap_servers))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    one = Site(root)
    with one.life:
        one.start(root / "first")
        one.ask(prepare(one))
        assert one.deliver(range(LEADS)) == {"created": LEADS}
        one.wait()
        one.ask(sell)
        one.wait()
        yield one
        one.life.close()


def prepare(site: Site) -> Any:
    async def work(client: Client) -> None:
        await hire(client)
        await agree(client, Memory(seed=1, leads=LEADS, until=datetime.now(UTC).isoformat()))
        made = await client.post("lead-intake", "/v1/sources", {"id": "form", "provider": "generic", "name": "Form"})
        site.door = made["webhook_url"]

    return work


async def sell(client: Client) -> None:
    """Accept every second handoff; the first of them becomes a deal that is won."""
    handoffs = sorted(await client.pages("sales-feedback", "/v1/handoffs"), key=lambda one: str(one["lead_id"]))
    assert len(handoffs) > 10
    for number, one in enumerate(handoffs[::2]):
        await client.post("sales-feedback", f"/v1/handoffs/{one['id']}/accept", {}, key=f"accept-{number}")
    await client.post("sales-feedback", f"/v1/handoffs/{handoffs[1]['id']}/reject", {"reason": "no_need"}, key="reject")
    opened = {"lead_id": handoffs[0]["lead_id"], "amount_minor": 990_000, "currency": "EUR"}
    deal = await client.post("sales-feedback", "/v1/deals", opened, key="deal")
    won = {"amount_minor": 1_000_001, "currency": "EUR"}
    await client.post("sales-feedback", f"/v1/deals/{deal['id']}/won", won, key="won")


def test_a_backup_is_taken_while_everything_runs(site: Site) -> None:
    site.before = site.counts()
    site.contacts = sorted({row[1:] for row in site.told() if row[0].endswith("ContactChanged")})
    assert len(site.before["leads"]) == len({lead for lead, _, _ in site.contacts}) == LEADS
    assert len(site.before["handoffs"]) > 10
    [total] = site.before["totals"]
    assert (total["currency"], total["total_minor"]) == ("EUR", 1_000_001)

    done = site.baton("backup", str(site.backup), "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["contacts"]["records"] == LEADS
    assert set(manifest["databases"]) == set(site.stack.services)
    assert site.backup.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in site.backup.iterdir())
    # The relays go on at once.
    assert site.deliver(range(1)) == {"duplicate": 1}
    site.wait()


def test_a_backup_is_never_written_over(site: Site) -> None:
    manifest = (site.backup / "manifest.json").read_bytes()
    assert site.baton("backup", str(site.backup)).returncode == 1
    assert (site.backup / "manifest.json").read_bytes() == manifest


def test_nothing_is_restored_under_running_services(site: Site) -> None:
    now = site.counts()
    done = site.baton("restore", str(site.backup), "--yes")
    assert done.returncode == 1
    assert "stop the services first" in done.stderr
    assert site.counts() == now


def test_a_damaged_backup_is_refused_before_anything_is_touched(site: Site) -> None:
    damaged = shutil.copytree(site.backup, site.root / "damaged")
    with (damaged / "attribution.dump").open("ab") as file:
        file.write(b"x")
    done = site.baton("restore", str(damaged), "--yes")
    assert done.returncode == 1
    assert "attribution.dump is missing or was changed" in done.stderr


def test_in_place_what_was_wrecked_comes_back_and_the_log_is_read_on(site: Site) -> None:
    before = site.counts()
    site.stop_roles()
    asyncio.run(_wreck(site.stack.database_url("qualification", owner=True)))
    asyncio.run(_wreck(site.stack.database_url("attribution", owner=True)))
    done = site.baton("restore", str(site.backup), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["log"] == "kept"
    site.stack.start_roles()
    site.wait()
    # One delivery came after the backup: its receipt is gone with it, and it can come again.
    assert site.counts() == site.before
    assert site.deliver(range(1)) == {"duplicate": 1}
    assert site.counts() == before


def test_an_empty_machine_has_the_same_counts(site: Site) -> None:
    restored = site.move(site.root / "second", backup=site.backup)
    assert (restored["log"], restored["contacts"]) == ("empty", LEADS)
    assert site.counts() == site.before


def test_contacts_are_back_on_the_topic(site: Site) -> None:
    assert sorted({row[1:] for row in site.told() if row[0].endswith("ContactChanged")}) == site.contacts


def test_no_lead_is_handed_over_twice(site: Site) -> None:
    qualified = {row[1:] for row in site.told() if row[0].endswith("LeadQualified")}
    leads = [key for key, _, _ in qualified]
    assert sorted(leads) == sorted(set(leads))
    assert sorted(leads) == sorted(lead for lead, _, _ in site.before["handoffs"].values())


def test_repeated_deliveries_are_duplicates(site: Site) -> None:
    assert site.deliver(range(LEADS)) == {"duplicate": LEADS}
    site.wait()
    now = site.counts()
    assert {**now, "balance": None} == {**site.before, "balance": None}


def test_new_leads_flow_to_the_end(site: Site) -> None:
    assert site.deliver(range(LEADS, LEADS + 6)) == {"created": 6}
    site.wait()
    now = site.counts()
    new = set(now["leads"]) - set(site.before["leads"])
    handed_over = {lead for lead, _, _ in now["handoffs"].values()}
    assert len(new) == 6
    assert len(new & handed_over) == 4
    assert {key: now["handoffs"][key] for key in site.before["handoffs"]} == site.before["handoffs"]
    assert site.baton("doctor").returncode == 0


def test_the_command_reads_what_was_restored(site: Site) -> None:
    lines = site.baton("events", "tail", "--since", "1d", "--no-follow", "--contacts", "--json").stdout.splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(row[2] for row in site.told())
    rejected = json.loads(site.baton("report", "rejections", "--json").stdout)
    assert rejected["by_reason"] == [{"family": "intent", "reason": "no_need", "count": 1}]
    lead = next(lead for lead, state, _ in site.before["handoffs"].values() if state == "won")
    told = site.baton("lead", "show", lead)
    assert told.returncode == 0, told.stderr
    assert "10,000.01 EUR" in told.stdout
    assert "Why: agreement version 1" in told.stdout


def test_a_backup_under_load_is_one_picture(site: Site) -> None:
    earlier = len(site.counts()["leads"])
    backup, enough = site.root / "under-load", threading.Event()

    def deliver_on() -> int:
        sent = 0
        while not enough.is_set():
            site.deliver(range(100 + sent, 120 + sent))
            sent += 20
        return sent

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(deliver_on)
        try:
            done = site.baton("backup", str(backup))
        finally:
            enough.set()
        sent = sending.result()
    assert done.returncode == 0, done.stderr
    site.wait()

    site.move(site.root / "third", backup=backup)
    now = site.counts()
    saved = len(now["leads"]) - earlier
    assert 0 < saved < sent
    # No service knows a lead that lead-intake does not, and each knows all of them.
    agree_on_leads(now)

    # The senders come again: what the backup held is a repeat, the others are new.
    assert site.deliver(range(100, 100 + sent)) == {"duplicate": saved, "created": sent - saved}
    site.wait()
    now = site.counts()
    assert len(now["leads"]) == earlier + sent
    agree_on_leads(now)


def agree_on_leads(counts: dict[str, Any]) -> None:
    _, qualified, outcomes = counts["decisions"]
    handed_over = [lead for lead, _, _ in counts["handoffs"].values()]
    stages = {stage["stage"]: stage["leads"] for stage in counts["funnel"]}
    assert sum(outcomes.values()) == stages["lead"] == len(counts["leads"])
    assert len(handed_over) == qualified == stages["qualified"]
    assert set(handed_over) <= set(counts["leads"])


async def _balance(client: Client) -> list[dict[str, Any]]:
    found = await client.get("lead-intake", "/v1/receipts/balance")
    assert found["balanced"]
    # Of a source without an entry nothing is said.
    return list(found["items"]) or [{}]


async def _wreck(url: str) -> None:
    connection = await asyncpg.connect(url)
    names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.execute(f"DROP TABLE {', '.join(row['tablename'] for row in names)} CASCADE")
    await connection.close()


async def _told(bootstrap_servers: str) -> list[tuple[str, str, str, int]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(name, n) for name, topic in TOPICS.items() for n in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        told: list[tuple[str, str, str, int]] = []

        async def read_all() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                told.extend(_row(record) for record in records)
            return all([await consumer.position(p) >= ends[p] for p in partitions])

        await until("the log is read", read_all)
        return told
    finally:
        await consumer.stop()


def _row(record: Any) -> tuple[str, str, str, int]:
    headers = {name: value.decode() for name, value in record.headers}
    body = EVENTS[headers["ce_type"]].FromString(record.value or b"")
    return headers["ce_type"], record.key.decode(), headers["ce_id"], getattr(body, "sequence", 0)
