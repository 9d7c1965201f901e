"""By which keys a company is known, and which account an inquiry belongs to: rules that hold for every input."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_intake.accounts.keys import account_keys, domain_of, tax_number
from lead_intake.accounts.resolve import Accounts, one_country_one_number, resolve

AT = datetime(2026, 9, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "country", "number"),
    [
        ("DE 123 456 788", "", "DE123456788"),
        ("de123.456.788", "FR", "DE123456788"),
        ("USt-IdNr.: DE123456788", "DE", "DE123456788"),
        ("123456788", "DE", "DE123456788"),
        ("ATU12345675", "", "ATU12345675"),
        ("EL094259216", "", "GR094259216"),
        ("CHE-116.281.710 MWST", "", "CH116281710"),
        ("ESB58378431", "", "ESB58378431"),
        ("B58378431", "ES", "ESB58378431"),
        ("7707083893", "", "RU7707083893"),
        ("ИНН 7707083893 КПП 773601001", "RU", "RU7707083893"),
        ("7707083893/773601001", "", "RU7707083893"),
        ("500100732259", "RU", "RU500100732259"),
    ],
)
def test_a_tax_number_reads_the_same_however_it_is_written(told: str, country: str, number: str) -> None:
    assert tax_number(told, country) == number


@pytest.mark.parametrize(
    ("told", "country"),
    [
        ("123456788", ""),  # of no country
        ("7707083894", "RU"),  # the check digit is wrong
        ("500100732250", "RU"),
        ("DE000000000", ""),
        ("123456789", "DE"),
        ("n/a", "DE"),
        ("no", "DE"),
        ("", "DE"),
        ("DE12", ""),
        ("1" * 60, "DE"),
    ],
)
def test_what_may_be_anybodys_number_identifies_nobody(told: str, country: str) -> None:
    assert tax_number(told, country) == ""


@given(told=st.text(max_size=60), country=st.sampled_from(["", "DE", "RU", "ES", "KZ"]))
def test_a_tax_number_is_always_a_country_and_its_number_and_reads_as_itself(told: str, country: str) -> None:
    number = tax_number(told, country)
    if number:
        assert number[:2].isalpha()
        assert number.isascii()
        assert number.isalnum()
        assert len(number) <= 20
        assert tax_number(number, "") == number


@pytest.mark.parametrize(
    ("email", "website", "domain"),
    [
        ("anna@mail.acme.co.uk", "", "acme.co.uk"),
        ("anna@gmail.com", "https://www.acme.de/impressum?x=1", "acme.de"),
        ("anna@acme.de", "https://facebook.com/acme", "acme.de"),
        ("anna@agency.example", "acme.de", "acme.de"),
        ("anna@gmail.com", "https://instagram.com/acme", ""),
        ("anna@mailinator.com", "", ""),
        ("anna@acme.github.io", "", ""),
        ("anna@holding.de", "", ""),
        ("anna@holding.de", "acme.de", "acme.de"),
        ("anna@acme.de", "https://holding.de", "acme.de"),
        ("", "localhost", ""),
        ("", "", ""),
    ],
)
def test_only_a_domain_of_the_firms_own_makes_an_account(email: str, website: str, domain: str) -> None:
    assert domain_of(email, website, shared={"domain:holding.de"}) == domain


def test_the_keys_come_strongest_first_and_a_company_id_is_its_crms() -> None:
    fields = {"tax_number": "DE123456788", "company_id": "55170; 7", "website": "acme.de"}
    assert account_keys(fields, email="", country="", crm="hubspot", shared=set()) == (
        "tax:DE123456788",
        "company:hubspot:55170",
        "domain:acme.de",
    )


def settled(accounts: Accounts, *keys: str, n: int, name: str = "") -> str:
    return resolve(accounts, keys, new_id=f"{n:04}", event_id=f"e{n}", name=name, receipt_id=f"r{n}", at=AT)


def test_two_keys_of_two_accounts_merge_nothing_and_are_proposed() -> None:
    accounts = Accounts()
    a, b = settled(accounts, "domain:a.de", n=1), settled(accounts, "company:hubspot:5", n=2)
    assert settled(accounts, "company:hubspot:5", "domain:a.de", n=3) == b
    assert [(p.low, p.high, p.kind) for p in accounts.proposals] == [(a, b, "keys")]
    assert accounts.of == {"domain:a.de": a, "company:hubspot:5": b}


def test_a_known_tax_number_beside_another_account_is_proposed_as_such() -> None:
    accounts = Accounts()
    a, b = settled(accounts, "tax:DE1", "domain:a.de", n=1), settled(accounts, "domain:a.com", n=2)
    assert settled(accounts, "tax:DE1", "domain:a.com", n=3) == a
    assert [(p.low, p.high, p.kind) for p in accounts.proposals] == [(a, b, "tax")]


def test_an_account_has_one_tax_number_a_country() -> None:
    accounts = Accounts()
    a = settled(accounts, "tax:DE1", "domain:a.de", n=1)
    assert settled(accounts, "tax:AT1", "domain:a.de", n=2) == a
    other = settled(accounts, "tax:DE2", "domain:a.de", n=3)
    assert other != a
    assert [(p.low, p.high, p.kind) for p in accounts.proposals] == [(a, other, "keys")]
    assert one_country_one_number({a: ["DE1", "AT1"]})
    assert not one_country_one_number({a: ["DE1"], other: ["DE2"]})


def test_a_name_that_was_missing_is_filled_in_once() -> None:
    accounts = Accounts(of={"domain:a.de": "0001"}, nameless={"0001"})
    settled(accounts, "domain:a.de", n=2, name="Acme")
    settled(accounts, "domain:a.de", n=3, name="Acme GmbH")
    assert accounts.names == {"0001": "Acme"}


KEY = st.sampled_from(
    ["tax:DE1", "tax:DE2", "tax:AT1", "company:h:1", "company:h:2", "domain:a.de", "domain:b.de", "domain:c.de"]
)
INQUIRY = st.lists(KEY, min_size=1, max_size=3, unique_by=lambda key: key.partition(":")[0]).map(
    lambda keys: sorted(keys, key=lambda key: ["tax", "company", "domain"].index(key.partition(":")[0]))
)


@given(inquiries=st.lists(INQUIRY, max_size=12))
def test_a_key_always_keeps_its_account_and_no_account_gets_two_numbers_of_a_country(
    inquiries: list[list[str]],
) -> None:
    accounts = Accounts()
    before: dict[str, str] = {}
    for n, keys in enumerate(inquiries):
        account = settled(accounts, *keys, n=n)
        assert {key: accounts.of[key] for key in before} == before
        before = dict(accounts.of)
        assert account in {accounts.of[key] for key in keys}
        # Every account that the inquiry names beside is proposed to be the same.
        named = {accounts.of[key] for key in keys} - {account}
        proposed = {id for p in accounts.proposals if p.receipt_id == f"r{n}" for id in (p.low, p.high)}
        assert named <= proposed
    numbers: dict[str, list[str]] = {}
    for key, account in accounts.of.items():
        if key.startswith("tax:"):
            numbers.setdefault(account, []).append(key.removeprefix("tax:"))
    assert all(one_country_one_number({account: told}) for account, told in numbers.items())
