"""What is special about single providers, and the published signature vectors. The rest: `test_conformance`."""

import base64
import dataclasses
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intake_samples import BODIES, PUBLIC_URL, SECRETS, signed

from lead_intake.delivery import Incoming, Source
from lead_intake.sources import PROVIDERS

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def source(provider: str, **more: object) -> Source:
    base = Source(provider, provider, secrets=("an-older-secret", SECRETS[provider]), default_region="ES")
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def incoming(provider: str, body: bytes | None = None, *, now: datetime = NOW) -> Incoming:
    body = BODIES[provider]("key-1", "anna.petrova@example.com", "+34600112233") if body is None else body
    sent = signed(provider, body, now=now, path="/x", key="key-1")
    return Incoming("POST", f"{PUBLIC_URL}/x", sent.headers, body, "", NOW)


def test_google_s_ids_stay_exact() -> None:
    [entry] = PROVIDERS["google_ads"].parse(incoming("google_ads"), source("google_ads"))
    assert (entry.fields["campaign_id"], entry.fields["gclid"]) == ("9007199254740993", "Cj0KCQiA-TEST-gclid")


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


@pytest.mark.parametrize(
    ("provider", "secret", "body", "headers"),
    [
        (
            "calendly", "cal-key-1", b'{"event":"invitee.created"}',
            {
                "calendly-webhook-signature":
                "t=1767600000,v1=f704f33853dacb2d95cc7fd72aec072f246c98b9663acb9d6bffb57be0f75747"
            },
        ),
        (
            "webflow", "wf-secret-1", b'{"triggerType":"form_submission"}',
            {
                "x-webflow-timestamp": "1767600000000",
                "x-webflow-signature": "07facb38eaa15f8da404ab7805ae5c0eccf3d8ed30f5f5bb8bcca284a26ba511",
            },
        ),
    ],
)  # fmt: skip
def test_the_published_vectors_with_a_signed_time_verify_in_time(
    provider: str, secret: str, body: bytes, headers: dict[str, str]
) -> None:
    at = datetime.fromtimestamp(1767600000, UTC)
    arrived = Incoming("POST", "", headers, body, "", at)
    signed = source(provider, secrets=(secret,))
    assert PROVIDERS[provider].verify(arrived, signed, now=at)
    assert not PROVIDERS[provider].verify(arrived, signed, now=at + timedelta(minutes=6))


def test_a_public_key_takes_what_its_private_key_signed_and_nothing_else() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(key.public_key().public_bytes_raw()).decode()
    at, body = str(int(NOW.timestamp())), b'{"type":"lead.created","data":{"id":"L1"}}'
    webhooks = PROVIDERS["standard_webhooks"]
    assert webhooks.secret_problem(public) == ""
    assert webhooks.secret_problem("whpk_c2hvcnQ=") != ""

    def taken(signer: Ed25519PrivateKey, sent: bytes, version: str = "v1a") -> bool:
        signature = base64.b64encode(signer.sign(f"msg_1.{at}.".encode() + body)).decode()
        headers = {
            "webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": f"v1,AAAA {version},{signature}",
        }  # fmt: skip
        arrived = Incoming("POST", "", headers, sent, "", NOW)
        return webhooks.verify(arrived, source("standard_webhooks", secrets=(public,)), now=NOW)

    assert taken(key, body)
    assert not taken(other, body)
    assert not taken(key, body + b" ")
    assert not taken(key, body, version="v1")
    # The public key is known to everybody: it must not serve as a shared secret.
    forged = hmac.digest(base64.b64decode(public[5:]), f"msg_1.{at}.".encode() + body, "sha256")
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(forged).decode(),
    }
    arrived = Incoming("POST", "", headers, body, "", NOW)
    assert not webhooks.verify(arrived, source("standard_webhooks", secrets=(public,)), now=NOW)


def test_vk_is_taken_only_from_the_group_of_the_source() -> None:
    vk = PROVIDERS["vk_lead_forms"]
    own, other = (
        source("vk_lead_forms", settings={"group_id": group, "confirmation": "a1b2c3d4"}) for group in ("201", "202")
    )
    lead = Incoming("POST", "", {}, b'{"type":"lead_forms_new","group_id":201,"secret":"our-vk-secret"}', "", NOW)
    asked = dataclasses.replace(lead, body=b'{"type":"confirmation","group_id":201}')
    assert vk.verify(lead, own, now=NOW)
    assert not vk.verify(lead, other, now=NOW)
    assert vk.handshake(asked, own) is not None
    assert vk.handshake(asked, other) is None
    assert vk.handshake(dataclasses.replace(asked, method="GET"), own) is None


def test_hubspot_s_workflow_may_show_an_api_key_instead_of_a_signature() -> None:
    hubspot = source("hubspot", secrets=("hs-client-secret-1",))
    for headers, taken in (
        ({"x-api-key": "hs-client-secret-1"}, True),
        ({"x-api-key": "another"}, False),
        ({"x-api-key": "hs-client-secret-1", "x-hubspot-signature": "00"}, False),
        ({"x-api-key": "hs-client-secret-1", "x-hubspot-signature-v3": "00"}, False),
    ):
        arrived = Incoming("POST", "", headers, b"{}", "", NOW)
        assert PROVIDERS["hubspot"].verify(arrived, hubspot, now=NOW) is taken, headers


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
