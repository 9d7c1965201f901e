"""Tally."""

from typing import Any

from intake_providers.sample import Sample, b64


def add(tree: Any, more: dict[str, Any]) -> None:
    tree["data"]["fields"] += [{"key": n, "label": n, "type": "INPUT_TEXT", "value": v} for n, v in more.items()]


SAMPLE = Sample(
    "tally",
    key="rX1-response",
    secret="tally-secret-1",
    sign=lambda s: {"tally-signature": b64(s.hmac(s.body))},
    add=add,
)
