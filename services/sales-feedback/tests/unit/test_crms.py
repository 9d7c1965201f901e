"""The wire formats of the CRMs, and what a CRM says in whatever order."""

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sales_words import LEAD_HASH, changed, pipedrive_deal

from baton_kit.testing import START
from sales_feedback.crms import hubspot, pipedrive
from sales_feedback.crms.delivery import Delivery
from sales_feedback.crms.mapping import Mapping
from sales_feedback.crms.seen import Entry, Field, Mark, Observation, merge, read
from sales_feedback.deals.deal import DealState
from sales_feedback.times import Unreadable

# The published vector (HubSpot's own library computes the same).
VECTOR: dict[str, Any] = {
    "secret": "hs-client-secret-1",
    "uri": "https://leads.example.org/in/hubspot?x=1",
    "body": b'[{"eventId":1,"subscriptionType":"deal.propertyChange"}]',
    "timestamp": "1767600000000",
    "v3": "N6K3yy2UlOJXzux5xJfnWIb7YDJRAzrGNaXY+A82/wQ=",
}
SIGNED_AT = datetime.fromtimestamp(1767600000, tz=UTC)
MAPPING = Mapping.model_validate(
    {
        "currency": "EUR",
        "pipelines": {"default": {"closedwon": "won", "closedlost": "lost"}, "77": {"901": "won"}},
        "lost_reasons": {"Too expensive": "price"},
    }
)
PIPEDRIVE = Mapping(lead_id_property=LEAD_HASH)


def delivery(**changes: Any) -> Delivery:
    headers = {
        "x-hubspot-signature-v3": VECTOR["v3"],
        "x-hubspot-request-timestamp": VECTOR["timestamp"],
    } | changes.pop("headers", {})
    return Delivery(**{"method": "POST", "uri": VECTOR["uri"], "headers": headers, "body": VECTOR["body"]} | changes)


def verified(given_: Delivery, *secrets: str, now: datetime = SIGNED_AT) -> bool:
    return hubspot.verify(given_, secrets or (VECTOR["secret"],), now=now)


def test_the_published_vector_of_hubspot_verifies() -> None:
    assert verified(delivery())
    assert verified(delivery(), "the new one", VECTOR["secret"])


@pytest.mark.parametrize(
    "changes",
    [
        {"body": VECTOR["body"] + b" "},
        {"uri": "https://leads.example.org/in/hubspot?x=2"},
        {"uri": "http://leads.example.org/in/hubspot?x=1"},
        {"method": "PUT"},
        {"headers": {"x-hubspot-request-timestamp": "1767600000001"}},
        {"headers": {"x-hubspot-request-timestamp": ""}},
        {"headers": {"x-hubspot-request-timestamp": "٣"}},
        {"headers": {"x-hubspot-request-timestamp": "9" * 400}},
        {"headers": {"x-hubspot-signature-v3": "ключ"}},
        {"headers": {"x-hubspot-signature-v3": "\udc80"}},
        {"headers": {"x-hubspot-signature-v3": ""}},
    ],
)
def test_whatever_is_changed_hubspots_signature_breaks(changes: dict[str, Any]) -> None:
    assert not verified(delivery(**changes))
    assert not verified(delivery(), "another secret")


def test_a_signature_is_good_for_five_minutes_both_ways() -> None:
    for seconds in (-300, 300):
        assert verified(delivery(), now=SIGNED_AT + timedelta(seconds=seconds))
    for seconds in (-301, 301):
        assert not verified(delivery(), now=SIGNED_AT + timedelta(seconds=seconds))


