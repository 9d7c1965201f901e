"""Webflow, signed as webhooks that were made through its API are."""

from datetime import timedelta

from intake_providers.sample import Sample, Signing


def sign(s: Signing) -> dict[str, str]:
    at = str(int(s.now.timestamp() * 1000))
    return {"x-webflow-timestamp": at, "x-webflow-signature": s.hmac(at.encode(), b":", s.body).hex()}


SAMPLE = Sample(
    "webflow",
    key="65a0000000000000000000dd",
    secret="wf-secret-1",
    sign=sign,
    window=timedelta(minutes=5),
    statuses=(200,),
    add=lambda tree, more: tree["payload"]["data"].update(more),
)
