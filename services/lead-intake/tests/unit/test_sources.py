"""One conformance suite for all providers, and the published signature vectors."""

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_samples import BODIES, PUBLIC_URL, SECRETS, signed

from lead_intake.delivery import Incoming, Outcome, Result, Source, Unparsable
from lead_intake.entry import delivery_of
from lead_intake.sources import PROVIDERS

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
EACH = pytest.mark.parametrize("provider", sorted(PROVIDERS))


def source(provider: str, **more: object) -> Source:
    base = Source(provider, provider, secrets=("an-older-secret", SECRETS[provider]), default_region="ES")
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def incoming(provider: str, body: bytes | None = None, *, now: datetime = NOW) -> Incoming:
    body = BODIES[provider]("key-1", "anna.petrova@example.com", "+34600112233") if body is None else body
    sent = signed(provider, body, now=now, path="/x", key="key-1")
    return Incoming("POST", f"{PUBLIC_URL}/x", sent.headers, body, "", NOW)


@EACH
def test_the_provider_s_own_signature_is_taken_with_any_active_secret(provider: str) -> None:
    assert PROVIDERS[provider].verify(incoming(provider), source(provider), now=NOW)


@EACH
def test_a_changed_byte_or_another_secret_is_refused(provider: str) -> None:
    good = incoming(provider)
    other = source(provider, secrets=("whsec_" + base64.b64encode(b"z" * 32).decode(),))
    assert not PROVIDERS[provider].verify(good, other, now=NOW)
    if provider not in ("generic", "google_ads"):  # these prove a shared secret, not the bytes
        changed = dataclasses.replace(good, body=good.body.replace(b"anna", b"anne"))
        assert not PROVIDERS[provider].verify(changed, source(provider), now=NOW)


@EACH
def test_a_delivery_without_proof_is_refused(provider: str) -> None:
    bare = dataclasses.replace(incoming(provider, b"{}"), headers={"content-type": "application/json"})
    assert not PROVIDERS[provider].verify(bare, source(provider), now=NOW)


@pytest.mark.parametrize("provider", ["standard_webhooks", "hubspot"])
@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_signed_time_outside_five_minutes_is_refused(provider: str, minutes: int) -> None:
    late = incoming(provider, now=NOW + timedelta(minutes=minutes))
    assert not PROVIDERS[provider].verify(late, source(provider), now=NOW)


@EACH
def test_the_entry_keeps_the_provider_s_key_and_the_person(provider: str) -> None:
    [entry] = PROVIDERS[provider].parse(incoming(provider), source(provider))
    assert "key-1" in entry.key
    assert entry.fields["email"] == "anna.petrova@example.com"
    assert entry.fields["phone"] == "+34600112233"
    assert not entry.test


@EACH
def test_the_answer_is_a_success_that_the_provider_accepts_and_never_404(provider: str) -> None:
    for outcome in Outcome:
        reply = PROVIDERS[provider].reply(Result("r", (outcome,), reason="no_identity"))
        assert 200 <= reply.status < 300
        json.loads(reply.body)
        if provider == "google_ads":
            assert (reply.status, reply.body) == (200, b"{}")


@EACH
def test_ids_beyond_two_to_the_53rd_stay_exact(provider: str) -> None:
    big = 2**63 + 1
    body = BODIES[provider]("key-1", "a@example.com").replace(b'"key-1"', str(big).encode())
    [entry] = PROVIDERS[provider].parse(incoming(provider, body), source(provider))
    if provider != "standard_webhooks":  # its key is a header
        assert str(big) in entry.key


def test_google_s_ids_stay_exact() -> None:
    [entry] = PROVIDERS["google_ads"].parse(incoming("google_ads"), source("google_ads"))
    assert (entry.fields["campaign_id"], entry.fields["gclid"]) == ("9007199254740993", "Cj0KCQiA-TEST-gclid")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@EACH
@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=300) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_read_or_said_to_be_unreadable(provider: str, body: bytes) -> None:
    arrived = incoming(provider, body)
    try:
        inquiries = PROVIDERS[provider].parse(arrived, source(provider))
    except Unparsable:
        return
    assert inquiries
    delivery = delivery_of(arrived, source(provider), inquiries, body=PROVIDERS[provider].kept(arrived))
    for entry in delivery.entries:
        entry.key.encode()  # what reaches the database is Unicode without NUL
        assert "\x00" not in entry.key


@EACH
@settings(max_examples=100, deadline=None)
@given(path=st.lists(st.integers(0, 50), max_size=4), value=VALUES)
def test_any_value_at_any_place_of_a_real_body_is_survived(provider: str, path: list[int], value: object) -> None:
    body = json.loads(BODIES[provider]("key-1", "a@example.com", "+34600112233"))
    node = body
    for step in path:
        children = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not children:
            break
        key = children[step % len(children)]
        if not isinstance(node[key], dict | list) or step % 7 == 0:
            node[key] = value
            break
        node = node[key]
    arrived = incoming(provider, json.dumps(body).encode())
    try:
        inquiries = PROVIDERS[provider].parse(arrived, source(provider))
    except Unparsable:
        return
    delivery_of(arrived, source(provider), inquiries, body=b"")