def test_escapes_that_hubspot_decodes_before_signing_are_decoded() -> None:
    assert verified(delivery(uri="https://leads.example.org/in%2Fhubspot%3fx=1"))


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("Basic " + base64.b64encode(b"baton:open sesame").decode(), True),
        ("basic " + base64.b64encode(b"baton:open sesame").decode(), True),
        ("Basic " + base64.b64encode(b"baton:wrong").decode(), False),
        ("Bearer " + base64.b64encode(b"baton:open sesame").decode(), False),
        ("Basic not base64!", False),
        ("Basic \udc80", False),
        ("", False),
    ],
)
def test_pipedrive_proves_itself_by_basic(header: str, *, good: bool) -> None:
    asked = Delivery("POST", "", {"authorization": header}, b"")
    assert pipedrive.verify(asked, ("old:one", "baton:open sesame"), now=START) is good


def hubspot_entries(*events: Any) -> list[Entry]:
    return hubspot.entries(json.dumps(list(events)).encode(), MAPPING, received_at=START)


def test_a_property_change_of_hubspot_is_an_observation() -> None:
    [entry] = hubspot_entries(changed("dealstage", "closedwon"))
    assert entry.observation is not None
    assert entry.observation.deal_id == "332507367156"
    assert entry.observation.values == {Field.STAGE: "closedwon"}


def test_other_events_of_hubspot_say_nothing_about_deals() -> None:
    other = changed("email", "anna@example.com") | {"subscriptionType": "contact.propertyChange"}
    unknown = changed("hs_note", "text")
    lead = changed("dealstage", "x") | {"subscriptionType": "object.propertyChange", "objectTypeId": "0-136"}
    assert [(e.observation, e.problem) for e in hubspot_entries(other, unknown, lead)] == [(None, None)] * 3


def test_the_generic_form_of_a_deal_event_reads_the_same() -> None:
    generic = changed("amount", "10") | {"subscriptionType": "object.propertyChange", "objectTypeId": "0-3"}
    [entry] = hubspot_entries(generic)
    assert entry.observation is not None
    assert entry.observation.values == {Field.AMOUNT: "10"}


def test_a_repeat_has_the_same_key_and_another_change_has_not() -> None:
    first = changed("amount", "10", event_id=1)
    again = first | {"attemptNumber": 3}
    other = changed("amount", "11", at=1, event_id=1)
    keys = [e.key for e in hubspot_entries(first, again, other)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "broken",
    [
        "text",
        None,
        {},
        changed("amount", "10") | {"occurredAt": True},
        changed("amount", "10") | {"occurredAt": 10**40},
        changed("amount", "10") | {"occurredAt": 1e300},
        changed("amount", "10") | {"objectId": None},
        changed("amount", "10") | {"objectId": 1.5},
        changed("amount", "1\x00"),
        changed("amount", "\ud800"),
        changed("amount", "9" * 501),
        changed("amount", "10") | {"propertyValue": {"a": 1}},
        changed("amount", "10") | {"propertyValue": [[]]},
    ],
)
def test_an_unreadable_event_of_hubspot_leaves_the_others_alone(broken: Any) -> None:
    bad, good = hubspot_entries(broken, changed("amount", "10"))
    assert bad.problem is not None
    assert good.observation is not None


HOSTILE = [
    b"",
    b"not json",
    b"\xff\xfe",
    b"[" * 200_000,
    b'{"a":' * 50_000,
    b"[NaN]",
    b"[Infinity]",
    b"null",
    b"7",
    b'"x"',
    b"[" + b"9" * 5000 + b"]",
    b'{"meta": []}',
    b'{"meta": {"version": "2.0", "id": {}}}',
    b'{"meta": {"version": "2.0"}}',
    b'{"meta": {"version": "1.0", "id": "1"}}',
    b'{"current": {"status": "won"}, "event": "updated.deal"}',
]


@pytest.mark.parametrize("body", HOSTILE)
@pytest.mark.parametrize("dialect", [hubspot, pipedrive])
def test_a_hostile_body_is_unreadable_with_a_reason(dialect: Any, body: bytes) -> None:
    assert all(problems_of(dialect, body, MAPPING))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_unreadable(body: bytes) -> None:
    for dialect in (hubspot, pipedrive):
        problems_of(dialect, body, MAPPING)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(changed("amount", "1"))), json_values)
