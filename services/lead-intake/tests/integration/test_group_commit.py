import asyncio
import dataclasses
import time
from typing import Any

import asyncpg
import pytest
from intake_samples import BODIES, SECRETS, signed

from baton_kit.db import open_database, raw
from baton_kit.settings import DatabaseSettings
from baton_kit.testing import Harness
from lead_intake import group_commit, store
from lead_intake.app import App
from lead_intake.delivery import Incoming, Result, Source
from lead_intake.entry import Delivery, delivery_of
from lead_intake.group_commit import Busy, GroupCommit
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS

SOURCE = Source("form", "generic", secrets=("x" * 8,))


def delivered(intake: Harness[App], key: str, email: str, phone: str = "") -> Delivery:
    body = BODIES["generic"](key, email, phone)
    incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", intake.clock.now())
    return delivery_of(incoming, SOURCE, PROVIDERS["generic"].parse(incoming, SOURCE), body=body)


async def post(intake: Harness[App], key: str, email: str) -> Any:
    assert intake.public is not None
    sent = signed("tally", BODIES["tally"](key, email), now=intake.clock.now(), path="/v1/webhooks/tally")
    return await intake.public.post("/v1/webhooks/tally", content=sent.body, headers=sent.headers)


@pytest.fixture
async def tally(intake: Harness[App]) -> Harness[App]:
    body = {"id": "tally", "provider": "tally", "secrets": [SECRETS["tally"]]}
    assert (await intake.api.post("/v1/sources", json=body)).status_code == 201
    return intake


async def test_two_transactions_that_create_the_same_person_make_one(intake: Harness[App]) -> None:
    first, second = delivered(intake, "1", "anna@example.com"), delivered(intake, "2", "anna@example.com")
    async with intake.db.begin() as one:
        await receive(one, intake.app, [first])

        async def other() -> Any:
            async with intake.db.begin() as two:
                return await receive(two, intake.app, [second])

        waiting = asyncio.create_task(other())
        # The second stands at the lock of the address until the first has committed.
        async with asyncio.timeout(10), intake.db.begin() as watcher:
            while not await (await raw(watcher)).fetchval(  # noqa: ASYNC110 - PostgreSQL knows, no event tells
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ):
                await asyncio.sleep(0.005)
        assert not waiting.done()
    [result] = await waiting
    assert [str(o) for o in result.outcomes] == ["touch_only"]
    assert len(await intake.fetch("SELECT FROM lead")) == 1


