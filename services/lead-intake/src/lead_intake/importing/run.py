"""Work through what was handed in, about a thousand rows a transaction.

One transaction reads the next rows, settles them by the same path as a delivery, and notes how far the file is: a kill
anywhere loses nothing and repeats nothing. The row of the import is locked meanwhile, so that no two workers meet.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from baton_kit.db import Tx
from baton_kit.failpoint import failpoint
from baton_kit.ids import new_id
from baton_kit.outages import is_outage
from baton_kit.telemetry import log
from lead_intake import normalise, receive
from lead_intake import store as ledger
from lead_intake.delivery import Outcome
from lead_intake.entry import Delivery, Entry
from lead_intake.identity.shared import shared_keys
from lead_intake.importing import records, row, store, wait
from lead_intake.importing.layout import Layout, layout_of
from lead_intake.importing.row import Campaign, Reading, Row
from lead_intake.importing.settle import settle_waiting

if TYPE_CHECKING:
    from lead_intake.app import App

MOST_ROWS = 1_000
"""Of a transaction."""
MOST_KEYS = 2_000
"""Of a transaction: each is an advisory lock."""
PIECE = 512 * 1024
KEPT = timedelta(days=7)
"""How long an upload may take, and a dry run is remembered."""
_BREATH = 50
"""Rows between two turns of the event loop: the relay of live events shares the process."""


class Unusable(Exception):
    """The whole file cannot be imported: a reason code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Chunk:
    """What the next transaction is about; `position` and `records` are where it ends."""

    position: int
    records: int
    header: Sequence[str] | None
    rows: list[Row] = field(default_factory=list)


async def advance(app: App, *, most: int = MOST_ROWS, refuse: bool = False) -> int | None:
    """Import the next rows of the next file, or else settle what waited for its lead; how many, None for nothing.

    `refuse` refuses them as not storable, whatever they say: the way past a row that the database does not take.
    """
    async with app.db.begin() as tx:
        # 1. The file, for as long as the transaction lasts.
        one = await store.claim(tx)
        failpoint("import.claimed")
        if one is None:
            # Nothing is left to come before it: whatever waits for a lead that is there now.
            return await settle_waiting(tx, app)

        # 2. The next rows.
        receipt_id, now = new_id(), app.clock.now()
        piece = await store.bytes_from(tx, one.id, one.position, at_least=PIECE)
        failpoint("import.read")
        try:
            chunk = await _chunk(tx, app, one, piece, receipt_id=receipt_id, now=now, most=most)
        except Unusable as error:
            await _finish(
                tx, app, one, Chunk(one.position, one.records, one.header), state="failed", reason=error.reason
            )
            return 0
        if refuse:
            reading = Reading(one.source_id, layout_of(one.layout), {}, now, receipt_id)
            chunk.rows = [row.refused_row(r.number, "not_storable", reading) for r in chunk.rows]

        # 3. Settle them, or say how they would settle.
        if one.trial is None:
            settled = await _settle(tx, app, one, chunk.rows, receipt_id=receipt_id)
        else:
            settled = await _rehearse(tx, app, one, chunk.rows)
        failpoint("import.settled")

        # 4. What was not taken, and how far the file is.
        await store.insert_errors(
            tx,
            one.id,
            [
                store.RowError(r.number, r.column, reason)
                for r, (outcome, reason) in zip(chunk.rows, settled, strict=True)
                if outcome in (Outcome.REFUSED, Outcome.PENDING)
            ],
        )
        counts = Counter(one.counts)
        counts.update(outcome.value for outcome, _ in settled)
        one = replace(one, counts=counts)
        await _finish(tx, app, one, chunk, state="done" if chunk.position >= one.size else "running")
        failpoint("import.noted")
        return len(chunk.rows)


