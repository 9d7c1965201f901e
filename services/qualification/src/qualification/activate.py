"""Bring an agreement into force; it decides from then on, never backwards."""

from collections.abc import Sequence
from datetime import datetime

from baton_agreement.agreement import agreement_from_canonical
from baton_agreement.canonical import digest_of
from baton_agreement.document import DocumentRefused
from baton_agreement.signatures import SignatureBroken, Statement, verify
from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.problems import Problem
from qualification import chain, events, store
from qualification.app import App
from qualification.store import ActivationRow, AgreementRow, SignatureRow


async def activate(
    tx: Tx, app: App, row: AgreementRow, *, signatures_given: Sequence[SignatureRow], at: datetime
) -> ActivationRow:
    """Put `row` into force, after everything was verified once more; the caller holds both locks.

    Raises Problem 409 where the bytes, the digest or a signature is not what was signed, or one person signed twice.
    """
    # 1. What is stored is still what was signed, by two people of two departments.
    await _verify(tx, row, signatures_given)

    # 2. The next number, the state of the others, the history.
    newest = await store.newest_activation(tx)
    sequence = newest.activation_seq + 1 if newest else 1
    activation = ActivationRow(sequence, row.digest, row.round, at)
    await store.insert_activation(tx, activation)
    superseded = await store.supersede_all_but(tx, row.digest)
    await store.set_active(tx, row.digest)
    facts = {
        "activation_seq": activation.activation_seq,
        "digest": row.digest,
        "round": row.round,
        "superseded": superseded,
        "version": row.version,
    }
    await chain.append(tx, "activated", at=at, facts=facts)

    # 3. The whole document goes out, in the same transaction.
    await app.outbox.append(tx, [events.agreement_activated(row, activation, signatures=signatures_given)])
    failpoint("activate.after_append")
    return activation


async def _verify(tx: Tx, row: AgreementRow, given: Sequence[SignatureRow]) -> None:
    broken = Problem(
        409, "The signatures do not hold", detail="What is stored is not what was signed. Propose the document again."
    )
    if digest_of(row.document) != row.digest:
        raise broken
    try:
        agreement_from_canonical(row.document)
    except DocumentRefused:
        raise broken from None
    if len({s.person_id for s in given}) != 2 or {s.department for s in given} != {"marketing", "sales"}:
        raise broken
    for s in given:
        person = await store.person(tx, s.person_id)
        failpoint("activate.after_person")
        statement = Statement(
            digest=row.digest,
            agreement_id=row.agreement_id,
            version=row.version,
            round=row.round,
            department=s.department,
            person_id=s.person_id,
            signed_at=s.signed_at,
        )
        if person is None or person.department != s.department:
            raise broken
        try:
            verify(statement, s.jws, person.public_key)
        except SignatureBroken:
            raise broken from None
