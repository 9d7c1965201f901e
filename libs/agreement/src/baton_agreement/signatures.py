"""Signatures of people over the digest of an agreement: compact JWS, EdDSA with Ed25519 keys."""

import json
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from baton_agreement.canonical import canonical_bytes

_ALGORITHM = "EdDSA"


class SignatureBroken(Exception):
    """The signature is not of that person, over that digest."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person signs."""

    digest: str
    agreement_id: str
    version: int
    round: int
    department: str
    person_id: str
    signed_at: datetime

    def canonical(self) -> bytes:
        """Return the bytes under the signature."""
        return canonical_bytes(
            {
                "agreement_id": self.agreement_id,
                "department": self.department,
                "digest": self.digest,
                "person_id": self.person_id,
                "round": self.round,
                "signed_at": _moment(self.signed_at),
                "version": self.version,
            }
        )


def new_key() -> tuple[dict[str, Any], bytes]:
    """Return a new key: the public part as JWK, the whole as bytes that must be sealed."""
    key = OKPKey.generate_key("Ed25519")
    return dict(key.as_dict(private=False)), json.dumps(key.as_dict(private=True)).encode()


def sign(statement: Statement, private_key: bytes) -> str:
    """Return the compact JWS of the statement."""
    key = OKPKey.import_key(json.loads(private_key))
    with _no_rename_warning():
        return jws.serialize_compact({"alg": _ALGORITHM}, statement.canonical(), key, algorithms=[_ALGORITHM])


def verify(statement: Statement, signature: str, public_key: dict[str, Any]) -> None:
    """Raise SignatureBroken unless the signature is this key's over exactly this statement."""
    try:
        with _no_rename_warning():
            found = jws.deserialize_compact(signature, OKPKey.import_key(public_key), algorithms=[_ALGORITHM])
    except (JoseError, ValueError) as error:
        raise SignatureBroken(type(error).__name__) from None
    if found.payload != statement.canonical():
        raise SignatureBroken("the signature is over something else")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()[:-6] + "Z"  # as all times on the wire: no fraction where there is none


class _no_rename_warning(warnings.catch_warnings):  # noqa: N801 - used as a function
    # RFC 9864 gives the same signature the new name "Ed25519"; verifiers in the field know "EdDSA".
    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", SecurityWarning)
