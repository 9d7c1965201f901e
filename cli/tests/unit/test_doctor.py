"""The doctor names what is wrong and what to do; from outside nothing but the webhooks may be seen."""

import ipaddress
import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from baton_cli import doctor
from baton_cli.doctor import LARGEST_BODY, public


def take(asked):
    return (413, {}) if len(asked.body) > LARGEST_BODY else (401, {})


@pytest.fixture
def door(stub):
    """A public listener as it should be, but for TLS."""
    stub.answers |= {"GET /v1/webhooks/doctor": {}, "POST /v1/webhooks/doctor": take}
    return stub


def wrong(findings):
    return {finding.what: finding.wrong for finding in findings if finding.wrong}


def test_only_plain_http_is_wrong_of_a_good_listener(door):
    assert wrong(public(door.url)) == {f"TLS of {door.url}": "the address is not https"}


@pytest.mark.parametrize("path", ["/metrics", "/v1/leads", "/readyz", "/openapi.json", "/v1/ops/relay", "/v1/sources"])
@pytest.mark.parametrize("status", [200, 401, 500])
def test_what_must_be_hidden_is_named(door, path, status):
    door.answers[f"GET {path}"] = (status, {})
    assert f"answered {status}" in wrong(public(door.url))[f"{path} from outside"]


def test_an_address_that_leads_elsewhere_is_named(stub):
    found = wrong(public(stub.url))
    assert found[f"reach of {stub.url}/v1/webhooks"] == "answered 404"
    assert "404" in found[f"body limit of {stub.url}"]


@pytest.mark.parametrize(
    ("largest", "larger", "said"),
    [
        (413, 413, "a body of 256 KiB is too large for it"),
        (401, 401, "a larger one with 401"),
        (401, 200, "a larger one with 200"),
        (200, 413, "a body of 256 KiB is answered with 200"),
    ],
)
def test_a_body_limit_that_is_not_batons_is_named(door, largest, larger, said):
    door.answers["POST /v1/webhooks/doctor"] = lambda asked: (larger if len(asked.body) > LARGEST_BODY else largest, {})
    assert said in wrong(public(door.url))[f"body limit of {door.url}"]


def test_nobody_at_the_address_is_said_once():
    assert wrong(public("http://127.0.0.1:9")) == {
        "TLS of http://127.0.0.1:9": "the address is not https",
        "reach of http://127.0.0.1:9": "connection refused",
    }


def test_a_certificate_that_nobody_trusts_is_named(tmp_path, serving):
    with serving(speaks(tmp_path, days=90)) as stub:
        found = wrong(public(stub.url))
    assert "self-signed" in found["TLS of 127.0.0.1"].replace("self signed", "self-signed")


def test_a_certificate_that_ends_soon_is_named(tmp_path, serving, monkeypatch):
    context = speaks(tmp_path, days=5)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with serving(context) as stub:
        found = wrong(public(stub.url))
    assert found["TLS of 127.0.0.1"].startswith("the certificate ends in ")


def well(stub):
    stub.answers |= {
        "GET /readyz": {"database": "ok", "kafka": "ok"},
        "GET /v1/ops/relay": [{"lane": "live", "waiting": 0, "oldest_at": None}],
        "GET /v1/ops/parked": {"items": []},
        "GET /v1/receipts/balance": {"balanced": True},
        "GET /v1/sources": {"items": [{"id": "site-form", "fetching": None}], "next_cursor": None},
    }


def findings(said):
    return {one["what"]: (one["wrong"], one["do"]) for one in said.json["findings"] if not one["well"]}


def test_a_ledger_that_does_not_add_up_is_named_and_notes_are_no_faults(baton, stub, monkeypatch):
    monkeypatch.setattr(doctor, "_kafka", lambda _: [])
    well(stub)
    stub.answers["GET /readyz"] = {"database": "ok", "notes": {"ledger": "agrees up to 2026-09-01T08:00:00Z"}}
    assert findings(baton("doctor", "--json")) == {}
    stub.answers["GET /v1/receipts/balance"] = {"balanced": False}
    assert "not accounted for" in findings(baton("doctor", "--json"))["lead-intake ledger"][0]


