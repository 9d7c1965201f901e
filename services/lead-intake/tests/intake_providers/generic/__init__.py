"""Any form tool with a bearer token."""

from intake_providers.sample import Sample, joined

SAMPLE = Sample(
    "generic",
    key="sub-8812-a",
    secret="generic-secret-1",
    sign=lambda s: {"authorization": f"Bearer {s.secret}"},
    proof="secret",
    as_test=lambda tree: tree | {"test": True},
    batch=joined,
    mapping={"test": "test"},
)
