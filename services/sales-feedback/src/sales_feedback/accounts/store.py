"""Every SQL statement about accounts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert

from baton_kit.db import Tx
from baton_kit.edges import families_of
from sales_feedback.arrays import among
from sales_feedback.deals.deal import Deal
from sales_feedback.tables import company_account, lead_account

EDGES: Final = "account_edge"
"""The merges of accounts as they stand."""


async def put_lead_accounts(tx: Tx, told: Iterable[tuple[str, int, str]]) -> None:
    """Keep (lead, its version, account); the highest version of a lead stands, whichever came last."""
    newest: dict[str, tuple[int, str]] = {}
    for lead_id, sequence, account_id in told:
        if lead_id and account_id and newest.get(lead_id, (-1, ""))[0] < sequence:
            newest[lead_id] = (sequence, account_id)
    if not newest:
        return
    rows = [
        {"lead_id": lead_id, "sequence": sequence, "account_id": account_id}
        for lead_id, (sequence, account_id) in sorted(newest.items())
    ]
    statement = insert(lead_account).values(rows)
    new = statement.excluded
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["lead_id"],
            set_={"sequence": new.sequence, "account_id": new.account_id},
            where=lead_account.c.sequence < new.sequence,
        )
    )


async def put_companies(tx: Tx, told: Iterable[tuple[str, str, int, str]]) -> None:
    """Keep (CRM, its id of a company, version, account); the highest version stands, whichever came last."""
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for crm, company_id, sequence, account_id in told:
        if company_id and account_id and newest.get((crm, company_id), (-1, ""))[0] < sequence:
            newest[crm, company_id] = (sequence, account_id)
    if not newest:
        return
    rows = [
        {"crm": crm, "crm_company_id": company_id, "sequence": sequence, "account_id": account_id}
        for (crm, company_id), (sequence, account_id) in sorted(newest.items())
    ]
    statement = insert(company_account).values(rows)
    new = statement.excluded
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["crm", "crm_company_id"],
            set_={"sequence": new.sequence, "account_id": new.account_id},
            where=company_account.c.sequence < new.sequence,
        )
    )


async def accounts_of_leads(tx: Tx, lead_ids: Sequence[str]) -> dict[str, str]:
    """The account that each lead came to; a lead without one shows that of the person's other leads, oldest first."""
    people = await families_of(tx, lead_ids)
    rows = await tx.execute(
        select(lead_account.c.lead_id, lead_account.c.account_id).where(
            lead_account.c.lead_id == among(people.everyone(lead_ids))
        )
    )
    own: dict[str, str] = {row[0]: row[1] for row in rows}
    found = {}
    for lead_id in lead_ids:
        known = [own[m] for m in (lead_id, people.root(lead_id), *people.members(lead_id)) if m in own]
        if known:
            found[lead_id] = known[0]
    return found


async def accounts_of_deals(tx: Tx, deals: Sequence[Deal]) -> dict[str, str]:
    """The account that each deal came to, by deal: that of its company in the CRM, else that of its lead."""
    companies = {deal.id: (crm_of(deal), deal.crm_company_id) for deal in deals if deal.crm_company_id}
    known: dict[tuple[str, str], str] = {}
    if companies:
        rows = await tx.execute(
            select(company_account.c.crm, company_account.c.crm_company_id, company_account.c.account_id).where(
                tuple_(company_account.c.crm, company_account.c.crm_company_id).in_(sorted(set(companies.values())))
            )
        )
        known = {(row[0], row[1]): row[2] for row in rows}
    of_lead = await accounts_of_leads(tx, sorted({deal.lead_id for deal in deals}))
    found = {}
    for deal in deals:
        account_id = known.get(companies[deal.id]) if deal.id in companies else None
        account_id = account_id or of_lead.get(deal.lead_id)
        if account_id is not None:
            found[deal.id] = account_id
    return found


async def canonical(tx: Tx, accounts: Mapping[str, str]) -> dict[str, str]:
    """The same with the canonical accounts, after all merges."""
    whole = await families_of(tx, accounts.values(), table=EDGES)
    return {key: whole.root(account_id) for key, account_id in accounts.items()}


def crm_of(deal: Deal) -> str:
    """Whose company ids those of the deal are: the configured CRM, else the name that it was given."""
    return deal.crm_id or deal.crm
