"""What every .proto file and topics.yaml must keep, whoever changes them."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor

from baton.catalogue import EVENTS, TOPIC_OF, TOPICS
from baton.lead.v1 import accounts_pb2, channels_pb2, contact_pb2, history_pb2, lead_pb2
from baton.qualification.v1 import qualification_pb2
from baton.sales.v1 import sales_pb2

REPOSITORY = Path(__file__).parents[2]
MODULES = [lead_pb2, accounts_pb2, channels_pb2, contact_pb2, history_pb2, qualification_pb2, sales_pb2]

FACTS = sorted(event for event in EVENTS if not TOPICS[TOPIC_OF[event]].restricted)
"""Events on the topics that keep their events for ever and name no person."""

PERSONAL = re.compile(
    r"(^|_)(emails?|phones?|name|first|last|address|street|zip|postcode|birth|click|gclid|fbclid|cookie|ip|agent"
    r"|message|text|comment|note|title|contact)(_|$)"
)
TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
HARMLESS = {
    "baton.lead.v1.TouchRecorded.click_kinds": "which kinds of click ids there were; the ids stay with the contact",
    "baton.lead.v1.LeadFeatures.email_kind": "a code of a closed list",
    "baton.sales.v1.SalesFeedback.note_id": "a reference; the note itself stays in sales-feedback",
}
WHOLE_UNITS = {"baton.lead.v1.LeadFeatures.budget": "a bucket the criteria compare with, no money that moves"}


def messages() -> Iterator[Any]:
    for module in MODULES:
        yield from module.DESCRIPTOR.message_types_by_name.values()


def fields_within(message: Any, seen: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Every field of a message and of the messages it holds."""
    for field in message.fields:
        yield field
        inner = field.message_type
        if inner is not None and inner.full_name not in seen and inner.file.package.startswith("baton."):
            yield from fields_within(inner, seen | {message.full_name})


@cache
def compiled() -> descriptor_pb2.FileDescriptorSet:
    """The .proto files as they are now, compiled without the generator and without a network."""
    command = [str(REPOSITORY / ".venv/bin/buf"), "build", "proto", "--as-file-descriptor-set"]
    built = subprocess.run(
        [*command, "--exclude-source-info", "-o", "-"], cwd=REPOSITORY, check=True, capture_output=True
    )
    return descriptor_pb2.FileDescriptorSet.FromString(built.stdout)


def test_the_generated_code_is_that_of_the_proto_files() -> None:
    generated = {}
    for module in MODULES:
        generated[module.DESCRIPTOR.name] = descriptor_pb2.FileDescriptorProto.FromString(
            module.DESCRIPTOR.serialized_pb
        )
    current = {file.name: file for file in compiled().file if file.name.startswith("baton/")}
    for file in current.values():
        for message in file.message_type:
            clear_json_names(message)
    assert generated == current


def clear_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    # buf writes the derived JSON names out, protoc leaves them to the reader.
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        clear_json_names(nested)


def test_the_catalogue_is_that_of_topics_yaml() -> None:
    topics: dict[str, Any] = yaml.safe_load((REPOSITORY / "proto" / "topics.yaml").read_text("utf-8"))["topics"]
    assert list(TOPICS) == list(topics)
    for name, topic in topics.items():
        ours = TOPICS[name]
        assert (ours.name, ours.owner, ours.partitions, ours.config) == (
            name,
            topic["owner"],
            topic["partitions"],
            topic["config"],
        )
        assert ours.restricted is topic.get("restricted", False)
        assert [event.DESCRIPTOR.full_name for event in ours.events] == topic["events"]


def test_every_event_travels_on_one_topic_and_every_topic_is_named_after_its_major_version() -> None:
    routed = [event.DESCRIPTOR.full_name for topic in TOPICS.values() for event in topic.events]
    assert sorted(routed) == sorted(set(routed)) == sorted(EVENTS) == sorted(TOPIC_OF)
    for topic in TOPICS:
        assert topic.startswith("baton.")
        assert topic.endswith(".v1")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_keeps_its_facts_for_ever_and_only_contact_data_is_compacted(topic: str) -> None:
    config = TOPICS[topic].config
    if TOPICS[topic].restricted:
        assert config["cleanup.policy"] == "compact"
        assert int(config["max.compaction.lag.ms"]) <= 86_400_000
    else:
        assert (config["cleanup.policy"], config["retention.ms"]) == ("delete", "-1")


@pytest.mark.parametrize("event", FACTS)
def test_a_fact_has_no_field_for_a_person(event: str) -> None:
    for field in fields_within(EVENTS[event].DESCRIPTOR):
        # A flag tells no e-mail ("has_email"), a number no name; text may.
        if field.type in TEXT and field.full_name not in HARMLESS:
            assert not PERSONAL.search(field.name), field.full_name


def test_the_check_for_persons_finds_them_in_contact_data() -> None:
    fields = fields_within(contact_pb2.ContactChanged.DESCRIPTOR)
    found = {field.name for field in fields if PERSONAL.search(field.name)}
    assert {"full_name", "emails", "phones", "job_title", "click_ids", "message"} <= found


@pytest.mark.parametrize("event", FACTS)
def test_a_fact_holds_no_contact_message(event: str) -> None:
    held = {field.message_type.full_name for field in fields_within(EVENTS[event].DESCRIPTOR) if field.message_type}
    assert not held & {message.full_name for message in contact_pb2.DESCRIPTOR.message_types_by_name.values()}


def test_enums_start_with_unspecified() -> None:
    enums = [enum for module in MODULES for enum in module.DESCRIPTOR.enum_types_by_name.values()]
    assert enums
    for enum in enums:
        assert enum.values[0].number == 0
        assert enum.values[0].name.endswith("_UNSPECIFIED")


def test_ids_are_strings() -> None:
    for message in messages():
        for field in message.fields:
            if field.name == "id" or field.name.endswith("_id"):
                assert field.type == FieldDescriptor.TYPE_STRING, field.full_name


def test_money_is_an_integer_in_minor_units_with_its_currency_beside() -> None:
    found = 0
    for message in messages():
        for field in message.fields:
            if field.full_name in WHOLE_UNITS or field.message_type is not None:
                continue
            if field.name.endswith("_minor"):
                found += 1
                assert field.type == FieldDescriptor.TYPE_INT64, field.full_name
                assert any(name.endswith("currency") for name in message.fields_by_name), field.full_name
            else:
                assert not {"amount", "price", "cost", "budget", "revenue", "spend"} & set(field.name.split("_")) or (
                    field.name.endswith("currency")
                ), field.full_name
    assert found


def test_no_number_is_a_float() -> None:
    for message in messages():
        for field in message.fields:
            assert field.type not in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE), field.full_name


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_the_version_of_its_aggregate_and_the_time_it_is_about(event: str) -> None:
    fields: Any = EVENTS[event].DESCRIPTOR.fields_by_name
    assert fields["sequence"].type == FieldDescriptor.TYPE_INT64
    time = fields.get("occurred_at") or fields["evaluated_at"]
    assert time.message_type.full_name == "google.protobuf.Timestamp"
