"""`baton agreement verify`: the history of the agreements, proved here and not by the service that keeps it."""

import collections
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from baton_cli import output
from baton_cli.client import pages, settings_of
from baton_cli.output import Failed, Json, when

_WRITTEN = "`baton agreement verify --save FILE` writes them."
_PATH = "/v1/agreements/history"
_WORDS = {
    "person_added": "{person_id} of {department} may sign",
    "proposed": "{agreement_id} version {version} proposed",
    "signed": "{agreement_id} version {version} signed by {person_id} for {department}",
    "activated": "{agreement_id} version {version} in force",
}


def verify(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path | None,
        typer.Option(help="Entries that `--save` wrote, in place of the service's.", exists=True, dir_okay=False),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the entries in this file, one JSON object a line.")] = None,
    head: Annotated[
        str | None, typer.Option(help="A hash that was shown before: it must still be in the chain.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove the history of the agreements: every hash, every digest, every signature, from its entries alone.

    The service is asked for the entries and believed in nothing. Keep the last hash: with `--head` it shows later that
    nothing before it was taken out or written anew. Ends with exit code 1 where something does not hold.

    Example: `baton agreement verify` · `baton agreement verify --save history.jsonl --head 7c85ebe1…`
    """
    from baton_agreement.history import Entry, first_flaw

    rows = _kept(file) if file is not None else pages(settings_of(ctx), "qualification", _PATH, limit=10**9)
    try:
        entries = [Entry(int(r["seq"]), str(r["entry"]).encode(), str(r["prev_hash"]), str(r["hash"])) for r in rows]
        flaw = first_flaw(entries)
        told = [json.loads(entry.entry) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(
            "these are no entries of a history", "`baton agreement verify --save FILE` writes them."
        ) from error
    if flaw is None and head is not None and all(not entry.hash.startswith(head) for entry in entries):
        flaw = f"the hash {head} is not in the chain"
    if save is not None:
        save.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    last = entries[-1].hash if entries else ""
    if as_json:
        output.json_value({"intact": flaw is None, "entries": len(entries), "flaw": flaw, "head": last})
    else:
        # Signatures and activations name a document by its digest; its number was given when it was proposed.
        proposed = {facts.get("digest"): facts for facts in told if facts.get("kind") == "proposed"}
        shown = [
            [facts.get("seq"), when(facts.get("at")), _said({**proposed.get(facts.get("digest"), {}), **facts})]
            for facts in told
        ]
        output.table(["entry>", "at", "what"], shown, empty="nothing was proposed yet")
        output.line("")
        if flaw is None:
            output.line(f"{len(entries)} entries hold: every hash, every digest, every signature", style="bold")
            output.line(f"head {last}")
    if flaw is not None:
        raise Failed(
            f"the history does not hold: {flaw}",
            "Sign nothing. Whoever can write to the database of qualification has changed it, or a backup is damaged.",
        )


def _said(facts: dict[str, Any]) -> str:
    words = _WORDS.get(str(facts.get("kind")), "{kind}")
    return words.format_map(collections.defaultdict(str, {name: str(value) for name, value in facts.items()}))


def _kept(file: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise Failed(
            f"{file} cannot be read as entries", "`baton agreement verify --save FILE` writes them."
        ) from error
    if not all(isinstance(row, dict) for row in rows):
        raise Failed(f"{file} holds no entries", _WRITTEN)
    return rows