def test_no_value_in_a_hubspot_event_raises(name: str, value: Any) -> None:
    hubspot_entries(changed("amount", "1") | {name: value})


@given(st.sampled_from(["meta", "data"]), st.data(), json_values)
def test_no_value_in_a_pipedrive_event_raises(part: str, data: st.DataObject, value: Any) -> None:
    document = pipedrive_deal("won", lead_id="lead-1")
    document[part][data.draw(st.sampled_from(sorted(document[part])))] = value
    problems_of(pipedrive, json.dumps(document).encode(), PIPEDRIVE)


def problems_of(dialect: Any, body: bytes, mapping: Mapping) -> list[str | None]:
    """The problem of each entry, or the one of the whole body."""
    try:
        return [entry.problem for entry in dialect.entries(body, mapping, received_at=START)]
    except Unreadable as error:
        return [str(error)]


def test_a_pipedrive_deal_is_read_with_its_money_exact() -> None:
    body = json.dumps(pipedrive_deal("won", lead_id="lead-1")).replace("4800", "4800.10").encode()
    [entry] = pipedrive.entries(body, PIPEDRIVE, received_at=START)
    assert entry.observation is not None
    reading = read(merge({}, [entry.observation]), PIPEDRIVE)
    assert reading.target is not None
    assert (reading.target.state, reading.target.amount_minor, reading.target.currency) == (
        DealState.WON,
        480010,
        "EUR",
    )
    assert reading.lead_id == "lead-1"


def seen(**values: str) -> dict[Field, Mark]:
    at = START - timedelta(hours=1)
    return {Field(name): Mark(at, "1", value) for name, value in values.items()}


def test_a_stage_means_what_its_pipeline_says() -> None:
    def state(**values: str) -> DealState:
        target = read(seen(**values), MAPPING).target
        assert target is not None
        return target.state

    assert state(stage="closedwon") is DealState.WON
    assert state(stage="901") is DealState.WON
    assert state(stage="901", pipeline="default") is DealState.OPEN
    assert state(stage="appointmentscheduled", pipeline="default") is DealState.OPEN
    assert state(stage="closedlost") is DealState.LOST


def test_a_lost_reason_is_a_code_never_the_crms_text() -> None:
    for text, code in {"Too expensive": "price", "Anna did not like us": "other", "": None}.items():
        target = read(seen(stage="closedlost", reason=text), MAPPING).target
        assert target is not None
        assert target.reason == code


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"amount": "1.005"}, "the amount has more decimals than EUR has"),
        ({"amount": "abc"}, "the amount is not a decimal number"),
        ({"amount": "1", "currency": "ZZZ"}, "the currency is not an ISO 4217 code"),
        ({"closed_at": "soon"}, "a time cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_a_problem(values: dict[str, str], problem: str) -> None:
    assert read(seen(stage="closedwon", **values), MAPPING).problem == problem


def test_an_expected_close_date_is_not_the_close() -> None:
    reading = read(seen(stage="closedwon", closed_at="2027-01-01T00:00:00Z"), MAPPING)
    assert reading.target is not None
    assert reading.target.closed_at == START - timedelta(hours=1)


observations = st.lists(
    st.builds(
        lambda field, value, second, tie: Observation("d", START + timedelta(seconds=second), tie, {field: value}),
        st.sampled_from([Field.STAGE, Field.AMOUNT, Field.LEAD_ID]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 3),
        st.sampled_from(["1", "2"]),
    ),
    max_size=10,
)


@given(observations, st.randoms(use_true_random=False))
def test_every_order_and_repetition_ends_in_the_same_state(told: list[Observation], order: random.Random) -> None:
    other = [*told, *told[:3]]
    order.shuffle(other)
    one_by_one: dict[Field, Mark] = {}
    for observation in other:
        one_by_one = merge(one_by_one, [observation])
    assert one_by_one == merge({}, told)
