"""Tilda: a form, nothing signed."""

from intake_providers.sample import FORM, Sample

SAMPLE = Sample(
    "tilda",
    key="1234567:987654321",
    codec=FORM,
    lead="lead.txt",
    proof="token",
    reply=(200, b"ok"),
    statuses=(200,),
    as_test=lambda _: {"test": "test"},
)
