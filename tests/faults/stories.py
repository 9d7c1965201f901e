"""What people, CRMs, providers, events and timers ask of the services, with the places at which each may be cut off.

A place is a failpoint's name, `name:n` for its n-th pass. A new failpoint in a service needs a story that passes it:
`test_every_failpoint_of_the_services_is_killed_by_a_case` holds the sources against this list.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import given as agreed
from attribution_stories import closed, handed, merged, regrouped, rules_changed, rules_restated
from attribution_stories import created as lead_created
from attribution_stories import touched as lead_touched
from import_words import DEALS, LEADS, csv, handed_in, leads, opened
from intake_calls import deliver, given_form
from intake_samples import BODIES, SECRETS
from intake_samples import meta as meta_tells_of
from intake_samples import signed as as_provider
from provider_server import META_LEAD, TOKEN, meta_lead, open_providers
from sales_words import (
    HUBSPOT_SECRET,
    PUBLIC_URL,
    Sales,
    changed,
    contact,
    forgotten,
    past_answer,
    past_deal,
    qualified,
    sign,
)
from scene import Scene

from baton.lead.v1.accounts_pb2 import AccountLinked, AccountMerged, LeadAccountChanged
from baton.lead.v1.lead_pb2 import LeadErased
from baton_kit.envelope import Event, event
from baton_kit.ids import new_id
from baton_kit.testing import Harness
from lead_intake.fetching import fetch
from lead_intake.grouping import restate
from lead_intake.importing.run import advance

Given = Callable[[Harness[Any]], Awaitable[Any]]
Act = Callable[[Scene], Awaitable[Any]]
Beside = Callable[[], contextlib.AbstractAsyncContextManager[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Story:
    """One thing that is asked of a role.

    `given` fills a database and returns what the rest needs to know. A request is made by `act`, and again after the
    crash, as its sender would; a worker has `events` on its topics or timers of its own, and is through when `through`
    returns a row; a command is run again. `beside` opens what the role itself asks, and yields the settings by which it
    finds it. Where a role commits in steps, `steps` are the places behind each commit but the last. The tables `aside`
    belong to other work that the role does in its own time.
    """

    name: str
    service: str
    argv: tuple[str, ...]
    places: tuple[str, ...]
    given: Given
    act: Act | None = None
    events: Callable[[Any], Sequence[Event]] | None = None
    through: str = "SELECT 1"
    env: dict[str, str] = field(default_factory=dict)
    beside: Beside | None = None
    steps: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    since: timedelta = timedelta(hours=1)
    """How long ago it was that `given` happened."""


def now() -> datetime:
    return datetime.now(UTC)


async def nothing(h: Harness[Any]) -> None:
    """An empty service."""


# --- lead-intake: a provider delivers, and delivers again ---------------------------------------------------------

LIKENESS = ("likeness", "likeness_round")
LEDGER = ("ledger_mark", "ledger_hour", "ledger_change")
SEARCH = ("lead_search", "inbox", "consumer_offset")
"""Intake reads its own contacts back."""


async def typeform_source(h: Harness[Any]) -> None:
    source = {"id": "typeform", "provider": "typeform", "secrets": [SECRETS["typeform"]], "default_region": "DE"}
    answer = await h.api.post("/v1/sources", json=source)
    assert answer.status_code == 201, answer.text


async def form_delivered(scene: Scene) -> Any:
    path = "/v1/webhooks/typeform"
    sent = as_provider(
        "typeform", BODIES["typeform"]("tok-1", "anna@example.com", "+4915112345678"), now=now(), path=path
    )
    return await scene.post(path, content=sent.body, headers=sent.headers, public=True)


INTAKE = [
    Story(
        "a form is delivered",
        "lead-intake",
        ("api",),
        (
            "intake.received",
            "intake.before_begin",
            "intake.before_locks",
            "intake.after_locks",
            "intake.after_reads",
            "intake.after_insert",
            "intake.before_outbox",
            "intake.before_commit",
            "intake.after_commit",
        ),
        typeform_source,
        act=form_delivered,
    )
]

EXPORT = leads(5)


async def export_announced(h: Harness[Any]) -> Any:
    return (await opened(h, LEADS, EXPORT))["id"]


async def export_handed_in(h: Harness[Any]) -> None:
    await handed_in(h, LEADS, EXPORT)


async def announce(scene: Scene) -> Any:
    digest = hashlib.sha256(EXPORT).hexdigest()
    body = {"source": "history", "size": len(EXPORT), "digest": digest, "layout": LEADS}
    return await scene.post("/v1/imports", json=body)


async def send_export(scene: Scene) -> Any:
    return await scene.post(f"/v1/imports/{scene.known}/content?offset=0", content=EXPORT)


INTAKE += [
    Story("an export is announced", "lead-intake", ("api",), ("import.opened",), nothing, act=announce),
    Story(
        "an export is sent",
        "lead-intake",
        ("api",),
        ("import.part_kept", "import.complete"),
        export_announced,
        act=send_export,
    ),
    Story(
        "an export is worked through",
        "lead-intake",
        ("worker",),
        ("import.claimed", "import.read", "import.settled", "import.noted"),
        export_handed_in,
        through="SELECT 1 FROM import_file WHERE state = 'done'",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

DEALS_EXPORT = csv(
    "Deal ID,Contact,Stage,Amount,Opened,Closed",
    *(f"{n},{n},Closed won,10.00,2024-03-05,2024-04-01" for n in (1, 2, 9)),
)


async def deals_wait_for_leads_that_are_here(h: Harness[Any]) -> None:
    for layout, export in ((DEALS, DEALS_EXPORT), (LEADS, EXPORT)):
        await handed_in(h, layout, export)
        assert await advance(h.app), "a file of one transaction"


async def leads_that_nobody_has_looked_at(h: Harness[Any]) -> None:
    await deals_wait_for_leads_that_are_here(h)
    await h.fetch("UPDATE import_waiting SET lead_id = NULL RETURNING 1")


INTAKE += [
    Story(
        "leads that came by other ways are looked at for deals that wait",
        "lead-intake",
        ("worker",),
        ("import.looked",),
        leads_that_nobody_has_looked_at,
        through="SELECT 1 FROM receipt_entry WHERE outcome = 'matched' HAVING count(*) = 2",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "deals find the leads that come after them",
        "lead-intake",
        ("worker",),
        ("import.waiting_held", "import.waiting_settled"),
        deals_wait_for_leads_that_are_here,
        through="SELECT 1 FROM receipt_entry WHERE outcome = 'matched' HAVING count(*) = 2",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

# --- lead-intake: a provider names leads, and is asked about them -------------------------------------------------

ASK_AGAIN_AFTER = timedelta(days=8)
"""Longer than an entry may wait for a lookup."""


async def meta_source(h: Harness[Any], **settings: str) -> None:
    source = {"id": "meta", "provider": "meta", "secrets": [SECRETS["meta"]], "default_region": "ES"}
    source |= {"credentials": {"access_token": TOKEN}, "settings": {"reconcile": "off"} | settings}
    answer = await h.api.post("/v1/sources", json=source)
    assert answer.status_code == 201, answer.text


async def lead_pending(h: Harness[Any]) -> None:
    """Meta has named a lead, and nobody has asked about it yet."""
    await meta_source(h)
    path = "/v1/webhooks/meta"
    sent = as_provider("meta", meta_tells_of("1"), now=h.clock.now(), path=path)
    assert h.public is not None
    answer = await h.public.post(path, content=sent.body, headers=sent.headers)
    assert answer.status_code == 200, answer.text
    # It keeps a connection, and the database is to be copied.
    await h.app.commits.close()


async def lead_quarantined(h: Harness[Any]) -> None:
    """A lead could not be asked about for so long that a person has to look."""
    await lead_pending(h)
    h.clock.advance(timedelta(days=7, minutes=1))
    assert await fetch.expire(h.app) == 1


async def push_missed(h: Harness[Any]) -> None:
    """Meta lists a lead of which its push has not told; how often it may be asked about leads is used up for hours."""
    await meta_source(h, reconcile="on", form_ids=META_LEAD["form_id"], fetch_per_minute="1")
    answer = await h.api.post("/v1/sources/meta/reconciliation")
    assert answer.status_code == 202, answer.text
    await h.fetch(
        "INSERT INTO fetch_state (source_id, served_at, allowance, refilled_at, throttled) "
        "VALUES ('meta', $1, -1000, $1, 0)",
        h.clock.now(),
    )


@contextlib.asynccontextmanager
async def meta_beside() -> AsyncIterator[Mapping[str, str]]:
    async with open_providers() as providers:
        providers.leads["1"] = meta_lead("1", "anna@example.com")
        yield {"BATON_PROVIDER_URLS": json.dumps({"meta": providers.url})}


async def lead_named(scene: Scene) -> Any:
    path = "/v1/webhooks/meta"
    sent = as_provider("meta", meta_tells_of("1"), now=now(), path=path)
    return await scene.post(path, content=sent.body, headers=sent.headers, public=True)


async def retried(scene: Scene) -> Any:
    return await scene.post("/v1/fetches/retry", json={"source": "meta"})


FETCHING = [
    Story(
        "a lead is named that has to be asked about",
        "lead-intake",
        ("api",),
        ("fetch.before_note",),
        meta_source,
        act=lead_named,
    ),
    Story(
        "a lead is asked about",
        "lead-intake",
        ("worker",),
        (
            "fetch.claimed",
            "fetch.answered",
            "fetch.held",
            "resettle.after_locks",
            "resettle.after_reads",
            "resettle.after_insert",
            "resettle.before_outbox",
            "fetch.before_commit",
            "fetch.after_commit",
        ),
        lead_pending,
        through="SELECT 1 FROM fetch_job WHERE state = 'done'",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
        beside=meta_beside,
    ),
    Story(
        "a lead has waited too long",
        "lead-intake",
        ("worker",),
        ("fetch.before_expire_commit",),
        lead_pending,
        through="SELECT 1 FROM fetch_job WHERE state = 'quarantined'",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
        since=ASK_AGAIN_AFTER,
    ),
    Story(
        "a person lets a lead wait again",
        "lead-intake",
        ("api",),
        ("fetch.before_retry_commit",),
        lead_quarantined,
        act=retried,
        since=ASK_AGAIN_AFTER,
    ),
    Story(
        "a push was missed",
        "lead-intake",
        ("worker",),
        (
            "reconcile.claimed",
            "reconcile.listed",
            "reconcile.before_commit",
            "reconcile.after_commit",
            "reconcile.before_finish",
        ),
        push_missed,
        through="SELECT 1 FROM reconcile_state WHERE ran_at IS NOT NULL",
        beside=meta_beside,
        steps=("reconcile.after_commit",),
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

# --- lead-intake: leads are one person, or may be ------------------------------------------------------------------


async def people_wrote(h: Harness[Any], *people: Mapping[str, str]) -> list[str]:
    """Each of them has sent a form; returns their leads."""
    source = {"id": "form", "provider": "generic", "secrets": [SECRETS["generic"]], "default_region": "ES"}
    answer = await h.api.post("/v1/sources", json=source)
    assert answer.status_code == 201, answer.text
    assert h.public is not None
    path = "/v1/webhooks/form"
    for n, person in enumerate(people):
        told = {"email": "", "phone": ""} | dict(person)
        sent = as_provider("generic", BODIES["generic"](str(n), **told), now=h.clock.now(), path=path)
        answer = await h.public.post(path, content=sent.body, headers=sent.headers)
        assert answer.status_code in (200, 202), answer.text
    await h.app.commits.close()
    return [row["id"] for row in await h.fetch("SELECT id::text FROM lead ORDER BY id")]


async def two_leads(h: Harness[Any]) -> Any:
    younger, older = reversed(await people_wrote(h, {"email": "anna@a.example.com"}, {"email": "anna@b.example.com"}))
    return {"from_lead_id": younger, "into_lead_id": older}


async def two_leads_merged(h: Harness[Any]) -> Any:
    answer = await h.api.post("/v1/merges", json=await two_leads(h), headers={"Idempotency-Key": "m"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def two_leads_alike(h: Harness[Any]) -> None:
    # Ids are made by the machine's clock, and the newest leads are not looked at yet.
    with mock.patch("lead_intake.entry.new_id", functools.partial(new_id, h.clock.now())):
        await people_wrote(
            h,
            {"email": "anna@a.example.com", "name": "Anna Petrova", "company": "Nordwerk GmbH"},
            {"email": "petrova@b.example.com", "name": "Petrova, Anna", "company": "Nordwerk"},
        )


async def number_of_many(h: Harness[Any]) -> None:
    """A telephone number has come with more names than one person has."""
    names = ("Anna Petrova", "Boris Ivanov", "Carla Ruiz", "Dmitri Orlov")
    await people_wrote(h, *({"phone": "+34600112201", "name": name} for name in names))


async def leads_merged(scene: Scene) -> Any:
    return await scene.post("/v1/merges", json=scene.known, headers={"Idempotency-Key": "m"})


async def merge_undone(scene: Scene) -> Any:
    return await scene.post(f"/v1/merges/{scene.known}/undo", json={}, headers={"Idempotency-Key": "u"})


async def two_accounts_and_no_third(h: Harness[Any]) -> None:
    await people_wrote(h, {"email": "anna@a-example.com", "company_id": "7"}, {"email": "boris@b-example.com"})


async def two_companies_named(scene: Scene) -> Any:
    path = "/v1/webhooks/form"
    body = BODIES["generic"]("c", "carla@b-example.com", "", company_id="7", tax_number="DE123456788")
    sent = as_provider("generic", body, now=now(), path=path)
    return await scene.post(path, content=sent.body, headers=sent.headers, public=True)


async def two_accounts(h: Harness[Any]) -> Any:
    await people_wrote(h, {"email": "anna@a-example.com"}, {"email": "boris@b-example.com"})
    answer = await h.api.get("/v1/accounts")
    younger, older = [account["id"] for account in answer.json()["items"]]
    return {"from_account_id": younger, "into_account_id": older}


async def two_accounts_merged(h: Harness[Any]) -> Any:
    answer = await h.api.post("/v1/account-merges", json=await two_accounts(h), headers={"Idempotency-Key": "m"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def one_tax_number(h: Harness[Any]) -> None:
    """A tax number that is one account's came beside the domain of another."""
    await people_wrote(
        h,
        {"email": "anna@a-example.com", "tax_number": "DE123456788"},
        {"email": "boris@b-example.com"},
        {"email": "carla@b-example.com", "tax_number": "DE123456788"},
    )


