"""Receive deliveries: receipt, identity, lead, touch, contact and events, in one transaction.

The order of the steps is the guarantee (two transactions that meet the same person never make two of it, and never
wait for each other in a circle): locks on all keys in a statement of their own, then a new statement that reads,
then row locks in the order of the ids, then writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from baton.lead.v1.contact_pb2 import ClickId, ContactChanged
from baton.lead.v1.history_pb2 import DealImported
from baton_kit import forgotten
from baton_kit.db import Direct, Tx
from baton_kit.edges import Families, families_of
from baton_kit.envelope import Event
from baton_kit.failpoint import failpoint
from baton_kit.outbox import Lane
from lead_intake import contact, events, features, store
from lead_intake.accounts import follow
from lead_intake.accounts.resolve import Accounts, propose, resolve
from lead_intake.campaigns.matching import Campaigns, Placed
from lead_intake.contact import stamp
from lead_intake.delivery import Outcome, Result
from lead_intake.entry import Delivery, Entry, Person, Visitor
from lead_intake.erasing.cut import without
from lead_intake.fetching.note import note
from lead_intake.identity.keys import name_digest
from lead_intake.identity.shared import Sighting, note_names
from lead_intake.importing.wait import FORGOTTEN, WAITS, forgotten_keys
from lead_intake.ledger.store import keep_requests
from lead_intake.touches import Origin
from lead_intake.tracking import store as tracking

if TYPE_CHECKING:
    from lead_intake.app import App


TOLD_ON = "told_on"
"""The reason of an entry that is an update and nothing else."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How an entry ended: `first` is the entry it repeats."""

    outcome: Outcome
    reason: str = ""
    lead_id: str | None = None
    first: store.FirstEntry | None = None


@dataclass(slots=True)
class Writes:
    """What a batch will write, and the leads as they stand while it is worked through."""

    leads: dict[str, store.Lead]
    persons: dict[str, str]
    firsts: dict[tuple[str, str], store.FirstEntry]
    campaigns: Campaigns
    created: dict[str, store.Lead] = field(default_factory=dict)
    changed: dict[str, store.Lead] = field(default_factory=dict)
    identities: list[tuple[str, str]] = field(default_factory=list)
    touches: list[store.Touch] = field(default_factory=list)
    merges: list[store.ProposedMerge] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    visitors: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    visits: list[tracking.WaitingVisit] = field(default_factory=list)
    accounts: Accounts = field(default_factory=Accounts)
    forgotten: Set[str] = frozenset()
    """Identity keys of persons who were forgotten since the export was handed in."""


async def receive(tx: Tx | Direct, app: App, deliveries: Sequence[Delivery]) -> list[Result]:
    """Write the deliveries and tell what became of each; a repeated one gets the result of the first.

    The result is the same as if the deliveries had come one by one in this order.
    """
    settled = await settle_all(tx, app, deliveries)
    return [result_of(d, each) for d, each in zip(deliveries, settled, strict=True)]


