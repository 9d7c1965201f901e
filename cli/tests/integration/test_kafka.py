"""Topics and events on a real Kafka."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from google.protobuf import json_format

from baton.catalogue import EVENTS, TOPIC_OF
from baton_kit.envelope import encode_headers

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"
LEAD = "01a05c06-7d5e-7cd1-8155-66af75f0734c"


def example(event: str) -> Any:
    return json_format.Parse((EXAMPLES / event / "typical.json").read_text("utf-8"), EVENTS[event]())


def produce(bootstrap: str, prefix: str, events: list[tuple[str, bytes | None, str]]) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            for type_name, value, key in events:
                headers = encode_headers(
                    id=str(uuid.uuid4()), type=type_name, source="/baton/test", key=key,
                    occurred_at=datetime.now(UTC), traceparent=None, replay=False,
                )  # fmt: skip
                topic = prefix + TOPIC_OF.get(type_name, "baton.sales.v1")
                await producer.send_and_wait(topic, value, key.encode(), headers=headers)

    asyncio.run(send())


def test_topics_are_planned_created_once_and_then_as_the_catalogue_says(baton: Any, prefix: str) -> None:
    planned = baton("topics", "apply", "--dry-run", "--json").json["actions"]
    assert {action["kind"] for action in planned} == {"create"}
    assert {action["topic"] for action in planned} == {prefix + topic for topic in set(TOPIC_OF.values())}
    assert len(baton("topics", "apply", "--dry-run", "--json").json["actions"]) == len(planned)
    assert baton("topics", "apply", "--yes", "--json").code == 0
    assert baton("topics", "apply", "--dry-run", "--json").json["actions"] == []


def test_events_are_shown_decoded_and_contact_data_only_on_demand(baton: Any, prefix: str, kafka_server: Any) -> None:
    assert baton("topics", "apply", "--yes", "--json").code == 0
    qualified, contact = "baton.qualification.v1.LeadQualified", "baton.lead.v1.ContactChanged"
    produce(
        kafka_server.bootstrap_servers,
        prefix,
        [
            (qualified, example(qualified).SerializeToString(), LEAD),
            ("baton.sales.v1.DealClosed", example("baton.sales.v1.DealClosed").SerializeToString(), "another-lead"),
            ("baton.sales.v1.OfTomorrow", b"\x00", LEAD),
            ("baton.sales.v1.SalesFeedback", b"\xff\xff\xff", LEAD),
            (contact, example(contact).SerializeToString(), LEAD),
            (contact, None, LEAD),
        ],
    )

    def tail(*options: str) -> list[dict[str, Any]]:
        ran = baton("events", "tail", "--since", "1h", "--no-follow", "--json", *options)
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    without = tail()
    assert {event["topic"] for event in without} == {"baton.qualification.v1", "baton.sales.v1"}
    [decoded] = [event for event in without if event["type"] == qualified]
    assert decoded["data"] == json_format.MessageToDict(example(qualified), preserving_proto_field_name=True)
    assert {event["type"] for event in without} > {"baton.sales.v1.OfTomorrow", "undecodable"}

    assert [event["type"] for event in tail("--type", "DealClosed")] == ["baton.sales.v1.DealClosed"]
    assert {event["key"] for event in tail("--lead", LEAD)} == {LEAD}
    assert len(tail("--limit", "1")) == 1
    refused = baton("events", "tail", "--no-follow", "--topic", "baton.contact.v1")
    assert (refused.code, refused.out, "--contacts" in refused.err) == (2, "", True)
    contacts = tail("--contacts", "--topic", "baton.contact.v1")
    assert [event["data"] is None for event in contacts] == [False, True]

    table = baton("events", "tail", "--since", "1h", "--no-follow", "--type", "LeadQualified")
    assert f"LeadQualified      {LEAD}" in table.out


def test_topics_that_are_not_there_are_said(baton: Any) -> None:
    ran = baton("events", "tail", "--no-follow")
    assert (ran.code, "baton topics apply" in ran.err) == (1, True)
