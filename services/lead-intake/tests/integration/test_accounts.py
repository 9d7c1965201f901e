"""Companies: one account whatever comes at once, merges that can be undone, and nothing that a person left alone."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from contact_steps import told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_words import LEADS, handed_in
from intake_samples import BODIES

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, AccountUnmerged, LeadAccountChanged
from baton.lead.v1.lead_pb2 import LeadCreated, TouchRecorded
from baton_kit.db import raw
from baton_kit.testing import Harness
from lead_intake.accounts.store import ACCOUNTS
from lead_intake.accounts.unite import unite_next
from lead_intake.app import App
from lead_intake.delivery import Incoming, Source
from lead_intake.entry import Delivery, delivery_of
from lead_intake.importing import run
from lead_intake.merging.merge import Refused, merge, undo
from lead_intake.receive import receive
from lead_intake.sources import PROVIDERS

SOURCE = Source("form", "generic", secrets=("x" * 8,), default_region="ES", settings={"crm": "hubspot"})
EMPTIED = (
    "receipt, receipt_entry, identity_key, lead, contact, touch, proposed_merge, outbox, idempotency_key, account, "
    "account_key, account_edge, account_decision, account_proposal"
)


def delivery(intake: Harness[App], key: str, email: str, **more: Any) -> Delivery:
    now = intake.clock.now()
    body = BODIES["generic"](key, email, **more)
    incoming = Incoming("POST", "", {"content-type": "application/json"}, body, "", now)
    return delivery_of(incoming, SOURCE, PROVIDERS["generic"].parse(incoming, SOURCE), body=body)


async def inquiry(intake: Harness[App], key: str, email: str, **more: Any) -> str:
    """The lead that one delivery ends at."""
    async with intake.db.begin() as tx:
        [result] = await receive(tx, intake.app, [delivery(intake, key, email, **more)])
    [lead_id] = result.lead_ids
    assert lead_id is not None
    return lead_id


async def account_of(intake: Harness[App], lead_id: str) -> Any:
    return (await intake.api.get(f"/v1/leads/{lead_id}")).json()["account"]


async def accounts(intake: Harness[App], **query: str) -> list[dict[str, Any]]:
    answer = await intake.api.get("/v1/accounts", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def ask(intake: Harness[App], path: str, body: dict[str, Any], *, key: str = "k1") -> Any:
    return await intake.api.post(path, json=body, headers={"Idempotency-Key": key})


def pair(from_account: str, into_account: str) -> dict[str, str]:
    return {"from_account_id": from_account, "into_account_id": into_account}


async def two_accounts(intake: Harness[App]) -> tuple[str, str]:
    a, b = await inquiry(intake, "1", "anna@a-example.com"), await inquiry(intake, "2", "boris@b-example.com")
    return (await account_of(intake, a))["id"], (await account_of(intake, b))["id"]


async def test_colleagues_are_of_one_account_and_their_events_say_so(intake: Harness[App]) -> None:
    a = await inquiry(intake, "1", "anna@mail.acme-example.com")
    b = await inquiry(intake, "2", "boris@acme-example.com", company="Acme")
    c = await inquiry(intake, "3", "carla@gmail.com", website="https://www.acme-example.com/team")
    alone = await inquiry(intake, "4", "dana@gmail.com")
    [account] = await accounts(intake)
    assert account["name"] == "Acme"
    for lead_id in (a, b, c):
        assert await account_of(intake, lead_id) == {"id": account["id"], "name": "Acme"}
    assert await account_of(intake, alone) is None
    events = await intake.new_events()
    for kind in (LeadCreated, TouchRecorded):
        said = {e.body.lead_id: e.body.account_id for e in events if isinstance(e.body, kind)}
        assert said == {a: account["id"], b: account["id"], c: account["id"], alone: ""}
    shown = (await intake.api.get(f"/v1/accounts/{account['id']}")).json()
    assert (shown["domains"], shown["leads_total"], shown["lead_ids"]) == (["acme-example.com"], 3, [c, b, a])
    listed = (await intake.api.get("/v1/leads", params={"account_id": account["id"]})).json()["items"]
    assert [lead["id"] for lead in listed] == [c, b, a]


async def test_an_account_is_found_by_domain_company_id_and_name_and_its_tax_number_is_for_few(
    intake: Harness[App],
) -> None:
    await inquiry(
        intake, "1", "anna@acme-example.com", company="Acme_100%", company_id="55", tax_number="DE 123 456 788"
    )
    [account] = await accounts(intake)
    for query in ({"domain": "www.acme-example.com"}, {"crm": "hubspot", "company_id": "55"}, {"name": "me_100%"}):
        assert [a["id"] for a in await accounts(intake, **query)] == [account["id"]], query
    for query in ({"domain": "b-example.com"}, {"crm": "other", "company_id": "55"}, {"name": "me1100"}):
        assert await accounts(intake, **query) == [], query
    assert (await intake.api.get("/v1/accounts", params={"crm": "hubspot"})).status_code == 422
    [linked] = [e for e in await intake.new_events() if isinstance(e.body, AccountLinked)]
    assert (linked.topic, linked.key) == ("baton.account.v1", account["id"])
    assert (linked.body.crm, linked.body.crm_company_id) == ("hubspot", "55")

    path = f"/v1/accounts/{account['id']}"
    assert (await intake.api.get(path)).json()["tax_numbers"] == ["DE123456788"]
    key = await intake.key("leads:read")
    bare = await intake.api.get(path, headers={"Authorization": f"Bearer {key}"})
    assert bare.json()["tax_numbers"] is None
    assert "123456788" not in bare.text
    assert await intake.fetch("SELECT 1 FROM outbox WHERE position('123456788'::bytea in value) > 0") == []


async def test_workers_that_meet_a_new_company_at_once_make_one_account(intake: Harness[App]) -> None:
    async def one(n: int) -> str:
        # Each names the company in another way beside the domain, so that their locks overlap in part only.
        more = {"company_id": str(n % 3)} if n % 2 else {"tax_number": "DE123456788"}
        return await inquiry(intake, str(n), f"p{n}@acme-example.com", **more)

    leads = await asyncio.gather(*map(one, range(8)))
    keys = await intake.fetch("SELECT key, account_id FROM account_key WHERE key LIKE 'domain:%'")
    assert len(keys) == 1
    found = {row["account_id"] for row in await intake.fetch("SELECT DISTINCT account_id FROM lead")}
    domain_only = await inquiry(intake, "x", "new@acme-example.com")
    assert (await account_of(intake, domain_only))["id"] == str(keys[0]["account_id"])
    # One account, or several that are proposed to be one: never two that nobody knows of.
    proposed = await intake.fetch("SELECT low, high FROM account_proposal")
    joined = {id for row in proposed for id in (row["low"], row["high"])}
    assert len(found) == 1 or found <= joined
    assert len(leads) == 8


async def test_one_domain_at_once_is_one_account(intake: Harness[App]) -> None:
    await asyncio.gather(*(inquiry(intake, str(n), f"p{n}@acme-example.com") for n in range(8)))
    assert len(await intake.fetch("SELECT 1 FROM account")) == 1
    assert len(await intake.fetch("SELECT DISTINCT account_id FROM lead")) == 1


async def test_a_shared_domain_makes_no_account_from_then_on(intake: Harness[App]) -> None:
    order = {"kind": "domain", "value": "https://www.agency-example.com/"}
    assert (await intake.api.post("/v1/shared-keys", json=order)).status_code == 200
    source = {"id": "form", "provider": "generic"}
    url = (await intake.api.post("/v1/sources", json=source)).json()["webhook_url"]
    assert intake.public is not None
    body = BODIES["generic"]("1", "anna@agency-example.com")
    answer = await intake.public.post(url, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert await intake.fetch("SELECT 1 FROM account") == []
    on_list = {"kind": "domain", "value": "agency-example.com"}
    assert on_list in (await intake.api.get("/v1/shared-keys")).json()["items"]


async def test_a_lead_that_names_another_company_moves_there_and_the_two_are_proposed(intake: Harness[App]) -> None:
    lead = await inquiry(intake, "1", "anna@gmail.com")
    await intake.new_events()
    assert await inquiry(intake, "2", "anna@gmail.com", website="a-example.com") == lead
    first = (await account_of(intake, lead))["id"]
    intake.clock.advance(timedelta(minutes=1))
    assert await inquiry(intake, "3", "anna@gmail.com", website="b-example.com") == lead
    second = (await account_of(intake, lead))["id"]
    changes = [e for e in await intake.new_events() if isinstance(e.body, LeadAccountChanged)]
    assert [(e.key, e.body.account_id, e.body.previous_account_id) for e in changes] == [
        (lead, first, ""),
        (lead, second, first),
    ]
    [proposed] = (await intake.api.get("/v1/account-proposals")).json()["items"]
    assert (proposed["from_account_id"], proposed["into_account_id"], proposed["kind"]) == (second, first, "keys")
    closed = await ask(intake, "/v1/account-proposals/dismiss", pair(second, first))
    assert closed.json() == {"dismissed": 1}
    await inquiry(intake, "4", "anna@gmail.com", website="a-example.com")
    assert (await intake.api.get("/v1/account-proposals")).json()["items"] == []


async def test_what_people_dismissed_is_not_merged_by_a_tax_number_told_later(intake: Harness[App]) -> None:
    lead = await inquiry(intake, "1", "anna@a-example.com", tax_number="DE123456788")
    first = (await account_of(intake, lead))["id"]
    intake.clock.advance(timedelta(minutes=1))
    await inquiry(intake, "2", "boris@b-example.com")
    await inquiry(intake, "3", "anna@a-example.com", website="b-example.com")
    [proposed] = (await intake.api.get("/v1/account-proposals")).json()["items"]
    second = proposed["from_account_id"]
    assert (await ask(intake, "/v1/account-proposals/dismiss", pair(second, first))).json() == {"dismissed": 1}
    await inquiry(intake, "4", "carla@b-example.com", tax_number="DE123456788")
    while await unite_next(intake.app):
        pass
    assert await intake.fetch("SELECT 1 FROM account_edge") == []
    [row] = await intake.fetch("SELECT state FROM account_proposal")
    assert row["state"] == "dismissed"


async def test_equal_tax_numbers_merge_by_themselves_and_only_once(intake: Harness[App]) -> None:
    a = await inquiry(intake, "1", "anna@a-example.com", tax_number="DE123456788")
    b = await inquiry(intake, "2", "boris@b-example.com")
    await inquiry(intake, "3", "carla@b-example.com", tax_number="de 123456788")
    assert await unite_next(intake.app) is True
    assert await unite_next(intake.app) is False
    assert (await account_of(intake, a))["id"] == (await account_of(intake, b))["id"]
    [made] = (await intake.api.get("/v1/account-merges")).json()["items"]
    assert (made["decided_by"], made["reason"]) == ("rule:tax_number", "same_tax_number")

    assert (await ask(intake, f"/v1/account-merges/{made['id']}/undo", {})).status_code == 200
    await inquiry(intake, "4", "dana@b-example.com", tax_number="DE123456788")
    assert await unite_next(intake.app) is False
    assert (await account_of(intake, a))["id"] != (await account_of(intake, b))["id"]


async def test_another_tax_number_speaks_against_it_and_people_decide(intake: Harness[App]) -> None:
    await inquiry(intake, "1", "anna@a-example.com", tax_number="DE123456788")
    await inquiry(intake, "2", "boris@b-example.com", tax_number="DE811128135")
    await inquiry(intake, "3", "carla@b-example.com", tax_number="DE123456788")
    assert await unite_next(intake.app) is True
    assert await unite_next(intake.app) is False
    [proposed] = (await intake.api.get("/v1/account-proposals")).json()["items"]
    assert proposed["kind"] == "keys"
    seen = await intake.api.post(
        "/v1/account-merges/preview", json=pair(proposed["from_account_id"], proposed["into_account_id"])
    )
    assert (seen.json()["possible"], seen.json()["tax_numbers_contradict"]) == (True, True)


async def test_a_merge_is_told_on_both_keys_and_can_be_undone(intake: Harness[App]) -> None:
    a, b = await two_accounts(intake)
    await intake.new_events()
    merged = await ask(intake, "/v1/account-merges", pair(a, b))
    assert merged.status_code == 201
    events = await intake.new_events()
    assert {(type(e.body), e.topic, e.key, e.body.account_id, e.body.sequence, e.body.version) for e in events} == {
        (AccountMerged, "baton.account.v1", id, id, 1, 1) for id in (a, b)
    }
    [first, second] = (await intake.api.get("/v1/leads")).json()["items"]
    assert first["account"]["id"] == second["account"]["id"] == b
    assert {first["origin_account_id"], second["origin_account_id"]} == {a, b}
    whole = (await intake.api.get(f"/v1/accounts/{a}")).json()
    assert (whole["canonical_account_id"], whole["leads_total"]) == (b, 2)
    assert whole["domains"] == ["a-example.com", "b-example.com"]

    path = f"/v1/account-merges/{merged.json()['id']}/undo"
    assert (await ask(intake, path, {"reason": "mistake"}, key="k2")).json()["active"] is False
    assert (await ask(intake, path, {"reason": "mistake"}, key="k3")).status_code == 409
    assert {(type(e.body), e.key, e.body.version) for e in await intake.new_events()} == {
        (AccountUnmerged, a, 2),
        (AccountUnmerged, b, 2),
    }
    assert {(await account_of(intake, lead["id"]))["id"] for lead in (first, second)} == {a, b}


async def test_circles_selves_strangers_and_second_ways_out_are_refused(intake: Harness[App]) -> None:
    leads = [await inquiry(intake, str(n), f"p@{n}x-example.com") for n in range(3)]
    a, b, c = [(await account_of(intake, lead))["id"] for lead in leads]
    stranger = "01a05c06-7d5e-7cd1-8155-66af75f0734c"
    assert (await ask(intake, "/v1/account-merges", pair(a, b))).status_code == 201
    assert (await ask(intake, "/v1/account-merges", pair(b, c), key="k2")).status_code == 201
    for wrong, status in (
        (pair(c, a), 409),
        (pair(b, a), 409),
        (pair(a, c), 409),
        (pair(a, a), 409),
        (pair(a, stranger), 404),
    ):
        assert (await ask(intake, "/v1/account-merges", wrong, key=str(wrong))).status_code == status
    assert (await intake.api.get(f"/v1/accounts/{stranger}")).status_code == 404


async def test_merges_at_the_same_time_never_close_a_circle(intake: Harness[App]) -> None:
    leads = [await inquiry(intake, str(n), f"p@{n}x-example.com") for n in range(6)]
    ids = [(await account_of(intake, lead))["id"] for lead in leads]

    async def one(n: int) -> bool:
        try:
            async with intake.db.begin() as tx:
                await merge(tx, intake.app, ACCOUNTS, source=ids[n], target=ids[(n + 1) % 6], by="test", reason="other")
        except Refused:
            return False
        return True

    assert sorted(await asyncio.gather(*map(one, range(6)))) == [False, True, True, True, True, True]
    assert len({(await account_of(intake, lead))["id"] for lead in leads}) == 1


async def test_a_lead_without_a_company_shows_that_of_the_person_while_merged(intake: Harness[App]) -> None:
    a, b = await inquiry(intake, "1", "anna@a-example.com"), await inquiry(intake, "2", "anna@gmail.com")
    body = {"from_lead_id": b, "into_lead_id": a}
    merged = (await ask(intake, "/v1/merges", body)).json()
    shown = await account_of(intake, b)
    assert shown is not None
    assert shown == await account_of(intake, a)
    await ask(intake, f"/v1/merges/{merged['id']}/undo", {}, key="k2")
    assert await account_of(intake, b) is None


async def test_a_search_for_the_company_leads_to_its_account(intake: Harness[App]) -> None:
    lead = await inquiry(intake, "1", "anna@acme-example.com", company="Acme Werke")
    await told(intake)
    for term in ("acme werke", "acme-example.com"):
        [found] = (await intake.api.post("/v1/leads/search", json={"term": term})).json()["items"]
        assert (
            found["account"] == await account_of(intake, lead) == {"id": found["account"]["id"], "name": "Acme Werke"}
        )


async def test_an_export_brings_companies_with_their_ids_and_tax_numbers(intake: Harness[App]) -> None:
    columns = {name: LEADS["columns"][name] for name in ("id", "email", "occurred_at")}
    more = {"company_name": "Company", "company_id": "Company ID", "tax_number": "VAT"}
    layout = LEADS | {"columns": columns | more}
    rows = [
        "Record ID,Email,Created,Company,Company ID,VAT",
        "1,anna@a-example.com,2026-01-05,Acme,55,DE123456788",
        "2,boris@gmail.com,2026-01-06,Acme,55,",
    ]
    await handed_in(intake, layout, ("\n".join(rows) + "\n").encode())
    while await run.advance(intake.app) is not None:
        pass
    [account] = await accounts(intake, crm=layout["crm"], company_id="55")
    shown = (await intake.api.get(f"/v1/accounts/{account['id']}")).json()
    assert (shown["name"], shown["leads_total"], shown["tax_numbers"]) == ("Acme", 2, ["DE123456788"])


async def known_keys(intake: Harness[App]) -> list[str]:
    return [row["key"] for row in await intake.fetch("SELECT key FROM account_key ORDER BY key")]


async def forget(intake: Harness[App], lead_id: str) -> None:
    answer = await ask(intake, f"/v1/leads/{lead_id}/erase", {"reason": "person_request"}, key=lead_id)
    assert answer.status_code == 200, answer.text


async def test_what_only_a_forgotten_person_told_of_a_company_goes_and_the_rest_stays(intake: Harness[App]) -> None:
    a = await inquiry(intake, "1", "ivan@petrov-example.com", company="Ivan Petrov", tax_number="500100732259")
    b = await inquiry(intake, "2", "anna@acme-example.com", company="Acme")
    c = await inquiry(intake, "3", "boris@acme-example.com")
    theirs, acme = (await account_of(intake, a))["id"], (await account_of(intake, b))["id"]
    await forget(intake, a)
    await forget(intake, b)
    assert await known_keys(intake) == ["domain:acme-example.com"]
    gone = (await intake.api.get(f"/v1/accounts/{theirs}")).json()
    assert (gone["name"], gone["domains"], gone["tax_numbers"], gone["leads_total"]) == ("", [], [], 1)
    assert (await account_of(intake, c)) == {"id": acme, "name": "Acme"}
    # A new inquiry is a new company's.
    again = await inquiry(intake, "4", "ivan@petrov-example.com")
    assert (await account_of(intake, again))["id"] != theirs
    await forget(intake, c)
    assert await known_keys(intake) == ["domain:petrov-example.com"]


TELL = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(
        [{}, {"company": "Labs"}, {"company_id": "7"}, {"website": "b-example.com"}, {"website": "c-example.com"}]
    ),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), TELL),
        st.tuples(st.just("merge"), st.tuples(st.integers(0, 3), st.integers(0, 3))),
        st.tuples(st.just("undo"), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_merging_telling_and_undoing_always_leaves_what_telling_alone_would(
    intake: Harness[App], steps: Sequence[Any]
) -> None:
    states = []
    for with_merges in (True, False):
        start = intake.clock.now()
        leads: dict[str, str] = {}
        merges: list[str] = []
        for who in "abc":
            leads[who] = await inquiry(intake, who, f"{who}@{who}-example.com")
        for n, (what, arg) in enumerate(steps, start=1):
            intake.clock.advance(timedelta(minutes=1))
            if what == "tell":
                await inquiry(intake, f"{arg[0]}{n}", f"{arg[0]}@{arg[0]}-example.com", **arg[1])
            elif what == "merge" and with_merges:
                ids = [str(row["id"]) for row in await intake.fetch("SELECT id FROM account ORDER BY id")]
                try:
                    async with intake.db.begin() as tx:
                        edge = await merge(
                            tx,
                            intake.app,
                            ACCOUNTS,
                            source=ids[arg[0] % len(ids)],
                            target=ids[arg[1] % len(ids)],
                            by="t",
                            reason="other",
                        )
                    merges.append(edge.id)
                except Refused:
                    pass
            elif what == "undo" and arg < len(merges):
                async with intake.db.begin() as tx:
                    await undo(tx, intake.app, ACCOUNTS, merge_id=merges.pop(arg), by="t", reason="other")
        for merge_id in merges:
            async with intake.db.begin() as tx:
                await undo(tx, intake.app, ACCOUNTS, merge_id=merge_id, by="t", reason="other")
        # By order of creation in the place of ids, which are new each time.
        order = {row["id"]: n for n, row in enumerate(await intake.fetch("SELECT id FROM account ORDER BY id"))}
        keys = await intake.fetch("SELECT key, account_id FROM account_key ORDER BY key")
        names = await intake.fetch("SELECT id, name FROM account ORDER BY id")
        mine = await intake.fetch("SELECT id, account_id, sequence FROM lead ORDER BY id")
        shown = {who: (await account_of(intake, lead))["id"] for who, lead in leads.items()}
        states.append(
            (
                [(row["key"], order[row["account_id"]]) for row in keys],
                [(order[row["id"]], row["name"]) for row in names],
                [(order[row["account_id"]], row["sequence"]) for row in mine],
                {who: [n for id, n in order.items() if str(id) == account] for who, account in shown.items()},
            )
        )
        async with intake.db.begin() as tx:
            await (await raw(tx)).execute(f"TRUNCATE {EMPTIED} CASCADE")
        intake.clock.advance(start - intake.clock.now())
    assert states[0] == states[1]
