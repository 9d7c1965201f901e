"""What several leads of one person say together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from baton.lead.v1.lead_pb2 import LeadFeatures


def joined(features: Mapping[str, LeadFeatures], *, canonical: str) -> LeadFeatures:
    """The features of the whole: the canonical lead's count, the others fill what it leaves open, oldest id first.

    The order in which anything was told does not matter, so that every service that joins gets the same.
    """
    whole = LeadFeatures()
    rest: Sequence[str] = sorted((lead_id for lead_id in features if lead_id != canonical), reverse=True)
    for lead_id in rest:
        whole.MergeFrom(features[lead_id])
    whole.consent_marketing = False  # consent stays with whoever gave it
    if canonical in features:
        whole.MergeFrom(features[canonical])
    return whole
