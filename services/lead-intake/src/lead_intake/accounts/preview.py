"""What a merge of accounts would join, before anybody does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from baton_kit import edges
from baton_kit.db import Tx
from lead_intake.accounts import store
from lead_intake.accounts.resolve import one_country_one_number
from lead_intake.merging.merge import Refused, Unknown, check


@dataclass(frozen=True, slots=True)
class Preview:
    """Both sides with every account that belongs to them, and why it cannot be, if so.

    `contradicted` says that both have a tax number of one country: it can be merged all the same.
    """

    canonical: str
    from_accounts: tuple[str, ...]
    into_accounts: tuple[str, ...]
    parts: Mapping[str, Mapping[str, Any]]
    contradicted: bool
    refused: str
    detail: str


async def preview(tx: Tx, from_account: str, into_account: str) -> Preview:
    """Say what merging would join; changes nothing. Raises Unknown."""
    found = await edges.families_of(tx, [from_account, into_account], table=store.EDGES)
    everyone = found.everyone([from_account, into_account])
    parts = await store.accounts_by_id(tx, everyone)
    refused = detail = ""
    try:
        check(store.ACCOUNTS, from_account, into_account, known=parts.keys(), families=found)
    except Refused as error:
        refused, detail = error.why, error.detail
    if from_account not in parts or into_account not in parts:
        raise Unknown("account")
    return Preview(
        canonical=found.root(into_account),
        from_accounts=found.members(from_account),
        into_accounts=found.members(into_account),
        parts=parts,
        contradicted=not one_country_one_number(await store.tax_numbers(tx, everyone)),
        refused=refused,
        detail=detail,
    )