def test_the_published_vectors_verify() -> None:
    at = datetime.fromtimestamp(1767600000, UTC)
    cases = [
        (
            "typeform", "tf-secret-1",
            b'{"event_id":"01JH00000000000000000000AA","event_type":"form_response"}',
            {"typeform-signature": "sha256=F1cl2ebrO1K7LXSu5PGSVy5roOfGUVVnOC7wDzgTbG4="},
        ),
        (
            "tally", "tally-secret-1",
            b'{"eventId":"0b1c2d3e-0000-4000-8000-000000000001","eventType":"FORM_RESPONSE"}',
            {"tally-signature": "oUw6uzs/n9/gKW4cIxbcwISLGu8eqo8HjytWDd5xKKc="},
        ),
        (
            "standard_webhooks", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            b'{"type":"lead.created","data":{"id":"L1"}}',
            {
                "webhook-id": "msg_2Xq0000000000000000000001",
                "webhook-timestamp": "1767600000",
                "webhook-signature": "v1,bm90IHRoaXM= v1,d7Is6on2vW4aPGrJc9pyV7Pc6IXBoGfFQ5xHM7jtwb4=",
            },
        ),
    ]  # fmt: skip
    for provider, secret, body, headers in cases:
        arrived = Incoming("POST", "", headers, body, "", at)
        assert PROVIDERS[provider].verify(arrived, source(provider, secrets=(secret,)), now=at), provider


HUBSPOT = {
    "v3": {
        "x-hubspot-signature-v3": "N6K3yy2UlOJXzux5xJfnWIb7YDJRAzrGNaXY+A82/wQ=",
        "x-hubspot-request-timestamp": "1767600000000",
    },
    "v2": {
        "x-hubspot-signature": "0fc7a67a10f2951ff99df0c86d52e294054407c179aac8fcc898cd2bbbe1f66d",
        "x-hubspot-signature-version": "v2",
    },
    "v1": {
        "x-hubspot-signature": "02f5e3088684d0a148947fdc88e19275f2624f7a8cddefef7d185ee0357f0c8b",
        "x-hubspot-signature-version": "v1",
    },
}


@pytest.mark.parametrize("version", sorted(HUBSPOT))
def test_the_published_vectors_of_hubspot_verify(version: str) -> None:
    at = datetime.fromtimestamp(1767600000, UTC)
    body = b'[{"eventId":1,"subscriptionType":"deal.propertyChange"}]'
    url = "https://leads.example.org/in/hubspot?x=1"
    arrived = Incoming("POST", url, HUBSPOT[version], body, "", at)
    hubspot = source("hubspot", secrets=("hs-client-secret-1",))
    assert PROVIDERS["hubspot"].verify(arrived, hubspot, now=at)
    # A wrong v3 is not made good by an older one beside it.
    both = dataclasses.replace(arrived, headers=HUBSPOT[version] | {"x-hubspot-signature-v3": "AAAA"})
    assert not PROVIDERS["hubspot"].verify(both, hubspot, now=at)


def test_hubspot_s_flat_and_nested_records_say_the_same() -> None:
    told = {"email": "a@example.com", "firstname": "Anna", "company": "Labs", "lastmodifieddate": "1767600000000"}
    nested = {"vid": 51, "portal-id": 1, "properties": {k: {"value": v} for k, v in told.items()}}
    flat = {"objectId": 51, "portalId": 1} | told
    first, second = (
        PROVIDERS["hubspot"].parse(incoming("hubspot", json.dumps(r).encode()), source("hubspot"))[0]
        for r in (nested, flat)
    )
    assert (first.key, dict(first.fields)) == (second.key, dict(second.fields))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"contact[email]=a%40example.com&contact[name]=Anna+P"),
        ("application/x-www-form-urlencoded", b"fields[e][value]=a%40example.com&fields[e][id]=email&name=Anna+P"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\na@example.com\r\n'
            b'--b\r\nContent-Disposition: form-data; name="Your name"\r\n\r\nAnna P\r\n--b--\r\n',
        ),
        ("application/json", b'{"data":{"E-Mail":"a@example.com","your-name":"Anna P"}}'),
        (
            "application/json",
            b'{"fields":[{"name":"email","value":"a@example.com"},{"label":"Name","value":"Anna P"}]}',
        ),
    ],
)
def test_a_generic_form_is_read_by_well_known_names(content_type: str, body: bytes) -> None:
    arrived = Incoming("POST", "", {"content-type": content_type}, body, "", NOW)
    [entry] = PROVIDERS["generic"].parse(arrived, source("generic"))
    assert (entry.fields["email"], entry.fields["full_name"]) == ("a@example.com", "Anna P")


def test_a_generic_form_is_read_by_its_declared_paths() -> None:
    mapping = {
        "email": ["nope", "who.mails.0.value"],
        "id": "n",
        "answers": {"team_size": {"path": "size", "codes": {"1-10": "small"}}},
    }
    body = json.dumps({"n": 12345678901234567890, "who": {"mails": [{"value": "a@example.com"}]}, "size": "1-10"})
    arrived = Incoming("POST", "", {"content-type": "application/json"}, body.encode(), "", NOW)
    [entry] = PROVIDERS["generic"].parse(arrived, source("generic", mapping=mapping))
    assert (entry.key, entry.fields["email"], dict(entry.answers)) == (
        "12345678901234567890", "a@example.com", {"team_size": "small"},
    )  # fmt: skip