async def advance_for_ever(app: App) -> None:
    """Import whatever is handed in. A row that the database refuses is found by halves and set aside."""
    most = MOST_ROWS
    while True:
        done: int | None = None
        try:
            done = await advance(app, most=most)
            most = min(most * 2, MOST_ROWS)
        except Exception as error:
            if is_outage(error):
                log.warning("imports_wait_for_database", error=type(error).__name__)
            else:
                log.warning("rows_not_storable", rows=most, error=type(error).__name__)
                if most == 1:
                    done = await advance(app, most=1, refuse=True)
                else:
                    most, done = most // 2, 0
        if done is None:
            await asyncio.sleep(app.settings.import_poll_seconds)


async def forget_for_ever(app: App) -> None:
    """Drop uploads that nobody finished and what dry runs noted."""
    while True:
        try:
            async with app.db.begin() as tx:
                await store.forget(tx, before=app.clock.now() - KEPT)
                await store.drop_forgotten(tx)
        except Exception as error:
            if not is_outage(error):
                raise
        await asyncio.sleep(3_600)


async def _finish(tx: Tx, app: App, one: store.Import, chunk: Chunk, *, state: str, reason: str = "") -> None:
    ended = state in ("done", "failed")
    await store.move(
        tx,
        one.id,
        state=state,
        position=chunk.position,
        records=chunk.records,
        header=chunk.header,
        counts=one.counts,
        reason=reason,
        finished_at=app.clock.now() if ended else None,
    )
    if ended:
        await store.delete_parts(tx, one.id)
        await store.drop_forgotten(tx)


async def _chunk(tx: Tx, app: App, one: store.Import, piece: bytes, *, receipt_id: str, now: Any, most: int) -> Chunk:
    layout = layout_of(one.layout)
    chunk = Chunk(one.position, one.records, one.header)
    if one.position == 0 and (mark := records.mark_length(piece, layout.encoding)):
        piece = piece[mark:]
        chunk.position = mark
    found = records.split(
        piece,
        delimiter=layout.delimiter,
        final=one.position + len(piece) + (chunk.position - one.position) >= one.size,
        most=most + (1 + layout.skip if layout.delimiter and one.header is None else 0),
        encoding=layout.encoding,
    )
    began = chunk.position
    if layout.delimiter and chunk.header is None:
        if len(found) <= layout.skip:
            raise Unusable("empty")
        first = found[layout.skip]
        chunk.header = _header(first, layout)
        chunk.records, chunk.position = layout.skip + 1, began + first.end
        found = found[layout.skip + 1 :]
    campaigns = await _campaigns(tx, one, layout, found, chunk.header)
    shared = await shared_keys(tx)
    reading = Reading(one.source_id, layout, campaigns, now, receipt_id, shared, app.sources.rules)
    keys = 0
    for turn, record in enumerate(found):
        number = chunk.records + 1
        if record.fault or record.raw.strip():
            get = _get(record, layout, chunk.header)
            made = row.refused_row(number, get, reading) if isinstance(get, str) else row.row_of(number, get, reading)
            p = made.entry.person
            keys += 1 + (len(p.identities) + len(p.account_keys) if p else 0)
            if keys > MOST_KEYS and chunk.rows:
                break
            chunk.rows.append(made)
        chunk.records, chunk.position = number, began + record.end
        if turn % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
    return chunk


def _header(first: records.Record, layout: Layout) -> list[str]:
    found = first.fault or records.cells(first.raw, encoding=layout.encoding, delimiter=layout.delimiter)
    if isinstance(found, str):
        raise Unusable(f"header_{found}")
    header = [normalise.text(name, 300) for name in found]
    for column in layout.columns.values():
        if column.name and column.name not in header:
            raise Unusable("column_missing")
    return header


def _get(record: records.Record, layout: Layout, header: Sequence[str] | None) -> Callable[[str], str] | str:
    """What gives a record's cell by the column's name, or the reason why it cannot be read."""
    if record.fault:
        return record.fault
    if not layout.delimiter:
        found = records.json_record(record.raw, encoding=layout.encoding)
        return found if isinstance(found, str) else row.value_at(found)
    cells = records.cells(record.raw, encoding=layout.encoding, delimiter=layout.delimiter)
    if isinstance(cells, str):
        return cells
    assert header is not None  # noqa: S101 - CSV has one by now
    if len(cells) < len(header) or any(cells[len(header) :]):
        return "column_count"
    named = dict(zip(header, cells, strict=False))
    return lambda name: named.get(name, "")