async def test_two_processes_under_load_make_each_person_once(intake: Harness[App]) -> None:
    repeated = group_commit.REPEATED._value.get()
    url = intake.app.settings.database.url.get_secret_value()
    databases = [
        open_database(DatabaseSettings(url=url, pool_size=4), application_name="t")  # type: ignore[arg-type]
        for _ in range(2)
    ]
    apps = [dataclasses.replace(intake.app, db=db, commits=GroupCommit()) for db in databases]

    async def send(n: int) -> Result:
        app, person = apps[n % 2], n % 50
        # Opposite orders of the same keys: what deadlocks when locks are taken as they come.
        email, phone = f"p{person}@example.com", f"+3460011{(50 - person):04d}"
        async with asyncio.timeout(30):
            while True:
                try:
                    return await app.commits.submit(
                        app, delivered(intake, str(n), email if n % 3 else "", phone if n % 2 or not n % 3 else "")
                    )
                except Busy:  # a busy machine: the sender comes again, as a provider does
                    await asyncio.sleep(0.1)

    results = await asyncio.gather(*(send(n) for n in range(600)))
    for app in apps:
        await app.commits.close()
    for db in databases:
        await db.close()
    assert len(results) == 600
    # The locks alone did it: no batch met a key that another one had just written.
    assert group_commit.REPEATED._value.get() == repeated
    [row] = await intake.fetch("SELECT count(*) AS n, count(DISTINCT person_id) AS persons FROM lead")
    assert row["n"] == row["persons"] == sum(str(r.outcomes[0]) == "created" for r in results) <= 100
    [deadlocks] = await intake.fetch("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks["deadlocks"] == 0


async def test_one_delivery_that_the_database_refuses_does_not_hurt_its_batch(
    tally: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = store.insert_batch

    async def refusing(tx: Any, *, identities: Any = (), **rest: Any) -> None:
        if any("poison" in key for key, _ in identities):
            await (await raw(tx)).execute("SELECT 1 / 0")  # SQLSTATE 22012
        await honest(tx, identities=identities, **rest)

    monkeypatch.setattr(store, "insert_batch", refusing)
    answers = await asyncio.gather(
        *(post(tally, str(n), "poison@example.com" if n == 7 else f"p{n}@example.com") for n in range(20))
    )
    assert sorted(a.status_code for a in answers) == [200] * 19 + [202]
    rows = await tally.fetch("SELECT outcome, reason, count(*) AS n FROM receipt_entry GROUP BY 1, 2 ORDER BY 1")
    assert [(r["outcome"], r["reason"], r["n"]) for r in rows] == [
        ("created", "", 19),
        ("quarantined", "not_storable", 1),
    ]
    assert (await tally.api.get("/v1/receipts/balance")).json()["balanced"] is True


async def test_with_the_database_away_every_sender_hears_503_within_a_second(tally: Harness[App]) -> None:
    assert tally.public is not None
    assert (await post(tally, "before", "a@example.com")).status_code == 200
    gone = open_database(
        DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/none"),  # type: ignore[arg-type]
        application_name="t",
    )
    from baton_kit.testing import client
    from lead_intake.listener import create_public

    app = dataclasses.replace(tally.app, db=gone, commits=GroupCommit())
    sent = signed("tally", BODIES["tally"]("k", "b@example.com"), now=tally.clock.now(), path="/v1/webhooks/tally")
    async with client(create_public(app)) as public:
        started = time.monotonic()
        answers = await asyncio.gather(
            *(public.post("/v1/webhooks/tally", content=sent.body, headers=sent.headers) for _ in range(50))
        )
        took = time.monotonic() - started
    await app.commits.close()
    await gone.close()
    assert {(a.status_code, a.headers["retry-after"]) for a in answers} == {(503, "1")}
    assert took < 1.5  # with some room for a busy machine


async def test_a_database_that_hangs_is_answered_503_in_time_and_the_repeat_finds_the_receipt(
    tally: Harness[App],
) -> None:
    url = tally.app.settings.database.url.get_secret_value()
    blocker = await asyncpg.connect(url)
    hold = blocker.transaction()
    await hold.start()
    await blocker.execute("LOCK TABLE receipt IN ACCESS EXCLUSIVE MODE")
    started = time.monotonic()
    answer = await post(tally, "k1", "anna@example.com")
    assert answer.status_code == 503
    assert time.monotonic() - started < 1.5
    await hold.rollback()
    await blocker.close()
    again = await post(tally, "k1", "anna@example.com")
    assert again.status_code == 200
    assert sorted(r["outcome"] for r in await tally.fetch("SELECT outcome FROM receipt_entry")) in (
        ["created", "duplicate"],  # the first was written after all
        ["created"],
    )
    assert len(await tally.fetch("SELECT FROM lead")) == 1


async def test_a_sender_that_hangs_up_does_not_take_the_batch_with_it(intake: Harness[App]) -> None:
    commits = intake.app.commits
    futures = [commits.submit(intake.app, delivered(intake, str(n), f"p{n}@example.com")) for n in range(10)]
    futures[3].cancel()
    rest = await asyncio.gather(*(f for n, f in enumerate(futures) if n != 3))
    assert len(rest) == 9
    assert len(await intake.fetch("SELECT FROM lead")) == 10


async def test_what_waits_is_written_before_the_service_closes(intake: Harness[App]) -> None:
    commits = GroupCommit()
    futures = [commits.submit(intake.app, delivered(intake, str(n), f"p{n}@example.com")) for n in range(500)]
    await commits.close()
    assert all(f.done() and f.exception() is None for f in futures)
    assert len(await intake.fetch("SELECT FROM lead")) == 500


async def test_a_full_queue_asks_to_come_again(intake: Harness[App], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MOST_WAITING", 3)
    commits = GroupCommit()
    futures = [commits.submit(intake.app, delivered(intake, str(n), f"p{n}@example.com")) for n in range(3)]
    with pytest.raises(group_commit.Busy):
        commits.submit(intake.app, delivered(intake, "4", "p4@example.com"))
    await asyncio.gather(*futures)
    await commits.close()


async def test_a_key_is_looked_up_alone_however_many_are_stored(intake: Harness[App]) -> None:
    # PostgreSQL keeps the plan of a prepared statement: one that was made while the tables were empty may walk all
    # that is stored, and gets slower with every lead.
    commits = GroupCommit()
    for n in range(60):
        await commits.submit(intake.app, delivered(intake, str(n), f"p{n % 20}@example.com"))
    await commits.close()
    async with asyncio.timeout(10):
        read: dict[str, int] = {}
        while read.get("identity_key_pkey", 0) < 40:
            # The counts of a session are there when it has ended, a little after `close`.
            await asyncio.sleep(0.02)
            counts = await intake.fetch("SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes")
            read = {r["indexrelname"]: r["idx_tup_read"] for r in counts}
    # Each of the 20 addresses was new once and found twice; no delivery was a repeat.
    assert read["identity_key_pkey"] == 40
    assert read["receipt_entry_taken"] == 0
    # The lead that was found is locked, and it and its contact are written back: each time by its own keys.
    assert max(read[index] for index in ("lead_person", "lead_pkey", "contact_pkey")) <= 80
    tables = ("contact", "identity_key", "lead", "receipt_entry")
    scans = await intake.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY($1)", tables)
    assert {r["relname"]: r["seq_scan"] for r in scans} == dict.fromkeys(tables, 0)
