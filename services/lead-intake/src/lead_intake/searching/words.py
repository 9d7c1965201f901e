"""What a lead can be found by, and how a search asks for it. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from baton.lead.v1.contact_pb2 import ContactChanged

LONGEST = 4_000
"""Characters kept of one contact's words."""
MOST_WORDS = 8
"""Words of a search that count."""

_BREAKS = re.compile(r"[\s,;:()\[\]<>\"|/\\]+")
_NUMBER = re.compile(r"[\d\s().+/-]+")
_NOT_DIGITS = re.compile(r"\D+")
_TRIGRAM = 3


def folded(text: str) -> str:
    """The text as it is compared: without case, accents and compatibility forms."""
    # Through upper case first: only so is every letter compared like its own capital (the dotless i of Turkish).
    apart = unicodedata.normalize("NFKD", text.upper())
    return "".join(c for c in apart if not unicodedata.combining(c)).casefold()


def words_of(contact: ContactChanged) -> str:
    """The words of a contact between single spaces, one at each end."""
    texts = [contact.full_name, contact.first_name, contact.last_name, contact.company_name, *contact.emails]
    found = dict.fromkeys(word for text in texts for word in _split(text))
    found |= dict.fromkeys(phone.removeprefix("+") for phone in contact.phones)
    return f" {' '.join(found)} "[:LONGEST]


def patterns_of(term: str) -> list[str]:
    """LIKE patterns that all have to match `words_of`; none when the term says nothing.

    A number matches however it is written: the digits after its trunk prefix count.
    """
    if _NUMBER.fullmatch(term) and len(digits := _NOT_DIGITS.sub("", term)) >= 5:
        return [f"%{_subscriber(digits)}%"]
    return [_pattern(word) for word in dict.fromkeys(_split(term))][:MOST_WORDS]


def _split(text: str) -> Iterable[str]:
    return (word for part in _BREAKS.split(folded(text)) if (word := part.strip(".'-_")))


def _subscriber(digits: str) -> str:
    # 00 and 0 lead out of a country or a town; 8 does in Russia, where numbers then have eleven digits.
    if len(digits) == 11 and digits.startswith("8"):
        return digits[1:]
    return digits.lstrip("0")


def _pattern(word: str) -> str:
    safe = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    # Shorter than the index's grain, only whole words are looked for.
    return f"%{safe}%" if len(word) >= _TRIGRAM else f"% {safe} %"
