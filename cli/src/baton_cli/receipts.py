"""`baton receipts`: what became of every delivery, and how to repair what waits."""

import csv
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.moments import moment
from baton_cli.output import DryRun, Failed, Json, items_of, when
from baton_cli.settings import Settings

app = typer.Typer(name="receipts", no_args_is_help=True, help="What became of every delivery.")
OUTCOMES = ("created", "matched", "touch_only", "updated", "duplicate", "refused", "quarantined", "pending", "test")
POLL_S = 0.3

Source = Annotated[str | None, typer.Option(help="Only of this source.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason; `baton receipts reasons` lists them.")]
Since = Annotated[str | None, typer.Option(help="Only from then on: 10m, 2h, 3d ago or an RFC 3339 time.")]
Until = Annotated[str | None, typer.Option(help="Only before then.")]


@app.command("list")
def list_receipts(
    ctx: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only settled, quarantined, pending or refused.")] = None,
    source: Source = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List receipts, one a delivery.

    Example: `baton receipts list --state quarantined`
    """
    found = pages(
        settings_of(ctx), "lead-intake", "/v1/receipts", limit=limit, state=state, source=source, reason=reason
    )
    if as_json:
        output.json_value(found)
        return
    rows = [
        [i.get("id"), when(i.get("received_at")), i.get("source_id"), i.get("entries"), i.get("state"), i.get("reason")]
        for i in found
    ]
    output.table(["receipt", "received", "source", "entries>", "state", "reason"], rows, empty="no receipts")


@app.command()
def entries(
    ctx: typer.Context,
    *,
    outcome: Annotated[str | None, typer.Option(help=f"Only {', '.join(OUTCOMES)}.")] = None,
    source: Source = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List entries, of which a delivery may hold many, by how each ended.

    Example: `baton receipts entries --outcome quarantined --reason no_identity --since 3d`
    """
    if outcome is not None and outcome not in OUTCOMES:
        raise typer.BadParameter(f"{outcome} is none of {', '.join(OUTCOMES)}", param_hint="--outcome")
    found = pages(
        settings_of(ctx),
        "lead-intake",
        "/v1/receipts/entries",
        limit=limit,
        outcome=outcome,
        source=source,
        reason=reason,
        since=_time(since),
        until=_time(until),
    )
    if as_json:
        output.json_value(found)
        return
    columns = ["receipt_id", "ordinal", "source_id", "outcome", "reason", "lead_id"]
    rows = [[when(i.get("received_at")), *(i.get(column) for column in columns)] for i in found]
    output.table(["received", "receipt", "entry>", "source", "outcome", "reason", "lead"], rows, empty="no entries")


@app.command()
def reasons(
    ctx: typer.Context,
    *,
    outcome: Annotated[str | None, typer.Option(help="Only refused, quarantined, pending or test.")] = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    language: Annotated[str, typer.Option("--lang", help="en or ru.")] = "en",
    catalogue: Annotated[bool, typer.Option("--catalogue", help="List all reasons that exist instead.")] = False,
    as_json: Json = False,
) -> None:
    """Count what became no lead, by reason, and say for each what to do.

    Example: `baton receipts reasons --outcome quarantined --since 7d`
    """
    settings = settings_of(ctx)
    if catalogue:
        answer = call(settings, "lead-intake", "GET /v1/receipts/reasons/catalogue")
    else:
        query = {"outcome": outcome, "source": source, "since": _time(since), "until": _time(until)}
        wanted = {name: value for name, value in query.items() if value is not None}
        answer = call(settings, "lead-intake", "GET /v1/receipts/reasons", params=wanted)
    if as_json:
        output.json_value(answer)
        return
    rows = []
    for item in items_of(answer):
        said = [(item.get(name) or {}).get(language) for name in ("meaning", "remedy")]
        counted = [] if catalogue else [item.get("count"), item.get("source_id"), item.get("outcome")]
        rows.append([*counted, item.get("code"), *said])
    first = [] if catalogue else ["entries>", "source", "outcome"]
    output.table([*first, "reason", "meaning", "what to do"], rows, empty="everything became a lead or a touch")


@app.command()
def show(
    ctx: typer.Context,
    receipt_id: Annotated[str, typer.Argument(help="The receipt's id, which the answer to a delivery names.")],
    *,
    as_json: Json = False,
) -> None:
    """Show what became of each entry of one delivery, and of which lead it is.

    Example: `baton receipts show 01a20f8f-0c56-71b4-8666-d1030af7758e`
    """
    found = call(settings_of(ctx), "lead-intake", f"GET /v1/receipts/{part(receipt_id)}")
    if as_json:
        output.json_value(found)
        return
    about = f"{found.get('source_id')}, {when(found.get('received_at'))}: {found.get('state')} {found.get('reason')}"
    output.line(about.rstrip(), style="bold")
    columns = ["ordinal", "outcome", "reason", "lead_id", "first_receipt_id"]
    rows = [[item.get(column) for column in columns] for item in items_of(found)]
    output.table(["entry>", "outcome", "reason", "lead", "repeats"], rows, empty="it holds no entry")


@app.command()
def replay(
    ctx: typer.Context,
    receipt_id: Annotated[str | None, typer.Argument(help="One receipt; or say which by the options.")] = None,
    *,
    source: Source = None,
    reason: Reason = None,
    outcome: Annotated[str | None, typer.Option(help="Only quarantined, refused or test.")] = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All that waits.")] = False,
    release: Annotated[bool, typer.Option("--release", help="What looked like spam or a test is none.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")] = True,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Receive again what waits, after its cause is mended. What is settled stays as it is, however often you replay.

    Example: `baton receipts replay --source site-form --reason no_identity --dry-run`
    """
    settings = settings_of(ctx)
    chosen = {"source": source, "reason": reason, "outcome": outcome, "since": _time(since), "until": _time(until)}
    order: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if [bool(receipt_id), bool(order), everything].count(True) != 1:
        raise typer.BadParameter("say which: a receipt's id, or --source, --reason and the like, or --all")
    if receipt_id is not None:
        _replay_one(settings, receipt_id, release=release, dry_run=dry_run, as_json=as_json)
        return
    answer = call(
        settings, "lead-intake", "POST /v1/receipts/replay", body=order | {"release": release, "dry_run": dry_run}
    )
    if not dry_run and wait:
        answer = _followed(settings, answer)
    if as_json:
        output.json_value(answer)
        return
    without = answer.get("without_body") or 0
    if dry_run:
        output.line(f"{answer['total']} receipts would be replayed; nothing was changed")
        rows = sorted(answer.get("would_make", {}).items(), key=lambda pair: -pair[1])
        output.table(["would become or go on waiting for", "entries>"], rows, empty="no entry is open")
    elif answer["state"] == "running":
        output.line(f"replay {answer['id']} of {answer['total']} receipts is under way")
    else:
        output.line(
            f"{answer['done']} receipts replayed: {answer['settled']} settled, {answer['waiting']} wait on, "
            f"{answer['failed']} failed"
        )
    if without:
        output.note(f"Of {without} more nothing is kept: the provider must send them again.")


@app.command()
def reconcile(
    ctx: typer.Context,
    *,
    source: Annotated[str, typer.Option(help="The source.")],
    counts: Annotated[
        Path | None,
        typer.Option(
            help="The provider's own count: CSV with a header day (2026-09-01), form (may be missing), count. Without "
            "it, the list that the provider gives by its API.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Of the days in the file, such as Europe/Berlin.")] = "UTC",
    days: Annotated[int, typer.Option(min=1, max=90, help="How many days back, of the provider's list.")] = 7,
    run: Annotated[bool, typer.Option("--run", help="Ask for the provider's list anew as soon as possible.")] = False,
    as_json: Json = False,
) -> None:
    """Compare a source with its provider's own count, by day and form. Exit code 1 where they differ.

    Examples: `baton receipts reconcile --source meta-leads` · `baton receipts reconcile --source meta-leads --run` ·
    `baton receipts reconcile --source google-ads --counts september.csv --time-zone Europe/Berlin`
    """
    if counts is None:
        _with_list(settings_of(ctx), source, days=days, run=run, as_json=as_json)
    elif run:
        raise typer.BadParameter("a file is compared as it is: leave out --run")
    else:
        _with_counts(settings_of(ctx), source, counts, time_zone=time_zone, as_json=as_json)


@app.command()
def lookups(
    ctx: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only waiting, done or quarantined.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason, such as fetch_expired.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List lookups at providers: entries that were told of without their contents.

    Example: `baton receipts lookups --state quarantined`
    """
    found = pages(
        settings_of(ctx), "lead-intake", "/v1/fetches", limit=limit, state=state, source=source, reason=reason
    )
    if as_json:
        output.json_value(found)
        return
    rows = [
        [i.get("id"), when(i.get("created_at")), i.get("source_id"), i.get("key"), i.get("state"), i.get("reason"),
         i.get("attempt")]
        for i in found
    ]  # fmt: skip
    columns = ["lookup", "since", "source", "key", "state", "reason", "attempts>"]
    output.table(columns, rows, empty="no lookups")


@app.command()
def retry(
    ctx: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Lookups; without any, what the options name.")] = None,
    *,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let quarantined lookups wait again, under their own receipts. Doing it twice changes nothing.

    Examples: `baton receipts retry --source meta-leads --reason fetch_expired` · `baton receipts retry --dry-run`
    """
    settings = settings_of(ctx)
    order = {"ids": ids or None, "source": source, "reason": reason, "dry_run": dry_run}
    done, answer = 0, call(settings, "lead-intake", "POST /v1/fetches/retry", body=order)
    with output.progress("looking up again"):
        done += int(answer.get("retried", 0))
        while not dry_run and answer.get("left") and answer.get("retried"):
            answer = call(settings, "lead-intake", "POST /v1/fetches/retry", body=order)
            done += int(answer.get("retried", 0))
    if as_json:
        output.json_value({"retried": done, "left": answer.get("left")})
    elif dry_run:
        output.line(f"{answer.get('left')} lookups would wait again; nothing was changed")
    else:
        output.line(f"{done} lookups wait again")


@app.command()
def balance(ctx: typer.Context, *, as_json: Json = False) -> None:
    """Show that every entry is accounted for: entries = created + matched + … + test. Exit code 1 where it is not.

    Example: `baton receipts balance`
    """
    answer = call(settings_of(ctx), "lead-intake", "GET /v1/receipts/balance")
    rows = items_of(answer)
    off = [row for row in rows if int(row.get("entries", 0)) != sum(int(row.get(name, 0)) for name in OUTCOMES)]
    breaks = answer.get("breaks") or []
    if as_json:
        output.json_value(answer)
    else:
        total = [{**answer["total"], "source_id": "in all"}] if len(rows) > 1 and "total" in answer else []
        cells = [
            [row.get("source_id"), row.get("entries"),
             *(row.get(name, 0) for name in OUTCOMES), "differs" if row in off else "agrees"]
            for row in [*rows, *total]
        ]  # fmt: skip
        columns = ["source", "entries>", *(f"{name}>" for name in OUTCOMES), "sum"]
        output.table(columns, cells, empty="no entries yet")
        for item in breaks:
            output.line(
                f"{item.get('source_id')}, hour of {when(item.get('hour'))}: {item.get('law')}, expected "
                f"{item.get('expected')}, found {item.get('found')}",
                style="red",
            )
        if reached := answer.get("counted_to"):
            output.note(f"Counted for good up to {when(reached)}; the rest was counted just now.")
    if off or breaks:
        raise Failed("entries are not accounted for", "Report it: this must never happen. See the runbook, Ledger.")


def _with_counts(settings: Settings, source: str, counts: Path, *, time_zone: str, as_json: bool) -> None:
    order = {"source": source, "time_zone": time_zone, "counts": _counts(counts)}
    answer = call(settings, "lead-intake", "POST /v1/receipts/reconcile", body=order)
    differing = [item for item in items_of(answer) if item.get("difference")]
    if as_json:
        output.json_value(answer)
    else:
        columns = ["day", "form", "theirs", "ours", "difference"]
        rows = [[item.get(column) for column in columns] for item in items_of(answer)]
        output.table(["day", "form", "theirs>", "ours>", "missing here>"], rows, empty="nothing to compare")
        for day, apart in (answer.get("apart") or {}).items():
            output.note(f"{day}: came and became no touch: {output.described(apart)}")
    if differing:
        raise Failed(
            f"{len(differing)} of {len(items_of(answer))} counts differ",
            "`baton receipts entries --source …` shows what came; for what did not come, look at the provider's log.",
        )


def _with_list(settings: Settings, source: str, *, days: int, run: bool, as_json: bool) -> None:
    address = f"/v1/sources/{part(source)}/reconciliation"
    if run:
        call(settings, "lead-intake", f"POST {address}")
    since = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
    answer = call(settings, "lead-intake", f"GET {address}", params={"since": since})
    rows = items_of(answer)
    if as_json:
        output.json_value(answer)
    else:
        counts = ("provider", "taken", "pending", "quarantined", "refused", "missing", "only_here")
        cells = [
            [row.get("day"), row.get("form_id"), *(row.get(name, 0) for name in counts),
             "differs" if row.get("differs") else "agrees"]
            for row in rows
        ]  # fmt: skip
        output.table(["day", "form", *(f"{name}>" for name in counts), ""], cells, empty="the provider listed no leads")
        ran = when(answer.get("ran_at")) if answer.get("ran_at") else "never"
        output.note(f"last compared: {ran}")
        if answer.get("failed_since"):
            output.note(f"failing since {when(answer.get('failed_since'))}: {answer.get('reason')}")
    if answer.get("differences"):
        raise Failed(
            f"{answer['differences']} leads differ from the provider's list",
            "`missing` ones come in by themselves with the next run; `baton receipts lookups --state quarantined`.",
        )


def _replay_one(settings: Settings, receipt_id: str, *, release: bool, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        answer = call(settings, "lead-intake", f"POST /v1/receipts/{part(receipt_id)}/try", body={"release": release})
    else:
        order = {"release": release}
        answer = call(settings, "lead-intake", f"POST /v1/receipts/{part(receipt_id)}/replay", body=order)
    if as_json:
        output.json_value(answer)
        return
    if dry_run:
        if answer.get("reason"):
            output.line(f"it would go on waiting: {answer['reason']}")
        for entry in items_of(answer.get("entries")):
            would = entry.get("candidate") or {}
            state = would.get("outcome") if entry.get("open") else "stays as it is"
            output.line(f"entry {entry.get('ordinal')}: {state} {would.get('reason') or ''}".rstrip())
        return
    if not answer["settled"]:
        output.line(f"nothing changed: {answer['state']} {answer['reason']}".rstrip())
    for entry in items_of(answer["settled"]):
        output.line(f"entry {entry['ordinal']}: {entry['outcome']} {entry.get('lead_id') or entry['reason']}")


def _followed(settings: Settings, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a replay, with a bar on a terminal."""
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.err(), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("", total=job["total"])
        while job["state"] == "running":
            time.sleep(POLL_S)  # the API has no long poll; the loop ends with the replay's state
            without = job.get("without_body", 0)
            job = call(settings, "lead-intake", f"GET /v1/receipts/replays/{part(job['id'])}") | {
                "without_body": without
            }
            bar.update(task, completed=job["done"])
    return job


def _counts(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise Failed(f"{file} is no UTF-8 text") from None
    separator = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.DictReader(text.splitlines(), delimiter=separator)
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or []}
    if not {"day", "count"} <= names.keys():
        raise Failed(f"{file} has no columns day and count", "Its first line must name them: day,form,count")
    found = []
    for number, row in enumerate(reader, start=2):
        told = {ours: (row.get(theirs) or "").strip() for ours, theirs in names.items()}
        try:
            day, count = date.fromisoformat(told["day"]), int(told["count"])
        except ValueError:
            raise Failed(f"{file}, line {number}: a day like 2026-09-01 and a whole number are needed") from None
        found.append({"day": day.isoformat(), "form": told.get("form", ""), "count": count})
    if not found:
        raise Failed(f"{file} holds no counts")
    return found


def _time(text: str | None) -> str | None:
    return None if text is None else moment(text).isoformat()
