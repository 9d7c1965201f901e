"""The whole system on real PostgreSQL and Kafka: a small month is played, then counted from the outside.

The tests share one stack and run in order: the later ones play again and restart, and hold against the same counts.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from baton.catalogue import EVENTS, TOPICS
from baton.sales.v1 import sales_pb2
from baton_demo.caught_up import caught_up
from baton_demo.place import Client, Memory, Place, remember
from baton_demo.play import month_of, play
from baton_demo.tell import MODELS, tell, timeline
from baton_local.services import ROLES
from baton_local.stack import Stack, running_stack

ALL_MODELS = ("first", "last", "last_non_direct", "linear", "position", "time_decay")
WON = sales_pb2.DEAL_OUTCOME_WON


@dataclass(frozen=True, slots=True)
class Told:
    """One event as it stands on its topic."""

    type: str
    key: str
    body: Any
    traceparent: str


@dataclass(slots=True)
class Relay:
    """The running stack, after the month."""

    stack: Stack
    place: Place
    memory: Memory

    def get(self, service: str, path: str, **params: Any) -> Any:
        return asyncio.run(self._get(service, path, params))

    def pages(self, service: str, path: str) -> list[Any]:
        async def ask() -> list[Any]:
            async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
                return await Client(self.place, http).pages(service, path)

        return asyncio.run(ask())

    def play_again(self) -> None:
        asyncio.run(play(self.place, self.memory, Console(file=sys.stderr)))

    def wait(self) -> None:
        async def ask() -> None:
            async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
                await caught_up(Client(self.place, http))

        asyncio.run(ask())

    def events(self) -> list[Told]:
        return asyncio.run(_events(self.place))

    def counts(self) -> dict[str, Any]:
        """Everything that must stay as it is, whatever is repeated or restarted. Read in any order: nothing moves."""
        balance = self.get("lead-intake", "/v1/receipts/balance")["items"]
        report = self.get("attribution", "/v1/reports/attribution", model=list(ALL_MODELS), by="campaign")
        decisions = self.get("qualification", "/v1/reports/decisions")
        handoffs = {h["id"]: (h["version"], h["state"]) for h in self.pages("sales-feedback", "/v1/handoffs")}
        return {
            "created": sum(one["created"] for one in balance),
            "matched": sum(one["matched"] for one in balance),
            "outcomes": decisions["by_outcome"],
            "decisions": decisions["decisions"],
            "handoffs": handoffs,
            "deals": {d["id"]: (d["version"], d["state"]) for d in self.pages("sales-feedback", "/v1/deals")},
            "funnel": self.get("attribution", "/v1/reports/funnel")["stages"],
            "credits": report["rows"],
            "totals": report["totals"],
            "events": Counter(event.type for event in self.events()),
        }

    async def _get(self, service: str, path: str, params: dict[str, Any]) -> Any:
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            return await Client(self.place, http).get(service, path, **params)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    home = tmp_path_factory.mktemp("relay")
    with running_stack(home, fsync=False, say=Console(file=sys.stderr).print) as stack:
        place = Place.of(stack)
        memory = Memory(seed=5, leads=60, until=datetime.now(tz=UTC).replace(microsecond=0).isoformat())
        remember(home, memory)
        asyncio.run(play(place, memory, Console(file=sys.stderr)))
        yield Relay(stack, place, memory)


def test_every_service_counts_the_same_leads(relay: Relay) -> None:
    balance = relay.get("lead-intake", "/v1/receipts/balance")
    created = sum(one["created"] for one in balance["items"])
    on_topic = {event.key for event in relay.events() if event.type == "baton.lead.v1.LeadCreated"}
    judged = relay.get("qualification", "/v1/reports/decisions")["by_outcome"]
    funnel = {s["stage"]: s["leads"] for s in relay.get("attribution", "/v1/reports/funnel")["stages"]}

    assert balance["balanced"]
    assert created == len({s.person.number for s in month_of(relay.memory).submissions if not s.oddity})
    assert len(on_topic) == created == sum(judged.values()) == funnel["lead"]


def test_every_kind_of_receipt_occurs(relay: Relay) -> None:
    balance = relay.get("lead-intake", "/v1/receipts/balance")["items"]
    oddities = Counter(s.oddity for s in month_of(relay.memory).submissions)
    assert sum(one["duplicate"] for one in balance) == oddities["repeated"]
    assert sum(one["refused"] for one in balance) == oddities["bad_signature"]
    assert sum(one["quarantined"] for one in balance) == oddities["broken"]
    assert sum(one["test"] for one in balance) == oddities["test"]
    assert sum(one["pending"] for one in balance) == 0


def test_every_touch_belongs_to_its_campaign_or_stands_in_the_worklist(relay: Relay) -> None:
    planned = {key: one["code"] for one in relay.pages("lead-intake", "/v1/campaigns") for key in one["keys"]}
    reached: Counter[str] = Counter()
    for event in relay.events():
        if event.type == "baton.lead.v1.TouchRecorded":
            touch = event.body
            by_ad = planned.get(f"campaign_id:google/{touch.campaign_id}", "")
            assert touch.campaign == (by_ad or planned.get(f"utm:{touch.utm_campaign}", ""))
            reached[touch.campaign or f"utm:{touch.utm_campaign}"] += 1
    assert {"google-handoff", "ebook"} <= set(reached)
    for one in relay.pages("lead-intake", "/v1/campaigns"):
        assert one["reached"]["touches"] == reached[one["code"]]
    waiting = {one["key"]: one["touches"] for one in relay.pages("lead-intake", "/v1/campaigns/unmatched")}
    assert waiting == {key: reached[key] for key in ("utm:brand", "utm:november-digest")}
    credited = relay.get("attribution", "/v1/reports/attribution", model="linear", by="campaign")["rows"]
    assert {"google-handoff", "ebook"} & {row["key"] for row in credited}


def test_every_qualified_lead_is_one_handoff(relay: Relay) -> None:
    qualified = [event.key for event in relay.events() if event.type == "baton.qualification.v1.LeadQualified"]
    handoffs = relay.pages("sales-feedback", "/v1/handoffs")
    assert len(qualified) > 5
    assert sorted(qualified) == sorted(handoff["lead_id"] for handoff in handoffs)
    assert all(handoff["rep_id"] for handoff in handoffs)


def test_the_credits_of_every_model_sum_to_the_money_of_the_won_deals(relay: Relay) -> None:
    latest: dict[str, Any] = {}
    for event in relay.events():
        if event.type == "baton.sales.v1.DealClosed":
            deal = event.body
            if deal.deal_id not in latest or latest[deal.deal_id].sequence < deal.sequence:
                latest[deal.deal_id] = deal
    won: Counter[str] = Counter()
    for deal in latest.values():
        if deal.outcome == WON:
            won[deal.currency] += deal.amount_minor
    by_rest: Counter[str] = Counter()
    for deal in relay.pages("sales-feedback", "/v1/deals"):
        if deal["state"] == "won":
            by_rest[deal["currency"]] += deal["amount_minor"]

    assert won
    assert won == by_rest
    for by in ("channel", "campaign"):
        report = relay.get("attribution", "/v1/reports/attribution", model=list(ALL_MODELS), by=by)
        for model in ALL_MODELS:
            credited: Counter[str] = Counter()
            for row in report["rows"]:
                if row["model"] == model:
                    credited[row["currency"]] += row["credit_minor"]
            assert credited == won, f"{model} by {by}"


def test_the_events_of_facts_name_nobody(relay: Relay) -> None:
    people = month_of(relay.memory).people
    facts = [e for e in relay.events() if not e.type.endswith("ContactChanged")]
    said = " ".join(e.body.SerializeToString().decode("latin-1") for e in facts)
    assert not [p.email for p in people if p.email in said]
    assert not [p.phone for p in people if p.phone and p.phone.replace(" ", "") in said]


def test_one_lead_is_followed_through_four_services_in_the_order_of_time(relay: Relay) -> None:
    async def ask(lead_id: str) -> list[dict[str, Any]]:
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            return await timeline(Client(relay.place, http), lead_id)

    won = next(deal for deal in relay.pages("sales-feedback", "/v1/deals") if deal["state"] == "won")
    items = asyncio.run(ask(won["lead_id"]))
    services = [item["service"] for item in items]
    assert set(services) == {"lead-intake", "qualification", "sales-feedback", "attribution"}
    first_of = {service: services.index(service) for service in services}
    assert first_of["lead-intake"] < first_of["qualification"] < first_of["sales-feedback"] < first_of["attribution"]
    kinds = [item["kind"] for item in items]
    assert {"touch", "decision", "qualified", "handoff", "deal", "credit"} <= set(kinds)
    # Nothing personal on a timeline.
    person = relay.get("lead-intake", f"/v1/leads/{won['lead_id']}/contact")
    assert person["emails"][0] not in json.dumps(items)


def test_one_trace_leads_from_the_webhook_to_the_handoff(relay: Relay) -> None:
    of_lead: dict[str, dict[str, set[str]]] = {}
    for event in relay.events():
        trace = event.traceparent.split("-")[1] if event.traceparent else ""
        of_lead.setdefault(event.key, {}).setdefault(event.type.rsplit(".", 1)[1], set()).add(trace)
    handed = [kinds for kinds in of_lead.values() if "LeadQualified" in kinds]
    assert handed
    for kinds in handed:
        assert "" not in kinds["TouchRecorded"]
        assert kinds["LeadQualified"] <= kinds["TouchRecorded"] | kinds["LeadCreated"]
        # The offer was made in the same trace; what people did later has traces of its own.
        assert kinds["LeadQualified"] & kinds["HandoffChanged"]


def test_the_story_is_told_from_what_the_services_say(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(tell(relay.place, relay.memory, Console(width=160)))
    said = capsys.readouterr().out
    for part in (
        "Funnel",
        "verified:",
        "identical bytes",
        "the same as the score",
        "the sums agree",
        "Rejected by sales",
    ):
        assert part in said
    for wrong in ("NOT VERIFIED", "IT DIFFERS", "BUT THE SCORE", "DO NOT AGREE"):
        assert wrong not in said
    assert all(model in said for model in MODELS)


@pytest.mark.parametrize(
    "words",
    [
        ("report", "attribution", "--model", "linear", "--by", "channel"),
        ("report", "funnel"),
        ("receipts", "balance"),
        ("receipts", "list"),
        ("source", "list"),
        ("agreement", "show"),
        ("agreement", "verify"),
        ("agreement", "evidence"),
        ("agreement", "plan", "--qualified", "100", "--won", "10"),
        ("decisions", "verify"),
        ("parked", "list"),
        ("relay", "status"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_the_command_answers_programs_and_people(relay: Relay, words: tuple[str, ...]) -> None:
    done = _baton(relay, *words, "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    told = _baton(relay, *words)
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip()


def test_the_command_shows_a_lead_in_json(relay: Relay) -> None:
    lead = relay.pages("sales-feedback", "/v1/handoffs")[0]["lead_id"]
    done = _baton(relay, "lead", "show", lead, "--json")
    assert done.returncode == 0, done.stderr
    assert lead in json.dumps(json.loads(done.stdout))


def test_playing_the_month_again_changes_nothing(relay: Relay) -> None:
    before = relay.counts()
    entries = _entries(relay)
    relay.play_again()
    assert relay.counts() == before
    month = month_of(relay.memory)
    again = _entries(relay) - entries
    # Every delivery has its receipt, also the ones that came twice.
    assert again["entries"] == len(month.submissions)
    assert again["created"] == again["matched"] == again["touch_only"] == 0
    assert relay.get("lead-intake", "/v1/receipts/balance")["balanced"]


def test_restarting_every_service_changes_nothing(relay: Relay) -> None:
    before = relay.counts()
    every = [(service, role) for service in relay.stack.services for role in ROLES]
    with ThreadPoolExecutor(len(every)) as pool:
        drained = dict(zip(every, pool.map(lambda one: relay.stack.stop_role(*one), every), strict=True))
    assert all(drained.values()), drained
    for service, role in every:
        relay.stack.start_role(service, role, ready=None)
    for service, role in every:
        relay.stack.await_ready(service, role)
    relay.wait()
    assert relay.counts() == before
    verified = _post(relay, "attribution", "/v1/rebuild", {"verify": True})
    assert verified["identical"], verified["differences"]


def _entries(relay: Relay) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in relay.get("lead-intake", "/v1/receipts/balance")["items"]:
        total.update({name: count for name, count in one.items() if isinstance(count, int)})
    return total


def _post(relay: Relay, service: str, path: str, body: Any) -> Any:
    async def ask() -> Any:
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            return await Client(relay.place, http).post(service, path, body)

    return asyncio.run(ask())


def _baton(relay: Relay, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "baton"), *words],
        env={**os.environ, "BATON_HOME": str(relay.place.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def _events(place: Place) -> list[Told]:
    consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap_servers, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [
            TopicPartition(place.topic_prefix + name, number)
            for name, topic in TOPICS.items()
            for number in range(topic.partitions)
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        told: list[Told] = []
        while any([await consumer.position(p) < ends[p] for p in partitions if ends[p]]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                told += [_told(record) for record in records]
        return told
    finally:
        await consumer.stop()


def _told(record: Any) -> Told:
    headers = {name: value.decode() for name, value in record.headers}
    kind = headers["ce_type"]
    body = EVENTS[kind].FromString(record.value) if record.value else None
    return Told(kind, record.key.decode(), body, headers.get("traceparent", ""))
