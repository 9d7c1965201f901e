"""Write docs/events.md from the .proto files, topics.yaml and the examples. Run by `make proto`, and by hand.

The text of the page is the comments of the .proto files: who changes an event documents it there.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

PROTO = Path(__file__).parent
PAGE = PROTO.parent / "docs" / "events.md"

HEAD = """\
# Events

Made from `proto/` by `proto/document.py`: do not edit.

Each event is one Kafka record: a [CloudEvent](https://cloudevents.io) in binary mode whose value is the
protobuf message. Consume at least once and drop repeats by `ce_id`; pass over types, fields, enum values
and codes that you do not know; expect no order between topics. Within a topic the events of one key come
in order, and `sequence` is the version of the thing the event is about: the higher one is the newer
state. A runnable consumer: [examples/consumer_python](../examples/consumer_python/README.md).

| header | holds |
|---|---|
| `ce_specversion` | `1.0` |
| `ce_id` | UUIDv7, one for each event, the same when it is delivered again |
| `ce_type` | full name of the message, such as `baton.qualification.v1.LeadQualified` |
| `ce_source` | the service that wrote it, such as `/baton/qualification` |
| `ce_subject`, `ce_partitionkey` | the key: the lead id (for `AgreementActivated` the agreement id) |
| `ce_time` | when it happened, RFC 3339 |
| `ce_dataschema` | where the message is defined |
| `content-type` | `application/protobuf` |
| `traceparent` | the trace it belongs to |

All events are stable in v1: fields, values and events are added, never changed or removed; a break would
be a v2 beside v1. Ids are strings, money is an integer in minor units with an ISO 4217 code beside it,
no number is a float, times are UTC. Every enum starts with a value `_UNSPECIFIED`, which no producer
writes.
"""


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """The whole page, from the files as they are now."""
    built = subprocess.run(
        [
            str(Path(sys.executable).parent / "buf"),
            "build",
            str(PROTO),
            "--as-file-descriptor-set",
            "-o",
            "-",
        ],
        check=True,
        capture_output=True,
    )
    files = [f for f in FileDescriptorSet.FromString(built.stdout).file if f.package.startswith("baton.")]
    messages = {f"{f.package}.{m.name}": m for f in files for m in f.message_type}
    enums = {f"{f.package}.{e.name}": e for f in files for e in f.enum_type}
    comments = {name: text for f in files for name, text in comments_of(f)}
    topics = yaml.safe_load((PROTO / "topics.yaml").read_text("utf-8"))["topics"]
    events = [event for topic in topics.values() for event in topic["events"]]

    parts = [HEAD, "## Topics\n\n" + topic_table(topics)]
    for name, topic in topics.items():
        parts.append(f"## `{name}`\n\n{topic_text(topic)}")
        parts += [event_text(event, messages[event], comments) for event in topic["events"]]
    parts.append("## Messages within events")
    parts += [
        f"### {short(name)}\n\n{paragraph(comments.get(name, ''))}{field_table(name, message, comments)}"
        for name, message in sorted(messages.items())
        if name not in events
    ]
    parts.append("## Enums")
    parts += [
        f"### {enum.name}\n\n{paragraph(comments.get(name, ''))}"
        + "\n".join(
            f"- `{value.name}` = {value.number}{colon(comments.get(f'{name}.{value.name}', ''))}"
            for value in enum.value
        )
        for name, enum in enums.items()
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def comments_of(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """The comment above every message, field, enum and enum value, by full name."""
    for location in file.source_code_info.location:
        text = " ".join((location.leading_comments or location.trailing_comments).split())
        match list(location.path):
            case [4, m]:
                yield f"{file.package}.{file.message_type[m].name}", text
            case [4, m, 2, n]:
                message = file.message_type[m]
                yield f"{file.package}.{message.name}.{message.field[n].name}", text
            case [5, e]:
                yield f"{file.package}.{file.enum_type[e].name}", text
            case [5, e, 2, n]:
                enum = file.enum_type[e]
                yield f"{file.package}.{enum.name}.{enum.value[n].name}", text


def topic_table(topics: Mapping[str, Any]) -> str:
    rows = ["| topic | owner | partitions | keeps | events |", "|---|---|---|---|---|"]
    for name, topic in topics.items():
        events = ", ".join(f"[{short(event)}](#{short(event).lower()})" for event in topic["events"])
        rows.append(f"| `{name}` | {topic['owner']} | {topic['partitions']} | {kept(topic)} | {events} |")
    return "\n".join(rows)


def kept(topic: Mapping[str, Any]) -> str:
    if topic["config"]["cleanup.policy"] == "compact":
        return "the last event of each key (compacted)"
    retention = topic["config"]["retention.ms"]
    return "for ever" if retention == "-1" else f"{int(retention) // 86_400_000} days"


def topic_text(topic: Mapping[str, Any]) -> str:
    persons = (
        "**Restricted: personal data.** A record without a value (tombstone) means: forget this contact."
        if topic.get("restricted")
        else "Names no person: ids, codes, numbers and company-level fields only."
    )
    settings = ", ".join(f"`{key}={value}`" for key, value in topic["config"].items())
    return f"Written by {topic['owner']}, keyed by `{topic['key']}`. {persons}\n\nSettings: {settings}."


def event_text(name: str, message: DescriptorProto, comments: Mapping[str, str]) -> str:
    examples = sorted((PROTO / "examples" / name).glob("*.json"))
    others = ", ".join(f"[{file.stem}](../proto/examples/{name}/{file.name})" for file in examples)
    typical = json.loads((PROTO / "examples" / name / "typical.json").read_text("utf-8"))
    return (
        f"### {short(name)}\n\n{paragraph(comments[name])}`ce_type`: `{name}`\n\n"
        f"{field_table(name, message, comments)}\n\n"
        f"Examples: {others}.\n\n<details><summary>typical</summary>\n\n"
        f"```json\n{json.dumps(typical, indent=2, ensure_ascii=False)}\n```\n\n</details>"
    )


def field_table(name: str, message: DescriptorProto, comments: Mapping[str, str]) -> str:
    rows = ["| # | field | type | |", "|---|---|---|---|"]
    for field in message.field:
        text = comments.get(f"{name}.{field.name}", "").replace("|", "\\|")
        rows.append(f"| {field.number} | `{field.name}` | {type_of(message, field)} | {text} |")
    return "\n".join(rows)


def type_of(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    entry = next((n for n in message.nested_type if field.type_name.endswith(f".{message.name}.{n.name}")), None)
    if entry is not None:
        return f"map of {type_of(entry, entry.field[0])} to {type_of(entry, entry.field[1])}"
    one = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.type_name.startswith(".baton."):
        one = f"[{short(field.type_name)}](#{short(field.type_name).lower()})"
    elif field.type_name:
        one = short(field.type_name)
    return f"list of {one}" if field.label == FieldDescriptorProto.LABEL_REPEATED else one


def short(full_name: str) -> str:
    return full_name.rsplit(".", 1)[-1]


def paragraph(text: str) -> str:
    return f"{text}\n\n" if text else ""


def colon(text: str) -> str:
    return f": {text}" if text else ""


if __name__ == "__main__":
    main()