async def settle_all(tx: Tx | Direct, app: App, deliveries: Sequence[Delivery]) -> list[list[Settled]]:
    """Write the deliveries like `receive`, and tell how each entry itself ended."""
    failpoint("intake.before_locks")
    opened = [(d, e, e.person) for d in deliveries for e in d.entries if e.person is not None]
    noted = [(d, e) for d in deliveries for e in d.entries if e.lookup is not None or e.forgets]
    visited = [(d, e) for d in deliveries for e in d.entries if e.visitor is not None]
    tracked = visitor_keys(e for d in deliveries for e in d.entries)

    # 1. Every key that decides who is who or what is a repeat, locked in one order, in a statement of its own.
    identities = {key for _, _, p in opened for key in p.identities}
    keys = {(d.source_id, e.key) for d, e, _ in opened} | {(d.source_id, e.forgets or e.key) for d, e in noted}
    keys |= {(d.source_id, e.key) for d, e in visited}
    locks = {lock_of(k) for k in identities} | {lock_of(f"{s}\n{k}") for s, k in keys}
    await store.lock_for_touches(tx, sorted(locks | {lock_of(visitor_lock(k)) for k in tracked}))
    failpoint("intake.after_locks")

    # 2. Only a new statement sees what the transactions we waited for have committed.
    firsts, persons, version = await store.known(tx, entries=sorted(keys), identities=sorted(identities))
    campaigns = await app.sources.campaigns_of(tx, version)
    visitors = await tracking.visitors(tx, tracked)

    # 3. Two keys of one person may arrive in two transactions: the lead's row makes them follow each other.
    leads = await store.lock_leads(tx, sorted({*persons.values(), *visitors.values()}))
    if firsts:  # repeats only: what comes again of a forgotten person leaves no body behind
        gone = await forgotten.forgotten(tx, {first.lead_id for first in firsts.values() if first.lead_id})
        deliveries = [_without(d, firsts, gone) for d in deliveries] if gone else deliveries
    failpoint("intake.after_reads")
    accounts = await follow.accounts_of(tx, [p for _, _, p in opened])

    handed_in = min((d.handed_in for d in deliveries if d.handed_in is not None), default=None)
    gone_keys = set() if handed_in is None else await forgotten_keys(tx, app, identities, handed_in=handed_in)

    # 4. Pure from here: no clock, no database.
    writes = Writes(leads, persons, firsts, campaigns, visitors=visitors, forgotten=gone_keys, accounts=accounts)
    settled = [[settle(d, e, writes) for e in d.entries] for d in deliveries]

    # 5. One statement for all that is new, one for what has changed.
    await store.insert_batch(
        tx,
        deliveries=deliveries,
        states=[state_of([s.outcome for s in each]) for each in settled],
        entries=_entry_rows(deliveries, settled),
        identities=writes.identities,
        leads=list(writes.created.values()),
        touches=writes.touches,
    )
    await follow.keep(tx, writes)
    await keep_requests(tx, deliveries)
    failpoint("intake.after_insert")
    await store.update_leads(tx, [lead for id, lead in writes.changed.items() if id not in writes.created])
    if writes.merges:  # rare, and only then worth asking whether they were merged before
        whole = await families_of(tx, [lead.id for lead in writes.leads.values()])
        await store.insert_merges(tx, [m for m in writes.merges if not _one_already(m, writes, whole)])
    await note_names(tx, writes.sightings)
    if tracked:
        await write_visitors(tx, writes, at=max(d.received_at for d in deliveries))
        failpoint("intake.after_visitors")
    if noted:
        await note(tx, app, deliveries=deliveries, outcomes=[[s.outcome for s in each] for each in settled])
    failpoint("intake.before_outbox")
    lane = Lane.BULK if deliveries and all(d.imported for d in deliveries) else Lane.LIVE
    await app.outbox.append(tx, writes.events, lane=lane)
    failpoint("intake.before_commit")
    return settled


async def quarantine(tx: Tx | Direct, delivery: Delivery, *, reason: str) -> Result:
    """Keep a delivery whose rows the database refuses: a receipt with the raw body, every entry quarantined."""
    settled = [Settled(Outcome.QUARANTINED, reason) for _ in delivery.entries]
    await store.insert_batch(
        tx, deliveries=[delivery], states=["quarantined"], entries=_entry_rows([delivery], [settled])
    )
    await keep_requests(tx, [delivery])
    return Result(delivery.receipt_id, tuple(s.outcome for s in settled), reason=reason)


def settle(d: Delivery, e: Entry, writes: Writes) -> Settled:
    """Decide one entry and note what it writes."""
    p = e.person
    if p is None and e.lookup is None and e.visitor is None:
        return Settled(e.outcome or Outcome.QUARANTINED, e.reason)
    first = writes.firsts.get((d.source_id, e.key))
    if first is not None:
        return Settled(Outcome.DUPLICATE, "", first.lead_id, first)
    if e.visitor is not None:
        return _visited(d, e, e.visitor, writes)
    if p is None:
        writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.PENDING, None)
        return Settled(Outcome.PENDING, e.reason)

    if d.handed_in is not None and not writes.forgotten.isdisjoint(p.identities):
        # Kept by its key, so that the same export handed in again finds it.
        writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.REFUSED, None)
        return Settled(Outcome.REFUSED, FORGOTTEN)
    met = list(dict.fromkeys(writes.persons[key] for key in p.identities if key in writes.persons))
    if p.only_known and (not met or met[0] not in writes.leads):
        if p.fact is not None:
            writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.PENDING, None)
            return Settled(Outcome.PENDING, WAITS)
        return Settled(Outcome.REFUSED, "nobody_known" if p.quiet else "unknown_lead")
    if p.fact is not None:
        return _fact_told(d, e, p, writes.leads[met[0]], writes)
    # Told again by its record, or by who tells of no contact: of a known person that is no touch.
    quiet = p.quiet or p.record_key in writes.persons
    person_id = met[0] if met else p.person_id
    for other in met[1:]:
        low, high = sorted((person_id, other))
        writes.merges.append(store.ProposedMerge(low, high, d.receipt_id, d.received_at))
    account_id = _account(d, p, writes)
    for key in p.identities:
        if key not in writes.persons:
            writes.persons[key] = person_id
            writes.identities.append((key, person_id))

    for key in p.visitors:
        if writes.visitors.get(key) != person_id:
            writes.visitors[key] = writes.links[key] = person_id

    known = writes.leads.get(person_id)
    if known is not None:
        writes.sightings += _other_name(p, known, at=d.received_at)
        if quiet:
            return _told_on(d, e, p, known, writes, account_id=account_id)
    if known is None:
        lead = _created(d, e, p, person_id, writes, account_id=account_id)
        outcome, contact_told = Outcome.CREATED, True
    else:
        lead, moved = known, _moved(d, e, p, known, account_id=account_id, writes=writes)
        outcome, contact_told = _matched(e, p, lead)
        outcome = Outcome.MATCHED if moved and outcome is Outcome.TOUCH_ONLY else outcome
    lead.sequence += 1
    placed = _placed(d, e, p.origin, writes.campaigns)
    writes.touches.append(
        store.Touch(p.touch_id, lead.id, d.receipt_id, e.occurred_at, lead.sequence, d.source_id, p.origin, placed)
    )
    writes.events.append(
        events.touch_recorded(
            d,
            e,
            p,
            origin=p.origin,
            lead_id=lead.id,
            sequence=lead.sequence,
            features=lead.features,
            campaign=placed.campaign,
            account_id=lead.account_id,
        )
    )
    if contact_told:
        _contact_told(d, e, p, lead, writes)
    writes.changed[lead.id] = lead
    writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, outcome, lead.id)
    return Settled(outcome, "", lead.id)


