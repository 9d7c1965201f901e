"""What the routes about merges of all kinds answer alike."""

from __future__ import annotations

from uuid import UUID

from baton_kit.pages import decode_cursor
from baton_kit.policy import Caller
from baton_kit.problems import Problem
from lead_intake.merging.merge import Refused, Unknown


def who(caller: Caller) -> str:
    """The id of the person whose key it is, else of the key: never a name."""
    return caller.person_id or f"key:{caller.key_id}"


def problem(error: Unknown | Refused) -> Problem:
    """404 for what is not there, 409 with what is possible for what cannot be."""
    if isinstance(error, Unknown):
        return Problem(404, f"There is no such {error.what}")
    return Problem(409, "This cannot be merged" if error.why != "undone" else "It is undone", detail=error.detail)


def after_pair(cursor: str | None) -> tuple[str, str] | None:
    """The pair of ids that a list of proposals goes on after. Raises Problem for a cursor that is none."""
    position = decode_cursor(cursor, kinds=[str, str])
    if position is None:
        return None
    try:
        return str(UUID(position[0])), str(UUID(position[1]))
    except ValueError:
        raise Problem(400, "The cursor is not valid", detail="Start again without `cursor`.") from None
