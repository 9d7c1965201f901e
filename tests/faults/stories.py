"""What people, CRMs, providers, events and timers ask of the services, with the places at which each may be cut off.

A place is a failpoint's name, `name:n` for its n-th pass. A new failpoint in a service needs a story that passes it:
`test_every_failpoint_of_the_services_is_killed_by_a_case` holds the sources against this list.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import given as agreed
from attribution_stories import closed, regrouped, rules_changed, rules_restated
from attribution_stories import created as lead_created
from attribution_stories import touched as lead_touched
from intake_samples import BODIES, SECRETS
from intake_samples import signed as as_provider
from sales_words import HUBSPOT_SECRET, PUBLIC_URL, Sales, changed, contact, forgotten, qualified, sign
from scene import Scene

from baton_kit.envelope import Event
from baton_kit.testing import Harness
from lead_intake.grouping import restate

Given = Callable[[Harness[Any]], Awaitable[Any]]
Act = Callable[[Scene], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Story:
    """One thing that is asked of a role.

    `given` fills a database and returns what the rest needs to know. A request is made by `act`, and again after the
    crash, as its sender would; a worker has `events` on its topics or timers of its own, and is through when `through`
    returns a row; a command is run again.
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
    since: timedelta = timedelta(hours=1)
    """How long ago it was that `given` happened."""


def now() -> datetime:
    return datetime.now(UTC)


# --- lead-intake: a provider delivers, and delivers again ---------------------------------------------------------


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


INTAKE += [
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
    ),
    Story(
        "the end of a restatement is told",
        "lead-intake",
        ("worker",),
        ("restate.after_end",),
        touches_regrouped,
        through="SELECT FROM channel_rules WHERE version = 2 AND restated_at IS NOT NULL",
    ),
]

# --- qualification: two departments agree, leads are judged -------------------------------------------------------


async def nothing(h: Harness[Any]) -> None:
    """An empty service."""


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
            "store.after_lock_leads",
            "store.after_feedback",
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
        "a person is forgotten",
        "sales-feedback",
        ("worker",),
        ("sales.contact.kept", "sales.contact.erased"),
        contact_and_note,
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

STORIES = (*INTAKE, *QUALIFICATION, *SALES, *ATTRIBUTION)
