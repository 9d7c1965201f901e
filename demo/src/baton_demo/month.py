"""A month of marketing of a firm that sells business software: who asked for what, when, and where they came from.

Pure: the same seed, number of leads and end give the same month, byte for byte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType

from baton_demo.names import LANGUAGE_WEIGHTS, LOCALES, feminine, latin, phone

SITE = "https://www.taktwerk.example"
DAYS = 30
LEADS = 340
SEED = 7


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who answers. `number` is stable within a seed; an empty field is one the person never tells."""

    number: int
    language: str
    country: str
    first_name: str
    last_name: str
    email: str
    phone: str
    national_phone: str
    company: str
    job_title: str
    employees: str
    kind: str
    """business | free | role | junk"""

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a visit came from, as the landing page sees it."""

    name: str
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    click: str = ""
    """Kind of click id the platform appends."""
    referrer: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """One form sent, or one record passed on. `id` is the provider's id: the same each time it is delivered."""

    id: str
    at: datetime
    source: str
    person: Person
    origin: Origin
    page: str
    click_id: str = ""
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What this form asks beyond name and address: phone, company, timeline, budget, message …"""
    oddity: str = ""
    """"" | repeated | test | bad_signature | broken: what makes it end otherwise than as a lead."""

    @property
    def page_url(self) -> str:
        pairs = [
            (name, value)
            for name, value in (
                ("utm_source", self.origin.utm_source),
                ("utm_medium", self.origin.utm_medium),
                ("utm_campaign", self.origin.utm_campaign),
                (self.origin.click, self.click_id),
            )
            if name and value
        ]
        query = "&".join(f"{name}={value}" for name, value in pairs)
        return f"{SITE}{self.page}" + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True)
class Month:
    """Everything that was sent in the 30 days before `until`, in the order of time."""

    seed: int
    until: datetime
    people: tuple[Person, ...]
    submissions: tuple[Submission, ...]

    def chains(self) -> list[tuple[Submission, ...]]:
        """The submissions of each person in order: what one person does is never overtaken by itself."""
        chains: dict[int, list[Submission]] = {}
        for submission in self.submissions:
            chains.setdefault(submission.person.number, []).append(submission)
        return [tuple(chain) for chain in chains.values()]

    def person_of(self, email: str) -> Person | None:
        """Who has this address, in whatever case."""
        return next((p for p in self.people if p.email.lower() == email.lower()), None)


GOOGLE = Origin("google ads", "google", "cpc", "lead-handoff-dach", click="gclid")
BRAND = Origin("google brand", "google", "cpc", "brand", click="gclid")
META = Origin("meta ads", "facebook", "paid_social", "ebook-lookalike", click="fbclid")
LINKEDIN = Origin("linkedin ads", "linkedin", "cpc", "heads-of-revenue", click="li_fat_id")
NEWSLETTER = Origin("newsletter", "newsletter", "email", "november-digest")
WEBINAR = Origin("webinar", "webinar", "webinar", "handoff-live")
ORGANIC = Origin("organic search", referrer="https://www.google.com/")
BING = Origin("organic bing", referrer="https://www.bing.com/")
ASSISTANT = Origin("chatgpt", referrer="https://chatgpt.com/")
REVIEW = Origin("review site", referrer="https://www.capterra.com/p/taktwerk/")
PARTNER = Origin("partner", "mittelstand-beratung", "partner", "partner-2026")
POST = Origin("linkedin post", referrer="https://www.linkedin.com/feed/")
DIRECT = Origin("direct")

# How people come: (weight, the forms they send in order, each with the origins it may come from). Weights follow
# what such firms see: paid social brings many and cheap, partners few and good.
_ANYWHERE = (ORGANIC, ORGANIC, DIRECT, GOOGLE, BRAND, ASSISTANT, REVIEW, BING, POST)
_Step = tuple[str, Sequence[Origin]]
JOURNEYS: Sequence[tuple[int, Sequence[_Step]]] = (
    (14, [("google-leads", [GOOGLE])]),
    (5, [("google-leads", [GOOGLE]), ("demo-form", [BRAND, DIRECT, NEWSLETTER])]),
    (17, [("site-form", [META])]),
    (3, [("site-form", [META]), ("demo-form", [BRAND, DIRECT])]),
    (12, [("demo-form", _ANYWHERE)]),
    (7, [("demo-form", [LINKEDIN])]),
    (9, [("site-form", [ORGANIC, ASSISTANT, DIRECT, REVIEW, POST])]),
    (8, [("newsletter", [ORGANIC, DIRECT, POST])]),
    (6, [("newsletter", [ORGANIC, POST]), ("webinar", [NEWSLETTER, WEBINAR]), ("demo-form", [NEWSLETTER, DIRECT])]),
    (7, [("webinar", [WEBINAR, LINKEDIN])]),
    (7, [("webinar", [LINKEDIN, WEBINAR]), ("demo-form", [DIRECT, BRAND, NEWSLETTER])]),
    (4, [("newsletter", [META, ORGANIC]), ("site-form", [NEWSLETTER, ORGANIC])]),
    (8, [("hubspot-contacts", [ORGANIC, GOOGLE, DIRECT])]),
    (4, [("hubspot-contacts", [LINKEDIN, ORGANIC]), ("demo-form", [NEWSLETTER, DIRECT])]),
    (6, [("partner-portal", [PARTNER])]),
    (3, [("partner-portal", [PARTNER]), ("demo-form", [DIRECT, BRAND])]),
)

# Monday to Sunday, and the hours of the day: people fill in forms at work, and some in the evening.
WEEKDAYS = (20, 22, 21, 19, 13, 3, 4)
HOURS = (1, 0, 0, 0, 0, 1, 2, 6, 12, 16, 18, 15, 10, 13, 16, 14, 12, 9, 6, 5, 6, 5, 3, 1)

_SIZES = {"1-10": 16, "11-50": 30, "51-200": 27, "201-500": 15, "501-1000": 7, "1001-5000": 5}
_TIMELINES = {"Now": 18, "This quarter": 34, "This year": 28, "Later": 20}
_BUDGETS = {"": 25, "under 5,000 €": 22, "10,000 €": 28, "25,000 €": 17, "50,000 €": 8}
PRODUCTS = {"handoff": 50, "attribution": 30, "suite": 20}
_PAGES = {
    "demo-form": ("/demo", "/demo", "/demo", "/pricing"),
    "site-form": ("/contact", "/pricing", "/product/handoff", "/customers"),
    "newsletter": ("/blog/marketing-and-sales", "/blog", "/newsletter"),
    "webinar": ("/webinars/handoff-live",),
    "hubspot-contacts": ("/ebook/handoff", "/pricing", "/contact"),
}


def make_month(*, seed: int = SEED, leads: int = LEADS, until: datetime) -> Month:
    """The month that ends at `until` (aware UTC), with about `leads` people who become leads.

    A few deliveries are odd on purpose, so that every kind of receipt occurs: repeated, test, badly signed, broken.
    """
    people: list[Person] = []
    submissions: list[Submission] = []
    for number in range(leads):
        # One generator a person, another for times: when the month ends changes as little as possible of the story.
        random = Random(f"{seed}/{number}")  # noqa: S311 - a story, not a secret
        weights = [weight for weight, _ in JOURNEYS]
        steps = random.choices([steps for _, steps in JOURNEYS], weights)[0]
        paid_social = steps[0][1][0] is META
        person = _person(number, random, likely_free=paid_social)
        if any(person.email == other.email for other in people):
            person = replace(person, email=person.email.replace("@", f"{number}@"))
        people.append(person)
        submissions += _journey(person, steps, random, seed=seed, until=until)
    odd = Random(f"{seed}/odd")  # noqa: S311 - a story, not a secret
    submissions += _oddities(people, submissions, odd, seed=seed, until=until)
    submissions.sort(key=lambda s: (s.at, s.id))
    return Month(seed, until, tuple(people), tuple(submissions))


def choose(random: Random, weights: Mapping[str, int]) -> str:
    """One key, by its weight."""
    return random.choices(list(weights), list(weights.values()))[0]


def _person(number: int, random: Random, *, likely_free: bool) -> Person:
    language = choose(random, LANGUAGE_WEIGHTS)
    locale = LOCALES[language]
    country = choose(random, locale.countries)
    first, last = random.choice(locale.first), random.choice(locale.last)
    if language == "ru":
        last = feminine(last, first)
    firm, trade = random.choice(locale.firms), random.choice(locale.trades)
    kinds = {"business": 40, "free": 52, "role": 3, "junk": 5} if likely_free else {
        "business": 84, "free": 11, "role": 4, "junk": 1,
    }  # fmt: skip
    kind = choose(random, kinds)
    # The number keeps people of one name apart, as mail administrators do.
    local = f"{latin(first)}.{latin(last)}"
    mailbox = f"{local}{number}" if kind == "free" else local
    domain = f"{latin(firm)}-{latin(trade)}{number % 7 or ''}.{locale.top_domain[country]}"
    email = {
        "business": f"{mailbox}@{domain}",
        "free": f"{mailbox}@{random.choice(locale.free_mail)}",
        "role": f"info@{latin(firm)}{number}.{locale.top_domain[country]}",
        "junk": f"asdf{number}@mailinator.com",
    }[kind]
    small = {"1-10": 60, "11-50": 40}
    return Person(
        number=number,
        language=language,
        country=country,
        first_name="asdf" if kind == "junk" else first,
        last_name="" if kind == "junk" else last,
        email=email,
        phone="" if kind == "junk" else phone(country, number, national=False),
        national_phone="" if kind == "junk" else phone(country, number, national=True),
        company="" if kind == "junk" else f"{firm} {trade}",
        job_title="" if kind == "junk" else choose(random, locale.titles),
        employees=choose(random, small if kind == "free" else _SIZES),
        kind=kind,
    )


def _journey(person: Person, steps: Sequence[_Step], random: Random, *, seed: int, until: datetime) -> list[Submission]:
    begin = until - timedelta(days=DAYS)
    times = Random(f"{seed}/{person.number}/times")  # noqa: S311 - a story, not a secret
    at = _moment(times, begin, until)
    made: list[Submission] = []
    for index, (source, origins) in enumerate(steps):
        origin = random.choice(origins)
        if index:
            at = _moment(times, at + timedelta(hours=3), at + timedelta(days=9))
        if at >= until - timedelta(minutes=5):
            break  # that will happen next month
        made.append(
            Submission(
                id=f"{seed}-{person.number:04d}-{index}",
                at=at,
                source=source,
                person=person,
                origin=origin,
                page=random.choice(_PAGES.get(source, ("",))),
                click_id=_click_id(origin.click, random),
                details=MappingProxyType(_DETAILS[source](person, random)),
            )
        )
    return made


def _moment(random: Random, begin: datetime, end: datetime) -> datetime:
    """A time between the two at which people are at work, mostly."""
    span = (end - begin).total_seconds()
    for _ in range(60):
        at = begin + timedelta(seconds=random.random() * span)
        likely = WEEKDAYS[at.weekday()] * HOURS[at.hour]
        if random.random() * max(WEEKDAYS) * max(HOURS) < likely:
            break
    return at.replace(microsecond=random.randrange(1000) * 1000)


def _click_id(kind: str, random: Random) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if kind == "li_fat_id":
        digits = f"{random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    start = {"gclid": "Cj0KCQiA", "fbclid": "IwAR0"}.get(kind)
    return start + "".join(random.choices(letters, k=48)) if start else ""


def _little(person: Person, random: Random) -> dict[str, str]:
    return {"consent_marketing": "yes"}


def _webinar(person: Person, random: Random) -> dict[str, str]:
    return _told(company_name=person.company, job_title=person.job_title, country=person.country)


def _contact(person: Person, random: Random) -> dict[str, str]:
    calls = random.random() < 0.65
    return _told(
        phone=person.national_phone if calls else "",
        company_name=person.company,
        employees=person.employees if random.random() < 0.6 else "",
        message=random.choice(LOCALES[person.language].messages) if random.random() < 0.5 else "",
        consent_marketing="yes" if random.random() < 0.6 else "no",
    )


def _demo(person: Person, random: Random) -> dict[str, str]:
    return _told(
        phone=person.phone if random.random() < 0.85 else "",
        company_name=person.company,
        job_title=person.job_title,
        employees=person.employees,
        timeline=choose(random, _TIMELINES),
        budget=choose(random, _BUDGETS),
        product=choose(random, PRODUCTS),
        consent_marketing="yes",
    )


def _ad_form(person: Person, random: Random) -> dict[str, str]:
    return _told(
        phone=person.phone,
        company_name=person.company,
        job_title=person.job_title,
        employees=person.employees,
        country=person.country,
    )


def _partner(person: Person, random: Random) -> dict[str, str]:
    return _told(
        phone=person.phone,
        company_name=person.company,
        job_title=person.job_title,
        employees=person.employees,
        country=person.country,
        budget=choose(random, _BUDGETS),
        timeline=choose(random, _TIMELINES),
        message=random.choice(LOCALES[person.language].messages),
    )


_DETAILS: Mapping[str, Callable[[Person, Random], dict[str, str]]] = {
    "google-leads": _ad_form,
    "demo-form": _demo,
    "newsletter": _little,
    "webinar": _webinar,
    "hubspot-contacts": _ad_form,
    "partner-portal": _partner,
    "site-form": _contact,
}


def _told(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _oddities(
    people: list[Person], submissions: Sequence[Submission], random: Random, *, seed: int, until: datetime
) -> list[Submission]:
    """Deliveries that do not become leads. Their people are appended to `people`."""
    # 1. Providers that did not hear the answer deliver again, the same bytes under the same id.
    repeatable = [s for s in submissions if s.source in ("demo-form", "newsletter", "webinar", "google-leads")]
    odd = [replace(s, oddity="repeated") for s in random.sample(repeatable, min(6, len(repeatable)))]

    # 2. The button "send test data" of the ad platform, a forged request, a body cut short on the way.
    for oddity, source in (("test", "google-leads"), ("bad_signature", "demo-form"), ("broken", "site-form")):
        number = len(people)
        person = replace(_person(number, random, likely_free=False), number=number)
        people.append(person)
        odd.append(
            Submission(
                id=f"{seed}-{number:04d}-0",
                at=_moment(random, until - timedelta(days=DAYS), until - timedelta(hours=1)),
                source=source,
                person=person,
                origin=GOOGLE if oddity == "test" else DIRECT,
                page="/demo" if source == "demo-form" else "/contact",
                click_id=_click_id("gclid", random) if oddity == "test" else "",
                details=MappingProxyType(_DETAILS[source](person, random)),
                oddity=oddity,
            )
        )
    return odd


def whole_second(at: datetime) -> datetime:
    """`at` in UTC without fractions, as most providers write it."""
    return at.astimezone(UTC).replace(microsecond=0)


def rfc3339(at: datetime) -> str:
    """`at` as RFC 3339 in UTC with `Z`."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
