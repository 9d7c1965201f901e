import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from baton_demo.month import Submission, make_month
from baton_demo.payloads import (
    Door,
    door_request,
    generic,
    hubspot,
    hubspot_deals,
    pipedrive_deals,
    standard_webhooks,
    tally,
    typeform,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "provider-vectors.json").read_text())
UNTIL = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
MONTH = make_month(seed=3, leads=200, until=UNTIL)
NOW = UNTIL.timestamp()

DOORS = {
    source: Door(source, provider, f"https://leads.example.org/v1/webhooks/{source}", secret)
    for source, provider, secret in (
        ("google-leads", "google_ads", "our-shared-key"),
        ("demo-form", "typeform", "tf-secret-1"),
        ("newsletter", "tally", "tally-secret-1"),
        ("hubspot-contacts", "hubspot", "hs-client-secret-1"),
        ("webinar", "standard_webhooks", VECTORS["standard_webhooks"]["secret"]),
        ("partner-portal", "generic", "portal-secret-1"),
        ("site-form", "generic", ""),
    )
}


def of(source: str) -> Submission:
    return next(s for s in MONTH.submissions if s.source == source and not s.oddity)


def test_typeform_is_signed_as_the_vector_says() -> None:
    vector = VECTORS["typeform"]
    assert typeform.signature(vector["secret"], vector["body"].encode()) == vector["Typeform-Signature"]


def test_tally_is_signed_as_the_vector_says() -> None:
    vector = VECTORS["tally"]
    assert tally.signature(vector["secret"], vector["body"].encode()) == vector["Tally-Signature"]


def test_standard_webhooks_are_signed_as_the_vector_says() -> None:
    vector = VECTORS["standard_webhooks"]
    signed = standard_webhooks.signature(
        vector["secret"], vector["webhook-id"], vector["webhook-timestamp"], body=vector["body"].encode()
    )
    assert signed == vector["webhook-signature"]


def test_hubspot_is_signed_as_the_vectors_say() -> None:
    vector = VECTORS["hubspot"]
    body = vector["body"].encode()
    assert hubspot.signature_v2(vector["secret"], vector["method"], vector["uri"], body=body) == vector["v2"]
    v3 = hubspot_deals.signature_v3(
        vector["secret"], vector["method"], vector["uri"], body=body, sent_at=vector["timestamp"]
    )
    assert v3 == vector["v3"]


@pytest.mark.parametrize("source", DOORS)
def test_a_delivery_repeated_later_has_the_same_body(source: str) -> None:
    first = door_request(of(source), DOORS[source], now=NOW)
    again = door_request(of(source), DOORS[source], now=NOW + 3600)
    assert first.body == again.body


@pytest.mark.parametrize("source", DOORS)
def test_every_provider_tells_the_address_of_the_person(source: str) -> None:
    submission = of(source)
    body = door_request(submission, DOORS[source], now=NOW).body.decode()
    told = dict(parse_qsl(body)).get("your-email", "") if source == "site-form" else body
    assert submission.person.email in told


@pytest.mark.parametrize("source", sorted(set(DOORS) - {"google-leads", "partner-portal", "hubspot-contacts"}))
def test_click_ids_keep_their_case_on_the_wire(source: str) -> None:
    clicked = [s for s in MONTH.submissions if s.source == source and s.click_id]
    assert all(s.click_id in door_request(s, DOORS[source], now=NOW).body.decode() for s in clicked)


def test_ids_of_google_stay_whole_numbers() -> None:
    body = json.loads(door_request(of("google-leads"), DOORS["google-leads"], now=NOW).body)
    assert body["form_id"] == 41234567890123
    assert body["google_key"] == "our-shared-key"


def test_the_secret_of_a_signer_never_travels() -> None:
    for source in ("demo-form", "newsletter", "webinar", "hubspot-contacts", "partner-portal"):
        request = door_request(of(source), DOORS[source], now=NOW)
        assert DOORS[source].secret not in request.body.decode() + str(request.headers)


def test_a_forged_delivery_does_not_carry_the_signature_of_its_bytes() -> None:
    forged = next(s for s in MONTH.submissions if s.oddity == "bad_signature")
    request = door_request(forged, DOORS[forged.source], now=NOW)
    assert request.headers["Typeform-Signature"] != typeform.signature("tf-secret-1", request.body)


def test_a_partner_signs_the_raw_body() -> None:
    request = door_request(of("partner-portal"), DOORS["partner-portal"], now=NOW)
    assert len(request.headers[generic.SIGNATURE_HEADER]) == 64


def test_pipedrive_says_what_changed_and_what_is_now() -> None:
    deal = pipedrive_deals.DealState(
        4321, "Petrova Labs", "won", 4800.5, "EUR", "lead-1", 11, 6, UNTIL - timedelta(days=1)
    )
    request = pipedrive_deals.request(
        deal,
        action="change",
        previous={"status": "open"},
        at=UNTIL,
        url="https://crm.example.org/v1/webhooks/pipedrive",
        secret="baton:pw",
    )
    body = json.loads(request.body)
    assert request.headers["Authorization"] == "Basic YmF0b246cHc="
    assert body["data"]["status"] == "won"
    assert body["data"]["value"] == 4800.5
    assert body["previous"] == {"status": "open"}
    assert body["data"]["custom_fields"][pipedrive_deals.LEAD_FIELD]["value"] == "lead-1"


def test_hubspot_sends_changes_as_an_array_with_times_in_milliseconds() -> None:
    changes = [
        hubspot_deals.Change(1, 332507367156, UNTIL),
        hubspot_deals.Change(2, 332507367156, UNTIL, "dealstage", "closedwon"),
    ]
    request = hubspot_deals.request(changes, url="https://crm.example.org/v1/webhooks/hubspot", secret="s", now=NOW)
    created, won = json.loads(request.body)
    assert created["subscriptionType"] == "deal.creation"
    assert (won["propertyName"], won["propertyValue"]) == ("dealstage", "closedwon")
    assert won["occurredAt"] == int(UNTIL.timestamp()) * 1000
