"""B7: intake against a million stored people, beside the same load on empty tables; and how long a search takes."""

import asyncio
import statistics
import time

import asyncpg
import httpx2

from baton.lead.v1.contact_pb2 import ContactChanged
from baton_local.stack import Stack
from lead_intake.searching.words import words_of

from .b1_intake import CONNECTIONS, Floor, signed_requests
from .load import closed_loop
from .memory import Memory
from .result import Figure, Say, percentile

PEOPLE = 1_000_000
SEARCHED = 100_000
"""Leads among which is searched."""
MOST_SEARCH_MS = 300
_TABLES = (
    "lead, contact, identity_key, touch, receipt, receipt_entry, receipt_request, lead_search, likeness, "
    "proposed_merge, key_name, visit, visitor, stitch, ledger_hour, ledger_mark, ledger_change, ledger_break"
)
# Server-side and set-wise: a client that sends six million rows would be measured, not the service. Two keys a person.
_FILL = """
WITH people AS MATERIALIZED (
    SELECT n, uuidv7('-3 hours'::interval) AS id, uuidv7('-3 hours'::interval) AS touch_id,
           now() - interval '3 hours' AS at
    FROM generate_series($1::int, $2::int) AS n
), r AS (
    INSERT INTO receipt (id, source_id, received_at, state, entries)
    SELECT id, 'stored', at, 'settled', 1 FROM people
), e AS (
    INSERT INTO receipt_entry (receipt_id, ordinal, source_id, key, outcome, lead_id)
    SELECT id, 0, 'stored', 'k' || n, 'created', id FROM people
), k AS (
    INSERT INTO identity_key (key, person_id)
    SELECT key, id FROM people, LATERAL (VALUES
        ('email:person' || md5(n::text) || '@stored' || n % 5000 || '.example.com'),
        ('phone:+4930' || lpad(n::text, 9, '0'))) AS v (key)
), l AS (
    INSERT INTO lead (id, person_id, source_id, receipt_id, created_at, sequence, told_at, features)
    SELECT id, id, 'stored', id, at, 2, at, '\\x0801' FROM people
), t AS (
    INSERT INTO touch (id, lead_id, receipt_id, occurred_at, sequence, source_id, kind, channel)
    SELECT touch_id, id, id, at, 2, 'stored', 'form', 'paid_search' FROM people
)
INSERT INTO contact (lead_id, sequence, data) SELECT id, 1, $3 FROM people
"""
_QUICKLY = "SET statement_timeout = 0; SET transaction_timeout = 0; SET synchronous_commit = off"
TERMS = {
    "name": lambda n: f"first{n} last{n}",
    "phone": lambda n: f"+4930{n:09d}",
    "email": lambda n: f"first{n}.last{n}@stored{n % 5_000}.example.com",
    "company": lambda n: f"company number {n % 20_000}",
    "crm_id": lambda n: f"HS-{n}",
}


async def measure(stack: Stack, say: Say, *, rounds: int, requests: int, memory: Memory) -> Figure:
    """Measure B7 on a running stack of which only intake's API runs. Empties intake's tables first.

    `value` and `floor` are intake's rate with a million people stored and with none, each as a part of the bare route's
    rate measured beside it: so that what else the machine does in between falls out of the ratio.
    """
    figure = Figure(
        "B7",
        f"B1's load against {PEOPLE:,} people and {2 * PEOPLE:,} keys, beside empty tables",
        "of the bare route",
        f"ratio >= 0.8; search <= {MOST_SEARCH_MS} ms at {SEARCHED:,} leads",
    )
    owner = await asyncpg.connect(stack.database_url("lead-intake", owner=True), command_timeout=300)
    floor = await Floor.start(stack)
    try:
        await owner.execute(_QUICKLY)
        await owner.execute(f"TRUNCATE {_TABLES}")
        await _rates(stack, floor, say, name="w", rounds=1, requests=requests, memory=memory)  # warm, and not counted
        empty = await _rates(stack, floor, say, name="e", rounds=rounds, requests=requests, memory=memory)
        await owner.execute(f"TRUNCATE {_TABLES}")

        began = time.monotonic()
        await _fill(owner, 1, SEARCHED)
        await _fill_searched(owner)
        filled = time.monotonic() - began
        await owner.execute("VACUUM ANALYZE")
        figure.more["search_ms"] = await _searches(stack, say)
        began = time.monotonic()
        second = await asyncpg.connect(stack.database_url("lead-intake", owner=True), command_timeout=300)
        await second.execute(_QUICKLY)
        starts = iter(range(SEARCHED + 1, PEOPLE, 50_000))

        async def work(connection: asyncpg.Connection) -> None:
            for start in starts:
                await _fill(connection, start, start + 49_999)

        await asyncio.gather(work(owner), work(second))
        await second.close()
        filled += time.monotonic() - began
        await owner.execute("VACUUM ANALYZE")
        admin = await asyncpg.connect(stack.postgres.admin_url, command_timeout=300)
        await admin.execute("CHECKPOINT")  # what the fill left to write is not the load's
        await admin.close()
        keys = await owner.fetchval("SELECT count(*) FROM identity_key")
        figure.more |= {"keys": keys, "filled_in_s": round(filled, 1)}
        say(f"B7 filled with {PEOPLE:,} people, {keys:,} keys in {filled:.0f} s")

        full = await _rates(stack, floor, say, name="f", rounds=rounds, requests=requests, memory=memory)
    finally:
        floor.stop()
        await owner.close()
    figure.pairs = [(f, e) for (f, _), (e, _) in zip(full, empty, strict=True)]
    figure.more["requests_a_second"] = {
        "empty": round(statistics.median(rate for _, rate in empty)),
        "full": round(statistics.median(rate for _, rate in full)),
    }
    slowest = max(found["p99"] for found in figure.more["search_ms"].values())
    figure.met = bool(figure.as_json()["ratio"] >= 0.8 and slowest <= MOST_SEARCH_MS)
    return figure


