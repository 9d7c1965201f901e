"""Typeform."""

from typing import Any

from intake_providers.sample import Sample, b64


def add(tree: Any, more: dict[str, Any]) -> None:
    tree["form_response"]["hidden"] |= more


SAMPLE = Sample(
    "typeform",
    key="tok0123456789abcdef",
    secret="tf-secret-1",
    sign=lambda s: {"typeform-signature": "sha256=" + b64(s.hmac(s.body))},
    add=add,
)
