"""No body, however strange, is more than unreadable."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_providers import EMAIL, PHONE, SAMPLES, Sample
from intake_providers.delivered import NOW, incoming, source

from lead_intake.delivery import Unparsable
from lead_intake.entry import delivery_of
from lead_intake.sources import PROVIDERS

EACH = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def survived(sample: Sample, body: bytes) -> None:
    arrived = incoming(sample, body)
    PROVIDERS[sample.provider].verify(arrived, source(sample), now=NOW)
    PROVIDERS[sample.provider].handshake(arrived, source(sample))
    kept = PROVIDERS[sample.provider].kept(arrived)
    try:
        inquiries = PROVIDERS[sample.provider].parse(arrived, source(sample))
    except Unparsable:
        return
    assert inquiries
    delivery = delivery_of(arrived, source(sample), inquiries, body=kept)
    for entry in delivery.entries:
        entry.key.encode()  # what reaches the database is Unicode without NUL
        assert "\x00" not in entry.key


@EACH
@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=300) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_read_or_said_to_be_unreadable(sample: Sample, body: bytes) -> None:
    survived(sample, body)


@EACH
@settings(max_examples=100, deadline=None)
@given(path=st.lists(st.integers(0, 50), max_size=4), value=VALUES)
def test_any_value_at_any_place_of_a_real_body_is_survived(sample: Sample, path: list[int], value: object) -> None:
    body = sample.fill("key-1", "a@example.com", PHONE)
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
    survived(sample, sample.codec.dump(body))


@EACH
@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 2_000), length=st.integers(0, 400), with_=st.binary(max_size=20))
def test_a_damaged_body_is_survived(sample: Sample, start: int, length: int, with_: bytes) -> None:
    body = sample.body("key-1", EMAIL, PHONE)
    survived(sample, body[:start] + with_ + body[start + length :])