def _told_on(
    d: Delivery, e: Entry, who: Person | Visitor, lead: store.Lead, writes: Writes, *, account_id: str = ""
) -> Settled:
    """Take in what is told of a known person without a touch; what tells nothing new is a duplicate."""
    newer = e.occurred_at >= lead.told_at
    told = features.told_on(lead.features, who.features, consent_told=who.consent_told, newer=newer)
    whole = contact.merged(lead.contact, who.contact, newer=newer)
    contact_told = whole != lead.contact
    moved = isinstance(who, Person) and _moved(d, e, who, lead, account_id=account_id, writes=writes)
    if told is lead.features and not contact_told and not moved:
        # It brings no touch by which its body is found when the person is forgotten; as a repeat it is found.
        return Settled(Outcome.DUPLICATE, "", lead.id)
    lead.told_at = max(lead.told_at, e.occurred_at)
    if told is not lead.features:
        lead.features = told
        lead.sequence += 1
        writes.events.append(
            events.lead_updated(
                d,
                e,
                who,
                lead_id=lead.id,
                sequence=lead.sequence,
                features=lead.features,
                account_id=lead.account_id,
            )
        )
    if contact_told:
        lead.contact = whole
        _contact_told(d, e, who, lead, writes)
    writes.changed[lead.id] = lead
    writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.UPDATED, lead.id)
    return Settled(Outcome.UPDATED, TOLD_ON, lead.id)


def _contact_told(d: Delivery, e: Entry, who: Person | Visitor, lead: store.Lead, writes: Writes) -> None:
    lead.contact_sequence += 1
    lead.contact = contact.stamped(
        lead.contact, lead_id=lead.id, person_id=lead.person_id, sequence=lead.contact_sequence, at=lead.told_at
    )
    writes.events.append(events.contact_changed(d, who, lead.contact, at=e.occurred_at))


def _visited(d: Delivery, e: Entry, v: Visitor, writes: Writes) -> Settled:
    """A visitor's entry: a touch of the person, if somebody was identified under one of its keys; else it waits."""
    person_id = next((writes.visitors[key] for key in v.visitors if key in writes.visitors), None)
    lead = writes.leads.get(person_id) if person_id is not None else None
    if person_id is None or lead is None:
        if v.origin is None:
            return Settled(Outcome.REFUSED, "nobody_known")
        ordinal = d.entries.index(e) if e.ordinal is None else e.ordinal
        writes.visits.append(
            tracking.WaitingVisit(
                v.touch_id, d.receipt_id, ordinal, d.source_id, d.provider, e.occurred_at, d.received_at, v.visitors,
                v.origin, v.mentions,
            )
        )  # fmt: skip
        writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.TOUCH_ONLY, None)
        return Settled(Outcome.TOUCH_ONLY)

    # The keys are one visitor's: what waits under the other one is this person's as well.
    for key in v.visitors:
        if key not in writes.visitors:
            writes.visitors[key] = writes.links[key] = person_id
    if v.origin is None:
        return _told_on(d, e, v, lead, writes)
    lead.sequence += 1
    placed = _placed(d, e, v.origin, writes.campaigns)
    writes.touches.append(
        store.Touch(v.touch_id, lead.id, d.receipt_id, e.occurred_at, lead.sequence, d.source_id, v.origin, placed)
    )
    writes.events.append(
        events.touch_recorded(
            d,
            e,
            v,
            origin=v.origin,
            lead_id=lead.id,
            sequence=lead.sequence,
            features=lead.features,
            campaign=placed.campaign,
            account_id=lead.account_id,
        )
    )
    _clicked(d, e, v, lead, origin_clicks=v.origin.click_ids, writes=writes)
    writes.changed[lead.id] = lead
    writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.TOUCH_ONLY, lead.id)
    return Settled(Outcome.TOUCH_ONLY, "", lead.id)


