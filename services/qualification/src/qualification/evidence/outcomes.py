"""What became of leads: deals, and leads counted by what they have in common."""

from datetime import datetime
from typing import NamedTuple


class Deal(NamedTuple):
    """A deal as it stands; `outcome` is won, lost or open (again)."""

    id: str
    lead_id: str
    sequence: int
    outcome: str
    closed_at: datetime


class Alike(NamedTuple):
    """`leads` handed over under the same rules, answered by the same rep in the same way, with the same end.

    `answer` is accepted, rejected or empty, `end` won, lost or empty.
    """

    rules: tuple[str, ...]
    rep_id: str
    answer: str
    reason: str
    end: str
    leads: int
