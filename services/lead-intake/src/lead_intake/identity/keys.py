"""The keys by which a person is known again, as the source's rules name them. Pure.

A rule is a list of alternatives divided by commas; an alternative is one key, or several joined by `+` that only count
together: `email, phone, anonymous_id + company_domain`. The first alternative that meets a person decides; if others
meet somebody else, the two are proposed to be merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from functools import lru_cache

from lead_intake import normalise
from lead_intake.feature_tables import ROLE_ADDRESSES

PARTS = ("email", "phone", "external_id", "crm_id", "anonymous_id", "company_domain", "company_name", "name")
"""What a rule may name."""
ALONE = frozenset({"email", "phone", "external_id", "crm_id", "anonymous_id"})
"""What may identify a person by itself: many share a company or a name."""
DEFAULT = "email, phone, external_id, crm_id"
"""A cookie is a device's: a source that trusts it to be one person says so."""
MOST = 8
"""Alternatives of a rule: each is a key to lock."""

Rules = tuple[tuple[str, ...], ...]


class Fault(ValueError):
    """The rule cannot be used; the text says what is possible."""


@lru_cache(maxsize=256)
def rules_of(text: str) -> Rules:
    """The rules that a setting states. Raises Fault."""
    rules = []
    for alternative in text.split(","):
        names = tuple(sorted({name.strip() for name in alternative.split("+")}))
        for name in names:
            if name not in PARTS:
                raise Fault(f"possible are {', '.join(PARTS)}; `,` says or, `+` says and")
        if len(names) == 1 and names[0] not in ALONE:
            raise Fault(f"{names[0]} identifies nobody by itself: join it to another key with `+`")
        rules.append(names)
    if len(rules) > MOST:
        raise Fault(f"at most {MOST} alternatives")
    return tuple(dict.fromkeys(rules))


def keys_of(
    rules: Rules,
    *,
    source_id: str,
    fields: Mapping[str, str],
    email: str,
    phone: str,
    company_domain: str,
    shared: Set[str],
) -> tuple[str, ...]:
    """The identity keys of one inquiry, strongest first; empty where it names nobody.

    An address or number that many share (`info@`, a switchboard) identifies only together with the name: two persons
    behind it stay two, and what comes without a name is one person of its own.
    """
    keys = []
    for rule in rules:
        if rule == ("email",):
            if email:
                keys.append(_alone("email", email.lower(), fields, shared=shared))
        elif rule == ("phone",):
            if phone:
                keys.append(_alone("phone", phone, fields, shared=shared))
        else:
            values = [_value(p, source_id, fields, email, phone, company_domain) for p in rule]
            if all(values):
                keys.append(f"{'+'.join(rule)}:{'|'.join(map(_within, values))}")
    return tuple(keys)


def _within(value: str) -> str:
    # Two persons' values must never read as one: "a|b" and "c" is not "a" and "b|c".
    return value.replace("%", "%25").replace("|", "%7C")


def is_shared(kind: str, value: str, shared: Set[str]) -> bool:
    """Whether many persons stand behind this address or number."""
    return f"{kind}:{value}" in shared or (kind == "email" and value.partition("@")[0] in ROLE_ADDRESSES)


def name_digest(name: str) -> str:
    """A name as it stands in keys: its words in any order and case, and not to be read back."""
    words = " ".join(sorted(normalise.text(name, 200).casefold().replace(",", " ").split()))
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest() if words else ""


def name_of(fields: Mapping[str, str]) -> str:
    """The name that an inquiry tells, whole or in parts."""
    return fields.get("full_name") or f"{fields.get('first_name', '')} {fields.get('last_name', '')}".strip()


def _alone(kind: str, value: str, fields: Mapping[str, str], *, shared: Set[str]) -> str:
    if is_shared(kind, value, shared):
        return f"{kind}+name:{value}|{name_digest(name_of(fields))}"
    return f"{kind}:{value}"


def _value(part: str, source_id: str, fields: Mapping[str, str], email: str, phone: str, company_domain: str) -> str:
    if part == "email":
        return email.lower()
    if part == "phone":
        return phone
    if part == "company_domain":
        return company_domain
    if part == "name":
        return name_digest(name_of(fields))
    if part == "company_name":
        return normalise.text(fields.get("company_name", ""), 200).casefold()
    value = normalise.text(fields.get(part, ""), 200)
    # A provider counts its people by itself: its ids mean nothing beside another source's.
    return f"{source_id}/{value}" if value and part == "external_id" else value
