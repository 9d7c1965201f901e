"""A rep: who takes turns in the round of handoffs."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rep:
    """`external_ids` names the rep in each CRM (hubspot: owner id); an inactive rep gets no new handoffs."""

    id: str
    name: str
    external_ids: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
