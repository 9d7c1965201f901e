"""The history of the agreements is only added to, each entry carrying the hash of the one before it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from baton_agreement.canonical import canonical_bytes, digest_of
from baton_kit.db import Tx
from baton_kit.envelope import rfc3339
from qualification import store


async def append(tx: Tx, kind: str, *, at: datetime, facts: Mapping[str, Any]) -> None:
    """Append one entry; the caller holds `store.lock_agreements`."""
    seq, prev_hash = await store.last_history(tx)
    entry = canonical_bytes({**facts, "at": rfc3339(at), "kind": kind, "prev": prev_hash, "seq": seq + 1})
    await store.insert_history(tx, seq=seq + 1, entry=entry, prev_hash=prev_hash, hash=digest_of(entry))
