"""Secrets at rest: AES-256-GCM."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE = 12


class SealBroken(Exception):
    """The sealed bytes were changed, belong to another place, or were sealed with another key."""


def seal(key: bytes, plaintext: bytes, *, context: str) -> bytes:
    """Encrypt so that only `unseal` with the same 32-byte key and the same context (where it is stored) opens it."""
    nonce = os.urandom(_NONCE)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext, context.encode())


def unseal(key: bytes, sealed: bytes, *, context: str) -> bytes:
    """Return the plaintext of `seal`. Raises SealBroken."""
    if sealed[:1] != _VERSION:
        raise SealBroken
    nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
    try:
        return AESGCM(key).decrypt(nonce, body, context.encode())
    except (InvalidTag, ValueError):
        raise SealBroken from None