def _clicked(
    d: Delivery, e: Entry, v: Visitor, lead: store.Lead, *, origin_clicks: Sequence[tuple[str, str]], writes: Writes
) -> None:
    """Click ids are the person's: they go to the contact, and nowhere else."""
    if not origin_clicks:
        return
    clicks = [ClickId(kind=kind, value=value, occurred_at=stamp(e.occurred_at)) for kind, value in origin_clicks]
    whole = contact.merged(lead.contact, ContactChanged(click_ids=clicks), newer=False)
    if whole == lead.contact:
        return
    lead.contact_sequence += 1
    lead.contact = contact.stamped(
        whole, lead_id=lead.id, person_id=lead.person_id, sequence=lead.contact_sequence, at=lead.told_at
    )
    writes.events.append(events.contact_changed(d, v, lead.contact, at=e.occurred_at))


def _placed(d: Delivery, e: Entry, origin: Origin, campaigns: Campaigns) -> Placed:
    return campaigns.place(origin.mark(provider=d.provider, source_id=d.source_id), e.occurred_at)


def visitor_keys(entries: Iterable[Entry]) -> list[str]:
    """The visitors of these entries, whether named or not."""
    found: set[str] = set()
    for e in entries:
        who = e.person or e.visitor
        if who is not None and who.visitors:
            found.update(who.visitors)
    return sorted(found)


def visitor_lock(key: str) -> str:
    """What is locked for a visitor: no identity key may look like it."""
    return f"visitor\n{key}"


async def write_visitors(tx: Tx | Direct, writes: Writes, *, at: datetime) -> None:
    """Keep the visits that wait, then say who the visitors are. The caller holds their keys."""
    await tracking.insert_visits(tx, writes.visits)
    await tracking.link(tx, writes.links, at=at)


def _other_name(p: Person, lead: store.Lead, *, at: datetime) -> list[Sighting]:
    """Both names under each address and number, where an inquiry comes under another name than those before."""
    told, before = p.contact.full_name, lead.contact.full_name
    if not told or not before or told == before:
        return []
    if set(told.casefold().replace(",", " ").split()) & set(before.casefold().replace(",", " ").split()):
        return []  # "Anna P." and "Anna Petrova": a word in common is no second person
    keys = [key for key in p.identities if key.startswith(("email:", "phone:"))]
    return [(key, name_digest(name), at) for key in keys for name in (before, told)]


def _one_already(proposed: store.ProposedMerge, writes: Writes, whole: Families) -> bool:
    low, high = writes.leads.get(proposed.low), writes.leads.get(proposed.high)
    return low is not None and high is not None and whole.root(low.id) == whole.root(high.id)


def _fact_told(d: Delivery, e: Entry, p: Person, lead: store.Lead, writes: Writes) -> Settled:
    # The lead's own version and contact stay: the fact is about it and has a keeper of its own.
    assert p.fact is not None  # noqa: S101 - asked by the caller
    if isinstance(p.fact, DealImported) and lead.account_id:
        p.fact.account_id, p.fact.account_sequence = lead.account_id, lead.sequence
    writes.events.append(events.fact_imported(d, e, p, p.fact, lead_id=lead.id))
    writes.firsts[d.source_id, e.key] = store.FirstEntry(d.receipt_id, Outcome.MATCHED, lead.id)
    return Settled(Outcome.MATCHED, "", lead.id)


def _account(d: Delivery, p: Person, writes: Writes) -> str:
    """The account that the inquiry names, "" where it names none."""
    if not p.account_keys:
        return ""
    return resolve(
        writes.accounts,
        p.account_keys,
        new_id=p.account_id,
        event_id=p.account_event,
        name=p.contact.company_name,
        receipt_id=d.receipt_id,
        at=d.received_at,
    )


