"""What sales answers, the way its CRMs send it: REST with idempotency keys, HubSpot and Pipedrive webhooks."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from secrets import token_hex
from typing import Any

from baton_demo.caught_up import until
from baton_demo.month import Month, Person, rfc3339
from baton_demo.payloads import hubspot_deals, pipedrive_deals
from baton_demo.payloads.hubspot_deals import Change
from baton_demo.payloads.wire import Request
from baton_demo.place import Client, Memory, Unexpected
from baton_demo.plan import Deal, Plan, plan_of
from baton_demo.progress import Advance
from baton_demo.setup import LOST_REASONS

AT_ONCE = 8
HUBSPOT_BATCH = 40
_TEXTS = {code: text for text, code in LOST_REASONS.items()}


@dataclass(frozen=True, slots=True)
class Case:
    """A handoff, the person behind it, and what sales will do."""

    handoff_id: str
    lead_id: str
    rep_id: str
    person: Person
    plan: Plan

    @property
    def deal(self) -> Deal | None:
        return self.plan.deal


async def open_cases(client: Client, month: Month) -> list[Case]:
    """The handoffs of this month's people, each with its plan. Handoffs of anybody else are left alone."""
    handoffs = await client.pages("sales-feedback", "/v1/handoffs")
    limit = asyncio.Semaphore(AT_ONCE)

    async def case_of(handoff: dict[str, Any]) -> Case | None:
        async with limit:
            detail = await client.get("sales-feedback", f"/v1/handoffs/{handoff['id']}")
        emails = (detail.get("contact") or {}).get("emails", [])
        person = next((p for p in map(month.person_of, emails) if p is not None), None)
        if person is None:
            return None
        return Case(handoff["id"], handoff["lead_id"], detail["rep_id"] or "", person, plan_of(person, month))

    cases = await asyncio.gather(*(case_of(handoff) for handoff in handoffs))
    return sorted((c for c in cases if c is not None), key=lambda c: c.person.number)


async def answer(client: Client, cases: Sequence[Case], month: Month, advance: Advance) -> None:
    """Accept, reject, recycle and call: each write once, however often this runs."""
    limit = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(case: Case) -> None:
        nonlocal done
        async with limit:
            await _answer(client, case, month)
        done += 1
        advance(done)

    await asyncio.gather(*(one(case) for case in cases))


async def _answer(client: Client, case: Case, month: Month) -> None:
    path, key = f"/v1/handoffs/{case.handoff_id}", f"demo-{month.seed}-{case.person.number}"
    plan = case.plan
    if plan.answer == "none":
        return
    if plan.answer == "recycle":
        back = {"return_at": rfc3339(plan.return_at)} if plan.return_at else {}
        await client.post("sales-feedback", f"{path}/recycle", {"reason": plan.reason} | back, key=f"{key}-recycle")
        return
    if plan.answer == "accept":
        await client.post("sales-feedback", f"{path}/accept", {}, key=f"{key}-accept")
        for number, contact in enumerate(plan.contacts):
            body = {"means": contact.means, "reached": contact.reached}
            await client.post("sales-feedback", f"{path}/contacts", body, key=f"{key}-contact-{number}")
    if plan.reason:
        await client.post("sales-feedback", f"{path}/reject", {"reason": plan.reason}, key=f"{key}-reject")


async def close_deals(client: Client, cases: Sequence[Case], month: Month, memory: Memory, advance: Advance) -> None:
    """The deals of the month, each through the CRM that holds it. Returns when the service has all of them."""
    dealt = [case for case in cases if case.deal is not None]
    at = datetime.fromisoformat(memory.closing_at)
    by_crm = {crm: [c for c in dealt if c.deal and c.deal.crm == crm] for crm in ("hubspot", "pipedrive", "rest")}
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance(done)

    await _hubspot(client, by_crm["hubspot"], month, memory, at=at)
    count(len(by_crm["hubspot"]))
    limit = asyncio.Semaphore(AT_ONCE)

    async def limited(one: Any) -> None:
        async with limit:
            await one
        count(1)

    await asyncio.gather(
        *(limited(_pipedrive(client, case, memory, at=at)) for case in by_crm["pipedrive"]),
        *(limited(_rest(client, case, month)) for case in by_crm["rest"]),
    )
    wanted = expected_deals(cases)

    async def there() -> bool:
        deals = await client.pages("sales-feedback", "/v1/deals")
        states = {deal["crm_deal_id"]: deal["state"] for deal in deals}
        return all(states.get(number) == state for number, state in wanted.items())

    await until("sales-feedback has every deal as its CRM has it", there)


def expected_deals(cases: Sequence[Case]) -> dict[str, str]:
    """CRM deal id to the state in which the month leaves the deal."""
    return {crm_deal_id(c.deal): "open" if c.deal.reopened else c.deal.outcome for c in cases if c.deal is not None}


def crm_deal_id(deal: Deal) -> str:
    """The number of the deal in its CRM."""
    return {"hubspot": f"3325073{deal.number:05d}", "pipedrive": f"{40_000 + deal.number}", "rest": f"B-{deal.number}"}[
        deal.crm
    ]


