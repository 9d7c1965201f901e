"""Jotform: multipart with JSON in one part, nothing signed."""

from intake_providers.sample import MULTIPART, Sample, holding_json

SAMPLE = Sample(
    "jotform",
    key="6100000000000000001",
    codec=holding_json(MULTIPART, "rawRequest"),
    lead="lead.txt",
    proof="token",
    add=lambda tree, more: tree["rawRequest"].update({f"q90_{name}": value for name, value in more.items()}),
)
