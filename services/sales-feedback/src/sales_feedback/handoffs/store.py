"""Every SQL statement about handoffs, reps, contacts and notes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from baton_kit import forgotten
from baton_kit.db import Tx
from sales_feedback.arrays import among
from sales_feedback.handoffs.handoff import Change, Feedback, Handoff, Stamp, State
from sales_feedback.handoffs.rep import Rep
from sales_feedback.handoffs.rotation import Turn
from sales_feedback.tables import contact, feedback, handoff, handoff_change, note, rep, rotation


async def insert_handoffs(tx: Tx, handoffs: Sequence[Handoff]) -> set[str]:
    """Insert those whose lead and cycle have no handoff yet; the ids of these."""
    if not handoffs:
        return set()
    ordered = sorted(handoffs, key=lambda h: (h.lead_id, h.cycle))
    statement = insert(handoff).values([_row_of(h) for h in ordered])
    result = await tx.execute(
        statement.on_conflict_do_nothing(index_elements=["lead_id", "cycle"]).returning(handoff.c.id)
    )
    return set(result.scalars())


async def save_handoffs(tx: Tx, handoffs: Sequence[Handoff]) -> None:
    """Write the state of handoffs that this transaction has locked."""
    if not handoffs:
        return
    rows = [{f"new_{name}": value for name, value in _row_of(h).items()} for h in handoffs]
    columns = [name for name in _row_of(handoffs[0]) if name != "id"]
    statement = update(handoff).where(handoff.c.id == bindparam("new_id"))
    await tx.execute(statement.values({name: bindparam(f"new_{name}") for name in columns}), rows)


async def insert_changes(tx: Tx, changes: Sequence[Change], *, at: datetime) -> None:
    if changes:
        await tx.execute(
            insert(handoff_change),
            [
                {
                    "handoff_id": change.handoff.id,
                    "sequence": change.handoff.sequence,
                    "state": change.handoff.state,
                    "previous_state": change.previous,
                    "rep_id": change.handoff.rep_id,
                    "reason": change.handoff.reason,
                    "occurred_at": change.occurred_at,
                    "recorded_at": at,
                }
                for change in changes
            ],
        )


async def insert_feedback(tx: Tx, items: Sequence[tuple[str, Feedback, str | None]], *, at: datetime) -> None:
    """Write feedback as (id, feedback, note id)."""
    if items:
        await tx.execute(
            insert(feedback),
            [
                {
                    "id": id_,
                    "handoff_id": told.handoff.id,
                    "sequence": told.handoff.sequence,
                    "kind": told.kind,
                    "rep_id": told.rep_id,
                    "reason": told.reason,
                    "reason_family": told.reason_family,
                    "first_response": told.first_response,
                    "means": told.means,
                    "reached": told.reached,
                    "return_at": told.return_at,
                    "note_id": note_id,
                    "occurred_at": told.occurred_at,
                    "recorded_at": at,
                }
                for id_, told, note_id in items
            ],
        )


async def insert_note(tx: Tx, note_id: str, about: Handoff, *, text: str, at: datetime) -> None:
    await tx.execute(
        insert(note).values(id=note_id, lead_id=about.lead_id, handoff_id=about.id, text=text, created_at=at)
    )


async def get_handoff(tx: Tx, handoff_id: str, *, lock: bool = False) -> Handoff | None:
    statement = select(handoff).where(handoff.c.id == handoff_id)
    if lock:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return _handoff_of(row) if row is not None else None


async def lock_of_leads(tx: Tx, lead_ids: Iterable[str]) -> dict[str, list[Handoff]]:
    """Lock every handoff of the leads, in the order of lead and cycle; unknown leads are missing."""
    wanted = sorted(set(lead_ids))
    if not wanted:
        return {}
    rows = await tx.execute(
        select(handoff)
        .where(handoff.c.lead_id == among(wanted))
        .order_by(handoff.c.lead_id, handoff.c.cycle)
        .with_for_update()
    )
    found: dict[str, list[Handoff]] = {}
    for row in rows.mappings():
        found.setdefault(row["lead_id"], []).append(_handoff_of(row))
    return found


async def lock_waiting(tx: Tx, *, limit: int) -> list[Handoff]:
    """Lock handoffs that wait for a rep, the longest waiting first; those another worker holds are left to it."""
    rows = await tx.execute(
        select(handoff)
        .where(handoff.c.rep_id.is_(None), handoff.c.state == State.OFFERED)
        .order_by(handoff.c.offered_at, handoff.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_handoff_of(row) for row in rows.mappings()]


async def list_handoffs(
    tx: Tx,
    *,
    state: str | None,
    rep_id: str | None,
    lead_ids: Sequence[str] | None,
    before: str | None,
    limit: int,
) -> list[Handoff]:
    """Handoffs, the newest first (ids grow with the time of the offer); those below the id `before`."""
    statement = select(handoff).order_by(handoff.c.id.desc()).limit(limit)
    if state is not None:
        statement = statement.where(handoff.c.state == state)
    if rep_id is not None:
        statement = statement.where(handoff.c.rep_id == rep_id)
    if lead_ids is not None:
        statement = statement.where(handoff.c.lead_id == among(lead_ids))
    if before is not None:
        statement = statement.where(handoff.c.id < before)
    return [_handoff_of(row) for row in (await tx.execute(statement)).mappings()]


async def history(tx: Tx, handoff_ids: Sequence[str]) -> list[RowMapping]:
    """The changes of the handoffs in order."""
    rows = await tx.execute(
        select(handoff_change)
        .where(handoff_change.c.handoff_id == among(handoff_ids))
        .order_by(handoff_change.c.handoff_id, handoff_change.c.sequence)
    )
    return list(rows.mappings())


async def feedback_of(tx: Tx, handoff_ids: Sequence[str]) -> list[RowMapping]:
    rows = await tx.execute(
        select(feedback)
        .where(feedback.c.handoff_id == among(handoff_ids))
        .order_by(feedback.c.handoff_id, feedback.c.sequence)
    )
    return list(rows.mappings())


async def notes_of(tx: Tx, handoff_id: str) -> list[RowMapping]:
    rows = await tx.execute(select(note).where(note.c.handoff_id == handoff_id).order_by(note.c.created_at, note.c.id))
    return list(rows.mappings())


async def handoffs_of_leads(tx: Tx, lead_ids: Sequence[str]) -> list[Handoff]:
    rows = await tx.execute(
        select(handoff).where(handoff.c.lead_id == among(lead_ids)).order_by(handoff.c.lead_id, handoff.c.cycle)
    )
    return [_handoff_of(row) for row in rows.mappings()]


async def counts_by_state(tx: Tx) -> dict[str, int]:
    rows = await tx.execute(select(handoff.c.state, func.count()).group_by(handoff.c.state))
    return {row[0]: row[1] for row in rows}


async def rejections_by_reason(tx: Tx) -> list[tuple[str, str, int]]:
    """(family, reason, count), the most frequent first."""
    counted = func.count()
    rows = await tx.execute(
        select(feedback.c.reason_family, feedback.c.reason, counted)
        .where(feedback.c.kind == "rejected")
        .group_by(feedback.c.reason_family, feedback.c.reason)
        .order_by(counted.desc(), feedback.c.reason_family, feedback.c.reason)
    )
    return [(family, reason, count) for family, reason, count in rows]


# The round of the reps


async def lock_rotation(tx: Tx) -> int:
    """Lock the round until the commit; the position that was served last."""
    row = await tx.execute(select(rotation.c.last_position).with_for_update())
    return int(row.scalar_one())


async def move_rotation(tx: Tx, last_position: int) -> None:
    await tx.execute(update(rotation).values(last_position=last_position))


async def active_turns(tx: Tx) -> list[Turn]:
    rows = await tx.execute(select(rep.c.position, rep.c.id).where(rep.c.active).order_by(rep.c.position))
    return [Turn(position, id_) for position, id_ in rows]


async def put_rep(tx: Tx, one: Rep, *, at: datetime) -> bool:
    """Insert or replace a rep; True when it is new. A replaced rep keeps its place in the round."""
    values = {
        "name": one.name,
        "external_ids": dict(one.external_ids),
        "active": one.active,
        "updated_at": at,
    }
    updated = await tx.execute(update(rep).where(rep.c.id == one.id).values(values).returning(rep.c.id))
    if updated.scalar_one_or_none() is not None:
        return False
    inserted = await tx.execute(
        insert(rep)
        .values(id=one.id, created_at=at, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
        .returning(rep.c.created_at)
    )
    return bool(inserted.scalar_one() == at)


async def get_rep(tx: Tx, rep_id: str) -> Rep | None:
    row = (await tx.execute(select(rep).where(rep.c.id == rep_id))).mappings().one_or_none()
    return _rep_of(row) if row is not None else None


async def list_reps(tx: Tx, *, after: str | None, limit: int) -> list[Rep]:
    statement = select(rep).order_by(rep.c.id).limit(limit)
    if after is not None:
        statement = statement.where(rep.c.id > after)
    return [_rep_of(row) for row in (await tx.execute(statement)).mappings()]


async def reps_by_external_id(tx: Tx, crm: str, owners: Iterable[str]) -> dict[str, str]:
    """A CRM's owner ids to rep ids, as far as they are known."""
    wanted = sorted(set(owners))
    if not wanted:
        return {}
    external = rep.c.external_ids[crm].astext
    rows = await tx.execute(select(external, rep.c.id).where(external == among(wanted)).order_by(rep.c.position.desc()))
    return {row[0]: row[1] for row in rows}