async def _hubspot(client: Client, cases: Sequence[Case], month: Month, memory: Memory, *, at: datetime) -> None:
    url = f"{client.place.public['sales-feedback']}/v1/webhooks/hubspot"
    secret = memory.secret("hubspot-crm")
    random = Random(f"{month.seed}/hubspot")  # noqa: S311 - a story, not a secret
    # HubSpot keeps no order inside a batch and repeats what it is not sure of.
    for wave in (_opened, _closed):
        changes = [change for case in cases if case.deal for change in wave(case, case.deal, at)]
        batches = [changes[i : i + HUBSPOT_BATCH] for i in range(0, len(changes), HUBSPOT_BATCH)]
        for index, batch in enumerate(batches):
            random.shuffle(batch)
            request = hubspot_deals.request(batch, url=url, secret=secret, now=time.time())
            await deliver(client, request, expect=(200,))
            if index == 0:
                await deliver(client, request, expect=(200,))
    if cases:
        stranger = hubspot_deals.request(
            [Change(1, 1, at, "dealstage", "closedwon")], url=url, secret=token_hex(32), now=time.time()
        )
        await deliver(client, stranger, expect=(401,))


def _opened(case: Case, deal: Deal, at: datetime) -> list[Change]:
    properties = {
        "": "",
        "baton_lead_id": case.lead_id,
        "amount": decimal(deal.amount_minor),
        "deal_currency_code": deal.currency,
        "dealstage": "presentationscheduled",
        "hubspot_owner_id": {"olga": "901", "tom": "902", "marta": "903"}.get(case.rep_id, ""),
        "baton_product": deal.product,
    }
    return [
        Change(
            1_000_000_000 + deal.number * 100 + index, int(crm_deal_id(deal)), at + timedelta(milliseconds=index), *pair
        )
        for index, pair in enumerate(properties.items())
    ]


def _closed(case: Case, deal: Deal, at: datetime) -> list[Change]:
    if deal.outcome == "open":
        return []
    closed = at + timedelta(milliseconds=400)
    properties = {"dealstage": f"closed{deal.outcome}", "closedate": str(int(closed.timestamp() * 1000))}
    if deal.outcome == "lost":
        properties["closed_lost_reason"] = _TEXTS[deal.reason]
    return [
        Change(1_000_000_000 + deal.number * 100 + 50 + index, int(crm_deal_id(deal)), closed, *pair)
        for index, pair in enumerate(properties.items())
    ]


async def _pipedrive(client: Client, case: Case, memory: Memory, *, at: datetime) -> None:
    deal = case.deal
    if deal is None:
        return
    url = f"{client.place.public['sales-feedback']}/v1/webhooks/pipedrive"
    secret = f"baton:{memory.secret('pipedrive-crm')}"

    def state(status: str, stage: int, reason: str | None = None) -> pipedrive_deals.DealState:
        return pipedrive_deals.DealState(
            deal_id=int(crm_deal_id(deal)),
            title=case.person.company or case.person.full_name,
            status=status,
            value=deal.amount_minor / 100,
            currency=deal.currency,
            lead_id=case.lead_id,
            owner_id={"olga": 11, "tom": 12, "marta": 13}.get(case.rep_id, 11),
            stage_id=stage,
            added_at=at,
            lost_reason=reason,
        )

    opened = pipedrive_deals.request(state("open", 3), action="create", previous=None, at=at, url=url, secret=secret)
    await deliver(client, opened, expect=(200,))
    if deal.outcome != "open":
        ended = state(deal.outcome, 6, _TEXTS.get(deal.reason))
        previous = {"status": "open", "stage_id": 3}
        later = at + timedelta(milliseconds=500)
        closed = pipedrive_deals.request(ended, action="change", previous=previous, at=later, url=url, secret=secret)
        await deliver(client, closed, expect=(200,))


async def _rest(client: Client, case: Case, month: Month) -> None:
    deal = case.deal
    if deal is None:
        return
    key = f"demo-{month.seed}-{deal.number}-deal"
    money = {"amount_minor": deal.amount_minor, "currency": deal.currency}
    opened = await client.post(
        "sales-feedback",
        "/v1/deals",
        {"lead_id": case.lead_id, "product": deal.product, "crm_deal_id": crm_deal_id(deal)} | money,
        key=key,
    )
    path = f"/v1/deals/{opened['id']}"
    if deal.outcome == "won":
        await client.post("sales-feedback", f"{path}/won", money, key=f"{key}-won")
        if deal.corrected_minor:
            corrected = money | {"amount_minor": deal.corrected_minor}
            await client.post("sales-feedback", f"{path}/won", corrected, key=f"{key}-corrected")
    elif deal.outcome == "lost":
        await client.post("sales-feedback", f"{path}/lost", {"reason": deal.reason}, key=f"{key}-lost")
        if deal.reopened:
            await client.post("sales-feedback", f"{path}/reopen", {}, key=f"{key}-reopen")


async def deliver(client: Client, request: Request, *, expect: tuple[int, ...]) -> int:
    """Send one request as a provider does: again while the answer is 503. Unexpected for any other status."""
    while True:
        answer = await client.http.request(
            request.method, request.url, content=request.body, headers=dict(request.headers)
        )
        if answer.status_code in expect:
            return answer.status_code
        if answer.status_code != 503:
            raise Unexpected(f"{request.url} answered {answer.status_code}: {answer.text[:300]}")
        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))


def decimal(minor: int) -> str:
    """Minor units of a currency with cents as HubSpot writes them, without float."""
    return f"{minor // 100}.{minor % 100:02d}"
