"""What a merge would join, before anybody does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from baton.lead.v1.contact_pb2 import ContactChanged
from baton.lead.v1.lead_pb2 import LeadFeatures
from baton_kit import edges
from baton_kit.db import Tx
from lead_intake.merging import store
from lead_intake.merging.merge import Refused, Unknown, check
from lead_intake.merging.person import joined


@dataclass(frozen=True, slots=True)
class Preview:
    """Both sides with every lead that belongs to them, the features before and after, and why it cannot be, if so."""

    canonical: str
    from_leads: tuple[str, ...]
    into_leads: tuple[str, ...]
    parts: Mapping[str, Mapping[str, Any]]
    before: LeadFeatures
    after: LeadFeatures
    refused: str
    detail: str


async def preview(tx: Tx, from_lead: str, into_lead: str) -> Preview:
    """Say what merging would join; changes nothing. Raises Unknown."""
    found = await edges.families_of(tx, [from_lead, into_lead])
    parts = await store.part_of(tx, found.everyone([from_lead, into_lead]))
    refused = detail = ""
    try:
        check(store.LEADS, from_lead, into_lead, known=parts.keys(), families=found)
    except Refused as error:
        refused, detail = error.why, error.detail
    if from_lead not in parts or into_lead not in parts:
        raise Unknown("lead")
    canonical = found.root(into_lead)
    told = {lead_id: LeadFeatures.FromString(part["features"]) for lead_id, part in parts.items()}
    mine = {lead_id: told[lead_id] for lead_id in found.members(into_lead)}
    return Preview(
        canonical=canonical,
        from_leads=found.members(from_lead),
        into_leads=found.members(into_lead),
        parts=parts,
        before=joined(mine, canonical=canonical),
        after=joined(told, canonical=canonical),
        refused=refused,
        detail=detail,
    )


def contact_of(part: Mapping[str, Any]) -> ContactChanged:
    """The person behind one lead of a preview; empty where the person was forgotten."""
    return ContactChanged.FromString(part["contact"] or b"")