# Contacts


async def put_contacts(tx: Tx, contacts: Mapping[str, tuple[int, bytes]], *, at: datetime) -> None:
    """Keep the latest contact of each lead as (sequence, bytes); nothing comes back for an erased lead."""
    if not contacts:
        return
    rows = [
        {"lead_id": lead_id, "sequence": sequence, "body": body, "updated_at": at}
        for lead_id, (sequence, body) in sorted(contacts.items())
    ]
    statement = insert(contact).values(rows)
    new = statement.excluded
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["lead_id"],
            set_={"sequence": new.sequence, "body": new.body, "updated_at": new.updated_at},
            where=and_(contact.c.erased_at.is_(None), contact.c.sequence < new.sequence),
        )
    )


async def erased_leads(tx: Tx, lead_ids: Iterable[str]) -> set[str]:
    """Which leads have no person any more: by the log, or by a tombstone that came before it."""
    wanted = sorted(set(lead_ids))
    rows = await tx.execute(
        select(contact.c.lead_id).where(contact.c.lead_id == among(wanted), contact.c.erased_at.is_not(None))
    )
    return set(rows.scalars()) | await forgotten.forgotten(tx, wanted)


async def contact_bodies(tx: Tx, lead_ids: Sequence[str]) -> dict[str, bytes]:
    """The contacts that are there, by lead."""
    rows = await tx.execute(
        select(contact.c.lead_id, contact.c.body)
        .where(contact.c.lead_id == among(lead_ids), contact.c.body.is_not(None))
        .order_by(contact.c.lead_id)
    )
    return {row[0]: row[1] for row in rows}


