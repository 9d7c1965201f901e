"""Who is who: rules of keys, and keys that many share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_intake.identity.keys import DEFAULT, PARTS, Fault, keys_of, rules_of


def keys(rule: str = DEFAULT, *, shared: frozenset[str] = frozenset(), **told: str) -> tuple[str, ...]:
    known = {"email": "", "phone": "", "company_domain": ""}
    parts = {name: told.pop(name, value) for name, value in known.items()}
    return keys_of(rules_of(rule), source_id="form", fields=told, shared=shared, **parts)


def test_each_key_alone_identifies_unless_the_source_says_otherwise() -> None:
    assert keys(email="A@x.de", phone="+34600112201", crm_id="77", external_id="9") == (
        "email:a@x.de",
        "phone:+34600112201",
        "external_id:form/9",
        "crm_id:77",
    )
    assert keys(anonymous_id="cookie") == ()


def test_keys_joined_by_plus_count_only_together() -> None:
    rule = "email, company_domain+anonymous_id"
    assert keys(rule, anonymous_id="c1", company_domain="x.de") == ("anonymous_id+company_domain:c1|x.de",)
    assert keys(rule, anonymous_id="c1") == ()
    assert rules_of("company_domain + anonymous_id") == rules_of("anonymous_id+company_domain")


@pytest.mark.parametrize("wrong", ["", "mail", "email,,phone", "name", "company_domain", "email;phone", "email+"])
def test_a_rule_that_would_identify_wrongly_is_refused(wrong: str) -> None:
    with pytest.raises(Fault):
        rules_of(wrong)


def test_a_shared_address_identifies_only_with_the_name() -> None:
    anna = keys(email="info@x.de", full_name="Anna Petrova")
    assert anna == keys(email="info@x.de", full_name="Petrova, anna")
    assert anna == keys(email="INFO@x.de", first_name="Anna", last_name="Petrova")
    assert anna != keys(email="info@x.de", full_name="Boris Petrov")
    assert "petrova" not in anna[0]
    listed = frozenset({"phone:+34600112201"})
    assert keys(phone="+34600112201", full_name="Anna", shared=listed) != keys(phone="+34600112201", shared=listed)
    assert keys(phone="+34600112201") == ("phone:+34600112201",)


TOLD = st.dictionaries(st.sampled_from([*PARTS, "full_name"]), st.text(max_size=20))


@given(told=TOLD, others=TOLD)
def test_keys_are_always_the_same_for_the_same_and_never_empty_of_what_they_name(
    told: dict[str, str], others: dict[str, str]
) -> None:
    rule = "email, phone, external_id, crm_id, anonymous_id+company_domain, name+company_name"
    found = keys(rule, **told)
    assert found == keys(rule, **told)
    for key in found:
        named, _, value = key.partition(":")
        assert all(value.split("|") if "+" in named else [value])
    assert len(found) <= 6


PAIR = st.tuples(st.text("a|%7C25", min_size=1, max_size=6), st.text("a|%7C25", min_size=1, max_size=6))


@given(one=PAIR, other=PAIR)
def test_joined_values_are_the_same_key_only_if_each_of_them_is_the_same(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    first, second = (keys("anonymous_id+company_domain", anonymous_id=a, company_domain=d) for a, d in (one, other))
    assert (first == second) == (one == other)
