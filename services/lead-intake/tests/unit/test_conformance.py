"""The one suite that every provider passes; what is special about one of them stands in `test_sources`."""

import base64
import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_providers import EMAIL, PHONE, PUBLIC_URL, SAMPLES, Sample
from intake_providers.delivered import NOW, incoming, source
from intake_providers.sample import JSON

from lead_intake.delivery import Incoming, Inquiry, Outcome, Result
from lead_intake.sources import PROVIDERS

EACH = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
WHOLE = pytest.mark.parametrize(
    "sample",
    [sample for sample in SAMPLES.values() if not sample.names_only],
    ids=[name for name, sample in SAMPLES.items() if not sample.names_only],
)
EXAMPLES = [
    pytest.param(sample, file, expected, id=f"{name}-{file.stem}")
    for name, sample in SAMPLES.items()
    for file, expected in sample.examples()
]
BIG = 2**63 + 1


def only(holds: Any) -> Any:
    """Parametrise with the samples for which `holds`."""
    found = {name: sample for name, sample in SAMPLES.items() if holds(sample)}
    return pytest.mark.parametrize("sample", found.values(), ids=found.keys())


def read(sample: Sample, body: bytes, **more: object) -> list[Inquiry]:
    return PROVIDERS[sample.provider].parse(incoming(sample, body), source(sample, **more))


def said(inquiry: Inquiry) -> dict[str, Any]:
    """An inquiry as the expectation files write it: what is empty is left out."""
    whole = {
        "key": inquiry.key,
        "fields": dict(inquiry.fields),
        "answers": dict(inquiry.answers),
        "occurred_at": inquiry.occurred_at.isoformat() if inquiry.occurred_at else "",
        "test": inquiry.test,
        "refused": inquiry.refused,
        "quarantined": inquiry.quarantined,
        "looked_up": dataclasses.asdict(inquiry.lookup) if inquiry.lookup else {},
        "forgets": inquiry.forgets,
        "visit": {n: v for n, v in dataclasses.asdict(inquiry.visit).items() if v} if inquiry.visit else {},
    }
    return {name: value for name, value in whole.items() if value}


def test_every_provider_has_its_examples() -> None:
    assert SAMPLES.keys() == PROVIDERS.keys()
    for name, sample in SAMPLES.items():
        assert (sample.folder / sample.lead) in [file for file, _ in sample.examples()], name


# What is said


@pytest.mark.parametrize(("sample", "file", "expected"), EXAMPLES)
def test_an_example_is_read_as_its_expectation_says(sample: Sample, file: Path, expected: Any) -> None:
    assert [said(inquiry) for inquiry in read(sample, file.read_bytes())] == expected


@WHOLE
def test_the_entry_keeps_the_provider_s_key_and_the_person(sample: Sample) -> None:
    [entry] = read(sample, sample.body("key-1", EMAIL, PHONE))
    assert sample.keyless or "key-1" in entry.key
    assert (entry.fields["email"], entry.fields["phone"]) == (EMAIL, PHONE)
    assert not entry.test


@EACH
def test_fields_that_nobody_knows_change_nothing(sample: Sample) -> None:
    known = sample.fill("key-1", EMAIL, PHONE)
    unknown = _with_unknown(known, nested=sample.codec is JSON)
    assert unknown != known
    [expected], [found] = read(sample, sample.codec.dump(known)), read(sample, sample.codec.dump(unknown))
    assert said(found) == said(expected)


@only(lambda s: not s.key_is_header and not s.keyless)
def test_ids_beyond_two_to_the_53rd_stay_exact(sample: Sample) -> None:
    body = sample.body("key-1", "a@example.com").replace(b'"key-1"', str(BIG).encode())
    body = body.replace(b"key-1", str(BIG).encode())
    [entry] = read(sample, body)
    assert str(BIG) in entry.key


@only(lambda s: s.as_test)
def test_a_test_lead_is_known_as_one(sample: Sample) -> None:
    assert sample.as_test is not None
    body = sample.codec.dump(sample.as_test(sample.fill("key-1", EMAIL)))
    assert [inquiry.test for inquiry in read(sample, body)] == [True]


@only(lambda s: s.batch)
def test_one_bad_entry_of_a_batch_does_not_hold_up_the_others(sample: Sample) -> None:
    assert sample.batch is not None
    good = [sample.fill(f"key-{n}", f"p{n}@example.com") for n in range(2)]
    for bad in ("no object", None, 7, []):
        entries = read(sample, sample.codec.dump(sample.batch([good[0], bad, good[1]])))
        assert [bool(e.quarantined) for e in entries] == [False, True, False]
        assert [e.fields.get("email") for e in entries] == ["p0@example.com", None, "p1@example.com"]


@only(lambda s: s.names_only)
def test_a_delivery_that_only_names_a_lead_says_what_to_ask_for(sample: Sample) -> None:
    [entry] = read(sample, sample.body("key-1", EMAIL, PHONE))
    assert entry.lookup is not None
    assert (entry.lookup.id, "key-1" in entry.key) == ("key-1", True)
    assert entry.fields == {}


