"""Unbounce: a form with JSON in one field; nothing signed, no id."""

from intake_providers.sample import FORM, Sample, holding_json

SAMPLE = Sample(
    "unbounce",
    key="there is none",
    codec=holding_json(FORM, "data.json"),
    lead="lead.txt",
    proof="token",
    keyless=True,
    add=lambda tree, more: tree["data.json"].update({name: [value] for name, value in more.items()}),
)
