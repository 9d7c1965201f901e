"""`baton person`: the people who sign agreements, and the persons behind leads who are to be forgotten."""

import csv
import io
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import call, pages, part, settings_of
from baton_cli.lead import asked_for
from baton_cli.output import DryRun, Failed, Json, Yes, items_of, when
from baton_cli.settings import SERVICES
from baton_kit.ids import new_id

app = typer.Typer(
    name="person", no_args_is_help=True, help="The people who sign agreements; forget the person of a lead."
)


class Department(StrEnum):
    """A party of the agreement."""

    MARKETING = "marketing"
    SALES = "sales"


@app.command()
def add(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Short name, such as anna.")],
    *,
    department: Annotated[Department, typer.Option(help="For which department the person signs.")],
    name: Annotated[str, typer.Option(help="Full name, as it stands beside the signature.")],
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Add a person. The API key with which the person signs is shown once.

    Example: `baton person add anna --department marketing --name "Anna Example"`
    """
    settings = settings_of(ctx)
    body = {"id": id, "name": name, "department": department.value}
    answer: dict[str, Any] = {"would_add": body}
    if not dry_run:
        answer = call(settings, "qualification", "POST /v1/people", body=body)
    if as_json:
        output.json_value(answer)
    elif dry_run:
        output.line(f"would add {id} of {department.value}; nothing was changed")
    else:
        output.line(f"{id} signs for {department.value} with the key {answer.get('api_key')}")
        output.note("The key is shown this once. Hand it to the person; it goes under `people` in their cli.json.")


@app.command("list")
def list_people(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List who may sign.

    Example: `baton person list`
    """
    found = pages(settings_of(ctx), "qualification", "/v1/people", limit=1000)
    if as_json:
        output.json_value(found)
        return
    rows = [[item.get("person_id"), item.get("department"), item.get("name")] for item in found]
    output.table(["person", "department", "name"], rows, empty="nobody yet: `baton person add`")


class Reason(StrEnum):
    """Why a person is forgotten (GDPR art. 17 (1); 152-FZ art. 21)."""

    PERSON_REQUEST = "person_request"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    PURPOSE_ENDED = "purpose_ended"
    UNLAWFUL = "unlawful"
    PROVIDER_REQUEST = "provider_request"
    LEGAL_DUTY = "legal_duty"


@app.command()
def erase(
    ctx: typer.Context,
    lead_id: Annotated[
        str | None, typer.Argument(help="The lead's id; without it an address or number is asked for.")
    ] = None,
    *,
    reason: Annotated[Reason, typer.Option(help="Why.")] = Reason.PERSON_REQUEST,
    asked_at: Annotated[str | None, typer.Option(help="When it was asked for (RFC 3339); now, if not said.")] = None,
    region: Annotated[str, typer.Option(help="Country of a number without its code, such as DE.")] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget the person behind a lead, at once and for good, in every service. Figures and decisions stay.

    Without LEAD_ID the e-mail address or phone number is read from the terminal or from standard input, so that it
    stands in no shell history and no list of processes.

    Example: `baton person erase 01a05c06-…` · `baton person erase --reason consent_withdrawn --yes < address.txt`
    """
    settings = settings_of(ctx)
    why: dict[str, Any] = {"reason": reason.value} | ({"asked_at": asked_at} if asked_at else {})
    if lead_id is None:
        known_by = asked_for("E-mail address or phone number")
        term = {"email": known_by} if "@" in known_by else {"phone": known_by, "region": region.upper()}
        request, body, whom = "POST /v1/leads/erase", {**term, **why}, "the person known by that"
    else:
        request, body, whom = f"POST /v1/leads/{part(lead_id)}/erase", why, f"the person behind {lead_id}"
    if dry_run:
        would = {"would_erase": lead_id or "the person known by that", **why}
        if as_json:
            output.json_value(would)
        else:
            output.line(f"would forget {whom}; nothing was changed")
        return
    output.confirm(f"Forget {whom} for good? This cannot be undone.", yes=yes)
    answer = call(settings, "lead-intake", request, body=body, idempotency_key=new_id())
    if as_json:
        output.json_value(answer)
        return
    for item in items_of(answer):
        counts = ", ".join(f"{n} {table}" for table, n in item.get("removed", {}).items() if n)
        output.line(f"{item.get('lead_id')} is forgotten ({counts or 'nothing was left to delete'})")
    output.note("The other services follow in a moment: `baton person erasures` shows when each was done.")


@app.command()
def erasures(
    ctx: typer.Context,
    *,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the whole log to this file, .csv or .jsonl. Keep it beside the backups, not in them."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show who was forgotten when, why, by which key, and what each service deleted. It names no person.

    Exit code 1 while a service still has to delete something.

    Example: `baton person erasures` · `baton person erasures --export erasures.jsonl`
    """
    settings = settings_of(ctx)
    most = 1_000_000_000 if export else limit
    log = pages(settings, "lead-intake", "/v1/erasures", limit=most)
    for service in SERVICES:
        # Each keeps the log: what is not there yet has not heard of it.
        theirs = {item["lead_id"]: item for item in pages(settings, service, "/v1/erasures", limit=most)}
        for item in log:
            found = theirs.get(item["lead_id"], {})
            item.setdefault("services", {})[service] = {
                "done_at": found.get("done_at"),
                "removed": found.get("removed", {}),
            }
    waiting = [i for i in log if any(s["done_at"] is None for s in i["services"].values())]
    if export is not None:
        _write(export, log)
        output.note(f"{len(log)} erasures are in {export}")
    if as_json:
        output.json_value(log)
    elif export is None:
        rows = [
            [when(i.get("erased_at")), i.get("lead_id"), i.get("reason"), when(i.get("asked_at")), _done(i)]
            for i in log
        ]
        output.table(["forgotten", "lead", "why", "asked", "done by"], rows, empty="nobody was forgotten yet")
    if waiting:
        raise Failed(f"{len(waiting)} are not done everywhere yet", "`baton doctor` says whether a service is behind.")


def _done(item: dict[str, Any]) -> str:
    done = [name for name, found in item["services"].items() if found["done_at"]]
    return "all services" if len(done) == len(SERVICES) else ", ".join(done)


def _write(path: Path, log: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(item) + "\n" for item in log)
    elif path.suffix == ".csv":
        lines = io.StringIO()
        columns = ["lead_id", "erasure_id", "reason", "asked_at", "key_id", "erased_at"]
        writer = csv.writer(lines)
        writer.writerow([*columns, *(f"{name} {what}" for name in SERVICES for what in ("done_at", "removed"))])
        for item in log:
            cells = [item["services"][name] for name in SERVICES]
            writer.writerow(
                [item[c] for c in columns]
                + [v for s in cells for v in (s["done_at"], ";".join(f"{t}={n}" for t, n in s["removed"].items()))]
            )
        text = lines.getvalue()
    else:
        raise typer.BadParameter("the file's name must end in .csv or .jsonl", param_hint="--export")
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline=""
    ) as file:
        file.write(text)
