"""What was imported from the past is kept for backtests and hands nobody over."""

from datetime import timedelta
from itertools import permutations

from baton_kit.testing import START, Harness, Server, open_harness
from qualification.app import App
from qualification.evaluate import decide_due, decide_waiting
from qualification.service import SERVICE

from .given import GOOD, activate, answered, created, people, touched, updated

LONG_AGO = START - timedelta(days=700)


async def ready(h: Harness[App]) -> None:
    await activate(h, await people(h))
    await h.new_events()


async def told(h: Harness[App]) -> list[str]:
    return [e.type.rsplit(".", 1)[1] for e in await h.new_events()]


async def test_an_imported_lead_is_kept_and_never_decided_by_itself(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive(
        [
            created("l1", at=LONG_AGO, imported=True, **GOOD),
            touched("l1", at=LONG_AGO, kind="form", imported=True, features=GOOD),
        ]
    )
    assert await decide_waiting(qualification.app) == 0
    assert await decide_due(qualification.app) == 0
    assert await told(qualification) == []
    [lead] = await qualification.fetch("SELECT cycle_state, created_at, features::text FROM lead")
    assert (lead["cycle_state"], lead["created_at"]) == ("history", LONG_AGO)
    assert '"employees": 250' in lead["features"]
    assert len(await qualification.fetch("SELECT 1 FROM touch")) == 1


async def test_who_is_only_told_of_is_not_judged_by_it(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", at=LONG_AGO, imported=True, employees=10)])
    await qualification.receive([updated("l1", sequence=2, imported=True, **GOOD)])
    await qualification.receive([updated("l1", sequence=3, **GOOD)])
    assert await told(qualification) == []
    [lead] = await qualification.fetch("SELECT cycle_state, features::text FROM lead")
    assert lead["cycle_state"] == "history"
    assert '"employees": 250' in lead["features"]
    await qualification.receive([touched("l1", kind="form", sequence=4)])
    assert "LeadQualified" in await told(qualification), "what was told before counts when the person comes"


async def test_a_lead_imported_before_any_agreement_does_not_wait_for_one(qualification: Harness[App]) -> None:
    await qualification.receive([created("l1", at=LONG_AGO, imported=True, **GOOD)])
    await ready(qualification)
    assert await decide_waiting(qualification.app) == 0
    assert await told(qualification) == []


async def test_a_live_inquiry_is_handed_over_once_wherever_the_import_comes(postgres_server: Server) -> None:
    events = [
        created("l1", at=LONG_AGO, imported=True, **GOOD),
        touched("l1", at=LONG_AGO, kind="form", imported=True, features=GOOD),
        touched("l1", kind="form", sequence=3, features=GOOD),
    ]
    for order in permutations(events):
        async with open_harness(SERVICE, postgres_server) as h:
            await ready(h)
            await h.receive(list(order), one_by_one=True)
            assert (await told(h)).count("LeadQualified") == 1, [e.type for e in order]


async def test_an_import_about_a_live_lead_decides_nothing(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([created("l1", has_email=True), touched("l1", kind="visit")])
    await told(qualification)
    await qualification.receive([touched("l1", kind="form", imported=True, sequence=3, features=GOOD)])
    assert await told(qualification) == []
    await qualification.receive([touched("l1", kind="visit", sequence=4)])
    assert "LeadScored" in await told(qualification)


async def test_imported_feedback_ends_no_cycle(qualification: Harness[App]) -> None:
    await ready(qualification)
    await qualification.receive([answered("l1", "rejected", at=LONG_AGO, cycle=0, imported=True)])
    await qualification.receive([created("l1", **GOOD)])
    await qualification.receive([answered("l1", "rejected", at=LONG_AGO, cycle=0, imported=True)])
    assert (await told(qualification)).count("LeadQualified") == 1
    [lead] = await qualification.fetch("SELECT cycle_state FROM lead")
    assert lead["cycle_state"] == "qualified"
    assert len(await qualification.fetch("SELECT 1 FROM feedback")) == 2
