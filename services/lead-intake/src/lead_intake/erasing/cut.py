"""Cut entries out of a raw body, and find a person in one. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from lead_intake.delivery import Unparsable
from lead_intake.reading import json_of


def without(body: bytes, *, entries: int, ordinals: Collection[int]) -> bytes | None:
    """The body without these entries, or None when nothing may remain of it.

    The others stay where they were, so that the receipt's entries keep their numbers: an empty object stands in the
    place of what is cut out. A body whose entries are not the items of one JSON list cannot be cut: all of it goes.
    """
    if len(set(ordinals)) >= entries:
        return None
    found = _items(body, entries)
    if found is None:
        return None
    document, items = found
    for ordinal in ordinals:
        items[ordinal] = {}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def spelled(emails: Collection[str], phones: Collection[str]) -> tuple[bytes, ...]:
    """How addresses and numbers may stand in a raw body, in lower case: plain, percent-encoded, escaped as in JSON."""
    found: set[str] = set()
    for email in emails:
        plain = email.lower()
        found |= {plain, plain.replace("@", "%40"), plain.replace("@", "\\u0040")}
    for phone in phones:
        found.add(phone.removeprefix("+"))
    return tuple(sorted(text.encode("utf-8", "surrogatepass") for text in found if len(text) >= 5))


def names(body: bytes, spellings: Sequence[bytes]) -> bool:
    """Whether the body speaks of the person."""
    lower = body.lower()
    return any(one in lower for one in spellings)


def naming(body: bytes, *, entries: int, spellings: Sequence[bytes]) -> set[int]:
    """Which entries of a body speak of the person; all of them where that cannot be told."""
    found = _items(body, entries) if entries > 1 else None
    if found is None:
        return set(range(entries))
    return {n for n, item in enumerate(found[1]) if names(json.dumps(item, ensure_ascii=False).encode(), spellings)}


def _items(body: bytes, entries: int) -> tuple[Any, list[Any]] | None:
    """The document and the one list in it that holds the entries."""
    try:
        document = json_of(body, charset="")
    except Unparsable:
        return None
    lists = [each for each in _lists(document) if len(each) == entries and all(isinstance(i, dict) for i in each)]
    return (document, lists[0]) if len(lists) == 1 else None


def _lists(node: Any) -> Iterator[list[Any]]:
    if isinstance(node, list):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _lists(child)
