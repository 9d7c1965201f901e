"""Every SQL statement about the time before Baton."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert

from baton_kit.db import Tx
from sales_feedback.arrays import among
from sales_feedback.history.answer import PastAnswer
from sales_feedback.tables import imported_feedback


async def insert_answers(tx: Tx, answers: Sequence[PastAnswer], *, at: datetime) -> set[str]:
    """Insert answers; the ids of those that were not there."""
    if not answers:
        return set()
    rows = [
        {
            "id": one.id,
            "lead_id": one.lead_id,
            "kind": one.kind.value,
            "reason": one.reason,
            "reason_family": one.reason_family,
            "reached": one.reached,
            "occurred_at": one.occurred_at,
            "recorded_at": at,
        }
        for one in sorted(answers, key=lambda one: one.id)
    ]
    statement = insert(imported_feedback).values(rows).on_conflict_do_nothing().returning(imported_feedback.c.id)
    return set((await tx.execute(statement)).scalars())


async def answers_of_leads(tx: Tx, lead_ids: Iterable[str]) -> list[RowMapping]:
    statement = select(imported_feedback).where(imported_feedback.c.lead_id == among(lead_ids))
    return list((await tx.execute(statement.order_by(imported_feedback.c.occurred_at))).mappings())
