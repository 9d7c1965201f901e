"""How alike two persons are, by name and company. Pure."""

from __future__ import annotations

from rapidfuzz import fuzz

from baton.lead.v1.contact_pb2 import ContactChanged
from lead_intake import normalise

ENOUGH = 90
"""From this score on two leads are proposed: below it, a different first name in one firm is too common."""


def words_of(contact: ContactChanged) -> tuple[str, str]:
    """Name and company as they are compared: one line, without case. Both empty where either is missing."""
    name = normalise.text(contact.full_name, 200).casefold()
    company = normalise.text(contact.company_name, 200).casefold()
    return (name, company) if len(name) > 2 and len(company) > 1 else ("", "")


def score(one: tuple[str, str], other: tuple[str, str]) -> int:
    """0 to 100: the lower one of how alike the names and the companies are; the order of the words does not matter."""
    return int(min(fuzz.token_sort_ratio(one[0], other[0]), fuzz.token_set_ratio(one[1], other[1])))
