"""HubSpot: signature v3; the older ones have tests of their own."""

from datetime import timedelta

from intake_providers.sample import Sample, Signing, b64, joined


def sign(s: Signing) -> dict[str, str]:
    at = str(int(s.now.timestamp() * 1000))
    signature = b64(s.hmac(b"POST", s.url.encode(), s.body, at.encode()))
    return {"x-hubspot-request-timestamp": at, "x-hubspot-signature-v3": signature}


SAMPLE = Sample(
    "hubspot",
    key="332507367156",
    secret="hs-client-secret-1",
    sign=sign,
    window=timedelta(minutes=5),
    add=lambda tree, more: tree["properties"].update({name: {"value": value} for name, value in more.items()}),
    batch=joined,
)