async def _campaigns(
    tx: Tx, one: store.Import, layout: Layout, found: Sequence[records.Record], header: Sequence[str] | None
) -> Mapping[str, Campaign]:
    column = layout.columns.get("campaign_id")
    if column is None or not column.name:
        return {}
    gets = [_get(record, layout, header) for record in found]
    named = {normalise.identifier(get(column.name)) for get in gets if not isinstance(get, str)}
    return await store.campaigns(tx, one.source_id, named - {""})


async def _settle(
    tx: Tx, app: App, one: store.Import, rows: Sequence[Row], *, receipt_id: str
) -> list[tuple[Outcome, str]]:
    if not rows:
        return []
    entries = tuple(r.entry for r in rows)
    if one.kind == "campaigns":
        entries = await _campaign_entries(tx, one, rows)
    delivery = Delivery(
        receipt_id, one.source_id, "import", app.clock.now(), one.kind, None, entries, imported=True,
        handed_in=one.created_at,
    )  # fmt: skip
    [settled] = await receive.settle_all(tx, app, [delivery])
    await wait.note_waiting(tx, app, rows, [s.outcome for s in settled], one=one, receipt_id=receipt_id)
    return [(s.outcome, s.reason) for s in settled]


async def _campaign_entries(tx: Tx, one: store.Import, rows: Sequence[Row]) -> tuple[Entry, ...]:
    known, _, _ = await ledger.known(tx, entries=[(one.source_id, r.entry.key) for r in rows], identities=[])
    seen = {key for _, key in known}
    entries = []
    for r in rows:
        again = r.campaign is not None and r.entry.key in seen
        entries.append(replace(r.entry, outcome=Outcome.DUPLICATE) if again else r.entry)
        seen.add(r.entry.key)
    await store.keep_campaigns(tx, one.source_id, [r.campaign for r in rows if r.campaign is not None])
    return tuple(entries)


async def _rehearse(tx: Tx, app: App, one: store.Import, rows: Sequence[Row]) -> list[tuple[Outcome, str]]:
    """How the rows would settle, by what is stored and what the dry run would have stored; nothing else is written."""
    assert one.trial is not None  # noqa: S101 - asked by the caller

    def own(entry: Entry) -> str:
        return f"{one.source_id}\n{entry.key}"

    entries = [r.entry for r in rows if r.entry.person is not None or r.campaign is not None]
    identities = {key for e in entries if e.person for key in e.person.identities}
    known, persons, _ = await ledger.known(
        tx, entries=[(one.source_id, e.key) for e in entries], identities=sorted(identities)
    )
    hashes = {key: receive.lock_of(key) for key in identities | {own(e) for e in entries}}
    tried = await store.tried(tx, one.trial, sorted(hashes.values()))
    noted: set[int] = set()

    def there(key: str) -> bool:
        return key in persons or hashes[key] in tried

    settled: list[tuple[Outcome, str]] = []
    for r in rows:
        e, p = r.entry, r.entry.person
        if p is None and r.campaign is None:
            settled.append((e.outcome or Outcome.REFUSED, e.reason))
            continue
        if (one.source_id, e.key) in known or there(own(e)):
            settled.append((Outcome.DUPLICATE, ""))
            continue
        met = p is not None and any(there(key) for key in p.identities)
        if p is not None and p.only_known and not met:
            ended = (Outcome.REFUSED, "unknown_lead") if p.fact is None else (Outcome.PENDING, wait.WAITS)
            settled.append(ended)
            continue
        # Whether a row tells more than a touch shows only when it is merged into what is known.
        settled.append((Outcome.MATCHED if met or p is None else Outcome.CREATED, ""))
        new = {hashes[own(e)], *(hashes[key] for key in (p.identities if p and not p.fact else ()))}
        noted |= new
        tried |= new
    if noted:
        await store.note_tried(tx, one.trial, noted, at=app.clock.now())
    return settled
