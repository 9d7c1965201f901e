"""Write the golden bytes beside the examples. Run by `make proto`, and by hand when an example changed.

`<name>.bin` is the deterministic serialisation of `<name>.json`: the bytes that a Kafka record carries as its
value. An example named `future` stands for a producer that is newer than its reader: its bytes end with a
field that no reader of today knows, and its JSON holds enum values that have no name yet.
"""

from pathlib import Path

from google.protobuf import json_format

from baton.catalogue import EVENTS

EXAMPLES = Path(__file__).parent / "examples"
# Field 2047, length-delimited, "tomorrow": readers skip it, and keep it when they pass the event on.
UNKNOWN_FIELD = b"\xfa\x7f\x08tomorrow"


def golden_bytes(example: Path) -> bytes:
    """The bytes that belong to one JSON example; ParseError where the JSON does not fit its message."""
    message = EVENTS[example.parent.name]()
    json_format.Parse(example.read_text("utf-8"), message)
    known = message.SerializeToString(deterministic=True)
    return known + UNKNOWN_FIELD if example.stem == "future" else known


def main() -> None:
    for stale in EXAMPLES.glob("*/*.bin"):
        stale.unlink()
    for example in sorted(EXAMPLES.glob("*/*.json")):
        example.with_suffix(".bin").write_bytes(golden_bytes(example))


if __name__ == "__main__":
    main()
