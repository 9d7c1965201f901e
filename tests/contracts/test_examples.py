"""The examples are the shared tests of all services: they must be complete, exact and free of persons."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from baton.catalogue import EVENTS, TOPIC_OF, TOPICS
from baton.qualification.v1.qualification_pb2 import AgreementActivated, LeadQualified, LeadScored

EXAMPLES = Path(__file__).parents[2] / "proto" / "examples"
FILES = sorted(EXAMPLES.glob("*/*.json"))
UNKNOWN_FIELD = b"\xfa\x7f\x08tomorrow"  # as proto/golden.py appends it

M = TypeVar("M", bound=Message)

each_example = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")


def parsed(file: Path) -> Message:
    return json_format.Parse(file.read_text("utf-8"), EVENTS[file.parent.name]())


def of(message: type[M]) -> list[M]:
    return [cast(M, parsed(file)) for file in FILES if file.parent.name == message.DESCRIPTOR.full_name]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_the_four_named_examples(event: str) -> None:
    names = {file.stem for file in (EXAMPLES / event).glob("*.json")}
    assert {"typical", "minimal", "maximal", "future"} <= names


def test_every_folder_is_an_event_and_every_example_has_its_bytes() -> None:
    assert {file.parent.name for file in FILES} == set(EVENTS)
    assert {file.with_suffix(".bin") for file in FILES} == set(EXAMPLES.glob("*/*.bin"))


@each_example
def test_an_example_survives_json_and_back(file: Path) -> None:
    message = parsed(file)
    text = json_format.MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False)
    assert json.loads(text) == json.loads(file.read_text("utf-8"))
    assert json_format.Parse(text, type(message)()) == message


@each_example
def test_the_golden_bytes_are_what_a_producer_writes(file: Path) -> None:
    golden = file.with_suffix(".bin").read_bytes()
    message = parsed(file)
    expected = message.SerializeToString(deterministic=True)
    assert golden == expected + (UNKNOWN_FIELD if file.stem == "future" else b"")


@each_example
def test_the_golden_bytes_are_read_to_the_same_message_and_passed_on_unchanged(file: Path) -> None:
    golden = file.with_suffix(".bin").read_bytes()
    message = type(parsed(file)).FromString(golden)
    assert message.SerializeToString(deterministic=True) == golden
    if file.stem == "future":
        assert json_format.MessageToDict(message) == json_format.MessageToDict(parsed(file))
    else:
        assert message == parsed(file)


@pytest.mark.parametrize("event", EVENTS)
def test_the_maximal_example_sets_every_field(event: str) -> None:
    message = parsed(EXAMPLES / event / "maximal.json")
    unset = {field.name for field in message.DESCRIPTOR.fields} - {field.name for field, _ in message.ListFields()}
    assert unset == set()


@pytest.mark.parametrize("event", [event for event in EVENTS if not TOPICS[TOPIC_OF[event]].restricted])
def test_no_example_of_a_fact_holds_a_mail_address_or_a_phone_number(event: str) -> None:
    for file in (EXAMPLES / event).glob("*.json"):
        for pointer, text in texts(json_format.MessageToDict(parsed(file))):
            assert not re.search(r"@|\+\d{7,}", text), f"{file.name}{pointer}"


@each_example
def test_ids_are_uuid7(file: Path) -> None:
    message: Any = parsed(file)
    for name in (
        "lead_id",
        "touch_id",
        "receipt_id",
        "person_id",
        "decision_id",
        "handoff_id",
        "feedback_id",
        "deal_id",
    ):
        value = getattr(message, name, "")
        assert not value or re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value)


def test_contributions_sum_to_the_score() -> None:
    scored: list[LeadScored | LeadQualified] = [*of(LeadScored), *of(LeadQualified)]
    for message in scored:
        if message.contributions or isinstance(message, LeadScored):
            assert sum(c.points for c in message.contributions) == message.score


def test_an_activated_agreement_has_the_digest_of_its_document_and_two_signers() -> None:
    for message in of(AgreementActivated):
        assert message.digest == hashlib.sha256(message.document).hexdigest()
        assert len({s.person_id for s in message.signatures}) == len({s.department for s in message.signatures}) == 2


def texts(value: object, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a JSON value with its JSON pointer."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, f"{pointer}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, f"{pointer}/{index}")
    elif isinstance(value, str):
        yield pointer, value
