"""Write down what happened to handoffs and tell it: state, history, feedback and events in one transaction."""

from collections.abc import Sequence

from baton_kit.db import Tx
from baton_kit.envelope import Event
from sales_feedback import events
from sales_feedback.app import App
from sales_feedback.handoffs import store
from sales_feedback.handoffs.handoff import Moved
from sales_feedback.ids import derived_id


async def record(tx: Tx, app: App, moves: Sequence[Moved], *, note: str | None = None) -> None:
    """Save moved handoffs that this transaction has locked; `note` belongs to the feedback of the one move.

    Each step becomes one HandoffChanged and the answer one SalesFeedback, with the sequence of the handoff after it.
    Moves that changed nothing write nothing.
    """
    now = app.clock.now()
    moved = [move for move in moves if move.changes or move.feedback]
    await store.save_handoffs(tx, [move.handoff for move in moved])
    await store.insert_changes(tx, [change for move in moved for change in move.changes], at=now)

    told: list[Event] = []
    answers = []
    for move in moved:
        told += [events.handoff_changed(change) for change in move.changes]
        if move.feedback is not None:
            id_ = events.feedback_id(move.feedback)
            note_id = derived_id("note", id_, at=now) if note is not None else None
            answers.append((id_, move.feedback, note_id))
            told.append(events.sales_feedback(move.feedback, note_id=note_id))
            if note is not None and note_id is not None:
                await store.insert_note(tx, note_id, move.handoff, text=note, at=now)
    await store.insert_feedback(tx, answers, at=now)
    await app.outbox.append(tx, told)
