"""Ids as one array parameter, so that a statement is the same for one id and for a thousand."""

from collections.abc import Iterable

from sqlalchemy import CollectionAggregate, Text, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY


def among(ids: Iterable[str]) -> CollectionAggregate[bool]:
    """The ids as the right side of `column == ...`: one of them; none when there are none."""
    return any_(literal(sorted(set(ids)), ARRAY(Text)))