async def accounts_merged(scene: Scene) -> Any:
    return await scene.post("/v1/account-merges", json=scene.known, headers={"Idempotency-Key": "m"})


async def account_merge_undone(scene: Scene) -> Any:
    return await scene.post(f"/v1/account-merges/{scene.known}/undo", json={}, headers={"Idempotency-Key": "u"})


IDENTITY = [
    Story(
        "an inquiry names two companies, one of them new",
        "lead-intake",
        ("api",),
        ("intake.accounts.held", "intake.accounts.proposed"),
        two_accounts_and_no_third,
        act=two_companies_named,
    ),
    Story(
        "two accounts are merged",
        "lead-intake",
        ("api",),
        (
            "merge.after_gate",
            "merge.after_locks",
            "edges.after_learn",
            "merge.before_outbox",
            "merge.before_commit",
        ),
        two_accounts,
        act=accounts_merged,
    ),
    Story(
        "a merge of accounts is undone",
        "lead-intake",
        ("api",),
        ("unmerge.after_gate", "unmerge.after_locks", "merge.before_commit"),
        two_accounts_merged,
        act=account_merge_undone,
    ),
    Story(
        "one tax number names two accounts",
        "lead-intake",
        ("worker",),
        ("account.unite.after_read", "account.unite.before_commit"),
        one_tax_number,
        through="SELECT 1 FROM account_proposal WHERE state = 'merged'",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "two leads are merged",
        "lead-intake",
        ("api",),
        (
            "merge.after_gate",
            "merge.after_locks",
            "edges.after_learn",
            "merge.before_outbox",
            "merge.before_commit",
        ),
        two_leads,
        act=leads_merged,
    ),
    Story(
        "a merge is undone",
        "lead-intake",
        ("api",),
        ("unmerge.after_gate", "unmerge.after_locks", "merge.before_commit"),
        two_leads_merged,
        act=merge_undone,
    ),
    Story(
        "leads that are alike are proposed",
        "lead-intake",
        ("worker",),
        ("propose.after_page", "propose.after_alike", "propose.before_commit"),
        two_leads_alike,
        through="SELECT 1 FROM proposed_merge",
        aside=(*LEDGER, *SEARCH),
    ),
    Story(
        "a number turns out to be shared",
        "lead-intake",
        ("worker",),
        ("identity.after_shared",),
        number_of_many,
        through="SELECT 1 FROM shared_key",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

# --- lead-intake: the ledger is repaired, counted and emptied -------------------------------------------------------

BODY_DAYS = timedelta(days=31)
"""Longer than the body of a settled receipt is kept."""


async def mapping_mended(h: Harness[Any], *, many: int = 1) -> list[str]:
    """Forms came whose fields nobody knew, and the mapping names them now; returns the receipts."""
    url = await given_form(h)
    forms = [{"submission_id": f"k{n}", "mailbox": f"anna{n}@example.com"} for n in range(many)]
    receipts = [await deliver(h, url, json.dumps(form)) for form in forms]
    answer = await h.api.patch("/v1/sources/form", json={"mapping": {"email": "mailbox"}})
    assert answer.status_code == 200, answer.text
    await h.app.commits.close()
    return receipts


async def replay_asked_for(h: Harness[Any]) -> None:
    await mapping_mended(h, many=2)
    answer = await h.api.post("/v1/receipts/replay", json={})
    assert answer.status_code == 202, answer.text


async def form_came_then(h: Harness[Any]) -> None:
    """A form has come at the time of the service's clock; bodies that are older were emptied already."""
    # Ids are made by the machine's clock, and the ledger reads the time from them.
    with mock.patch("lead_intake.entry.new_id", functools.partial(new_id, h.clock.now())):
        await people_wrote(h, {"email": "anna@example.com"})
    await h.fetch(
        "INSERT INTO ledger_mark (name, reached, at) "
        "SELECT name, $1, $1 FROM unnest('{bodies.settled,bodies.refused,bodies.waiting}'::text[]) AS m (name)",
        h.clock.now(),
    )


async def body_to_be_emptied(h: Harness[Any]) -> None:
    """A body has had its time; there is nothing of the other kinds, and so far they were looked through."""
    await form_came_then(h)
    await h.fetch("UPDATE ledger_mark SET reached = now() WHERE name <> 'bodies.settled'")


async def receipt_replayed(scene: Scene) -> Any:
    return await scene.post(f"/v1/receipts/{scene.known[0]}/replay", json={})


RECEIPTS = [
    Story(
        "a receipt is replayed",
        "lead-intake",
        ("api",),
        (
            "replay_receipt.after_lock",
            "replay_receipt.after_take_out",
            "replay_receipt.after_receive",
            "replay_receipt.before_commit",
        ),
        mapping_mended,
        act=receipt_replayed,
    ),
    Story(
        "receipts are replayed one after the other",
        "lead-intake",
        ("worker",),
        (
            "replay_receipt.after_claim",
            "replay_receipt.after_move",
            "replay_receipt.after_commit",
            "replay_receipt.after_take_out:2",
        ),
        replay_asked_for,
        through="SELECT 1 FROM replay WHERE state = 'done'",
        steps=("replay_receipt.after_commit", "replay_receipt.after_commit:2"),
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "the ledger is counted",
        "lead-intake",
        ("worker",),
        ("ledger.after_new", "ledger.after_whole", "ledger.before_commit"),
        form_came_then,
        through="SELECT 1 FROM ledger_mark WHERE name = 'counted'",
        aside=(*LIKENESS, *SEARCH),
    ),
    Story(
        "a body has had its time",
        "lead-intake",
        ("worker",),
        ("bodies.after_empty",),
        body_to_be_emptied,
        through="SELECT 1 FROM receipt WHERE body IS NULL",
        since=BODY_DAYS,
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

# --- lead-intake: a person is forgotten, and found until then -------------------------------------------------------

SWEEP_AFTER = timedelta(days=3)
"""Longer than the last tombstone of an erasure is waited for."""


async def person_known(h: Harness[Any]) -> str:
    """Somebody has written, and whatever follows from that was done."""
    [lead] = await people_wrote(h, {"email": "anna@example.com", "name": "Anna Petrova"})
    await h.fetch("UPDATE likeness_round SET started_at = $1, after_lead = $2", h.clock.now(), f"{2**128 - 1:032x}")
    await h.fetch("DELETE FROM outbox")
    return lead


async def order_to_forget(h: Harness[Any]) -> None:
    await person_known(h)
    await h.fetch(
        "INSERT INTO erase_request (source_id, key, receipt_id, requested_at) "
        "SELECT source_id, key, receipt_id, $1 FROM receipt_entry",
        h.clock.now(),
    )


async def person_forgotten(h: Harness[Any]) -> None:
    lead = await person_known(h)
    answer = await h.api.post(f"/v1/leads/{lead}/erase", json={}, headers={"Idempotency-Key": "e"})
    assert answer.status_code == 200, answer.text


async def person_erased(scene: Scene) -> Any:
    return await scene.post(f"/v1/leads/{scene.known}/erase", json={}, headers={"Idempotency-Key": "e"})


def erased(lead: str) -> Event:
    """The order to forget, as the other services hear of it."""
    at = now()
    body = LeadErased(lead_id=lead, sequence=9, erasure_id=new_id(), reason="person_request")
    body.occurred_at.FromDatetime(at)
    return event(body, key=lead, occurred_at=at)


ERASING = [
    Story(
        "a person is forgotten",
        "lead-intake",
        ("api",),
        ("intake.erase.locked", "intake.erase.noted", "intake.erase.deleted", "intake.erase.before_commit"),
        person_known,
        act=person_erased,
    ),
    Story(
        "a provider orders to forget a person",
        "lead-intake",
        ("worker",),
        ("intake.order.read", "intake.order.before_commit"),
        order_to_forget,
        through="SELECT 1 FROM erase_request WHERE done_at IS NOT NULL",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "a tombstone is written once more",
        "lead-intake",
        ("worker",),
        ("intake.sweep.held", "intake.sweep.before_commit"),
        person_forgotten,
        through="SELECT 1 FROM erased_lead WHERE swept_at IS NOT NULL",
        since=SWEEP_AFTER,
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "a contact is kept to be searched",
        "lead-intake",
        ("worker",),
        ("intake.search.held", "intake.search.kept"),
        person_known,
        events=lambda lead: [contact(lead, sequence=9)],
        through="SELECT 1 FROM lead_search",
        aside=(*LIKENESS, *LEDGER),
    ),
]

# --- lead-intake: visitors are tracked, and touches follow the channel rules ---------------------------------------


async def visitor_waits(h: Harness[Any]) -> str:
    """A visitor was tracked and has been identified; nothing of it is stitched yet."""
    key = await tracking_source(h)
    assert h.public is not None
    for body in (*VISITS, IDENTIFIED):
        answer = await h.public.post("/v1/batch", json={"batch": [body], "writeKey": key})
        assert answer.status_code == 200, answer.text
    await h.app.commits.close()  # its connections are its own
    return key


async def tracking_source(h: Harness[Any]) -> str:
    answer = await h.api.post("/v1/sources", json={"id": "site", "provider": "segment"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["webhook_url"]).rpartition("/")[2]


VISITS = [
    {
        "type": "page",
        "messageId": f"m{n}",
        "anonymousId": "visitor-1",
        "timestamp": f"2026-01-0{n}T08:00:00Z",
        "context": {"page": {"url": f"https://firm.de/{n}?gclid=test-{n}"}},
    }
    for n in (1, 2)
]
IDENTIFIED = {
    "type": "identify",
    "messageId": "m3",
    "anonymousId": "visitor-1",
    "timestamp": "2026-01-03T08:00:00Z",
    "traits": {"email": "anna@firm.de"},
}


async def visitor_tracked(scene: Scene) -> Any:
    return await scene.post("/v1/batch", json={"batch": [*VISITS, IDENTIFIED], "writeKey": scene.known}, public=True)


PRESS = {"rules": [{"channel": "press", "source": ["gazette"]}, {"channel": "paid_other", "medium": ["cpc"]}]}


async def touches_came(h: Harness[Any]) -> None:
    source = {"id": "form", "provider": "generic"}
    path = (await h.api.post("/v1/sources", json=source)).json()["webhook_url"]
    assert h.public is not None
    for n in range(3):
        body = {"email": f"p{n}@firm.de", "utm_source": "gazette", "utm_medium": "cpc"}
        answer = await h.public.post(path, json=body)
        assert answer.status_code == 200, answer.text
    await h.app.commits.close()  # its connections are its own


async def rules_replaced(h: Harness[Any]) -> None:
    """The rules have just been changed; no earlier touch follows them yet."""
    await touches_came(h)
    answer = await h.api.put("/v1/channel-rules", json={"rules": PRESS}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text


async def touches_regrouped(h: Harness[Any]) -> None:
    """Every earlier touch follows the changed rules; only the end is not told yet."""
    await rules_replaced(h)
    assert (await restate.restate_chunk(h.app))[0] == 3


async def rules_put(scene: Scene) -> Any:
    return await scene.put("/v1/channel-rules", json={"rules": PRESS}, headers={"If-Match": '"1"'})


ASSIGNED = {"key": "utm:sale", "campaign": "sale", "create": {"name": "Sale"}}


async def touches_without_campaign(h: Harness[Any]) -> None:
    source = {"id": "form", "provider": "generic"}
    path = (await h.api.post("/v1/sources", json=source)).json()["webhook_url"]
    assert h.public is not None
    for n in range(3):
        answer = await h.public.post(path, json={"email": f"p{n}@firm.de", "utm_campaign": "sale"})
        assert answer.status_code == 200, answer.text
    await h.app.commits.close()  # its connections are its own


async def touches_assigned(h: Harness[Any]) -> None:
    """The touches were given to a campaign; none of them follows yet."""
    await touches_without_campaign(h)
    answer = await h.api.post("/v1/campaigns/unmatched/assign", json=ASSIGNED)
    assert answer.status_code == 200, answer.text


async def assign_touches(scene: Scene) -> Any:
    return await scene.post("/v1/campaigns/unmatched/assign", json=ASSIGNED)


CAMPAIGNS = [
    Story(
        "touches are assigned to a new campaign",
        "lead-intake",
        ("api",),
        ("campaigns.after_lock", "campaigns.after_write", "campaigns.after_version", "campaigns.before_commit"),
        touches_without_campaign,
        act=assign_touches,
    ),
    Story(
        "earlier touches follow a changed campaign",
        "lead-intake",
        ("worker",),
        (
            "campaigns.restate.after_share",
            "campaigns.restate.after_locks",
            "campaigns.restate.after_regroup",
            "campaigns.restate.before_commit",
        ),
        touches_assigned,
        through="SELECT FROM campaign_book WHERE restated_at IS NOT NULL",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

TRACKING = [
    Story(
        "a visitor is tracked and identified",
        "lead-intake",
        ("api",),
        ("tracking.received", "intake.after_visitors", "intake.before_commit"),
        tracking_source,
        act=visitor_tracked,
    ),
    Story(
        "visits find their person",
        "lead-intake",
        ("worker",),
        ("stitch.after_locks", "stitch.after_reads", "stitch.after_insert", "stitch.before_commit"),
        visitor_waits,
        through="SELECT FROM stitch HAVING count(*) = 0",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "the channel rules are changed",
        "lead-intake",
        ("api",),
        ("channels.after_lock", "channels.after_insert", "channels.before_commit"),
        touches_came,
        act=rules_put,
    ),
    Story(
        "earlier touches follow the changed rules",
        "lead-intake",
        ("worker",),
        (
            "restate.after_locks",
            "restate.after_regroup",
            "restate.before_commit",
        ),
        rules_replaced,
        through="SELECT FROM channel_rules WHERE version = 2 AND restated_at IS NOT NULL",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
    Story(
        "the end of a restatement is told",
        "lead-intake",
        ("worker",),
        ("restate.after_end",),
        touches_regrouped,
        through="SELECT FROM channel_rules WHERE version = 2 AND restated_at IS NOT NULL",
        aside=(*LIKENESS, *LEDGER, *SEARCH),
    ),
]

# --- qualification: two departments agree, leads are judged -------------------------------------------------------


async def person_added(scene: Scene) -> Any:
    return await scene.post("/v1/people", json={"id": "anna", "name": "Anna", "department": "marketing"})


async def agreement_proposed(scene: Scene) -> Any:
    return await scene.post("/v1/agreements", content=agreed.EXAMPLE, headers={"Content-Type": "application/yaml"})


async def signed_once(h: Harness[Any]) -> Any:
    """An agreement is in force, a second one was signed by marketing."""
    who = await agreed.people(h)
    await agreed.activate(h, who)
    digest = await agreed.propose(h, agreed.EXAMPLE.replace(b"threshold: 45", b"threshold: 40"))
    answer = await agreed.sign(h, digest, who.anna)
    assert answer.status_code == 201, answer.text
    return digest, who.boris


async def signed_by_the_other(scene: Scene) -> Any:
    digest, boris = scene.known
    return await scene.post(f"/v1/agreements/{digest}/signatures", json={"digest": digest}, headers=boris)


async def agreement_active(h: Harness[Any]) -> list[Event]:
    """Leads are known, and more is on its way: new ones, and touches of known ones."""
    await agreed.activate(h, await agreed.people(h))
    at = now() - timedelta(minutes=30)
    await h.receive([agreed.created("lead-1", at=at, **agreed.WEAK)])
    return [
        agreed.created("lead-2", at=at, **agreed.GOOD),
        agreed.touched("lead-1", at=at, kind="form", features=agreed.GOOD),
        agreed.touched("lead-2", at=at, page="/pricing", sequence=3),
    ]


async def lead_handed_over(h: Harness[Any]) -> list[Event]:
    """Sales gives the lead back; the customer has come back already."""
    await agreed.activate(h, await agreed.people(h))
    at = now() - timedelta(minutes=30)
    await h.receive([agreed.created("lead-1", at=at, **agreed.GOOD)])
    await h.receive([agreed.touched("lead-1", at=at + timedelta(minutes=9), kind="form", sequence=3)])
    return [agreed.answered("lead-1", "recycled", at=at + timedelta(minutes=5))]


def accounts_told(lead_id: str) -> list[Event]:
    """A lead moves to another account, which a CRM knows by an id, and which is merged into a third one."""
    at = now()
    moved = LeadAccountChanged(lead_id=lead_id, sequence=3, account_id="b", previous_account_id="a")
    linked = AccountLinked(account_id="b", sequence=1, crm="hubspot", crm_company_id="55")
    edge = AccountMerged(merge_id="m1", account_id="b", sequence=1, from_account_id="b", into_account_id="c", version=1)
    for body in (moved, linked, edge):
        body.occurred_at.FromDatetime(at)
    keys = (lead_id, "b", "b")
    return [event(body, key=key, occurred_at=at) for body, key in zip((moved, linked, edge), keys, strict=True)]


async def account_before_its_lead(h: Harness[Any]) -> list[Event]:
    return accounts_told("lead-1")


async def one_of_two_is_known(h: Harness[Any]) -> list[Event]:
    """A lead is known that is told to belong to one of which nothing has come yet."""
    await agreed.activate(h, await agreed.people(h))
    at = now() - timedelta(minutes=30)
    await h.receive([agreed.created("lead-1", at=at, **agreed.GOOD)])
    return [merged("m1", "lead-1", "lead-2", on=lead) for lead in ("lead-1", "lead-2")]


async def merged_and_handed_over(h: Harness[Any]) -> list[Event]:
    """Of two leads of one person one was handed over; sales lets it rest."""
    [told, _] = await one_of_two_is_known(h)
    await h.receive([told])
    rests = handed("lead-1", "SUPERSEDED", sequence=2)
    rests.body.cycle = 1
    return [rests]


async def decided_and_erased(h: Harness[Any]) -> list[Event]:
    await agreed.activate(h, await agreed.people(h))
    await h.receive([agreed.created("lead-1", at=now() - timedelta(minutes=30), **agreed.GOOD)])
    return [erased("lead-1")]


async def deal_of_a_lead(h: Harness[Any]) -> list[Event]:
    return [agreed.closed("lead-1", "won", at=now())]


async def points_fade(h: Harness[Any]) -> None:
    """A lead was decided months ago, and nobody has looked at it since."""
    await agreed.activate(h, await agreed.people(h))
    at = h.clock.now()
    await h.receive([agreed.created("lead-1", at=at, **agreed.WEAK), agreed.touched("lead-1", at=at)])


async def leads_before_an_agreement(h: Harness[Any]) -> None:
    await h.receive([agreed.created(f"lead-{n}", at=h.clock.now(), **agreed.GOOD) for n in range(3)])
    await agreed.activate(h, await agreed.people(h))


QUALIFICATION = [
    Story(
        "a person is added",
        "qualification",
        ("api",),
        ("store.after_agreements_lock", "store.after_insert_person", "store.after_insert_history"),
        nothing,
        act=person_added,
    ),
    Story(
        "an agreement is proposed",
        "qualification",
        ("api",),
        ("store.after_put_agreement", "store.after_insert_history"),
        nothing,
        act=agreement_proposed,
    ),
    Story(
        "the second department signs",
        "qualification",
        ("api",),
        (
            "store.after_exclusive_lock",
            "store.after_agreements_lock",
            "store.after_insert_signature",
            "activate.after_person:2",
            "store.after_insert_activation",
            "store.after_supersede",
            "store.after_set_active",
            "store.after_insert_history:2",
            "activate.after_append",
        ),
        signed_once,
        act=signed_by_the_other,
    ),
    Story(
        "leads and touches arrive",
        "qualification",
        ("worker",),
        (
            # The timers take it once each at the start.
            "store.after_shared_lock:3",
            "store.after_known_among",
            "store.after_lock_leads",
            "store.after_touches",
            "store.after_insert_touches",
            "evaluate.after_active",
            "evaluate.after_judges",
            "store.after_write_leads",
            "store.after_insert_decisions",
            "store.after_insert_qualified",
            "evaluate.after_append",
        ),
        agreement_active,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "sales answers",
        "qualification",
        ("worker",),
        ("store.after_insert_feedback", "store.after_write_leads", "evaluate.after_append"),
        lead_handed_over,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "points fade",
        "qualification",
        ("worker",),
        ("evaluate.after_claim_due", "store.after_insert_decisions", "evaluate.after_append"),
        points_fade,
        through="SELECT 1 FROM decision WHERE kind = 'reevaluation'",
        since=timedelta(days=30),
    ),
    Story(
        "a lead is merged into one that is not known yet",
        "qualification",
        ("worker",),
        ("merging.after_unknown", "edges.after_learn", "store.after_feedback", "merging.after_past"),
        one_of_two_is_known,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "accounts are told",
        "qualification",
        ("worker",),
        ("merging.after_unknown", "edges.after_learn", "qualification.account.merged"),
        account_before_its_lead,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "a handoff rests",
        "qualification",
        ("worker",),
        ("merging.after_resting",),
        merged_and_handed_over,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "a deal is closed",
        "qualification",
        ("worker",),
        ("evidence.after_deals",),
        deal_of_a_lead,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "a person is forgotten",
        "qualification",
        ("worker",),
        ("qualification.erase.noted", "qualification.erase.done"),
        decided_and_erased,
        events=lambda known: known,
        env={"BATON_DUE_POLL_SECONDS": "3600"},
    ),
    Story(
        "leads that came before any agreement are decided",
        "qualification",
        ("worker",),
        ("evaluate.after_claim_waiting", "store.after_insert_qualified", "evaluate.after_append"),
        leads_before_an_agreement,
        through="SELECT 1 FROM qualified HAVING count(*) = 3",
    ),
]

# --- sales-feedback: reps and CRMs answer -------------------------------------------------------------------------

DEAL = 332507367156


async def handed_to_olga(h: Harness[Any]) -> Any:
    sales = Sales(h)
    await sales.rep("olga")
    return (await sales.given("lead-1"))["id"]


async def deal_open(h: Harness[Any]) -> Any:
    await handed_to_olga(h)
    answer = await Sales(h).post("/v1/deals", {"lead_id": "lead-1", "amount_minor": 480000, "currency": "EUR"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def hubspot_connected(h: Harness[Any]) -> Any:
    await handed_to_olga(h)
    await Sales(h).hubspot()


async def deal_before_its_handoff(h: Harness[Any]) -> Any:
    sales = Sales(h)
    await sales.rep("olga")
    await sales.hubspot()
    assert await sales.hubspot_says(*DEAL_WON) == 200
    await sales.given("lead-1")


async def handoff_without_a_rep(h: Harness[Any]) -> Any:
    sales = Sales(h)
    await sales.given("lead-1")
    await sales.rep("olga")


async def reps(h: Harness[Any]) -> list[Event]:
    await Sales(h).rep("olga", "peter")
    return [qualified("lead-1"), qualified("lead-2"), qualified("lead-3")]


async def handoff_of_an_account(h: Harness[Any]) -> list[Event]:
    await h.receive([qualified("lead-1")])
    return accounts_told("lead-1")


async def two_handoffs_open(h: Harness[Any]) -> list[Event]:
    sales = Sales(h)
    await sales.rep("olga")
    await sales.given("lead-1")
    await sales.given("lead-2")
    return [merged("m1", "lead-2", "lead-1", on=lead) for lead in ("lead-2", "lead-1")]


async def contact_and_note(h: Harness[Any]) -> list[Event]:
    """One person is to be forgotten, of another one more is known."""
    sales = Sales(h)
    await sales.rep("olga")
    handoff = (await sales.given("lead-1"))["id"]
    await sales.given("lead-2")
    await h.receive([contact("lead-1"), contact("lead-2")])
    answer = await sales.post(f"/v1/handoffs/{handoff}/reject", {"reason": "too_small", "note": "Anna is leaving"})
    assert answer.status_code == 200, answer.text
    return [contact("lead-2", sequence=2, name="Boris Petrov"), forgotten("lead-1")]


async def worked_and_erased(h: Harness[Any]) -> list[Event]:
    await contact_and_note(h)
    return [erased("lead-1")]


DEAL_WON = (
    changed("baton_lead_id", "lead-1", deal=DEAL, event_id=1),
    changed("amount", "4800.50", deal=DEAL, at=1, event_id=2),
    changed("deal_currency_code", "EUR", deal=DEAL, at=2, event_id=3),
    changed("dealstage", "closedwon", deal=DEAL, at=3, event_id=4),
)


async def accepted(scene: Scene) -> Any:
    return await scene.post(f"/v1/handoffs/{scene.known}/accept", json={}, headers={"Idempotency-Key": "a"})


async def rejected(scene: Scene) -> Any:
    body = {"reason": "too_small", "note": "Three people and a dog"}
    return await scene.post(f"/v1/handoffs/{scene.known}/reject", json=body, headers={"Idempotency-Key": "r"})


async def deal_opened(scene: Scene) -> Any:
    body = {"lead_id": "lead-1", "amount_minor": 480000, "currency": "EUR"}
    return await scene.post("/v1/deals", json=body, headers={"Idempotency-Key": "o"})


async def deal_won(scene: Scene) -> Any:
    body = {"amount_minor": 490000, "currency": "EUR"}
    return await scene.post(f"/v1/deals/{scene.known}/won", json=body, headers={"Idempotency-Key": "w"})


async def hubspot_delivers(scene: Scene) -> Any:
    path = "/v1/webhooks/hubspot"
    scene.attempts += 1
    body = json.dumps([e | {"attemptNumber": scene.attempts} for e in DEAL_WON]).encode()
    headers = sign(body, PUBLIC_URL + path, now(), secret=HUBSPOT_SECRET)
    return await scene.post(path, content=body, headers=headers, public=True)


QUICK = {"BATON_PUBLIC_URL": PUBLIC_URL, "BATON_POLL_SECONDS": "0.1"}
SALES = [
    Story(
        "a rep accepts",
        "sales-feedback",
        ("api",),
        ("sales.answer.locked", "sales.answer.recorded"),
        handed_to_olga,
        act=accepted,
    ),
    Story(
        "a rep rejects with a note",
        "sales-feedback",
        ("api",),
        ("sales.answer.recorded",),
        handed_to_olga,
        act=rejected,
    ),
    Story(
        "a deal is opened",
        "sales-feedback",
        ("api",),
        ("sales.deal.locked", "sales.deal.saved", "sales.deal.recorded"),
        handed_to_olga,
        act=deal_opened,
    ),
    Story(
        "a deal is won",
        "sales-feedback",
        ("api",),
        ("sales.deal.locked", "sales.deal.recorded"),
        deal_open,
        act=deal_won,
    ),
    Story(
        "a CRM tells of a deal won",
        "sales-feedback",
        ("api",),
        (
            "sales.receive.receipt",
            "sales.receive.claimed",
            "sales.receive.locked",
            "sales.settle.locked",
            "sales.deal.saved",
            "sales.settle.recorded",
            "sales.receive.recorded",
        ),
        hubspot_connected,
        act=hubspot_delivers,
        env=QUICK,
    ),
    Story(
        "leads are offered",
        "sales-feedback",
        ("worker",),
        ("sales.offer.inserted", "sales.offer.turns_taken", "sales.offer.recorded"),
        reps,
        events=lambda known: known,
        env=QUICK,
    ),
    Story(
        "a handoff gets its rep",
        "sales-feedback",
        ("worker",),
        ("sales.assign.recorded",),
        handoff_without_a_rep,
        through="SELECT 1 FROM handoff WHERE rep_id IS NOT NULL",
        env=QUICK,
    ),
    Story(
        "a deal told of early is settled",
        "sales-feedback",
        ("worker",),
        ("sales.settle.locked", "sales.deal.saved", "sales.deal.recorded", "sales.settle.recorded"),
        deal_before_its_handoff,
        through="SELECT 1 FROM crm_deal WHERE state = 'settled'",
        env=QUICK,
    ),
    Story(
        "accounts are told",
        "sales-feedback",
        ("worker",),
        ("sales.account.moved", "sales.account.linked", "edges.after_learn", "sales.account.merged"),
        handoff_of_an_account,
        events=lambda known: known,
        env=QUICK,
    ),
    Story(
        "leads of two handoffs are merged",
        "sales-feedback",
        ("worker",),
        ("sales.merge.gate", "edges.after_learn", "sales.merge.locked", "sales.merge.recorded"),
        two_handoffs_open,
        events=lambda known: known,
        env=QUICK,
    ),
    Story(
        "a person is erased",
        "sales-feedback",
        ("worker",),
        ("sales.erase.held", "sales.erase.locked", "sales.erase.deleted", "sales.erase.recorded"),
        worked_and_erased,
        events=lambda known: known,
        env=QUICK,
    ),
    Story(
        "a contact ends",
        "sales-feedback",
        ("worker",),
        ("sales.contact.kept", "sales.contact.erased"),
        contact_and_note,
        events=lambda known: known,
        env=QUICK,
    ),
]


async def past_told(h: Harness[Any]) -> list[Event]:
    return [past_deal(), past_deal("d2", state="OPEN"), past_answer()]


SALES += [
    Story(
        "deals and answers of the past arrive",
        "sales-feedback",
        ("worker",),
        ("sales.history.locked", "sales.history.recorded", "sales.history.answers", "sales.history.told"),
        past_told,
        events=lambda known: known,
        env=QUICK,
    ),
]

# --- attribution: money is credited -------------------------------------------------------------------------------


async def touches_known(h: Harness[Any]) -> list[Event]:
    await h.receive([lead_touched("lead-1", id="t1", channel="paid_search"), lead_touched("lead-1", id="t2")])
    return [closed("lead-1", deal="d1"), closed("lead-2", deal="d2", amount=500)]


async def leads_unknown(h: Harness[Any]) -> list[Event]:
    return [lead_created("lead-1"), lead_created("lead-2")]


async def touched_and_erased(h: Harness[Any]) -> list[Event]:
    await h.receive([lead_touched("lead-1", id="t1")])
    return [erased("lead-1")]


async def deals_credited(h: Harness[Any]) -> None:
    await h.receive([lead_touched("lead-1", id="t1", channel="paid_search"), lead_touched("lead-1", id="t2")])
    await h.receive([lead_touched("lead-1", id="t3", before_close=timedelta(days=2))])
    await h.receive([closed("lead-1", deal="d1"), closed("lead-2", deal="d2", amount=500)])


async def rebuilt_over_rest(scene: Scene) -> Any:
    parameters = {"lookback_days": 5, "half_life_hours": 24}
    return await scene.post("/v1/rebuild", json={"verify": False, "parameters": parameters})


async def journeys_credited(h: Harness[Any]) -> list[Event]:
    await h.receive([lead_touched("lead-1", id="t1", channel="paid_search"), closed("lead-1", deal="d1")])
    return [
        rules_changed(2),
        regrouped("lead-1", id="t1", channel="press", sequence=7),
        rules_restated(2, 1),
    ]


ATTRIBUTION = [
    Story(
        "touches are grouped anew",
        "attribution",
        ("worker",),
        (
            "attribution.after_position",
            "attribution.after_groups",
            "attribution.after_credits",
            "attribution.after_credit",
            "attribution.after_rules",
        ),
        journeys_credited,
        events=lambda known: known,
    ),
    Story(
        "deals are closed",
        "attribution",
        ("worker",),
        (
            "attribution.after_position",
            "attribution.after_facts",
            "attribution.after_credits",
            "attribution.after_credit",
        ),
        touches_known,
        events=lambda known: known,
    ),
    Story(
        "leads are created",
        "attribution",
        ("worker",),
        ("attribution.after_position", "attribution.after_facts"),
        leads_unknown,
        events=lambda known: known,
    ),
    Story(
        "a person is forgotten",
        "attribution",
        ("worker",),
        ("attribution.erase.noted", "attribution.erase.done"),
        touched_and_erased,
        events=lambda known: known,
    ),
    Story(
        "an operator rebuilds",
        "attribution",
        ("rebuild", "--lookback-days", "5"),
        ("rebuild.before_catch_up", "rebuild.before_commit"),
        deals_credited,
    ),
    Story(
        "an operator rebuilds over REST",
        "attribution",
        ("api",),
        ("rebuild.before_commit",),
        deals_credited,
        act=rebuilt_over_rest,
    ),
]

STORIES = (
    *INTAKE, *FETCHING, *IDENTITY, *RECEIPTS, *ERASING, *CAMPAIGNS, *TRACKING, *QUALIFICATION, *SALES, *ATTRIBUTION,
)  # fmt: skip
