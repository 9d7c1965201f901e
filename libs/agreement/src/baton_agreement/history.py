"""The history of the agreements, proved from its entries alone: a chain of hashes with everybody's signatures in it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton_agreement.agreement import agreement_from_canonical
from baton_agreement.canonical import digest_of
from baton_agreement.document import DocumentRefused
from baton_agreement.signatures import SignatureBroken, Statement, verify


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored entry."""

    seq: int
    entry: bytes
    prev_hash: str
    hash: str


def first_flaw(entries: Iterable[Entry]) -> str | None:
    """Return what is wrong with a whole history, None if it is as it was written.

    Finds a changed byte, a missing or moved entry, and a signature that is not its signer's.
    """
    prev, expected = "", 1
    keys: dict[str, dict[str, Any]] = {}
    departments: dict[str, str] = {}
    signers: dict[tuple[str, int], dict[str, str]] = {}
    for found in entries:
        where = f"entry {expected}"
        if digest_of(found.entry) != found.hash:
            return f"{where}: the hash is not that of the entry"
        facts = json.loads(found.entry)
        if (found.seq, facts["seq"]) != (expected, expected) or facts["prev"] != prev or found.prev_hash != prev:
            return f"{where}: the chain is broken here"
        prev, expected = found.hash, expected + 1
        if facts["kind"] == "person_added":
            keys[facts["person_id"]] = facts["public_key"]
            departments[facts["person_id"]] = facts["department"]
        elif facts["kind"] == "proposed":
            try:
                document = agreement_from_canonical(facts["document"].encode())
            except DocumentRefused:
                return f"{where}: the document is none"
            if document.digest != facts["digest"]:
                return f"{where}: the digest is not that of the document"
        elif facts["kind"] == "signed":
            try:
                _check_signature(facts, keys, departments)
            except (SignatureBroken, KeyError):
                return f"{where}: the signature is not that of the person named"
            signers.setdefault((facts["digest"], facts["round"]), {})[facts["department"]] = facts["person_id"]
        elif facts["kind"] == "activated":
            both = signers.get((facts["digest"], facts["round"]), {})
            if len(set(both.values())) < 2 or both.keys() != {"marketing", "sales"}:
                return f"{where}: activated without the signatures of both departments"
    return None


def _check_signature(
    facts: Mapping[str, Any], keys: Mapping[str, dict[str, Any]], departments: Mapping[str, str]
) -> None:
    if departments[facts["person_id"]] != facts["department"]:
        raise SignatureBroken("another department")
    statement = Statement(
        digest=facts["digest"],
        agreement_id=facts["agreement_id"],
        version=facts["version"],
        round=facts["round"],
        department=facts["department"],
        person_id=facts["person_id"],
        signed_at=datetime.fromisoformat(facts["signed_at"]),
    )
    verify(statement, facts["jws"], keys[facts["person_id"]])
