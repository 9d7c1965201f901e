"""Sign an agreement: one person of marketing and another of sales over the same digest; the second one activates it."""

from dataclasses import dataclass

from baton_agreement import signatures
from baton_agreement.signatures import Statement
from baton_kit.db import Tx
from baton_kit.envelope import rfc3339
from baton_kit.policy import Caller
from baton_kit.problems import Problem
from qualification import chain, store
from qualification.activate import activate
from qualification.app import App
from qualification.people import private_key_of
from qualification.store import ActivationRow, AgreementRow, PersonRow, SignatureRow

DEPARTMENTS = frozenset({"marketing", "sales"})


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature led to; `activation` is set when it was the second."""

    agreement: AgreementRow
    signature: SignatureRow
    activation: ActivationRow | None


async def sign(tx: Tx, app: App, *, digest: str, said: str, caller: Caller) -> Signed:
    """Sign `digest` as the caller; `said` is the digest the person saw. The second department's signature activates.

    Must be the transaction's first use. Raises Problem: 403 for who may not sign, 404 for an unknown digest, 409 for
    one that cannot be signed now; the detail says what is possible.
    """
    # 1. No decision is under way from here on, so that an activation decides nothing retroactively.
    await store.lock_for_activating(tx)
    await store.lock_agreements(tx)

    # 2. Who signs what.
    if said != digest:
        raise Problem(409, "The digests differ", detail="Read the agreement again and sign the digest it has now.")
    row = await store.agreement(tx, digest)
    if row is None:
        raise Problem(404, "No such agreement", detail="Propose the document first; its digest is in the answer.")
    person = await _signer(tx, caller)
    given = await store.signatures(tx, digest, row.round)
    _refuse_unless_signable(row, person, given)

    # 3. The signature, over the bytes that are stored.
    at = app.clock.now()
    statement = Statement(
        digest=row.digest,
        agreement_id=row.agreement_id,
        version=row.version,
        round=row.round,
        department=person.department,
        person_id=person.id,
        signed_at=at,
    )
    jws = signatures.sign(statement, private_key_of(app, person))
    signature = SignatureRow(digest, row.round, person.department, person.id, at, jws)
    await store.insert_signature(tx, signature)
    facts = {
        "agreement_id": row.agreement_id,
        "department": person.department,
        "digest": digest,
        "jws": jws,
        "person_id": person.id,
        "round": row.round,
        "signed_at": rfc3339(at),
        "version": row.version,
    }
    await chain.append(tx, "signed", at=at, facts=facts)

    # 4. The second department brings it into force.
    both = [*given, signature]
    if {s.department for s in both} != DEPARTMENTS:
        return Signed(row, signature, None)
    return Signed(row, signature, await activate(tx, app, row, signatures_given=both, at=at))


async def _signer(tx: Tx, caller: Caller) -> PersonRow:
    person = await store.person(tx, caller.person_id) if caller.person_id else None
    if person is None or person.department not in DEPARTMENTS or person.department != caller.department:
        raise Problem(403, "Only a person can sign", detail="Use the key of a person of marketing or of sales.")
    return person


def _refuse_unless_signable(row: AgreementRow, person: PersonRow, given: list[SignatureRow]) -> None:
    if row.state == "active":
        raise Problem(
            409,
            "The agreement is in force",
            detail="Both departments signed it. Propose another document to change it.",
        )
    if row.state == "superseded":
        raise Problem(
            409,
            "The proposal is stale",
            detail="Another version came into force since it was proposed. Propose the document again, then sign it.",
        )
    if any(s.person_id == person.id or s.department == person.department for s in given):
        other = next(iter(DEPARTMENTS - {person.department}))
        raise Problem(
            409, f"The department {person.department} has signed", detail=f"A person of {other} can sign it now."
        )
