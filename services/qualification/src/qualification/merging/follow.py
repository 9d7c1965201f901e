"""Follow merges of leads and their undoing: who belongs together is decided about together."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from baton.lead.v1.lead_pb2 import LeadMerged, LeadUnmerged
from baton_agreement.features import profile_of
from baton_kit import edges
from baton_kit.db import Tx
from baton_kit.edges import Edge, Families
from baton_kit.outages import Unprocessable
from qualification import store as leads_store
from qualification.cycle import Lead, SeenTouch
from qualification.merging import person, store
from qualification.merging.person import Whole

EVER = datetime(1970, 1, 1, tzinfo=UTC)


async def learn(tx: Tx, told: Sequence[LeadMerged | LeadUnmerged]) -> set[str]:
    """Keep the edges, in whatever order they come; returns the leads whose person may have changed.

    The caller holds `lock_for_merging`. Every lead of a changed person stands as its own facts make it afterwards;
    what is decided about the person is decided anew from there.
    """
    found = [_edge(body) for body in told]
    named = sorted({key for edge in found for key in (edge.source, edge.target)})
    before = await edges.families_of(tx, named)
    await edges.learn(tx, found)
    await store.add_unknown_leads(tx, named)
    after = await edges.families_of(tx, named)
    changed = {*before.everyone(named), *after.everyone(named)}
    if all(before.members(key) == after.members(key) and before.root(key) == after.root(key) for key in changed):
        return set()
    ids = sorted(changed)
    leads = await leads_store.lock_leads(tx, ids)
    answers = await leads_store.feedback_of(tx, ids)
    touches = await leads_store.newest_touches(tx, ids, since=EVER)
    past = await store.past_of(tx, ids)
    await leads_store.write_leads(
        tx, [person.alone(lead, answers.get(i, ()), touches.get(i, ()), past[i]) for i, lead in leads.items()]
    )
    return changed


def seen(
    root: str, leads: Mapping[str, Lead], touches: Mapping[str, Sequence[SeenTouch]], *, rests: set[tuple[str, int]]
) -> tuple[Lead, list[SeenTouch], Whole]:
    """The canonical lead, all that the person did, and what the other leads say. Pure."""
    members = list(leads.values())
    everything = person.seen_by_all([touches.get(lead.id, ()) for lead in members])
    resting = frozenset(lead.id for lead in members if (lead.id, lead.cycle) in rests)
    canonical = person.moved_on(leads[root], members, everything, resting=resting)
    whole = Whole(
        profile=profile_of(person.joined(members, canonical=root)),
        held=person.held(canonical, members, everything, resting=resting),
    )
    return canonical, everything, whole


def persons_of(whole: Families, ids: set[str]) -> list[str]:
    """The canonical leads of those among the ids that are not alone."""
    return sorted({whole.root(i) for i in ids if len(whole.members(i)) > 1})


def _edge(body: LeadMerged | LeadUnmerged) -> Edge:
    ids = (body.merge_id, body.from_lead_id, body.into_lead_id)
    if not all(ids) or any("\x00" in i for i in ids) or body.from_lead_id == body.into_lead_id:
        raise Unprocessable("the merge names no two leads")
    return Edge(*ids, version=body.version, active=isinstance(body, LeadMerged))
