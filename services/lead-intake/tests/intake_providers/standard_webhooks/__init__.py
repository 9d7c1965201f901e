"""Standard Webhooks 1.0."""

import base64
from datetime import timedelta

from intake_providers.sample import Sample, Signing, b64


def sign(s: Signing) -> dict[str, str]:
    at = str(int(s.now.timestamp()))
    key = base64.b64decode(s.secret.removeprefix("whsec_"))
    signature = b64(s.hmac(f"{s.key}.{at}.".encode(), s.body, secret=key))
    return {"webhook-id": s.key, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}


SAMPLE = Sample(
    "standard_webhooks",
    key="L1-in-the-body",
    secret="whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    sign=sign,
    window=timedelta(minutes=5),
    key_is_header=True,
    add=lambda tree, more: tree["data"].update(more),
)
