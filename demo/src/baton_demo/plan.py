"""What sales makes of a lead: accepted or not, reached or not, won or lost, and for how much.

Pure. The odds depend on the lead's quality, so that the figures tell a story: paid social brings free addresses that
sales rejects as unfit, partners and LinkedIn bring few leads and large deals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal

from baton_demo.month import LINKEDIN, META, PARTNER, Month, Person, Submission

Crm = Literal["hubspot", "pipedrive", "rest"]
Answer = Literal["none", "accept", "reject", "recycle"]


@dataclass(frozen=True, slots=True)
class Contact:
    """One attempt to speak with the customer."""

    means: str
    reached: bool


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal as it ends this month.

    `corrected_minor`, unless 0, is what the invoice said after the close; `reopened` takes the close back.
    """

    crm: Crm
    number: int
    outcome: Literal["open", "won", "lost"]
    amount_minor: int
    currency: str
    product: str
    reason: str = ""
    corrected_minor: int = 0
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything sales does about one lead, in order. A `reason` after contacts rejects what was accepted."""

    answer: Answer
    reason: str = ""
    return_at: datetime | None = None
    contacts: tuple[Contact, ...] = ()
    deal: Deal | None = None


_SMALL_ROLES = ("Werkstudent", "Student", "Estudiante", "Sales Representative", "IT-Administrator", "Analista")
_SEATS = {"1-10": 6, "11-50": 18, "51-200": 55, "201-500": 120, "501-1000": 240, "1001-5000": 480}
_PRICE_MINOR = {"handoff": 22_800, "attribution": 19_150, "suite": 36_990}  # a seat and year
_CURRENCY = {"GB": "GBP"}  # everybody else is billed in euro
_LOST = {"price": 34, "competitor": 26, "no_decision": 30, "missing_feature": 10}


def plan_of(person: Person, month: Month) -> Plan:
    """The plan for one person of the month; the same each time."""
    random = Random(f"{month.seed}/{person.number}/sales")  # noqa: S311 - a story, not a secret
    sent = [s for s in month.submissions if s.person.number == person.number]
    told = {name: value for s in sent for name, value in s.details.items()}
    refused = _refusal(person, sent, told, random)
    if refused is not None:
        reason, accepted_first = refused
        if accepted_first:
            return Plan("accept", reason, contacts=_attempts(random, 3, reached=False))
        return Plan("reject", reason)
    if told.get("timeline") == "Later" and random.random() < 0.6:
        return Plan("recycle", "not_now", return_at=month.until + timedelta(days=60))
    if random.random() < 0.06:
        return Plan("none")  # nobody answered yet: the timer runs
    if random.random() < 0.06:
        return Plan("accept")  # accepted, not contacted
    contacts = _attempts(random, random.choice((1, 1, 1, 2, 2, 3)), reached=True)
    deal = _deal(person, sent, told, random, quality=quality_of(person, sent, told))
    return Plan("accept", contacts=contacts, deal=deal)


def quality_of(person: Person, sent: Sequence[Submission], told: dict[str, str]) -> float:
    """How good the lead is, from 0 to 1."""
    quality = 0.5
    quality += {"1-10": -0.15, "11-50": 0.0}.get(person.employees, 0.12)
    quality += 0.12 if told.get("timeline") in ("Now", "This quarter") else 0.0
    quality += 0.1 if len(sent) > 1 else 0.0
    quality -= 0.3 if person.kind == "free" else 0.0
    quality += {PARTNER: 0.2, LINKEDIN: 0.12, META: -0.2}.get(sent[0].origin, 0.0)
    return min(max(quality, 0.05), 0.95)


def _refusal(
    person: Person, sent: Sequence[Submission], told: dict[str, str], random: Random
) -> tuple[str, bool] | None:
    """Why sales refuses the lead, and whether only after having tried; None when it does not."""
    chance = random.random()
    if person.kind == "junk":
        return "wrong_data", False
    if person.kind == "free" and sent[0].origin is META:
        return ("wrong_size", False) if chance < 0.85 else None
    if person.kind == "free":
        return ("wrong_size", False) if chance < 0.4 else None
    if told.get("job_title") in _SMALL_ROLES and chance < 0.6:
        return "wrong_role", False
    if person.employees == "1-10" and chance < 0.45:
        return "wrong_size", False
    for limit, reason, accepted_first in (
        (0.06, "not_reached", True),
        (0.10, "no_need", True),
        (0.13, "no_budget", True),
        (0.15, "known_customer", False),
        (0.16, "no_capacity", False),
        (0.17, "wrong_data", False),
    ):
        if chance > 1 - limit:
            return reason, accepted_first
    return None


def _attempts(random: Random, count: int, *, reached: bool) -> tuple[Contact, ...]:
    means = ["call", *random.choices(("call", "email", "meeting"), k=count - 1)]
    return tuple(Contact(each, reached and index == count - 1) for index, each in enumerate(means))


def _deal(
    person: Person, sent: Sequence[Submission], told: dict[str, str], random: Random, *, quality: float
) -> Deal | None:
    # Drawn in any case, so that a change of the odds does not shift every later figure.
    crm: Crm = random.choices(("hubspot", "pipedrive", "rest"), (46, 30, 24))[0]
    opens, wins, stays_open = random.random(), random.random(), random.random()
    seats = max(3, round(_SEATS[person.employees] * random.uniform(0.6, 1.3)))
    rebate, discount = random.choice((0, 0, 5, 10)), random.random()
    if opens > 0.35 + 0.55 * quality:
        return None
    product = told.get("product", "handoff")
    amount = seats * _PRICE_MINOR[product] * (100 - rebate) // 100
    outcome: Literal["open", "won", "lost"] = "won" if wins < 0.15 + 0.55 * quality else "lost"
    if stays_open < 0.15:
        outcome = "open"
    return Deal(
        crm=crm,
        number=person.number,
        outcome=outcome,
        amount_minor=amount,
        currency=_CURRENCY.get(person.country, "EUR"),
        product=product,
        reason=random.choices(list(_LOST), list(_LOST.values()))[0] if outcome == "lost" else "",
        corrected_minor=amount * 95 // 100 if outcome == "won" and crm == "rest" and discount < 0.3 else 0,
        reopened=outcome == "lost" and crm == "rest" and discount < 0.3,
    )
