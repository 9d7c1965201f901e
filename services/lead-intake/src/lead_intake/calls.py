"""What a telephone call tells: the number that was dialled, how long it lasted. Pure.

The dialled number is the firm's own. Under `numbers` of the mapping it stands for a campaign, where each campaign or
advertisement shows a number of its own; it becomes the `form_id` of the touch, so that calls can be counted by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lead_intake import normalise
from lead_intake.delivery import Source

ORIGIN = frozenset({"utm_source", "utm_medium", "utm_campaign", "campaign_id"})
"""What a number may stand for."""
_LENGTHS = ((1, "missed"), (30, "short"), (180, "medium"))


def read_call(fields: dict[str, str], answers: Mapping[str, str], source: Source) -> dict[str, str]:
    """Put what the number stands for into `fields`, where they tell nothing of it; the answers with `call_length`."""
    dialled = _number(fields.pop("dialled_number", ""), source.default_region)
    if dialled:
        fields.setdefault("form_id", dialled.removeprefix("+"))
        if not any(fields.get(name) for name in ORIGIN):
            for written, origin in source.mapping.get("numbers", {}).items():
                if _number(written, source.default_region) == dialled:
                    fields.update(origin)
    length = call_length(fields.pop("call_seconds", ""))
    return {**answers, "call_length": length} if length else dict(answers)


def call_length(told: str) -> str:
    """The code: missed (0 s) | short (below 30 s) | medium (below 3 min) | long; "" when not told. Also `1:05`."""
    parts = told.strip()[:12].split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isascii() and part.replace(".", "", 1).isdigit() for part in parts):
        return ""
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return next((code for limit, code in _LENGTHS if seconds < limit), "long")


def problems(numbers: Any) -> list[tuple[str, str]]:
    """(JSON pointer, what is wrong) for each fault of a mapping's `numbers`."""
    if not isinstance(numbers, dict):
        return [("/mapping/numbers", "an object: dialled number to what it stands for")]
    return [
        (f"/mapping/numbers/{number}", f"an object of texts; possible are {', '.join(sorted(ORIGIN))}")
        for number, origin in numbers.items()
        if not isinstance(origin, dict)
        or origin.keys() - ORIGIN
        or not all(isinstance(value, str) for value in origin.values())
    ]


@lru_cache(maxsize=1_024)
def _number(written: str, region: str) -> str:
    return normalise.phone(written, region)[0] if written else ""
