"""Gravity Forms: the raw entry, whose third field is the phone; the feed adds a header with the secret."""

from intake_providers.sample import Sample

SAMPLE = Sample(
    "gravity_forms",
    key="3301",
    secret="gravity-secret-1",
    sign=lambda s: {"authorization": f"Bearer {s.secret}"},
    proof="secret",
    mapping={"phone": ["3", "phone"]},
)