def _moved(d: Delivery, e: Entry, p: Person, lead: store.Lead, *, account_id: str, writes: Writes) -> bool:
    """Whether a known lead belongs to another account now: the newest that it names counts, as of all it tells.

    Two accounts that one lead names may be one company, or the person may have changed firms: people decide.
    """
    if account_id in ("", lead.account_id) or (lead.account_id and e.occurred_at < lead.told_at):
        return False
    if lead.account_id:
        propose(writes.accounts, lead.account_id, account_id, kind="keys", receipt_id=d.receipt_id, at=d.received_at)
    lead.sequence += 1
    writes.events.append(
        events.lead_account_changed(
            d,
            p,
            at=e.occurred_at,
            lead_id=lead.id,
            sequence=lead.sequence,
            account_id=account_id,
            previous=lead.account_id,
        )
    )
    lead.account_id = account_id
    return True


def _created(d: Delivery, e: Entry, p: Person, person_id: str, writes: Writes, *, account_id: str) -> store.Lead:
    lead = store.Lead(
        id=p.lead_id,
        person_id=person_id,
        source_id=d.source_id,
        receipt_id=d.receipt_id,
        created_at=d.received_at,
        sequence=1,
        told_at=e.occurred_at,
        features=p.features,
        contact=p.contact,
        contact_sequence=0,
        account_id=account_id,
    )
    writes.leads[person_id] = lead
    writes.created[lead.id] = lead
    writes.events.append(events.lead_created(d, e, p, lead_id=lead.id, features=lead.features, account_id=account_id))
    return lead


def _matched(e: Entry, p: Person, lead: store.Lead) -> tuple[Outcome, bool]:
    newer = e.occurred_at >= lead.told_at
    if newer:
        told = features.merged(lead.features, p.features, consent_told=p.consent_told)
    else:
        # Late: what is known counts, and the late one only fills what is empty.
        told = features.merged(p.features, lead.features, consent_told=lead.features.consent_marketing)
    whole = contact.merged(lead.contact, p.contact, newer=newer)
    contact_told = whole != lead.contact
    outcome = Outcome.MATCHED if contact_told or told != lead.features else Outcome.TOUCH_ONLY
    lead.features, lead.contact = told, whole
    lead.told_at = max(lead.told_at, e.occurred_at)
    return outcome, contact_told


def state_of(outcomes: Sequence[Outcome]) -> str:
    """The state of a receipt by its entries: what still waits shows first."""
    for waiting in (Outcome.QUARANTINED, Outcome.PENDING):
        if waiting in outcomes:
            return waiting.value
    return "refused" if all(o is Outcome.REFUSED for o in outcomes) else "settled"


def result_of(d: Delivery, settled: Sequence[Settled]) -> Result:
    """What the sender is told; where every entry repeats one earlier delivery, exactly what that one was told."""
    repeated = {s.first.receipt_id if s.first else None for s in settled}
    [only] = repeated if len(repeated) == 1 else [None]
    return Result(
        receipt_id=only or d.receipt_id,
        outcomes=tuple(s.first.outcome if s.first else s.outcome for s in settled),
        reason=next((s.reason for s in settled if s.reason), ""),
        lead_ids=tuple(s.lead_id for s in settled),
    )


def _without(d: Delivery, firsts: Mapping[tuple[str, str], store.FirstEntry], gone: set[str]) -> Delivery:
    firsts_of = [firsts.get((d.source_id, e.key)) for e in d.entries]
    ordinals = {n for n, first in enumerate(firsts_of) if first is not None and first.lead_id in gone}
    if not ordinals or d.body is None:
        return d
    return replace(d, body=without(d.body, entries=len(d.entries), ordinals=ordinals))


def lock_of(key: str) -> int:
    """The advisory lock of a key: 64 bits of BLAKE2, signed as PostgreSQL wants it."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, person=b"baton.intake")
    return int.from_bytes(digest.digest(), "big", signed=True)


def _entry_rows(deliveries: Sequence[Delivery], settled: Sequence[Sequence[Settled]]) -> list[store.EntryRow]:
    return [
        store.EntryRow(
            d.receipt_id,
            ordinal if e.ordinal is None else e.ordinal,
            d.source_id,
            e.key,
            s.outcome.value,
            s.reason,
            s.lead_id,
            s.first.receipt_id if s.first else None,
        )
        for d, each in zip(deliveries, settled, strict=True)
        for ordinal, (e, s) in enumerate(zip(d.entries, each, strict=True))
    ]
