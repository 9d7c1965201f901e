"""LinkedIn Lead Sync: the challenge every two hours, and notifications that name one lead."""

from intake_providers.sample import Handshake, Sample

SAMPLE = Sample(
    "linkedin",
    key="urn:li:leadGenFormResponse:7c1d9c02-aa11-4b7e-9c11-0f00aa000001-9",
    secret="li-client-secret-1",
    sign=lambda s: {"x-li-signature": s.hmac(b"hmacsha256=", s.body).hex()},
    names_only=True,
    handshake=Handshake(
        body=b"",
        status=200,
        answer=b'{"challengeCode": "3f0d7c1e-6d0a-4c55-9f2b-1b2a3c4d5e6f", "challengeResponse": '
        b'"525d3bfa801ab8ce21f79721ff0543c5556cdeb024db2509aa46d5bd3df36cbf"}',
        content_type="application/json",
        method="GET",
        query="challengeCode=3f0d7c1e-6d0a-4c55-9f2b-1b2a3c4d5e6f",
    ),
)