# Who sends it


@only(lambda s: s.secret)
def test_the_provider_s_own_signature_is_taken_with_any_active_secret(sample: Sample) -> None:
    assert PROVIDERS[sample.provider].verify(incoming(sample), source(sample), now=NOW)


@only(lambda s: s.secret)
def test_another_secret_is_refused(sample: Sample) -> None:
    other = source(sample, secrets=("whsec_" + base64.b64encode(b"z" * 32).decode(), "another-secret"))
    assert not PROVIDERS[sample.provider].verify(incoming(sample), other, now=NOW)


@only(lambda s: s.secret and s.proof == "body")
def test_a_changed_byte_is_refused(sample: Sample) -> None:
    good = incoming(sample)
    before, after = (b"key-1", b"key-2") if sample.names_only else (b"anna", b"anne")
    changed = dataclasses.replace(good, body=good.body.replace(before, after))
    assert changed.body != good.body
    assert not PROVIDERS[sample.provider].verify(changed, source(sample), now=NOW)


@EACH
def test_a_delivery_without_proof_is_refused(sample: Sample) -> None:
    bare = dataclasses.replace(incoming(sample, b"{}"), headers={"content-type": sample.codec.content_type})
    assert not PROVIDERS[sample.provider].verify(bare, source(sample), now=NOW)
    assert not PROVIDERS[sample.provider].verify(bare, source(sample, secrets=()), now=NOW)


@only(lambda s: s.secret and s.proof != "secret in the body")
@settings(max_examples=50, deadline=None)
@given(value=st.text(alphabet=st.characters(max_codepoint=255), max_size=200))
def test_whatever_stands_in_the_headers_is_at_most_a_bad_signature(sample: Sample, value: str) -> None:
    good = incoming(sample)
    for name in good.headers:
        if name != "content-type" and value.strip() != good.headers[name]:
            strange = dataclasses.replace(good, headers=good.headers | {name: value})
            if not name.endswith("-id"):
                assert not PROVIDERS[sample.provider].verify(strange, source(sample), now=NOW)


@only(lambda s: s.window)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_replay_outside_the_window_is_refused(sample: Sample, sign: int) -> None:
    assert sample.window is not None
    for offset, taken in ((sample.window - timedelta(seconds=5), True), (sample.window + timedelta(seconds=5), False)):
        signed = incoming(sample, now=NOW + sign * offset)
        assert PROVIDERS[sample.provider].verify(signed, source(sample), now=NOW) is taken, offset


@only(lambda s: s.proof == "secret in the body")
def test_a_secret_in_the_body_is_cut_out_of_what_is_kept(sample: Sample) -> None:
    escaped = incoming(sample).body.replace(b'_key"', b'\\u005fkey"').replace(b'"secret"', b'"\\u0073ecret"')
    for body in (incoming(sample).body, escaped):
        kept = PROVIDERS[sample.provider].kept(incoming(sample, body))
        assert sample.secret.encode() not in kept
        assert EMAIL in kept.decode()


# What is answered


@EACH
def test_the_answer_is_the_success_that_the_provider_demands_and_never_404(sample: Sample) -> None:
    for outcome in Outcome:
        reply = PROVIDERS[sample.provider].reply(Result("r", (outcome,), reason="no_identity"))
        assert reply.status in sample.statuses
        if sample.reply is not None:
            assert (reply.status, reply.body) == sample.reply
        else:
            json.loads(reply.body)
        assert EMAIL.encode() not in reply.body


@only(lambda s: s.handshake)
def test_the_question_before_the_first_delivery_is_answered_to_the_letter(sample: Sample) -> None:
    asked = sample.handshake
    assert asked is not None
    url = f"{PUBLIC_URL}/x?{asked.query}" if asked.query else f"{PUBLIC_URL}/x"
    question = Incoming(asked.method, url, {"content-type": "application/json"}, asked.body, "", NOW)
    reply = PROVIDERS[sample.provider].handshake(question, source(sample))
    assert reply is not None
    assert (reply.status, reply.body, reply.content_type) == (asked.status, asked.answer, asked.content_type)
    other = source(sample, settings={}, secrets=("another-secret",), credentials={})
    refused = PROVIDERS[sample.provider].handshake(question, other)
    assert refused is None or refused.body != asked.answer


@EACH
def test_a_delivery_is_never_taken_for_a_question(sample: Sample) -> None:
    assert PROVIDERS[sample.provider].handshake(incoming(sample), source(sample)) is None


def _with_unknown(node: Any, *, nested: bool, depth: int = 0) -> Any:
    if not nested and depth == 2:
        return node  # in a form further down are the parts of one answer
    if isinstance(node, dict):
        inner = {name: _with_unknown(value, nested=nested, depth=depth + 1) for name, value in node.items()}
        return inner | {"x_unheard_of": {"deep": ["er"]} if nested else "of"}
    if isinstance(node, list):
        return [_with_unknown(value, nested=nested, depth=depth + 1) for value in node]
    return node
