"""People who sign: each has a key of their own, held by the server under seal, and an API key that shows who calls."""

from typing import Literal

from baton_agreement import signatures
from baton_kit.db import Tx
from baton_kit.policy import create_api_key
from baton_kit.problems import Problem
from baton_kit.seal import seal, unseal
from qualification import chain, store
from qualification.app import App
from qualification.store import PersonRow

SCOPES = [
    "agreements:read",
    "agreements:write",
    "agreements:sign",
    "decisions:read",
    "leads:read",
    "people:read",
    "reports:read",
]


async def add_person(
    tx: Tx, app: App, *, id: str, name: str, department: Literal["marketing", "sales"]
) -> tuple[PersonRow, str]:
    """Store a person with a new signing key; returns the person and the API key, which is shown once."""
    await store.lock_agreements(tx)
    public_key, private_key = signatures.new_key()
    row = PersonRow(
        id=id,
        name=name,
        department=department,
        public_key=public_key,
        sealed_key=seal(app.settings.seal_key_bytes, private_key, context=f"person:{id}"),
        created_at=app.clock.now(),
    )
    if not await store.insert_person(tx, row):
        raise Problem(409, "The person exists", detail="Choose another id; a person's department never changes.")
    facts = {"department": department, "person_id": id, "public_key": public_key}
    await chain.append(tx, "person_added", at=row.created_at, facts=facts)
    api_key = await create_api_key(tx, name=id, scopes=SCOPES, person_id=id, department=department)
    return row, api_key


def private_key_of(app: App, person: PersonRow) -> bytes:
    """Return the person's signing key, unsealed."""
    return unseal(app.settings.seal_key_bytes, person.sealed_key, context=f"person:{person.id}")