def _row_of(one: Handoff) -> dict[str, Any]:
    return {
        "id": one.id,
        "lead_id": one.lead_id,
        "cycle": one.cycle,
        "state": one.state,
        "sequence": one.sequence,
        "rep_id": one.rep_id,
        "decision_id": one.decision_id,
        "agreement_id": one.stamp.agreement_id,
        "agreement_version": one.stamp.version,
        "agreement_digest": one.stamp.digest,
        "activation_seq": one.stamp.activation_seq,
        "score": one.score,
        "threshold": one.threshold,
        "reasons": dict(one.reasons),
        "attempts_agreed": one.attempts_agreed,
        "attempts": one.attempts,
        "offered_at": one.offered_at,
        "accept_due_at": one.accept_due_at,
        "first_response_due_at": one.first_response_due_at,
        "accepted_at": one.accepted_at,
        "first_response_at": one.first_response_at,
        "ended_at": one.ended_at,
        "reason": one.reason,
        "reason_family": one.reason_family,
        "return_at": one.return_at,
        "superseded_by": one.superseded_by,
        "superseded_from": one.superseded_from,
    }


def _handoff_of(row: RowMapping) -> Handoff:
    return Handoff(
        id=row["id"],
        lead_id=row["lead_id"],
        cycle=row["cycle"],
        state=State(row["state"]),
        sequence=row["sequence"],
        stamp=Stamp(row["agreement_id"], row["agreement_version"], row["agreement_digest"], row["activation_seq"]),
        decision_id=row["decision_id"],
        score=row["score"],
        threshold=row["threshold"],
        offered_at=row["offered_at"],
        reasons=row["reasons"],
        rep_id=row["rep_id"],
        accept_due_at=row["accept_due_at"],
        first_response_due_at=row["first_response_due_at"],
        attempts_agreed=row["attempts_agreed"],
        accepted_at=row["accepted_at"],
        first_response_at=row["first_response_at"],
        attempts=row["attempts"],
        ended_at=row["ended_at"],
        reason=row["reason"],
        reason_family=row["reason_family"],
        return_at=row["return_at"],
        superseded_by=row["superseded_by"],
        superseded_from=State(row["superseded_from"]) if row["superseded_from"] else None,
    )


def _rep_of(row: RowMapping) -> Rep:
    return Rep(row["id"], row["name"], row["external_ids"], active=row["active"])
