"""Who may come in: a signature, a token in the address, or both."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from lead_intake.delivery import Incoming, Source
from lead_intake.sources import Provider

# An unknown source costs the same check as a known one with a bad signature.
DECOY: Final = Source("", "generic", secrets=(secrets.token_hex(),), settings={"signature_header": "x-signature"})


def verified(provider: Provider, incoming: Incoming, source: Source | None) -> bool:
    """Whether the delivery comes from who it says: a signature, a token in the address, or both, as configured."""
    expected = (source or DECOY).token_digest
    token = token_fits(incoming.token, source or DECOY)
    if source is None:
        provider.verify(incoming, DECOY, now=incoming.received_at)
        return False
    if source.secrets:
        return provider.verify(incoming, source, now=incoming.received_at) and token
    return bool(expected) and token and not provider.NEEDS_SECRET


def token_fits(token: str, source: Source) -> bool:
    """Whether the address's token is the source's; any is, where the source has none. Constant time."""
    given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    return hmac.compare_digest(given, source.token_digest or given)
