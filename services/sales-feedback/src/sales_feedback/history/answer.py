"""What sales answered about a lead before Baton was there. Pure."""

from dataclasses import dataclass
from datetime import datetime

from sales_feedback.handoffs.handoff import Answer


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """One answer; reason and family are codes of the import's mapping."""

    id: str
    lead_id: str
    kind: Answer
    reason: str | None
    reason_family: str | None
    reached: bool
    occurred_at: datetime
