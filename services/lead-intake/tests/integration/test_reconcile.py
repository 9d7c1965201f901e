"""The provider's own list beside the ledger: what the push missed comes in once, and differences are shown."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from intake_providers import SAMPLES
from intake_samples import linkedin, meta
from provider_server import TOKEN, graph_error, linkedin_lead, meta_lead, open_providers
from reaching import Fetching, outcomes

from baton_kit.testing import SEAL_KEY, Server, open_harness
from lead_intake.fetching.calls import open_http
from lead_intake.fetching.reconcile import reconcile_next
from lead_intake.service import SERVICE

FORM = "733300112233445"
CSV = (
    "lead id,created_time,ad_id,ad_name,adgroup_id,adgroup_name,campaign_id,campaign_name,form_id,form_name,Name,"
    "Email,Lead id\n"
    "7012345678901234567,2026-03-02 08:00:00,'9012,Ad,5678,Group,1234,Spring,75,Form,Jane,jane@example.com,x\n"
    "7012345678901234568,2026-03-02 08:30:00,'9012,Ad,5678,Group,1234,Spring,75,Form,John,john@example.com,y\n"
    "7012345678901234570,2026-03-02 08:40:00,'9012,Ad,5678,Group,1234,Spring,75,Form,Nobody,,z\n"
    "7012345678901234569,2025-01-01 08:30:00,'9012,Ad,5678,Group,1234,Spring,75,Form,Old,old@example.com,z\n"
)


@pytest.fixture
async def fetching(postgres_server: Server) -> AsyncIterator[Fetching]:
    async with open_providers() as providers:
        urls = dict.fromkeys(("meta", "linkedin", "tiktok", "hubspot"), providers.url)
        async with (
            open_harness(SERVICE, postgres_server, provider_urls=urls) as intake,
            open_http(intake.app.settings) as http,
        ):
            yield Fetching(intake, providers, http)


async def reconcile(fetching: Fetching, *, after: timedelta = timedelta()) -> bool:
    fetching.intake.clock.advance(after)
    return await reconcile_next(fetching.intake.app, fetching.http)


async def comparison(fetching: Fetching, source: str) -> dict[str, Any]:
    answer = await fetching.intake.api.get(f"/v1/sources/{source}/reconciliation")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_leads_that_the_push_missed_come_in_once(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"page_ids": "104882771900001"})
    for n in range(5):
        fetching.providers.leads[f"9007199254740993{n}"] = meta_lead(f"9007199254740993{n}", f"p{n}@example.com",
            field_data=[{"name": "email", "values": [f"p{n}@example.com"]}])  # fmt: skip
    await fetching.push("meta", meta("90071992547409930"))
    await fetching.work()
    assert await reconcile(fetching)
    assert fetching.providers.asked_for(f"/{FORM}/leads") == 3  # two a page
    assert all(TOKEN not in query for _, query, _ in fetching.providers.asked)
    await fetching.holds()
    assert await outcomes(fetching.intake) == ["created"] + ["pending"] * 4
    await fetching.work()
    assert await outcomes(fetching.intake) == ["created"] * 5

    # A push that comes late after all, and every further run, change nothing.
    await fetching.push("meta", meta("90071992547409934"))
    assert not await reconcile(fetching)
    assert await reconcile(fetching, after=timedelta(minutes=15))
    assert await reconcile(fetching, after=timedelta(days=1))
    assert await outcomes(fetching.intake) == ["created"] * 5 + ["duplicate"]
    assert len(await fetching.intake.fetch("SELECT FROM lead")) == 5
    shown = await comparison(fetching, "meta")
    assert (shown["differences"], shown["failed_since"]) == (0, None)
    [day] = shown["items"]
    assert (day["day"], day["form_id"], day["provider"], day["taken"]) == ("2026-03-02", FORM, 5, 5)


async def test_the_list_is_asked_from_the_watermark_with_an_overlap(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"form_ids": FORM})
    began = fetching.intake.clock.now()
    sinces = []
    for after in (timedelta(), timedelta(minutes=15), timedelta(minutes=15), timedelta(days=1)):
        fetching.providers.asked.clear()
        assert await reconcile(fetching, after=after)
        [(_, query, _)] = fetching.providers.asked
        sinces.append(int(query.partition("value%22%3A+")[2].partition("%7D")[0]) - int(began.timestamp()))
    hour = 3600
    assert sinces == [-2 * hour, -2 * hour, -2 * hour + 900, -3 * 24 * hour + 1800]


async def test_differences_are_shown_by_day_and_form(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"form_ids": FORM})
    fetching.providers.leads |= {id: meta_lead(id, f"{id}@example.com") for id in ("1", "2", "3")}
    fetching.providers.leads["3"]["field_data"] = []
    fetching.providers.leads["9"] = meta_lead("9", "gone@example.com")
    await fetching.push("meta", meta("1", "3", "9"))
    await fetching.work()
    del fetching.providers.leads["9"]
    fetching.providers.leads["2"]["created_time"] = "2026-03-01T23:59:59+0000"
    await reconcile(fetching)
    shown = await comparison(fetching, "meta")
    assert shown["differences"] == 2
    by_day = {item["day"]: item for item in shown["items"]}
    today, before = by_day["2026-03-02"], by_day["2026-03-01"]
    assert (today["provider"], today["taken"], today["quarantined"], today["only_here"]) == (2, 1, 1, 1)
    assert (before["provider"], before["pending"], before["missing"]) == (1, 1, 0)
    # What the list holds and the ledger has never heard of, were it ever so, would stand there too.
    await fetching.intake.fetch(
        "INSERT INTO provider_lead (source_id, key, form_id, occurred_at, listed_at) "
        "VALUES ('meta', 'never', 'f', '2026-03-01', now()) RETURNING 1"
    )
    shown = await comparison(fetching, "meta")
    assert [item["missing"] for item in shown["items"] if item["form_id"] == "f"] == [1]


async def test_a_run_that_breaks_off_begins_again_at_the_same_place(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"form_ids": FORM})
    fetching.providers.leads |= {str(n): meta_lead(str(n), "anna@example.com") for n in range(3)}
    await reconcile(fetching)
    [before] = await fetching.intake.fetch("SELECT watermark FROM reconcile_state")
    fetching.providers.leads["3"] = meta_lead("3", "anna@example.com")
    fetching.providers.fails(500, {})
    assert await reconcile(fetching, after=timedelta(minutes=15))
    shown = await comparison(fetching, "meta")
    assert (shown["reason"], shown["failed_since"] is not None) == ("http_500", True)
    [after] = await fetching.intake.fetch("SELECT watermark FROM reconcile_state")
    assert before == after
    assert await reconcile(fetching, after=timedelta(minutes=5))
    assert (await comparison(fetching, "meta"))["failed_since"] is None
    assert await outcomes(fetching.intake) == ["pending"] * 4


async def test_a_refused_token_or_a_throttled_list_makes_the_source_rest(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"form_ids": FORM})
    fetching.providers.fails(400, graph_error(190, error_subcode=460))
    await reconcile(fetching)
    shown = (await fetching.source("meta"))["fetching"]
    assert (shown["state"], shown["reason"]) == ("token_invalid", "password_changed")
    assert not await reconcile(fetching, after=timedelta(minutes=5))
    url = "/v1/sources/meta/credentials/access_token"
    await fetching.intake.api.put(url, json={"value": TOKEN})
    fetching.providers.fails(429, {}, retry_after="900")
    assert await reconcile(fetching)
    assert not await reconcile(fetching, after=timedelta(seconds=899))
    assert await reconcile(fetching, after=timedelta(seconds=1))


async def test_linkedin_s_list_is_read_by_owner(fetching: Fetching) -> None:
    await fetching.given("linkedin", settings={"owners": "urn:li:sponsoredAccount:508812345"})
    fetching.providers.leads |= {f"a-{n}": linkedin_lead(f"a-{n}", f"p{n}@example.com") for n in range(5)}
    await fetching.push("linkedin", linkedin("a-0"))
    await fetching.push("linkedin", linkedin("a-1", "DELETED"))
    await reconcile(fetching)
    await fetching.work()
    # The one whose member took it back is listed no more by LinkedIn; were it, it would stay out.
    assert sorted(await outcomes(fetching.intake)) == ["created"] * 4 + ["refused"]
    assert fetching.providers.asked_for("/rest/leadFormResponses") == 3 + 4
    [day] = (await comparison(fetching, "linkedin"))["items"]
    assert (day["provider"], day["taken"], day["refused"], day["differs"]) == (5, 4, 1, False)


@pytest.mark.parametrize("zipped", [False, True])
async def test_tiktok_s_exports_are_read_by_form_and_region(
    fetching: Fetching, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lead_intake.fetching.tiktok.POLL_S", 0)
    url = (
        await fetching.given(
            "tiktok", settings={"advertiser_id": "42", "page_ids": "75", "lead_regions": "us, eu", "reconcile": "on"}
        )
    )["webhook_url"]
    export = b"\xef\xbb\xbf" + CSV.encode()
    if zipped:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("leads.csv", export)
        export = packed.getvalue()
    fetching.providers.exports["us"] = export
    fetching.providers.polls_until_done = 3
    await fetching.push(
        "tiktok", SAMPLES["tiktok"].body("7012345678901234567", "jane@example.com"), token=url.rpartition("/")[2]
    )
    assert await reconcile(fetching)
    assert await outcomes(fetching.intake) == ["created", "created", "quarantined"]
    touched = (await fetching.intake.outbox())[-2].body
    assert (touched.campaign_id, touched.form_id, touched.ad_id) == ("1234", "75", "9012")
    assert await reconcile(fetching, after=timedelta(hours=1))
    # What nobody can be reached by is handed in once, not with every run.
    assert len(await outcomes(fetching.intake)) == 3


async def test_an_export_that_cannot_be_read_is_said_to_be_so(fetching: Fetching) -> None:
    await fetching.given("tiktok", settings={"advertiser_id": "42", "page_ids": "75"})
    fetching.providers.exports[""] = b"Email\nanna@example.com\n"
    await reconcile(fetching)
    assert (await comparison(fetching, "tiktok"))["reason"] == "export"


async def test_a_run_can_be_brought_forward_and_switched_off(fetching: Fetching) -> None:
    await fetching.given("meta", settings={"form_ids": FORM})
    assert await reconcile(fetching)
    assert not await reconcile(fetching)
    assert (await fetching.intake.api.post("/v1/sources/meta/reconciliation")).status_code == 202
    assert await reconcile(fetching)
    await fetching.intake.api.patch("/v1/sources/meta", json={"settings": {"reconcile": "off"}})
    assert not await reconcile(fetching, after=timedelta(days=2))
    await fetching.given("hubspot")
    assert (await fetching.intake.api.get("/v1/sources/hubspot/reconciliation")).status_code == 409


PLACES = (
    "fetch.before_note",
    "reconcile.before_commit",
    "reconcile.after_commit",
    "reconcile.before_finish",
    "fetch.claimed",
    "fetch.answered",
    "fetch.held",
    "resettle.after_insert",
    "fetch.before_commit",
    "fetch.after_commit",
)


async def test_a_process_killed_anywhere_loses_no_lead_and_brings_none_in_twice(
    fetching: Fetching, tmp_path: Path
) -> None:
    await fetching.given("meta", settings={"form_ids": FORM, "fetch_per_minute": "9999"})
    lead_ids = [str(n) for n in range(60)]
    fetching.providers.page_size = 10
    fetching.providers.leads |= {
        id: meta_lead(id, "", field_data=[{"name": "email", "values": [f"p{int(id) % 7}@example.com"]}])
        for id in lead_ids
    }
    program = tmp_path / "life.py"
    program.write_text(_LIFE)
    environment = os.environ | {
        "BATON_DATABASE__URL": fetching.intake.app.settings.database.url.get_secret_value(),
        "BATON_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BATON_SEAL_KEY": SEAL_KEY,
        "BATON_PROVIDER_URLS": f'{{"meta": "{fetching.providers.url}"}}',
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }

    async def live(place: str) -> tuple[int | None, set[str]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), env=environment | {"BATON_FAILPOINT": place}, stdout=subprocess.PIPE
        )
        told, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, set(told.decode().split())

    acknowledged: set[str] = set()
    for place in PLACES:
        code, told = await live(place)
        assert code == -signal.SIGKILL, place
        acknowledged |= told
        await fetching.holds()
        # The dead hold leases; their time passes.
        await fetching.intake.fetch("UPDATE fetch_job SET lease_until = NULL RETURNING 1")
        await fetching.intake.fetch("UPDATE reconcile_state SET lease_until = NULL, due_at = '2026-03-01' RETURNING 1")
    code, told = await live("")
    assert code == 0
    assert acknowledged
    await fetching.holds()
    rows = await fetching.intake.fetch(
        "SELECT key, count(*) AS n FROM receipt_entry WHERE outcome IN ('created', 'matched', 'touch_only') GROUP BY 1"
    )
    assert {row["key"]: row["n"] for row in rows} == dict.fromkeys(lead_ids, 1)
    [agree] = await fetching.intake.fetch(
        """
        SELECT (SELECT count(*) FROM lead) AS leads, (SELECT count(*) FROM touch) AS touches,
               (SELECT count(*) FROM receipt_entry WHERE outcome = 'pending') AS pending,
               (SELECT count(*) FROM receipt WHERE state <> 'settled') AS unsettled,
               (SELECT count(*) FROM fetch_job WHERE state <> 'done') AS jobs
        """
    )
    assert tuple(agree) == (7, 60, 0, 0, 0)
    events = await fetching.intake.outbox()
    assert sum(e.type.endswith("LeadCreated") for e in events) == 7
    assert sum(e.type.endswith("TouchRecorded") for e in events) == 60


_LIFE = """
import asyncio, dataclasses
from datetime import UTC, datetime, timedelta
from intake_samples import meta
from lead_intake.app import open_app
from lead_intake.delivery import Incoming
from lead_intake.entry import delivery_of
from lead_intake.fetching import fetch
from lead_intake.fetching.calls import open_http
from lead_intake.fetching.reconcile import reconcile_next
from lead_intake.settings import IntakeSettings
from lead_intake.sources import PROVIDERS
from baton_kit.clock import FixedClock

async def main():
    async with open_app(IntakeSettings()) as opened, open_http(opened.settings) as http:
        app = dataclasses.replace(opened, clock=FixedClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC)))
        await app.sources.refresh()
        source = app.sources.get("meta")
        # A third is pushed, the rest has to be found in the list.
        for n in range(0, 20, 2):
            body = meta(str(n), str(n + 1))
            incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", app.clock.now())
            delivery = delivery_of(incoming, source, PROVIDERS["meta"].parse(incoming, source), body=body)
            await app.commits.submit(app, delivery)
            print(n, flush=True)
        while await reconcile_next(app, http):
            pass
        for _ in range(30):
            for source, job in await fetch.claim(app, most=16):
                await fetch.work(app, http, source=source, job=job)
            app.clock.advance(timedelta(seconds=10))

asyncio.run(main())
"""
