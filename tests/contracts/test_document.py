"""docs/events.md is made from the contract and must not fall behind it."""

import importlib.util
from pathlib import Path
from typing import Any

from baton.catalogue import EVENTS

REPOSITORY = Path(__file__).parents[2]


def document() -> Any:
    spec = importlib.util.spec_from_file_location("document", REPOSITORY / "proto" / "document.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_events_is_current() -> None:
    written = (REPOSITORY / "docs" / "events.md").read_text("utf-8")
    assert written == document().page(), "run `.venv/bin/python proto/document.py`"


def test_the_page_describes_every_field_of_every_event() -> None:
    page = (REPOSITORY / "docs" / "events.md").read_text("utf-8")
    for event, message in EVENTS.items():
        section = page.split(f"### {message.DESCRIPTOR.name}\n", 1)[1].split("\n### ", 1)[0]
        assert f"`{event}`" in section
        for field in message.DESCRIPTOR.fields:
            assert f"| {field.number} | `{field.name}` |" in section
