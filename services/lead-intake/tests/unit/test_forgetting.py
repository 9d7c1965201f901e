"""What is cut out of raw bodies, and what leads are found by: rules that hold for every input."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from baton.lead.v1.contact_pb2 import ContactChanged
from lead_intake.entry import stored_key
from lead_intake.erasing import erase
from lead_intake.erasing.cut import names, naming, spelled, without
from lead_intake.erasing.mention import mentions_of, mentions_of_person
from lead_intake.searching.words import LONGEST, patterns_of, words_of
from lead_intake.tables import metadata

RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["email", "name", "id", "more"]), st.text(max_size=12) | st.integers(), min_size=1),
    min_size=1,
    max_size=6,
)


def test_every_table_either_forgets_or_says_why_it_need_not() -> None:
    assert set(erase.FORGETS) | set(erase.KEEPS) == set(metadata.tables)
    assert not set(erase.FORGETS) & set(erase.KEEPS)


@given(records=RECORDS, data=st.data(), wrapped=st.booleans())
def test_what_is_cut_is_gone_and_the_others_stay_where_they_were(
    records: list[dict[str, Any]], data: st.DataObject, wrapped: bool
) -> None:
    ordinals = data.draw(st.sets(st.integers(0, len(records) - 1), min_size=1))
    body = json.dumps({"batch": records, "n": len(records)} if wrapped else records).encode()
    left = without(body, entries=len(records), ordinals=ordinals)
    if len(ordinals) == len(records):
        assert left is None
        return
    assert left is not None
    document = json.loads(left)
    kept = document["batch"] if wrapped else document
    assert kept == [{} if n in ordinals else record for n, record in enumerate(records)]


@given(body=st.binary(max_size=200), entries=st.integers(2, 5))
def test_a_body_that_cannot_be_cut_goes_as_a_whole(body: bytes, entries: int) -> None:
    left = without(body, entries=entries, ordinals={0})
    assert left is None or len(json.loads(left)) == entries


@given(
    email=st.from_regex(r"[a-z][a-z0-9._+-]{0,8}[a-z0-9]@[a-z0-9]{1,8}\.[a-z]{2,5}", fullmatch=True),
    phone=st.from_regex(r"\+[2-9][0-9]{7,14}", fullmatch=True),
    around=st.text(alphabet='&?=/:;," <>{}#[]()', min_size=1, max_size=3),
    at=st.sampled_from(["@", "%40", "\\u0040"]),
    upper=st.booleans(),
)
def test_whoever_a_body_names_it_is_noted_to_mention(email: str, phone: str, around: str, at: str, upper: bool) -> None:
    spelling = (email.upper() if upper else email).replace("@", at)
    for text in (f"{around}{spelling}{around}", f"{around}{phone.removeprefix('+')}{around}", f"tel:{phone}"):
        body = text.encode()
        mine = set(mentions_of_person([email], [phone]))
        assert not names(body, spelled([email], [phone])) or mine & set(mentions_of(body)), text


def test_times_and_words_are_no_mentions() -> None:
    body = b'{"type":"page","sentAt":"2026-01-09T08:00:00Z","at":1772438400123,"s":1772438400}'
    assert mentions_of(body) == ()


def test_a_person_is_found_in_a_body_however_the_address_is_written() -> None:
    spellings = spelled(["Anna.Petrova@Example.com"], ["+34600112233"])
    for body in (
        b'{"email": "ANNA.petrova@example.com"}',
        b"email=anna.petrova%40example.com&x=1",
        b'{"email": "anna.petrova\\u0040example.com"}',
        b"tel=%2B34600112233",
    ):
        assert names(body, spellings), body
    assert not names(b'{"email": "anna@example.com", "phone": "+34600112234"}', spellings)


def test_of_several_entries_only_those_that_name_the_person_are_meant() -> None:
    body = json.dumps([{"email": "a@example.com"}, {"email": "anna@example.com"}]).encode()
    assert naming(body, entries=2, spellings=spelled(["anna@example.com"], [])) == {1}


def test_a_delivery_id_that_holds_an_address_is_kept_by_digest_only() -> None:
    key = stored_key("lead-Anna@Example.com-7")
    assert "anna" not in key.lower()
    assert key == stored_key("lead-anna@example.com-7")
    assert stored_key("lead-7") == "lead-7"


def matches(term: str, words: str) -> bool:
    patterns = patterns_of(term)
    return bool(patterns) and all(_like(pattern, words) for pattern in patterns)


def _like(pattern: str, words: str) -> bool:
    text = pattern[1:-1].replace("\\%", "%").replace("\\_", "_").replace("\\\\", "\\")
    return text in words


@given(
    name=st.text(st.characters(categories=["L", "Nd", "Zs", "P"]), max_size=40),
    company=st.text(st.characters(categories=["L", "Nd", "Zs"]), max_size=30),
)
def test_a_contact_is_found_by_its_whole_name_and_by_its_company_in_any_case(name: str, company: str) -> None:
    words = words_of(ContactChanged(full_name=name, company_name=company))
    for term in (name, company, name.upper(), f"{company} {name}"):
        patterns = patterns_of(term)
        # Five digits and more with nothing but separators between them are asked for as a number, not as a name.
        number = sum(c.isdecimal() for c in term) >= 5 and not any(c.isalpha() for c in term)
        if patterns and "%" not in term and not number:
            assert matches(term, words), (patterns, words)
    assert len(words) <= LONGEST


def test_names_are_found_without_accents_and_numbers_however_they_are_written() -> None:
    words = words_of(
        ContactChanged(
            full_name="José Алёна Li", emails=["j.alena@firma.example"], phones=["+79161234567", "+493012345"]
        )
    )
    for term in (
        "jose",
        "АЛЕНА",
        "li",
        "firma.example",
        "8 (916) 123-45-67",
        "+7 916 1234567",
        "030 12345",
        "9161234567",
    ):
        assert matches(term, words), term
    for term in ("josef", "l", "30 99999", "916 765"):
        assert not matches(term, words), term
