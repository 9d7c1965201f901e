"""A sample as it arrives at its source."""

import dataclasses
from datetime import UTC, datetime

from intake_providers import EMAIL, PHONE, PUBLIC_URL
from intake_providers.sample import Sample
from lead_intake.delivery import Incoming, Source

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def source(sample: Sample, **more: object) -> Source:
    secrets = ("an-older-secret", sample.secret) if sample.secret else ()
    base = Source(
        sample.provider, sample.provider, secrets=secrets, default_region="ES", settings=sample.settings,
        mapping=sample.mapping, credentials=sample.credentials,
    )  # fmt: skip
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def incoming(sample: Sample, body: bytes | None = None, *, now: datetime = NOW, key: str = "key-1") -> Incoming:
    body = sample.body(key, EMAIL, PHONE) if body is None else body
    return Incoming("POST", f"{PUBLIC_URL}/x", sample.headers(body, now=now, path="/x", key=key), body, "", NOW)
