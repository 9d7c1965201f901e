"""Merge two leads or two accounts from the terminal, and undo it: shown first, asked for, then done once."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from baton_cli import output
from baton_cli.client import call, part, settings_of
from baton_cli.output import Failed


@dataclass(frozen=True, slots=True)
class Kind:
    """What is merged: `noun` also names its fields and its command, `path` is that of its merges."""

    noun: str
    path: str
    tell: Callable[[dict[str, Any]], None]
    """Print a preview."""


def merge(
    ctx: typer.Context, kind: Kind, pair: tuple[str, str], *, reason: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Let the first of the pair belong to the second, after showing what would join. Raises Failed where it cannot."""
    source, target = pair
    named = {f"from_{kind.noun}_id": source, f"into_{kind.noun}_id": target}
    seen = call(settings_of(ctx), "lead-intake", f"POST {kind.path}/preview", body=named)
    if not as_json:
        kind.tell(seen)
    if not seen.get("possible"):
        raise Failed(f"these {kind.noun}s cannot be merged ({seen.get('why')})", str(seen.get("detail")))
    if dry_run:
        if as_json:
            output.json_value(seen)
        else:
            output.line("nothing was changed")
        return
    output.confirm(f"Merge {source} into {target}?", yes=yes)
    made = write(ctx, kind.path, named | {"reason": reason})
    if as_json:
        output.json_value(made)
    else:
        output.line(f"merged; to take it back: baton {kind.noun} unmerge {made.get('id')}")


def unmerge(ctx: typer.Context, kind: Kind, merge_id: str, *, reason: str, yes: bool, as_json: bool) -> None:
    """Undo a merge."""
    output.confirm(f"Undo the merge {merge_id}?", yes=yes)
    undone = write(ctx, f"{kind.path}/{part(merge_id)}/undo", {"reason": reason})
    if as_json:
        output.json_value(undone)
    else:
        both = " and ".join(str(undone.get(f"{end}_{kind.noun}_id")) for end in ("from", "into"))
        output.line(f"{both} are two {kind.noun}s again")


def write(ctx: typer.Context, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send an order that takes effect once, however often the network makes it go out."""
    made: dict[str, Any] = call(
        settings_of(ctx), "lead-intake", f"POST {path}", body=body, idempotency_key=str(uuid.uuid4())
    )
    return made
