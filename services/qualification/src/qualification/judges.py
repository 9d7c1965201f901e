"""Agreements ready to judge, compiled once for each digest and kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from baton_agreement.agreement import agreement_from_canonical
from baton_agreement.scoring import Judge, Stamp
from baton_kit.db import Tx
from qualification import store

_KEPT = 32


@dataclass(frozen=True, slots=True)
class Governing:
    """The version that an activation put into force, ready to judge."""

    stamp: Stamp
    judge: Judge


@dataclass(slots=True)
class Judges:
    """A cache of what never changes: the document behind an activation."""

    _by_activation: dict[int, Governing] = field(default_factory=dict)
    _by_digest: dict[str, Judge] = field(default_factory=dict)

    async def of(self, tx: Tx, sequences: Iterable[int]) -> Mapping[int, Governing]:
        """Return the governing versions of these activations; unknown ones are missing."""
        wanted = set(sequences)
        found = {s: self._by_activation[s] for s in wanted if s in self._by_activation}
        missing = sorted(wanted - found.keys())
        if missing:
            for sequence, row in (await store.activations(tx, missing)).items():
                stamp = Stamp(row.agreement_id, row.version, row.digest, sequence)
                found[sequence] = Governing(stamp, self.of_document(row.digest, row.document))
                _make_room(self._by_activation)
                self._by_activation[sequence] = found[sequence]
        return found

    def of_document(self, digest: str, document: bytes) -> Judge:
        """Return the judge of canonical bytes."""
        judge = self._by_digest.get(digest)
        if judge is None:
            judge = Judge(agreement_from_canonical(document))
            _make_room(self._by_digest)
            self._by_digest[digest] = judge
        return judge


def _make_room(kept: dict[Any, Any]) -> None:
    while len(kept) >= _KEPT:
        kept.pop(next(iter(kept)))
