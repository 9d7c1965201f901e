"""Propose an agreement: from then on both departments may sign its digest."""

import json
from typing import Literal

from baton_agreement.agreement import Agreement, read_agreement
from baton_kit.db import Tx
from baton_kit.policy import Caller
from qualification import chain, store
from qualification.amend import refuse_touched_duties
from qualification.app import App
from qualification.store import AgreementRow

MadeBy = Literal["people", "machine"]


async def propose(
    tx: Tx, app: App, raw: bytes, *, format: Literal["yaml", "json"], caller: Caller, made_by: MadeBy = "people"
) -> AgreementRow:
    """Store the document as proposed and return it; the same bytes keep their version and digest.

    A document that is proposed or in force already is returned as it is. One that was superseded is proposed again,
    in a new round that needs new signatures (the brake: going back is a new activation of the earlier digest).
    What a machine made may not touch a fixed duty of the agreement in force. Raises DocumentRefused.
    """
    agreement = read_agreement(raw, format)
    await store.lock_agreements(tx)
    if made_by == "machine":
        await _refuse_touched_duties(tx, agreement)
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


async def _refuse_touched_duties(tx: Tx, agreement: Agreement) -> None:
    newest = await store.newest_activation(tx)
    in_force = None if newest is None else await store.agreement(tx, newest.digest)
    if in_force is not None:
        refuse_touched_duties(json.loads(in_force.document), json.loads(agreement.document))
