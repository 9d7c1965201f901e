import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx2 import Response

from baton.lead.v1 import lead_pb2
from baton_kit.testing import Harness
from lead_intake.app import App
from lead_intake.form_page import WORDS


async def given_source(intake: Harness[App], preset: str, **more: Any) -> dict[str, Any]:
    source = {"id": preset.replace("_", "-"), "provider": "generic", "preset": preset, "default_region": "ES"} | more
    answer = await intake.api.post("/v1/sources", json=source)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def post(intake: Harness[App], path: str, **more: Any) -> Response:
    assert intake.public is not None
    while (answer := await intake.public.post(path, **more)).status_code == 503:
        pass
    return answer


async def touch_kinds(intake: Harness[App]) -> list[int]:
    return [e.body.kind for e in await intake.outbox() if e.type.endswith("TouchRecorded")]


async def test_the_presets_are_listed_with_what_they_fill_in(intake: Harness[App]) -> None:
    listed = {item["id"]: item for item in (await intake.api.get("/v1/source-presets")).json()["items"]}
    assert listed.keys() == {"contact_form_7", "wpforms", "call_tracking", "exhibition"}
    made = await given_source(intake, "call_tracking", mapping={"email": "mail"}, settings={"secret_header": "x-key"})
    assert made["mapping"] == listed["call_tracking"]["mapping"] | {"email": "mail"}
    assert made["settings"] == {"touch_kind": "call", "secret_header": "x-key"}


@pytest.mark.parametrize("change", [{"preset": "unheard-of"}, {"provider": "tally", "preset": "wpforms"}])
async def test_a_preset_that_does_not_fit_is_told(intake: Harness[App], change: dict[str, str]) -> None:
    answer = await intake.api.post("/v1/sources", json={"id": "x", "provider": "generic"} | change)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/preset")


async def test_a_call_and_a_form_of_one_person_become_one_lead_with_two_touches(intake: Harness[App]) -> None:
    call = (await given_source(intake, "call_tracking"))["webhook_url"]
    form = (await given_source(intake, "contact_form_7"))["webhook_url"]
    calls = {"call_id": "c1", "caller_number": "600112233", "tracking_number": "+34911222333", "duration": "95"}
    assert (await post(intake, call, json=calls)).status_code == 200
    filled = {"your-name": "Anna", "your-email": "anna@example.com", "tel-1": "+34 600 11 22 33"}
    assert (await post(intake, form, json=filled)).status_code == 200
    assert (await post(intake, call, json=calls)).status_code == 200  # the tool repeats itself
    [lead] = (await intake.api.get("/v1/leads")).json()["items"]
    assert await touch_kinds(intake) == [lead_pb2.TOUCH_KIND_CALL, lead_pb2.TOUCH_KIND_FORM]
    assert lead["features"]["answers"] == {"call_length": "medium"}
    assert (lead["features"]["has_email"], lead["features"]["has_phone"]) == (True, True)
    outcomes = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id")
    assert [row["outcome"] for row in outcomes] == ["created", "matched", "duplicate"]


# The form for the phone


