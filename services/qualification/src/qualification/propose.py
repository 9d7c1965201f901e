"""Propose an agreement: from then on both departments may sign its digest."""

from typing import Literal

from baton_kit.db import Tx
from baton_kit.policy import Caller
from qualification import chain, store
from qualification.agreement import read_agreement
from qualification.app import App
from qualification.store import AgreementRow


async def propose(tx: Tx, app: App, raw: bytes, *, format: Literal["yaml", "json"], caller: Caller) -> AgreementRow:
    """Store the document as proposed and return it; the same bytes keep their version and digest.

    A document that is proposed or in force already is returned as it is. One that was superseded is proposed again,
    in a new round that needs new signatures (the brake: going back is a new activation of the earlier digest).
    Raises DocumentRefused.
    """
    agreement = read_agreement(raw, format)
    await store.lock_agreements(tx)
    known = await store.agreement(tx, agreement.digest)
    if known is not None and known.state != "superseded":
        return known
    at = app.clock.now()
    row = AgreementRow(
        digest=agreement.digest,
        agreement_id=agreement.id,
        version=known.version if known else await store.next_version(tx),
        document=agreement.document,
        state="proposed",
        round=known.round + 1 if known else 1,
        proposed_at=at,
        proposed_by=caller.person_id or caller.name,
    )
    await store.put_agreement(tx, row)
    facts = {
        "agreement_id": row.agreement_id,
        "by": row.proposed_by,
        "digest": row.digest,
        "document": row.document.decode(),
        "round": row.round,
        "version": row.version,
    }
    await chain.append(tx, "proposed", at=at, facts=facts)
    return row
