"""Exports of the past: every row ends once, wherever the worker dies, and a wrong one stops nothing."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import import_words as words
import pytest
import yaml
from import_words import (
    CAMPAIGNS,
    DEALS,
    FEEDBACK,
    LEADS,
    TOUCHES,
    csv,
    errors,
    handed_in,
    imported,
    jsonl,
    leads,
    opened,
    shown,
)

from baton_kit.testing import SEAL_KEY, Harness
from lead_intake.app import App
from lead_intake.importing import run
from lead_intake.importing.look import look_for_leads
from lead_intake.importing.run import advance

_DEALS = "Deal ID,Contact,Stage,Amount,Opened,Closed"


async def numbers(h: Harness[App]) -> dict[str, int]:
    return {t: (await h.fetch(f"SELECT count(*) FROM {t}"))[0][0] for t in words.TABLES}


async def told(h: Harness[App]) -> list[str]:
    return [e.type.rsplit(".", 1)[1] for e in await h.new_events()]


async def balanced(h: Harness[App]) -> dict[str, Any]:
    answer = (await h.api.get("/v1/receipts/balance")).json()
    assert answer["balanced"], answer
    return {item["source_id"]: item for item in answer["items"]}


async def test_an_export_of_leads_makes_leads_of_its_own_dates(intake: Harness[App]) -> None:
    done = await imported(intake, LEADS, leads(3))
    assert (done["state"], done["rows"], done["counts"]) == ("done", 3, {"created": 3})
    events = await intake.new_events()
    created = [e.body for e in events if e.type.endswith("LeadCreated")]
    assert {c.occurred_at.ToDatetime().isoformat() for c in created} == {f"2024-03-0{n}T00:00:00" for n in (2, 3, 4)}
    assert all(c.imported and c.source_id == "history" and c.provider == "import" for c in created)
    assert all(e.body.imported for e in events if e.type.endswith("TouchRecorded"))
    [lane] = await intake.fetch(
        "SELECT DISTINCT slot >= (SELECT slot FROM outbox_ring WHERE lane = 'bulk') FROM outbox"
    )
    assert lane[0]
    assert (await balanced(intake))["history"]["created"] == 3


async def test_the_same_file_again_changes_nothing(intake: Harness[App]) -> None:
    first = await imported(intake, LEADS, leads(3))
    before = await numbers(intake)
    again = await imported(intake, LEADS, leads(3))
    assert again["id"] == first["id"]
    assert await numbers(intake) == before


async def test_rows_that_are_here_already_are_duplicates_whatever_file_brings_them(intake: Harness[App]) -> None:
    await imported(intake, LEADS, leads(3))
    before = await numbers(intake)
    more = await imported(intake, LEADS, leads(5))
    assert more["counts"] == {"duplicate": 3, "created": 2}
    after = await numbers(intake)
    assert after["lead"] == before["lead"] + 2
    assert after["receipt_entry"] == before["receipt_entry"] + 5
    await balanced(intake)


async def test_a_record_that_changed_is_an_update_and_no_second_touch(intake: Harness[App]) -> None:
    await imported(intake, LEADS, leads(1))
    changed = leads(1).replace(b"Person 1", b"Persona 1")
    assert (await imported(intake, LEADS, changed))["counts"] == {"updated": 1}
    assert (await numbers(intake))["touch"] == 1
    assert "LeadUpdated" not in await told(intake), "a name is no feature"
    [contact] = await intake.fetch("SELECT data FROM contact")
    assert b"Persona 1" in contact["data"]


async def test_newer_features_of_a_record_are_told_once_on_the_bulk_lane(intake: Harness[App]) -> None:
    layout = {**LEADS, "columns": {**LEADS["columns"], "employees": "Campaign"}}
    await imported(intake, layout, leads(2))
    before = [e.body for e in await intake.new_events() if e.type.endswith("TouchRecorded")]
    larger = leads(2).replace(b"02.03.2024,", b"02.03.2024,300")
    assert (await imported(intake, layout, larger))["counts"] == {"updated": 1, "duplicate": 1}
    [updated] = [e for e in await intake.new_events() if e.type.endswith("LeadUpdated")]
    assert (updated.body.features.employees, updated.body.imported, updated.body.provider) == (250, True, "import")
    [touch] = [t for t in before if t.lead_id == updated.key == updated.body.lead_id]
    assert updated.body.sequence == touch.sequence + 1
    assert updated.body.features.channel == touch.features.channel
    assert (await imported(intake, layout, larger + b"\n"))["counts"] == {"duplicate": 2}
    assert [e for e in await intake.new_events() if e.type.endswith("LeadUpdated")] == []
    await balanced(intake)


async def test_files_are_joined_by_the_id_of_the_crm(intake: Harness[App]) -> None:
    await imported(intake, CAMPAIGNS, csv("ID,Source,Medium,Name", "c1,google,cpc,spring"))
    data = csv("Record ID,Email,Phone,Name,Created,Campaign", "7,,,Anna,02.03.2024,c1")
    await imported(intake, LEADS, data)
    await imported(intake, TOUCHES, csv("Contact,Type,When,Source", "7,Click,2024-03-01,google", "7,?,2024-03-09,"))
    deals = csv("Deal ID,Contact,Stage,Amount,Opened,Closed", '1,7,Closed won,"18,490.00",2024-03-05,2024-04-01')
    assert (await imported(intake, DEALS, deals))["counts"] == {"matched": 1}
    feedback = csv("Contact,Result,Reason,When", "7,rejected,too_small,2024-03-06T10:00:00Z")
    assert (await imported(intake, FEEDBACK, feedback))["counts"] == {"matched": 1}

    [lead] = await intake.fetch("SELECT id::text FROM lead")
    touches = await intake.fetch("SELECT kind, channel, utm_campaign, utm_source FROM touch ORDER BY sequence")
    assert [(t["kind"], t["utm_source"], t["utm_campaign"]) for t in touches] == [
        ("form", "google", "spring"),
        ("ad_click", "google", ""),
        ("visit", "", ""),
    ]
    assert touches[0]["channel"] == "paid_search"
    facts = {e.type.rsplit(".", 1)[1]: e for e in await intake.new_events()}
    deal, answer = facts["DealImported"].body, facts["FeedbackImported"].body
    assert (deal.lead_id, deal.crm, deal.crm_deal_id) == (lead["id"], "hubspot", "1")
    assert (deal.amount_minor, deal.currency, deal.state) == (1_849_000, "EUR", 2)
    assert (answer.lead_id, answer.reason, answer.kind) == (lead["id"], "too_small", 2)
    assert facts["DealImported"].key == lead["id"]
    await balanced(intake)


async def test_an_import_and_a_webhook_meet_the_same_person(intake: Harness[App]) -> None:
    await imported(intake, LEADS, leads(1))
    source = {"id": "site", "provider": "generic", "default_region": "DE"}
    address = (await intake.api.post("/v1/sources", json=source)).json()["webhook_url"]
    assert intake.public is not None
    await intake.app.sources.refresh()
    answer = await intake.public.post(address, json={"email": "P1@example.com", "name": "Person 1"})
    assert answer.status_code == 200, answer.text
    assert (await numbers(intake))["lead"] == 1
    live = [e.body for e in await intake.new_events() if e.type.endswith("TouchRecorded")][-1]
    assert not live.imported


async def test_a_wrong_row_never_stops_the_rest_and_the_errors_name_nobody(intake: Harness[App]) -> None:
    data = csv(
        "Record ID,Email,Phone,Name,Created,Campaign",
        "1,a@example.com,,Anna,02.03.2024,",
        "2,b@example.com,,Berta,32.13.2024,",
        "3,c@example.com,,Carla,",
        ",not-an-address,12,Dora,02.03.2024,",
        '5,"e@example.com,,Emma,02.03.2024,',
        "6,f@example.com,,Frida,,",
        "7,g@example.com,,Gerda,03.03.2024,",
    )
    done = await imported(intake, LEADS, data)
    assert (done["state"], done["counts"]) == ("done", {"created": 2, "refused": 5})
    assert await errors(intake, done["id"]) == [
        (3, "Created", "date"),
        (4, "", "column_count"),
        (5, "Email", "no_identity"),
        (6, "", "unclosed_quote"),
        (7, "Created", "no_date"),
    ]
    text = (await intake.api.get(f"/v1/imports/{done['id']}/errors.csv")).text
    assert len(text.split("\r\n")) == 7
    for name in ("Berta", "b@example.com", "32.13", "Dora", "not-an-address"):
        assert name not in text
    assert (await balanced(intake))["history"]["entries"] == 7


async def test_the_corrected_file_takes_what_was_refused(intake: Harness[App]) -> None:
    touches = csv("Contact,Type,When,Source", "1,Click,2024-03-01,google")
    refused = await imported(intake, TOUCHES, touches)
    assert refused["counts"] == {"refused": 1}
    assert await errors(intake, refused["id"]) == [(2, "Contact", "unknown_lead")]
    await imported(intake, LEADS, leads(1))
    again = await imported(intake, TOUCHES, touches)
    assert again["counts"] == {"matched": 1}
    assert again["id"] != refused["id"]


async def test_a_deal_waits_for_the_file_that_brings_its_lead(intake: Harness[App]) -> None:
    deals = csv(
        "Deal ID,Contact,Stage,Amount,Opened,Closed",
        "1,1,Closed won,10.00,2024-03-05,2024-04-01",
        "2,2,Closed won,20.00,2024-03-05,2024-04-01",
        "3,9,Closed won,30.00,2024-03-05,2024-04-01",
    )
    answers = csv("Contact,Result,Reason,When", "2,rejected,too_small,2024-03-06T10:00:00Z")
    waiting = [await imported(intake, DEALS, deals), await imported(intake, FEEDBACK, answers)]
    assert [one["counts"] for one in waiting] == [{"pending": 3}, {"pending": 1}]
    assert await errors(intake, waiting[0]["id"]) == [(n, "Contact", "waits_for_lead") for n in (2, 3, 4)]
    assert await told(intake) == []
    assert b"crm_id" not in b"".join(r["fact"] for r in await intake.fetch("SELECT fact FROM import_waiting"))
    again = await imported(intake, DEALS, deals)
    assert again["counts"] == {"duplicate": 3}, "what waits waits once"
    assert again["id"] != waiting[0]["id"]

    assert (await imported(intake, LEADS, leads(2)))["counts"] == {"created": 2}
    assert [(await shown(intake, one["id"]))["counts"] for one in waiting] == [
        {"matched": 2, "pending": 1},
        {"matched": 1},
    ]
    assert await errors(intake, waiting[0]["id"]) == [(4, "Contact", "waits_for_lead")]
    events = await intake.new_events()
    facts = [e for e in events if e.type.endswith(("DealImported", "FeedbackImported"))]
    lead_of = {e.body.lead_id: e.key for e in events if e.type.endswith("LeadCreated")}
    assert sorted(getattr(e.body, "crm_deal_id", "") for e in facts) == ["", "1", "2"]
    assert {e.key for e in facts} == set(lead_of)
    assert len(await intake.fetch("SELECT FROM import_waiting")) == 1
    assert (await imported(intake, LEADS, leads(2) + b"\n"))["counts"] == {"duplicate": 2}
    assert await told(intake) == [], "settled once"
    await balanced(intake)


async def test_a_deal_whose_lead_came_by_another_way_is_taken_when_its_file_comes_again(intake: Harness[App]) -> None:
    layout = {**DEALS, "columns": {**DEALS["columns"], "lead_id": "Nobody", "email": "Contact"}}
    deals = csv(
        "Deal ID,Contact,Nobody,Stage,Amount,Opened,Closed", "1,P1@example.com,,Closed won,10.00,2024-03-05,2024-04-01"
    )
    waiting = await imported(intake, layout, deals)
    assert waiting["counts"] == {"pending": 1}
    assert await intake.fetch("SELECT FROM import_waiting WHERE position('example'::bytea IN fact) > 0") == []
    source = {"id": "site", "provider": "generic"}
    address = (await intake.api.post("/v1/sources", json=source)).json()["webhook_url"]
    assert intake.public is not None
    await intake.app.sources.refresh()
    assert (await intake.public.post(address, json={"email": "p1@example.com"})).status_code == 200
    assert (await imported(intake, layout, deals))["counts"] == {"duplicate": 1}
    assert (await shown(intake, waiting["id"]))["counts"] == {"matched": 1}
    assert (await told(intake))[-1] == "DealImported"


async def test_a_deal_whose_lead_comes_by_a_form_afterwards_is_taken_by_itself(intake: Harness[App]) -> None:
    layout = {**DEALS, "columns": {**DEALS["columns"], "lead_id": "Nobody", "email": "Contact"}}
    deals = csv(
        "Deal ID,Contact,Nobody,Stage,Amount,Opened,Closed",
        "1,P1@example.com,,Closed won,10.00,2024-03-05,2024-04-01",
        "2,P2@example.com,,Closed won,10.00,2024-03-05,2024-04-01",
    )

    async def look(after: str | None) -> str | None:
        async with intake.db.begin() as tx:
            return await look_for_leads(tx, intake.app, after=after)

    assert await look(None) is None, "nothing waits"
    waiting = await imported(intake, layout, deals)
    after = await look(None)
    source = {"id": "site", "provider": "generic"}
    address = (await intake.api.post("/v1/sources", json=source)).json()["webhook_url"]
    assert intake.public is not None
    await intake.app.sources.refresh()
    assert (await intake.public.post(address, json={"email": "p1@example.com"})).status_code == 200
    assert await look(after) is not None
    assert await advance(intake.app) == 1
    assert (await shown(intake, waiting["id"]))["counts"] == {"matched": 1, "pending": 1}
    assert (await told(intake))[-1] == "DealImported"
    assert await advance(intake.app) is None, "settled once"
    await balanced(intake)


async def test_many_leads_are_looked_at_part_by_part_and_none_is_passed_over(
    intake: Harness[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lead_intake.importing.look.MOST", 2)
    assert (await imported(intake, DEALS, csv(
        "Deal ID,Contact,Stage,Amount,Opened,Closed", "1,7,Closed won,10.00,2024-03-05,2024-04-01"
    )))["counts"] == {"pending": 1}  # fmt: skip
    monkeypatch.setattr("lead_intake.importing.wait.store.find_waiting", _nobody)
    assert (await imported(intake, LEADS, leads(8)))["counts"] == {"created": 8}
    monkeypatch.undo()
    monkeypatch.setattr("lead_intake.importing.look.MOST", 2)
    after: str | None = None
    for _ in range(5):
        async with intake.db.begin() as tx:
            after = await look_for_leads(tx, intake.app, after=after)
    assert await intake.fetch("SELECT FROM import_waiting WHERE lead_id IS NULL") == []


async def _nobody(*_: object) -> int:
    return 0


async def test_a_deal_that_waited_too_long_is_refused(intake: Harness[App]) -> None:
    waiting = await imported(intake, DEALS, csv(_DEALS, "1,1,Closed won,10.00,2024-03-05,2024-04-01"))
    intake.clock.advance(timedelta(days=29))
    assert await run.advance(intake.app) is None
    intake.clock.advance(timedelta(days=2))
    assert await run.advance(intake.app) == 1
    assert (await shown(intake, waiting["id"]))["counts"] == {"refused": 1}
    assert await errors(intake, waiting["id"]) == [(2, "", "unknown_lead")]
    await balanced(intake)


@pytest.mark.parametrize("order", ["deals first", "leads first"])
async def test_a_worker_killed_while_deals_find_their_leads_settles_each_once(
    intake: Harness[App], tmp_path: Path, order: str
) -> None:
    program = tmp_path / "work.py"
    program.write_text(_WORKER)
    deals = csv(_DEALS, *(f"{n},{n},Closed won,10.00,2024-03-05,2024-04-01" for n in range(1, 21)))
    ids = [await handed_in(intake, layout, data) for layout, data in ((DEALS, deals), (LEADS, leads(20)))]
    environment = os.environ | {
        "BATON_DATABASE__URL": intake.app.settings.database.url.get_secret_value(),
        "BATON_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BATON_SEAL_KEY": SEAL_KEY,
    }
    places = ("import.waiting_held", "import.waiting_settled", "resettle.before_outbox")
    for place in places if order == "deals first" else ("import.waiting_settled:2",):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), env=environment | {"BATON_FAILPOINT": place}
        )
        ended = await asyncio.wait_for(process.wait(), 60)
        assert ended in (0, -signal.SIGKILL), place
    while await run.advance(intake.app, most=10) is not None:
        pass
    assert [(await shown(intake, id))["counts"] for id in ids] == [{"matched": 20}, {"created": 20}]
    assert (await told(intake)).count("DealImported") == 20
    await balanced(intake)


async def test_who_is_forgotten_while_an_export_is_under_way_is_not_brought_back_by_it(intake: Harness[App]) -> None:
    await imported(intake, LEADS, leads(2), source="first")
    [lead] = await intake.fetch(
        "SELECT l.id::text FROM lead l JOIN identity_key k USING (person_id) WHERE key = 'email:p2@example.com'"
    )
    waiting = await handed_in(intake, LEADS, leads(4))
    once = {"Idempotency-Key": "k"}
    answer = await intake.api.post(f"/v1/leads/{lead['id']}/erase", json={"reason": "person_request"}, headers=once)
    assert answer.status_code < 300, answer.text
    assert await intake.fetch("SELECT FROM import_forgotten")
    while await run.advance(intake.app, most=2) is not None:
        pass
    assert (await shown(intake, waiting))["counts"] == {"duplicate": 1, "refused": 1, "created": 2}
    assert await errors(intake, waiting) == [(3, "", "forgotten")]
    assert await intake.fetch("SELECT FROM identity_key WHERE key LIKE '%p2@%' OR key LIKE '%0002'") == []
    assert await intake.fetch("SELECT FROM import_forgotten") == [], "kept no longer than the export"

    # The same export again finds what it left, and so do deals of the one who is gone.
    assert (await imported(intake, LEADS, leads(4)))["counts"] == {"duplicate": 4}
    assert len(await intake.fetch("SELECT FROM contact")) == 3
    await balanced(intake)


async def test_a_deal_that_waits_for_who_is_forgotten_is_refused(intake: Harness[App]) -> None:
    layout = {**DEALS, "columns": {**DEALS["columns"], "lead_id": "Other"}}
    await imported(intake, LEADS, leads(1))
    await intake.fetch("DELETE FROM identity_key WHERE key LIKE 'crm_id:%'")
    deals = csv(_DEALS.replace("Contact", "Other"), "1,1,Closed won,10.00,2024-03-05,2024-04-01")
    waiting = await imported(intake, layout, deals)
    assert waiting["counts"] == {"pending": 1}
    [lead] = await intake.fetch("SELECT id::text, person_id FROM lead")
    await intake.fetch("INSERT INTO identity_key (key, person_id) VALUES ('crm_id:hubspot:1', $1)", lead["person_id"])
    once = {"Idempotency-Key": "k"}
    await intake.api.post(f"/v1/leads/{lead['id']}/erase", json={"reason": "person_request"}, headers=once)
    while await run.advance(intake.app) is not None:
        pass
    assert await errors(intake, waiting["id"]) == [(2, "", "forgotten")]
    assert "DealImported" not in await told(intake)


async def test_a_name_of_a_column_is_no_formula_in_the_errors(intake: Harness[App]) -> None:
    layout = {**LEADS, "columns": {**LEADS["columns"], "occurred_at": {"column": "=cmd|x", "formats": ["iso"]}}}
    data = csv("Record ID,Email,Phone,Name,=cmd|x,Campaign", "1,a@example.com,,Anna,never,")
    done = await imported(intake, layout, data)
    text = (await intake.api.get(f"/v1/imports/{done['id']}/errors.csv")).text
    assert "2,'=cmd|x,date" in text


@pytest.mark.parametrize("most", [1, 7, 1_000])
async def test_a_dry_run_says_what_the_import_then_does_and_writes_nothing(intake: Harness[App], most: int) -> None:
    await imported(intake, LEADS, leads(2))
    before = await numbers(intake)
    extra = leads(8) + b"\n8,p8@example.com,,Person 8,09.03.2024,\n,p3@example.com,,P,01.01.2024,\n9,,,N,nodate,\n"
    touches = csv("Contact,Type,When,Source", *(f"{n},Click,2024-03-01,g" for n in (1, 8, 99, 1)))
    dry = [
        await imported(intake, LEADS, extra, most=most, dry_run=True, trial="t"),
        await imported(intake, TOUCHES, touches, most=most, dry_run=True, trial="t"),
    ]
    assert await numbers(intake) == before
    real = [await imported(intake, LEADS, extra), await imported(intake, TOUCHES, touches)]
    assert [d["counts"] for d in dry] == [
        {"duplicate": 2, "created": 6, "matched": 2, "refused": 1},
        {"matched": 2, "duplicate": 1, "refused": 1},
    ]
    for d, r in zip(dry, real, strict=True):
        # Whether a known lead is told anything new shows only when the row is merged into it.
        assert sum(d["counts"].values()) == sum(r["counts"].values())
        for outcome in ("created", "refused"):
            assert d["counts"].get(outcome) == r["counts"].get(outcome)
    assert [await errors(intake, d["id"]) for d in dry] == [await errors(intake, r["id"]) for r in real]


async def test_the_bytes_are_gone_when_the_file_is_through(intake: Harness[App]) -> None:
    for dry_run in (True, False):
        await imported(intake, LEADS, leads(3), dry_run=dry_run)
        assert await intake.fetch("SELECT 1 FROM import_part") == []


async def test_an_upload_that_broke_off_goes_on_where_it_was(intake: Harness[App]) -> None:
    data = leads(20)
    one = await opened(intake, LEADS, data)
    path = f"/v1/imports/{one['id']}/content"
    assert (await intake.api.post(f"{path}?offset=0", content=data[:100])).json()["received"] == 100
    assert (await opened(intake, LEADS, data))["received"] == 100
    wrong = await intake.api.post(f"{path}?offset=50", content=data[50:])
    assert (wrong.status_code, wrong.json()["detail"]) == (409, "Go on with offset=100.")
    assert (await intake.api.post(f"{path}?offset=100", content=data[100:])).json()["state"] == "waiting"
    assert await run.advance(intake.app) == 20


async def test_other_bytes_than_those_announced_are_not_imported(intake: Harness[App]) -> None:
    data = leads(2)
    one = await opened(intake, LEADS, data)
    path = f"/v1/imports/{one['id']}/content"
    answer = await intake.api.post(path, content=data[:-1] + b"x")
    assert answer.status_code == 422
    assert (await shown(intake, one["id"]))["received"] == 0
    assert (await intake.api.post(path, content=data + b"y")).status_code == 413
    assert (await intake.api.post(path, content=data)).status_code == 200


async def test_a_file_whose_columns_are_missing_fails_as_a_whole(intake: Harness[App]) -> None:
    done = await imported(intake, LEADS, csv("A,B", "1,2"))
    assert (done["state"], done["reason"], done["rows"]) == ("failed", "column_missing", 0)


async def test_json_lines_of_nested_objects_are_read_by_path(intake: Harness[App]) -> None:
    layout = {
        **LEADS,
        "format": "jsonl",
        "columns": {
            "id": "id",
            "email": "properties.email",
            "occurred_at": {"column": "properties.created", "formats": ["unix_ms"]},
        },
    }
    data = jsonl({"id": 2**60, "properties": {"email": "a@example.com", "created": 1709251200000}}, {"id": 2})
    done = await imported(intake, layout, data + b"\n[1]\n{oh\n")
    assert done["counts"] == {"created": 1, "refused": 3}
    assert [(n, code) for n, _, code in await errors(intake, done["id"])] == [
        (2, "no_date"),
        (3, "not_an_object"),
        (4, "not_json"),
    ]
    assert await intake.fetch("SELECT 1 FROM identity_key WHERE key = $1", f"crm_id:hubspot:{2**60}")


async def test_windows_1251_with_semicolons(intake: Harness[App]) -> None:
    layout = {
        **LEADS,
        "encoding": "windows-1251",
        "delimiter": ";",
        "columns": {
            "email": "Рабочий email",
            "full_name": "Имя",
            "occurred_at": {"column": "Дата", "formats": ["words"]},
        },
    }
    data = "Имя;Рабочий email;Дата\nАнна;anna@example.ru;14 марта 2025\n".encode("cp1251")
    assert (await imported(intake, layout, data))["counts"] == {"created": 1}
    [contact] = await intake.fetch("SELECT data FROM contact")
    assert "Анна".encode() in contact["data"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("most", [1, 1_000])
async def test_unicode_text_of_a_spreadsheet_is_taken_row_by_row(
    intake: Harness[App], encoding: str, most: int
) -> None:
    layout = {
        **LEADS,
        "encoding": encoding,
        "delimiter": "\t",
        "skip": 1,
        "columns": {"email": "Почта", "full_name": "Имя", "occurred_at": {"column": "Дата", "formats": ["%d.%m.%Y"]}},
    }
    rows = [
        "\ufeffВыгрузка\t\t",
        "Имя\tПочта\tДата",
        "Анна \U0001f600\tanna@example.ru\t14.03.2025",
        "Борис\tboris@example.ru\tвчера",
        '"Вера\nОрлова"\tvera@example.ru\t15.03.2025',
    ]
    data = "\r\n".join(rows).encode(encoding) + b"\r\n\x00\xd8".replace(b"\r\n", "\r\n".encode(encoding))
    done = await imported(intake, layout, data, most=most)
    assert done["counts"] == {"created": 2, "refused": 2}
    assert await errors(intake, done["id"]) == [
        (4, "Дата", "date"),
        (6, "", "encoding" if encoding[-2:] == "le" else "column_count"),
    ]
    contacts = b"".join(row["data"] for row in await intake.fetch("SELECT data FROM contact"))
    assert "Анна \U0001f600".encode() in contacts
    await balanced(intake)


EXAMPLES = Path(__file__).parents[4] / "examples/import"


@pytest.mark.parametrize(
    ("mapping", "counts"),
    [
        ("hubspot.yaml", [{"matched": 2}, {"created": 20, "refused": 1}, {"matched": 10, "pending": 1}]),
        ("amocrm.yaml", [{"created": 15}, {"matched": 8}]),
    ],
)
async def test_the_worked_example_of_the_documentation(intake: Harness[App], mapping: str, counts: list[Any]) -> None:
    told = yaml.safe_load((EXAMPLES / mapping).read_text())
    for layout, expected in zip(told["files"], counts, strict=True):
        data = (EXAMPLES / layout.pop("file")).read_bytes()
        assert (await imported(intake, layout, data, source=told["source"]))["counts"] == expected
    await balanced(intake)


async def test_a_proposal_is_asked_for_with_the_first_bytes(intake: Harness[App]) -> None:
    data = (EXAMPLES / "amocrm-contacts.csv").read_bytes()
    answer = await intake.api.post("/v1/imports/proposals?name=amocrm-contacts.csv", content=data)
    assert answer.json()["layout"]["encoding"] == "windows-1251"
    assert answer.json()["faults"] == []


async def test_a_source_of_imports_has_no_door(intake: Harness[App]) -> None:
    await imported(intake, LEADS, leads(1))
    await intake.app.sources.refresh()
    assert intake.public is not None
    assert (await intake.public.post("/v1/webhooks/history", json={"email": "x@example.com"})).status_code == 401
    assert (await intake.api.patch("/v1/sources/history", json={"mapping": {}})).status_code == 422
    assert (await intake.api.post("/v1/sources/history/secrets", json={"secret": "12345678"})).status_code == 422
    site = {"id": "site", "provider": "generic"}
    await intake.api.post("/v1/sources", json=site)
    body = {"source": "site", "size": 1, "digest": "0" * 64, "layout": LEADS}
    assert (await intake.api.post("/v1/imports", json=body)).status_code == 409


async def test_a_row_that_the_database_refuses_is_set_aside_alone(intake: Harness[App]) -> None:
    await intake.fetch("ALTER TABLE contact ADD CONSTRAINT no_seventh CHECK (position('Person 7'::bytea IN data) = 0)")
    id = await handed_in(intake, LEADS, leads(12))
    task = asyncio.create_task(run.advance_for_ever(intake.app))
    try:
        async with asyncio.timeout(30):
            while (await shown(intake, id))["state"] != "done":  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
    assert (await shown(intake, id))["counts"] == {"created": 11, "refused": 1}
    assert [(n, code) for n, _, code in await errors(intake, id)] == [(8, "not_storable")]


async def test_a_worker_killed_anywhere_goes_on_and_ends_as_one_that_was_not(
    intake: Harness[App], tmp_path: Path
) -> None:
    program = tmp_path / "work.py"
    program.write_text(_WORKER)
    id = await handed_in(intake, LEADS, leads(60))
    environment = os.environ | {
        "BATON_DATABASE__URL": intake.app.settings.database.url.get_secret_value(),
        "BATON_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "BATON_SEAL_KEY": SEAL_KEY,
    }
    rows = 0
    for place in ("import.claimed:2", "import.read:2", "import.settled", "import.settled:2", "import.noted:2"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), env=environment | {"BATON_FAILPOINT": place}
        )
        assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL, place
        now = (await shown(intake, id))["rows"]
        assert rows <= now < 60
        rows = now
        [stored] = await intake.fetch("SELECT count(*) FROM receipt_entry")
        assert stored[0] == rows, "what is counted is what is stored"
    assert rows > 0
    while await run.advance(intake.app, most=10) is not None:
        pass
    done = await shown(intake, id)
    assert (done["state"], done["counts"]) == ("done", {"created": 60})
    found = await numbers(intake)
    assert (found["lead"], found["touch"], found["receipt_entry"]) == (60, 60, 60)
    assert (await told(intake)).count("LeadCreated") == 60
    await balanced(intake)


async def test_two_workers_never_import_the_same_rows(intake: Harness[App]) -> None:
    id = await handed_in(intake, LEADS, leads(200))

    async def work() -> None:
        while (await shown(intake, id))["state"] != "done":
            await run.advance(intake.app, most=10)

    await asyncio.gather(work(), work(), work())
    assert (await shown(intake, id))["counts"] == {"created": 200}
    assert (await numbers(intake))["receipt_entry"] == 200


_WORKER = """
import asyncio
from baton_kit.settings import load_settings
from lead_intake.app import open_app
from lead_intake.importing.run import advance
from lead_intake.settings import IntakeSettings

async def main():
    async with open_app(load_settings(IntakeSettings)) as app:
        while await advance(app, most=10) is not None:
            pass

asyncio.run(main())
"""
