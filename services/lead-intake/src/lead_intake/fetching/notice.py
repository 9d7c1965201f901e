"""A lead that a provider lists, in the shape in which its push would have told of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Notice:
    """`key` is the key that the push's entry would have; `value` is what that entry would hold."""

    key: str
    form_id: str
    occurred_at: datetime
    value: dict[str, Any]
