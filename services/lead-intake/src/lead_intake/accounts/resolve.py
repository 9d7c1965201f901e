"""Which account an inquiry belongs to: found by its keys, else made. Pure.

Nothing is merged here. Where one inquiry, or one lead, names two accounts, the two are proposed to be merged; where a
tax number says that they are one, the proposal says so (`tax`), and `unite` follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lead_intake.accounts.keys import TAX


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that nobody knew."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that nobody knew; `event_id` is that of the event that tells of it, if one does."""

    key: str
    account_id: str
    told_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two accounts, lower id first, that may be one company."""

    low: str
    high: str
    receipt_id: str
    proposed_at: datetime
    kind: str


@dataclass(slots=True)
class Accounts:
    """The accounts that a batch meets, and what it writes of them.

    `of` gives the account of a key, `nameless` are those without a name, `taxed` are (account, country) pairs that
    have a tax number.
    """

    of: dict[str, str] = field(default_factory=dict)
    nameless: set[str] = field(default_factory=set)
    taxed: set[tuple[str, str]] = field(default_factory=set)
    created: dict[str, NewAccount] = field(default_factory=dict)
    keys: list[NewKey] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    proposals: list[Proposal] = field(default_factory=list)


def resolve(
    accounts: Accounts, keys: Sequence[str], *, new_id: str, event_id: str, name: str, receipt_id: str, at: datetime
) -> str:
    """The account of an inquiry with these keys (at least one); noted in `accounts` is what is new.

    The strongest key that is known decides. An account has one tax number a country: another one is another account's.
    """
    met = list(dict.fromkeys(accounts.of[key] for key in keys if key in accounts.of))
    tax = keys[0] if keys[0].startswith(TAX) else ""
    country = tax[len(TAX) : len(TAX) + 2]
    contradicts = bool(met and tax and tax not in accounts.of and (met[0], country) in accounts.taxed)
    account_id = new_id if contradicts or not met else met[0]
    if account_id == new_id and new_id not in accounts.created:
        accounts.created[new_id] = NewAccount(new_id, name, at)
    elif name and account_id in accounts.nameless:
        accounts.nameless.discard(account_id)
        accounts.names[account_id] = name
    for other in met:
        if other != account_id:
            propose(
                accounts, account_id, other, kind="tax" if tax in accounts.of else "keys", receipt_id=receipt_id, at=at
            )
    for key in keys:
        if key not in accounts.of:
            accounts.of[key] = account_id
            accounts.keys.append(NewKey(key, account_id, at, event_id))
    if tax and accounts.of[tax] == account_id:
        accounts.taxed.add((account_id, country))
    return account_id


def propose(accounts: Accounts, one: str, other: str, *, kind: str, receipt_id: str, at: datetime) -> None:
    """Note that two accounts may be one."""
    low, high = sorted((one, other))
    accounts.proposals.append(Proposal(low, high, receipt_id, at, kind))


def one_country_one_number(numbers: Mapping[str, Sequence[str]]) -> bool:
    """Whether these tax numbers, by account, can all be one company's."""
    told = {number for of_one in numbers.values() for number in of_one}
    return len({number[:2] for number in told}) == len(told)
