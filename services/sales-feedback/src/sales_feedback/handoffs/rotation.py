"""Round robin: whose turn it is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """A rep's place in the round: reps take turns in the order of their positions."""

    position: int
    rep_id: str


def take_turns(reps: Sequence[Turn], *, last: int, count: int) -> tuple[list[str], int]:
    """The reps of the next `count` handoffs, and the position of the last one served.

    The round goes on behind `last`, also when that rep has left since: over any row of handoffs without a change of
    reps the numbers of two reps differ by at most one. No reps, no turns.
    """
    if not reps or count <= 0:
        return [], last
    circle = sorted(reps, key=lambda turn: turn.position)
    start = next((i for i, turn in enumerate(circle) if turn.position > last), 0)
    served = [circle[(start + i) % len(circle)] for i in range(count)]
    return [turn.rep_id for turn in served], served[-1].position