def test_only_kafka_is_wrong_when_only_kafka_is_away(baton, stub):
    well(stub)
    said = baton("doctor", "--json")
    assert said.code == 1
    assert set(findings(said)) == {"Kafka at 127.0.0.1:9"}
    assert said.json["well"] is False


def test_what_is_wrong_is_told_with_what_to_do_under_it(baton, stub):
    well(stub)
    said = baton("doctor")
    lines = said.out.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("WRONG  Kafka at 127.0.0.1:9: ")]
    assert "BATON_KAFKA__BOOTSTRAP_SERVERS" in lines[at + 1]
    assert "well   lead-intake API" in lines
    assert "1 of" in said.err


def test_what_a_service_waits_for_is_named(baton, stub, monkeypatch):
    monkeypatch.setattr(doctor, "_kafka", lambda _: [])
    well(stub)
    assert baton("doctor").code == 0
    stub.answers["GET /readyz"] = (503, {"database": "ok", "kafka": "no answer"})
    said = baton("doctor", "--json")
    assert said.code == 1
    assert findings(said)[f"attribution worker at {stub.url}"][0] == "kafka: no answer"


def test_a_token_that_a_provider_refuses_is_named_with_since_when(baton, stub, monkeypatch):
    monkeypatch.setattr(doctor, "_kafka", lambda _: [])
    well(stub)
    refused = {"state": "token_invalid", "since": "2026-03-02T09:00:00Z", "reason": "token_expired", "waiting": 3}
    sources = [{"id": "meta-leads", "fetching": refused}, {"id": "li", "fetching": {"state": "ready", "waiting": 0}}]
    stub.answers["GET /v1/sources"] = {"items": sources, "next_cursor": None}
    said = baton("doctor", "--json")
    assert said.code == 1
    [(what, (wrong, advice))] = findings(said).items()
    assert what == "lead-intake lookups at providers"
    assert wrong == "meta-leads: token_invalid since 2026-03-02T09:00:00Z (3 wait)"
    assert "baton source credential set" in advice


def test_parked_events_and_an_old_outbox_are_named(baton, stub, monkeypatch):
    monkeypatch.setattr(doctor, "_kafka", lambda _: [])
    well(stub)
    old = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    stub.answers["GET /v1/ops/relay"] = [{"lane": "live", "waiting": 3, "oldest_at": old}]
    stub.answers["GET /v1/ops/parked"] = {"items": [{"id": 1}]}
    found = findings(baton("doctor", "--json"))
    assert "1 event" in found["lead-intake parked events"][0]
    assert "baton parked list" in found["lead-intake parked events"][1]
    assert re.match(r"3 events wait, the oldest for 6\d\d s", found["lead-intake outbox (live)"][0])


def test_a_file_of_keys_that_others_can_read_is_named(baton, stub, home, monkeypatch):
    monkeypatch.setattr(doctor, "_kafka", lambda _: [])
    well(stub)
    (home / "cli.json").chmod(0o644)
    assert findings(baton("doctor", "--json"))["settings"][1] == f"chmod 600 {home / 'cli.json'}"


def test_a_service_that_is_away_is_named_with_what_to_do(baton, stub, home, monkeypatch):
    monkeypatch.setattr(doctor, "_kafka", lambda _: [])
    well(stub)
    settings = json.loads((home / "cli.json").read_text())
    settings["attribution"] = {"url": "http://127.0.0.1:9", "ops": "http://127.0.0.1:9"}
    (home / "cli.json").write_text(json.dumps(settings))
    found = findings(baton("doctor", "--json"))
    assert found["attribution api at http://127.0.0.1:9"][0] == "does not answer (connection refused)"
    assert "make up" in found["attribution API"][1]
    assert set(found) == {"attribution api at http://127.0.0.1:9", "attribution API"}


def speaks(folder: Path, *, days: int) -> ssl.SSLContext:
    """TLS with a certificate of its own for 127.0.0.1, valid for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