def filled(page: str, **told: str) -> dict[str, str]:
    """What the browser would send: the hidden fields of the page and what was typed."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)) | told


async def test_the_form_at_the_stand_makes_one_lead_however_often_it_is_sent(intake: Harness[App]) -> None:
    assert intake.public is not None
    source = await given_source(intake, "exhibition", settings={"form_campaign": "fair 2026"})
    url = source["form_url"]
    page = await intake.public.get(url)
    assert page.status_code == 200
    told = filled(page.text, name="Anna Petrova", email="anna@example.com", consent_marketing="true")
    for _ in range(2):
        answer = await post(intake, url, data=told, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{url}?sent=1&lang=en")
    thanks = await intake.public.get(answer.headers["location"])
    assert WORDS["en"]["sent"] in thanks.text
    assert "<form" not in thanks.text
    # The same words on a new page are another visit, not a repeat.
    later = filled((await intake.public.get(url)).text, **{k: told[k] for k in ("name", "email", "consent_marketing")})
    assert (await post(intake, url, data=later, follow_redirects=False)).status_code == 303
    rows = await intake.fetch("SELECT outcome FROM receipt_entry ORDER BY receipt_id")
    assert [row["outcome"] for row in rows] == ["created", "duplicate", "touch_only"]
    # The next visitor at the same stand.
    other = filled((await intake.public.get(url)).text, name="Boris", phone="+34600112244")
    assert (await post(intake, url, data=other, follow_redirects=False)).status_code == 303
    assert await touch_kinds(intake) == [lead_pb2.TOUCH_KIND_EVENT] * 3
    rows = await intake.fetch("SELECT channel, utm_source, utm_campaign FROM touch")
    assert {(r["channel"], r["utm_source"], r["utm_campaign"]) for r in rows} == {("event", "exhibition", "fair 2026")}
    leads = (await intake.api.get("/v1/leads")).json()["items"]
    assert sorted(lead["features"]["consent_marketing"] for lead in leads) == [False, True]


async def test_who_cannot_be_reached_is_told_and_kept(intake: Harness[App]) -> None:
    assert intake.public is not None
    url = (await given_source(intake, "exhibition"))["form_url"]
    told = filled((await intake.public.get(url)).text, name="Anna Petrova", email="anna@", phone="")
    answer = await post(intake, url, data=told, headers={"accept-language": "ru-RU"}, follow_redirects=False)
    assert answer.status_code == 422
    assert WORDS["ru"]["unreachable"] in answer.text
    assert "Anna" not in answer.text
    [row] = await intake.fetch("SELECT state, body FROM receipt")
    assert (row["state"], b"Anna" in row["body"]) == ("quarantined", True)
    # Corrected under the id of the same page it is taken.
    corrected = await post(intake, url, data=told | {"email": "anna@example.com"}, follow_redirects=False)
    assert corrected.status_code == 303
    assert len(await intake.fetch("SELECT FROM lead")) == 1


async def test_the_form_is_shown_only_to_who_has_its_address(intake: Harness[App]) -> None:
    assert intake.public is not None
    url = (await given_source(intake, "exhibition"))["form_url"]
    other = (await given_source(intake, "wpforms"))["webhook_url"].replace("/webhooks/", "/forms/")
    unknown = await intake.public.get("/v1/forms/nobody/guess")
    for address in (url[:-2] + "__", other):
        answer = await intake.public.get(address)
        assert (answer.status_code, answer.content) == (401, unknown.content)
    assert (await intake.public.delete(url)).status_code == 405
    assert (await intake.public.head(url)).content == b""
    shown = (await intake.api.get("/v1/sources/exhibition")).json()["form_url"]
    assert urlsplit(url).path.rpartition("/")[2] not in shown


@pytest.mark.parametrize(("asked", "lang"), [("de,ru;q=0.8", "ru"), ("fr", "en"), ("en-GB,ru", "en"), ("", "en")])
async def test_the_form_speaks_the_visitor_s_language_and_loads_nothing(
    intake: Harness[App], asked: str, lang: str
) -> None:
    assert intake.public is not None
    title = '<b>Fair "2026"</b>'
    settings = {"form_title": title, "form_privacy_url": "https://example.com/privacy?a=1&b=2"}
    url = (await given_source(intake, "exhibition", settings=settings))["form_url"]
    page = await intake.public.get(url, headers={"accept-language": asked})
    text = page.text
    assert f'<html lang="{lang}">' in text
    assert WORDS[lang]["send"] in text
    assert title not in text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert not re.findall(r"(?:src|srcset|data)=|@import|url\(|<link|style=|\son\w+=", text)
    # Every field has a label of its own, or stands in one.
    for name in re.findall(r'<(?:input|textarea) id="(\w+)"', text):
        assert f'<label for="{name}">' in text
    other = "ru" if lang == "en" else "en"
    assert WORDS[other]["send"] in (await intake.public.get(f"{url}?lang={other}")).text


async def test_a_form_page_with_a_secret_or_a_script_for_an_address_is_refused(intake: Harness[App]) -> None:
    for settings, secrets, pointer in (
        ({"form_page": "on"}, ["a-long-secret"], "/secrets"),
        ({"form_page": "on", "form_privacy_url": "javascript:alert(1)"}, [], "/settings/form_privacy_url"),
        ({"form_page": "off"}, [], "/settings/form_page"),
    ):
        body = {"id": "x", "provider": "generic", "settings": settings, "secrets": secrets}
        answer = await intake.api.post("/v1/sources", json=body)
        assert answer.status_code == 422
        assert pointer in [error["pointer"] for error in answer.json()["errors"]]