async def _rates(
    stack: Stack, floor: Floor, say: Say, *, name: str, rounds: int, requests: int, memory: Memory
) -> list[tuple[float, float]]:
    """(as a part of the bare route, requests a second) of each round."""
    port = stack.services["lead-intake"].public_port
    assert port is not None
    found = []
    for n in range(rounds):
        subject = await closed_loop(
            port, signed_requests(requests, run=f"{name}{n}", port=port), connections=CONNECTIONS
        )
        bare = await closed_loop(floor.port, floor.requests(requests), connections=CONNECTIONS)
        if subject.good != requests or bare.good != requests:
            raise RuntimeError(f"expected {requests} good answers, got {subject.answers} and {bare.answers}")
        memory.sample("lead-intake api", stack.pid("lead-intake", "api"))
        found.append((subject.rate / bare.rate, subject.rate))
        say(f"B7 {name}{n}: {subject.rate:,.0f}/s = {subject.rate / bare.rate:.2f} of the bare route")
    return found


async def _fill(owner: asyncpg.Connection, first: int, last: int) -> None:
    data = ContactChanged(full_name="Anna Petrova", emails=["anna@stored.example.com"]).SerializeToString()
    await owner.execute(_FILL, first, last, data)


async def _fill_searched(owner: asyncpg.Connection) -> None:
    """Contacts that can be told apart, their words, and the ids of a CRM, for the leads that are there."""
    ids = [row[0] for row in await owner.fetch("SELECT id FROM lead ORDER BY id")]
    contacts, words, keys = [], [], []
    for n, id in enumerate(ids):
        contact = ContactChanged(
            lead_id=str(id),
            sequence=1,
            full_name=f"First{n} Last{n}",
            company_name=f"Company Number {n % 20_000}",
            emails=[f"first{n}.last{n}@stored{n % 5_000}.example.com"],
            phones=[f"+4930{n:09d}"],
        )
        contacts.append((id, 1, contact.SerializeToString()))
        words.append((id, 1, words_of(contact)))
        keys += [(f"crm_id:hubspot:HS-{n}", id), (f"email:{contact.emails[0]}", id)]
    await owner.execute("DELETE FROM contact")
    await owner.copy_records_to_table("contact", records=contacts)
    await owner.copy_records_to_table("lead_search", records=words)
    await owner.copy_records_to_table("identity_key", records=keys)
    await owner.execute(
        "INSERT INTO import_file (id, source_id, name, kind, layout, layout_digest, digest, size, state, received, "
        "position, records, counts, created_at) VALUES (uuidv7(), 'stored', '', 'leads', $1::text::jsonb, '', '', "
        "1, 'done', 1, 1, 1, '{}', now())",
        '{"crm": "hubspot"}',
    )


async def _searches(stack: Stack, say: Say) -> dict[str, dict[str, float]]:
    """Milliseconds of a search over HTTP, by what is looked for; each term is another person's, and finds one."""
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    found: dict[str, dict[str, float]] = {}
    async with httpx2.AsyncClient(base_url=stack.url("lead-intake"), headers=headers, trust_env=False) as client:
        for what, term_of in TERMS.items():
            took = []
            for n in range(120):
                term = term_of((n * 7_919 + 13) % SEARCHED)
                began = time.perf_counter()
                answer = await client.post("/v1/leads/search", json={"term": term})
                took.append((time.perf_counter() - began) * 1_000)
                if not answer.json()["items"]:
                    raise RuntimeError(f"nobody was found by {what}")
            took = took[20:]  # the first ones open connections and read pages from disk
            found[what] = {"median": round(statistics.median(took), 1), "p99": round(percentile(took, 99), 1)}
            say(f"B7 search by {what}: median {found[what]['median']} ms, p99 {found[what]['p99']} ms")
    return found
