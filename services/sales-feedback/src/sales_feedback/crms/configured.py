"""The CRMs as they are configured: their secrets are sealed in the table and open only here."""

import json
from collections.abc import Sequence

from baton_kit.db import Tx
from baton_kit.seal import seal, unseal
from sales_feedback.app import App
from sales_feedback.crms import store
from sales_feedback.crms.crm import Crm
from sales_feedback.crms.mapping import Kind, Mapping


async def get_crm(tx: Tx, app: App, crm_id: str) -> Crm | None:
    """Read a CRM with its secrets."""
    stored = await store.get_crm(tx, crm_id)
    if stored is None:
        return None
    secrets = json.loads(unseal(app.settings.seal_key_bytes, stored.secrets, context=_place(crm_id)))
    return Crm(stored.id, stored.kind, Mapping.model_validate(stored.mapping), tuple(secrets))


async def put_crm(tx: Tx, app: App, crm_id: str, *, kind: Kind, secrets: Sequence[str], mapping: Mapping) -> bool:
    """Configure a CRM, or configure it anew: then its deals are settled again. True when it is new."""
    sealed = seal(app.settings.seal_key_bytes, json.dumps(list(secrets)).encode(), context=_place(crm_id))
    document = mapping.model_dump(mode="json")
    is_new = await store.put_crm(tx, crm_id, kind, secrets=sealed, mapping=document, at=app.clock.now())
    if not is_new:
        await store.reconsider(tx, crm_id)
    return is_new


def _place(crm_id: str) -> str:
    return f"sales-feedback/crm/{crm_id}"
