"""Make stored decisions again from what they looked at, and compare the bytes. Nothing is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from baton_agreement import scoring
from baton_agreement.canonical import digest_of
from baton_kit.db import Tx
from qualification import store
from qualification.judges import Judges

LOOKED_AT = 500
"""Stored decisions that one part of a range looks at."""

Reason = Literal["", "other_bytes", "document_changed", "cannot_be_made"]


@dataclass(frozen=True, slots=True)
class Made:
    """What came out: `reason` is empty where it is the stored decision, byte for byte."""

    reason: Reason
    digest_now: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """Decisions of a time, of a version, about a lead; None does not bound."""

    since: datetime | None = None
    until: datetime | None = None
    digest: str | None = None
    lead_id: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What was found in a part of a range, and the id after which the next begins; None: that was all."""

    checked: int
    differing: tuple[tuple[Mapping[str, Any], Reason], ...]
    after: str | None


async def verify_part(tx: Tx, judges: Judges, wanted: Range, *, after: str) -> Part:
    """Verify the next stored decisions in the order of their ids."""
    rows, last = await store.decisions_between(
        tx,
        since=wanted.since,
        until=wanted.until,
        digest=wanted.digest,
        lead_id=wanted.lead_id,
        after=after,
        most=LOOKED_AT,
    )
    documents: dict[str, bytes] = {}
    for digest in sorted({row["digest"] for row in rows}):
        law = await store.agreement(tx, digest)
        documents[digest] = b"" if law is None else law.document
    found = [(row, made_again(row, documents[row["digest"]], judges=judges).reason) for row in rows]
    return Part(len(rows), tuple((row, reason) for row, reason in found if reason), last)


def made_again(row: Mapping[str, Any], document: bytes, *, judges: Judges) -> Made:
    """Judge the stored snapshot by the stored document and say whether the stored decision comes out."""
    if digest_of(document) != row["digest"]:
        return Made("document_changed")
    try:
        again = scoring.decide_again(
            row["canonical"], row["snapshot"], judge=judges.of_document(row["digest"], document)
        )
    except (ValueError, KeyError, TypeError):
        return Made("cannot_be_made")
    same = again.canonical == row["canonical"] and again.snapshot == row["snapshot"]
    return Made("" if same else "other_bytes", again.digest)
