"""Meta Lead Ads: the challenge by GET, and notifications that name leads."""

from intake_providers.sample import Handshake, Sample

SAMPLE = Sample(
    "meta",
    key="9870011223344556",
    secret="meta-app-secret-1",
    sign=lambda s: {"x-hub-signature-256": "sha256=" + s.hmac(s.body).hex()},
    names_only=True,
    credentials={"verify_token": "a-verify-token"},
    handshake=Handshake(
        body=b"",
        status=200,
        answer=b"1158201444",
        content_type="text/plain",
        method="GET",
        query="hub.mode=subscribe&hub.verify_token=a-verify-token&hub.challenge=1158201444",
    ),
)
