"""A booking that is moved fires two events, and the second may have lost where the person came from."""

import json
from typing import Any

import pytest
from intake_providers import SAMPLES

from baton_kit.testing import Harness
from lead_intake.app import App

CALENDLY = SAMPLES["calendly"]
PATH = "/v1/webhooks/calendly"


async def deliver(intake: Harness[App], name: str, **changes: Any) -> None:
    assert intake.public is not None
    event = json.loads((CALENDLY.folder / f"{name}.json").read_text())
    event["payload"] |= changes
    body = json.dumps(event).encode()
    headers = CALENDLY.headers(body, now=intake.clock.now(), path=PATH)
    while (answer := await intake.public.post(PATH, content=body, headers=headers)).status_code == 503:
        pass
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def calendly(intake: Harness[App]) -> Harness[App]:
    source = {"id": "calendly", "provider": "calendly", "secrets": [CALENDLY.secret]}
    assert (await intake.api.post("/v1/sources", json=source)).status_code == 201
    return intake


async def touches(intake: Harness[App]) -> list[tuple[str, str, str]]:
    rows = await intake.fetch("SELECT channel, utm_source, utm_campaign FROM touch ORDER BY lead_id, sequence")
    return [(row["channel"], row["utm_source"], row["utm_campaign"]) for row in rows]


@pytest.mark.parametrize("order", [("rescheduled-old", "rescheduled-new"), ("rescheduled-new", "rescheduled-old")])
async def test_a_moved_booking_keeps_its_campaign_and_its_lead(calendly: Harness[App], order: tuple[str, str]) -> None:
    await deliver(calendly, "lead")
    for name in order:
        await deliver(calendly, name)
    assert await touches(calendly) == [("paid_search", "google", "spring")] * 2
    assert len(await calendly.fetch("SELECT FROM lead")) == 1
    rows = await calendly.fetch("SELECT outcome, reason FROM receipt_entry ORDER BY receipt_id")
    assert sorted((r["outcome"], r["reason"]) for r in rows) == [
        ("created", ""), ("refused", "rescheduled"), ("touch_only", ""),
    ]  # fmt: skip


async def test_a_booking_that_is_moved_twice_keeps_it_too(calendly: Harness[App]) -> None:
    await deliver(calendly, "lead")
    await deliver(calendly, "rescheduled-new")
    second = "https://api.calendly.com/scheduled_events/EV2/invitees/IN2"
    await deliver(calendly, "rescheduled-new", uri=second.replace("2", "4"), old_invitee=second)
    assert await touches(calendly) == [("paid_search", "google", "spring")] * 3


async def test_what_the_new_booking_tells_of_its_origin_counts(calendly: Harness[App]) -> None:
    await deliver(calendly, "lead")
    await deliver(calendly, "rescheduled-new", tracking={"utm_source": "newsletter", "utm_medium": "email"})
    assert (await touches(calendly))[1] == ("email", "newsletter", "")


async def test_a_moved_booking_of_an_unknown_one_becomes_a_lead_all_the_same(calendly: Harness[App]) -> None:
    await deliver(calendly, "rescheduled-new")
    assert await touches(calendly) == [("direct", "", "")]
