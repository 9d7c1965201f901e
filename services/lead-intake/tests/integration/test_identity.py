"""Shared addresses and numbers make no one person of many; keys follow the source's rules on every path."""

import base64
import dataclasses
from typing import Any

from intake_samples import BODIES

from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import delivery_of
from lead_intake.identity.shared import share_what_many_use, shared_keys
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS

SOURCE = Source("form", "generic", secrets=("x" * 8,), default_region="ES")


async def inquiry(intake: Harness[App], key: str, email: str = "", phone: str = "", **more: Any) -> str:
    """The lead that one delivery ends at, under the list as it stands."""
    async with intake.db.begin() as tx:
        source = dataclasses.replace(SOURCE, shared_keys=await shared_keys(tx), settings=more.pop("settings", {}))
    now = intake.clock.now()
    body = BODIES["generic"](key, email, phone, **more)
    incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", now)
    delivery = delivery_of(incoming, source, PROVIDERS["generic"].parse(incoming, source), body=body)
    async with intake.db.begin() as tx:
        [result] = await receive(tx, intake.app, [delivery])
    [lead_id] = result.lead_ids
    assert lead_id is not None
    return lead_id


async def test_two_persons_behind_one_office_address_stay_two(intake: Harness[App]) -> None:
    anna = await inquiry(intake, "1", "info@firm.example.com", name="Anna Petrova")
    boris = await inquiry(intake, "2", "info@firm.example.com", name="Boris Petrov")
    assert anna != boris
    assert await inquiry(intake, "3", "info@firm.example.com", name="PETROVA Anna") == anna
    assert await intake.fetch("SELECT * FROM proposed_merge") == []


async def test_a_number_on_the_list_stops_identifying_and_one_taken_off_identifies_again(intake: Harness[App]) -> None:
    first = await inquiry(intake, "1", "", "+34600112201", name="Anna Petrova")
    order = {"kind": "phone", "value": "+34 600 112 201"}
    assert (await intake.api.post("/v1/shared-keys", json=order)).status_code == 200
    listed = (await intake.api.get("/v1/shared-keys")).json()
    assert listed == {"items": [{"kind": "phone", "value": "+34600112201"}], "next_cursor": None}
    assert await inquiry(intake, "2", "", "+34600112201", name="Boris Petrov") != first
    await intake.api.post("/v1/shared-keys", json=order | {"shared": False})
    assert await inquiry(intake, "3", "", "+34600112201", name="Carla Ruiz") == first
    assert (await intake.api.post("/v1/shared-keys", json=order | {"value": "x"})).status_code == 422


async def test_shared_keys_come_page_by_page_each_once_and_no_cursor_names_one(intake: Harness[App]) -> None:
    values = {f"office{n}@firm.example.com" for n in range(5)}
    for value in values:
        await intake.api.post("/v1/shared-keys", json={"kind": "email", "value": value})
    found, cursor = [], ""
    while cursor is not None:
        page = (await intake.api.get(f"/v1/shared-keys?limit=2{cursor and f'&cursor={cursor}'}")).json()
        found += [one["value"] for one in page["items"]]
        cursor = page["next_cursor"]
        assert cursor is None or b"office" not in base64.urlsafe_b64decode(cursor + "==")
    assert len(found) == 5
    assert set(found) == values


async def test_a_number_that_comes_with_too_many_names_becomes_shared_by_the_rule(intake: Harness[App]) -> None:
    names = ["Anna Petrova", "Boris Ivanov", "Carla Ruiz", "Dmitri Orlov"]
    leads = {await inquiry(intake, str(n), "", "+34600112201", name=name) for n, name in enumerate(names[:3])}
    assert len(leads) == 1
    async with intake.db.begin() as tx:
        assert await share_what_many_use(tx, intake.app) == 0
    assert {await inquiry(intake, "4", "", "+34600112201", name=names[3])} == leads
    async with intake.db.begin() as tx:
        assert await share_what_many_use(tx, intake.app) == 1
    assert await inquiry(intake, "5", "", "+34600112201", name="Elena Sidorova") not in leads
    assert not any(
        name.split()[0].casefold() in str(r["name"])
        for r in await intake.fetch("SELECT * FROM key_name")
        for name in names
    )


async def test_spellings_of_one_name_do_not_make_a_number_shared(intake: Harness[App]) -> None:
    for n, name in enumerate(["Anna Petrova", "Petrova, Anna", "Anna", "anna petrova"]):
        await inquiry(intake, str(n), "", "+34600112201", name=name)
    assert await intake.fetch("SELECT * FROM key_name") == []


async def test_the_source_says_which_keys_count_together(intake: Harness[App]) -> None:
    rule = {"identity": "email, anonymous_id+company_domain"}
    a = await inquiry(intake, "1", "a@firm.de", anonymous_id="c1", settings=rule)
    assert await inquiry(intake, "2", anonymous_id="c1", website="https://firm.de", settings=rule) == a
    wrong = {"id": "form", "provider": "generic", "settings": {"identity": "company_domain"}}
    answer = await intake.api.post("/v1/sources", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/settings/identity"
