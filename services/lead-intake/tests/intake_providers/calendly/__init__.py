"""Calendly."""

from datetime import timedelta
from typing import Any

from intake_providers.sample import Sample, Signing


def sign(s: Signing) -> dict[str, str]:
    at = str(int(s.now.timestamp()))
    return {"calendly-webhook-signature": f"t={at},v1={s.hmac(at.encode(), b'.', s.body).hex()}"}


def add(tree: Any, more: dict[str, Any]) -> None:
    tree["payload"]["questions_and_answers"] += [{"question": n, "answer": v} for n, v in more.items()]


SAMPLE = Sample(
    "calendly",
    key="https://api.calendly.com/scheduled_events/EV1/invitees/IN1",
    secret="cal-key-1",
    sign=sign,
    window=timedelta(minutes=3),
    add=add,
)
