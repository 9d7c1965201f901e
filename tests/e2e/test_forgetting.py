"""A person is forgotten in the whole system: in every table, topic and log line, and after a restore as well.

Each test goes on from what the one before it left.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from rich.console import Console

from baton.catalogue import TOPICS
from baton_demo.caught_up import caught_up, until
from baton_demo.place import Client, Memory, Place
from baton_demo.setup import agree, hire
from baton_kit import ring
from baton_kit.db import open_database
from baton_kit.migration import LANES
from baton_kit.settings import DatabaseSettings
from baton_local.postgres import BIN
from baton_local.services import ROLES
from baton_local.stack import Stack, running_stack

MAIL = "Vera.Sobolevskaya@sobol-works.example"
MARKS = ("Vera.Sobolevskaya", "vera.sobolevskaya", "Sobolevskaya", "sobolevskaya", "4930555777", "gclid-Of-Vera-77")
OTHERS = 4
SOON = {
    "BATON_ERASURE_SWEEP_HOURS": "0.0006",
    "BATON_ERASURE_POLL_SECONDS": "0.5",
}


@dataclass(slots=True)
class Site:
    """The system and what the tests know of it."""

    root: Path
    life: ExitStack = field(default_factory=ExitStack)
    running: Stack | None = None
    door: str = ""
    lead: str = ""
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def stack(self) -> Stack:
        assert self.running is not None
        return self.running

    def start(self, home: Path, *, servers_only: bool = False) -> None:
        say = Console(file=sys.stderr).print
        self.running = self.life.enter_context(
            running_stack(home, fsync=False, say=say, servers_only=servers_only, env=SOON)
        )

    def baton(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "baton"), *words],
            env={**os.environ, "BATON_HOME": str(self.stack.home)},
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ask(self, work: Any) -> Any:
        async def go() -> Any:
            async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
                return await work(Client(Place.of(self.stack), http))

        return asyncio.run(go())

    def wait(self) -> None:
        self.ask(caught_up)

    def deliver(self, key: str, *, email: str, name: str, phone: str) -> None:
        body = {
            "submission_id": key,
            "name": name,
            "email": email,
            "phone": phone,
            "job_title": "Head of Sales",
            "country": "DE",
            "gclid": "gclid-Of-Vera-77" if "Sobol" in email else "",
            "message": f"Please call {name}",
            "form_id": "demo",
        }
        address = self.stack.public_url("lead-intake") + self.door
        assert httpx2.post(address, json=body, timeout=30, trust_env=False).status_code == 200

    def counts(self) -> dict[str, Any]:
        async def read(client: Client) -> dict[str, Any]:
            return {
                "leads": sorted(one["id"] for one in await client.pages("lead-intake", "/v1/leads")),
                "balance": (await client.get("lead-intake", "/v1/receipts/balance"))["items"],
                "decisions": (await client.get("qualification", "/v1/reports/decisions"))["by_outcome"],
                "evaluated": await self._evaluated(client),
                "money": (await client.get("attribution", "/v1/reports/attribution", model=["first"], by="channel"))[
                    "rows"
                ],
                "deals": [(d["id"], d["amount_minor"]) for d in await client.pages("sales-feedback", "/v1/deals")],
            }

        found: dict[str, Any] = self.ask(read)
        return found

    async def _evaluated(self, client: Client) -> list[Any]:
        """Every decision about the lead, evaluated again."""
        shown = await client.get("qualification", f"/v1/leads/{self.lead}/timeline")
        ids = [i["detail"]["decision_id"] for i in shown["items"] if i["kind"] == "decision"]
        assert ids
        verdicts = [await client.post("qualification", f"/v1/decisions/{id}/verification", {}) for id in ids]
        assert all(one["identical"] for one in verdicts)
        return verdicts

    def in_databases(self) -> list[str]:
        """Which marks of the person a dump of which database holds, in clear or as bytes."""
        found = []
        for service in self.stack.services:
            url = self.stack.database_url(service, owner=True)
            done = subprocess.run(
                [str(BIN / "pg_dump"), "--data-only", "--dbname", url], capture_output=True, check=False, timeout=60
            )
            assert done.returncode == 0, done.stderr
            assert b"COPY public.outbox_s00" in done.stdout
            found += [
                f"{mark} in {service}"
                for mark in MARKS
                if mark.encode() in done.stdout or mark.encode().hex().encode() in done.stdout
            ]
        return found

    def in_segments(self) -> list[str]:
        """Which marks the topics still hold: read from their beginning, and as bytes of the files."""
        found = [f"{mark} in {topic}" for topic, mark in asyncio.run(_in_topics(self.stack.bootstrap_servers))]
        for path in (self.stack.home / "kafka").rglob("*.log"):
            if path.parent.name.startswith("baton."):
                content = path.read_bytes()
                found += [f"{mark} in {path.parent.name}" for mark in MARKS if mark.encode() in content]
        return found

    def in_logs(self) -> list[str]:
        """Which marks stand in what the processes said."""
        found = []
        logs = [*(self.stack.home / "logs").glob("*.log")]
        assert len(logs) >= len(self.stack.services) * len(ROLES)
        for path in logs:
            content = path.read_bytes()
            found += [f"{mark} in {path.name}" for mark in MARKS if mark.encode() in content]
        return found

    def forgotten_everywhere(self) -> None:
        """The compaction of the topic and the turn of the ring are waited for: they are set short."""

        left: list[str] = []

        async def gone() -> bool:
            await _turn_rings([self.stack.database_url(name, owner=True) for name in self.stack.services])
            left[:] = await asyncio.to_thread(lambda: self.in_databases() + self.in_segments())
            return not left

        asyncio.run(until("nothing names the person", gone, within=45, why=lambda: "; ".join(left)))
        assert self.in_logs() == []


async def _turn_rings(urls: list[str]) -> None:
    for url in urls:
        db = open_database(DatabaseSettings(url=url), application_name="tests", pooled=False)  # type: ignore[arg-type]
        for lane in LANES:
            await ring.turn(db, lane, days=0)
            await ring.empty(db, lane, replay_days=0)
        await db.close()


async def _in_topics(bootstrap_servers: str) -> list[tuple[str, str]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    found = []
    try:
        partitions = [TopicPartition(name, n) for name, topic in TOPICS.items() for n in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = set(partitions)
        while left:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    content = b"".join([record.value or b"", *(value for _, value in record.headers)])
                    found += [(tp.topic, mark) for mark in MARKS if mark.encode() in content]
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()
    return found


async def _compact_soon(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    soon = {
        "cleanup.policy": "compact",
        "segment.ms": "500",
        "max.compaction.lag.ms": "500",
        "min.cleanable.dirty.ratio": "0.0",
        "file.delete.delay.ms": "100",
    }
    try:
        [broker] = (await admin.describe_cluster())["brokers"]
        for kind, name, configs in (
            (ConfigResourceType.TOPIC, "baton.contact.v1", soon),
            (ConfigResourceType.BROKER, str(broker["node_id"]), {"log.cleaner.backoff.ms": "300"}),
        ):
            for response in await admin.alter_configs([ConfigResource(kind, name, configs=configs)]):
                assert all(code == 0 for code, *_ in response.resources), response
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("site"))
    with one.life:
        one.start(one.root / "first")
        one.ask(lambda client: _prepare(one, client))
        one.deliver("vera", email=MAIL, name="Vera Sobolevskaya", phone="+4930555777")
        for n in range(OTHERS):
            one.deliver(f"other-{n}", email=f"other{n}@firm{n}.example", name=f"Other {n}", phone=f"+493066600{n}")
        one.wait()
        one.ask(lambda client: _work(one, client))
        one.wait()
        yield one


async def _prepare(site: Site, client: Client) -> None:
    await hire(client)
    await agree(client, Memory(seed=1, leads=OTHERS, until=datetime.now(UTC).isoformat()))
    made = await client.post("lead-intake", "/v1/sources", {"id": "form", "provider": "generic", "name": "Form"})
    site.door = made["webhook_url"]


async def _work(site: Site, client: Client) -> None:
    [found] = (await client.post("lead-intake", "/v1/leads/search", {"term": "sobolevskaya"}))["items"]
    site.lead = found["lead_id"]
    [handoff] = (await client.get("sales-feedback", "/v1/handoffs", lead_id=site.lead))["items"]
    await client.post("sales-feedback", f"/v1/handoffs/{handoff['id']}/accept", {}, key="accept")
    told = {"means": "call", "reached": True, "note": "Sobolevskaya wants the offer by Friday"}
    await client.post("sales-feedback", f"/v1/handoffs/{handoff['id']}/contacts", told, key="contact")
    opened = {"lead_id": site.lead, "amount_minor": 990_000, "currency": "EUR"}
    deal = await client.post("sales-feedback", "/v1/deals", opened, key="deal")
    won = {"amount_minor": 990_000, "currency": "EUR"}
    await client.post("sales-feedback", f"/v1/deals/{deal['id']}/won", won, key="won")


def test_before_the_person_is_known_where_she_should_be(site: Site) -> None:
    site.before = site.counts()
    known = site.in_databases()
    assert {mark.rpartition(" in ")[2] for mark in known} == {"lead-intake", "sales-feedback"}
    assert {mark.rpartition(" in ")[0] for mark in known} == set(MARKS)
    where = {mark.rpartition(" in ")[2].rpartition("-")[0] or "the topic" for mark in site.in_segments()}
    assert where == {"baton.contact.v1", "the topic"}
    assert site.in_logs() == []
    done = site.baton("backup", str(site.root / "backup"), "--json")
    assert done.returncode == 0, done.stderr


def test_after_it_nothing_names_her_and_every_figure_stands(site: Site) -> None:
    asyncio.run(_compact_soon(site.stack.bootstrap_servers))
    done = site.baton("person", "erase", "--yes", "--json", given=f"{MAIL}\n")
    assert done.returncode == 0, done.stderr
    assert [item["lead_id"] for item in json.loads(done.stdout)["items"]] == [site.lead]
    site.wait()
    site.forgotten_everywhere()
    assert site.counts() == site.before


def test_the_log_says_that_every_service_has_done_it(site: Site) -> None:
    export = site.root / "erasures.jsonl"
    done = site.baton("person", "erasures", "--export", str(export), "--json")
    assert done.returncode == 0, done.stderr
    [told] = [json.loads(line) for line in export.read_text().splitlines()]
    assert told["lead_id"] == site.lead
    assert set(told["services"]) == set(site.stack.services)
    assert all(found["done_at"] for found in told["services"].values())
    assert told["services"]["sales-feedback"]["removed"]["note"] == 1
    assert not [mark for mark in MARKS if mark in export.read_text()]


def test_the_same_delivery_again_is_a_repeat_and_brings_nobody_back(site: Site) -> None:
    site.deliver("vera", email=MAIL, name="Vera Sobolevskaya", phone="+4930555777")
    site.wait()
    assert site.counts()["leads"] == site.before["leads"]
    assert site.in_databases() == []


def test_an_older_backup_restored_beside_the_log_does_not_bring_her_back(site: Site) -> None:
    for service in site.stack.services:
        for role in ROLES:
            site.stack.stop_role(service, role)
    done = site.baton("restore", str(site.root / "backup"), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["forgotten"] == 1
    _hidden_from_the_first_answer_on(site)
    site.wait()
    site.forgotten_everywhere()
    assert {**site.counts(), "balance": None} == {**site.before, "balance": None}


def test_on_an_empty_machine_the_exported_log_keeps_her_forgotten(site: Site) -> None:
    old = site.stack.home
    secrets = (old / "secrets.json").read_bytes()
    site.life.close()
    shutil.rmtree(old)
    home = site.root / "second"
    home.mkdir()
    (home / "secrets.json").write_bytes(secrets)
    (home / "secrets.json").chmod(0o600)
    site.start(home, servers_only=True)
    asyncio.run(_compact_soon(site.stack.bootstrap_servers))
    export = str(site.root / "erasures.jsonl")
    done = site.baton("restore", str(site.root / "backup"), "--erasures", export, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    restored = json.loads(done.stdout)
    assert (restored["log"], restored["forgotten"], restored["contacts"]) == ("empty", 1, OTHERS)
    _hidden_from_the_first_answer_on(site)
    site.wait()
    site.forgotten_everywhere()
    assert {**site.counts(), "balance": None} == {**site.before, "balance": None}


def test_a_new_inquiry_is_a_new_person(site: Site) -> None:
    site.deliver("vera-again", email=MAIL, name="Vera Sobolevskaya", phone="+4930555777")
    site.wait()
    [new] = set(site.counts()["leads"]) - set(site.before["leads"])
    assert new != site.lead


def test_an_export_does_not_bring_back_who_was_forgotten_after_it_was_imported(site: Site) -> None:
    export, mapping = site.root / "crm-contacts.csv", site.root / "mapping.yaml"
    rows = [
        "Record ID,Email,Phone Number,First Name,Last Name,Create Date",
        "71,ida@past-works.example,+4930771,Ida,Ehrlich,2024-03-01",
        "72,Jon.Zeisig@past-works.example,+4930772,Jon,Zeisig,2024-03-02",
        "73,kay@past-works.example,+4930773,Kay,Lorenz,2024-03-03",
    ]
    export.write_text("\n".join(rows) + "\n")
    assert site.baton("import", "propose", str(export), "-o", str(mapping), "--yes").returncode == 0
    words = ("import", str(export), "--mapping", str(mapping), "--json")

    def imported() -> Any:
        done = site.baton(*words)
        assert done.returncode == 0, done.stderr
        [one] = json.loads(done.stdout)["imports"]
        return one

    async def known(client: Client) -> dict[str, int]:
        terms = ("Ehrlich", "Zeisig", "Lorenz", "Jon.Zeisig@past-works.example", "72")
        return {
            term: len((await client.post("lead-intake", "/v1/leads/search", {"term": term}))["items"]) for term in terms
        }

    first = imported()
    assert first["counts"] == {"created": 3}
    site.wait()
    assert site.ask(known) == dict.fromkeys(("Ehrlich", "Zeisig", "Lorenz", "Jon.Zeisig@past-works.example", "72"), 1)
    done = site.baton("person", "erase", "--yes", "--json", given="Jon.Zeisig@past-works.example\n")
    assert done.returncode == 0, done.stderr
    site.wait()

    # The very bytes: nothing is done. With a row more: who is gone is a repeat like the others, and stays gone.
    assert imported()["id"] == first["id"]
    export.write_text("\n".join([*rows, "74,lea@past-works.example,+4930774,Lea,Moll,2024-03-04"]) + "\n")
    again = imported()
    assert (again["id"] != first["id"], again["counts"]) == (True, {"duplicate": 3, "created": 1})
    site.wait()
    found = site.ask(known)
    assert (found["Ehrlich"], found["Lorenz"]) == (1, 1)
    assert (found["Zeisig"], found["Jon.Zeisig@past-works.example"], found["72"]) == (0, 0, 0)
    balance = site.ask(lambda client: client.get("lead-intake", "/v1/receipts/balance"))
    assert balance["balanced"]


def _hidden_from_the_first_answer_on(site: Site) -> None:
    """With no worker running to delete anything yet, the interfaces show nothing."""
    for service in ("lead-intake", "sales-feedback"):
        site.stack.start_role(service, "api")

    async def shown(client: Client) -> None:
        http = client.http
        key = {"authorization": f"Bearer {site.stack.api_key}"}
        contact = await http.get(f"{site.stack.url('lead-intake')}/v1/leads/{site.lead}/contact", headers=key)
        assert contact.status_code == 410
        assert (await client.post("lead-intake", "/v1/leads/search", {"term": MAIL}))["items"] == []
        [handoff] = (await client.get("sales-feedback", "/v1/handoffs", lead_id=site.lead))["items"]
        detail = await client.get("sales-feedback", f"/v1/handoffs/{handoff['id']}")
        assert (detail["contact"], detail["notes"]) == (None, [])

    site.ask(shown)
    for service in ("lead-intake", "sales-feedback"):
        site.stack.stop_role(service, "api")
    site.stack.start_roles()
