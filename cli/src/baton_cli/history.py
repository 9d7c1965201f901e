"""`baton import`: bring the past in from exports of a CRM."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from baton_cli import output
from baton_cli.client import call, fetch_bytes, part, settings_of
from baton_cli.output import DryRun, Failed, Json, Yes, clean, confirm
from baton_cli.settings import Settings

INTAKE = "lead-intake"
ORDER = ("campaigns", "leads", "touches", "deals", "feedback")
"""What names others comes after them."""
PIECE = 4 * 1024 * 1024
HEAD = 256 * 1024
EVERY_S = 0.3
FIRST_ERRORS = 10

_OURS = frozenset({"file"})


class _RunsByItself(TyperGroup):
    """`baton import FILE` is `baton import run FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="import",
    cls=_RunsByItself,
    no_args_is_help=True,
    help="Bring the past in from a CRM's exports: `baton import propose FILE…`, then `baton import FILE… --mapping M`.",
)


@app.command()
def propose(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="The exports.", exists=True, dir_okay=False)],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the mapping is kept.")] = Path("mapping.yaml"),
    source: Annotated[str, typer.Option(help="What the ledger calls these imports.")] = "crm-history",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Propose how exports are to be read, from their headers and first rows, and keep what you confirm as a file.

    Example: `baton import propose contacts.csv deals.csv -o mapping.yaml`
    """
    settings = settings_of(ctx)
    found = [_proposed(settings, path) for path in files]
    crms = {p["layout"].get("crm") for p in found} - {None, "crm"}
    if len(crms) == 1:  # exports of one firm: what names no CRM by its columns is of the same
        found = [{**p, "layout": {**p["layout"], "crm": next(iter(crms))}} if p["layout"] else p for p in found]
    mapping = {"source": source, "files": [{"file": p["name"], **p["layout"]} for p in found]}
    if as_json:
        output.json_value({"mapping": mapping, "proposals": found})
        return
    for one in found:
        _show(one)
    if out.exists():
        output.note(f"{out} is there already and would be written anew")
    confirm(f"Keep this as {out}?", yes=yes)
    out.write_text(yaml.safe_dump(mapping, allow_unicode=True, sort_keys=False), "utf-8")
    names = " ".join(str(path) for path in files)
    output.line(f"{out} is written. Try it: baton import {names} --mapping {out} --dry-run")
    if any(one["faults"] for one in found):
        raise Failed("the mapping cannot be used yet", f"Fill in what is said above in {out}.")


@app.command()
def run(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="The exports.", exists=True, dir_okay=False)],
    *,
    mapping: Annotated[
        Path, typer.Option("--mapping", "-m", help="The file of `baton import propose`.", exists=True, dir_okay=False)
    ],
    errors: Annotated[
        Path | None, typer.Option(help="Write rows that were not taken here, as CSV: row number, column, reason.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Import exports. Broken off anywhere, run it again: it goes on; what is here already is not imported twice.

    Example: `baton import contacts.csv deals.csv --mapping mapping.yaml --dry-run`
    """
    settings = settings_of(ctx)
    source, layouts = _mapping_of(mapping)
    chosen = _chosen(files, layouts)
    trial = hashlib.sha256(f"{time.time_ns()}{source}".encode()).hexdigest()[:32]
    done: list[dict[str, Any]] = []
    with _bars() as show:
        for path, layout in chosen:
            one = _handed_in(settings, path, layout, source=source, trial=trial if dry_run else "", show=show)
            done.append(_finished(settings, one, show=show))
    refused = _refused(settings, done, errors)
    if as_json:
        output.json_value({"dry_run": dry_run, "imports": done, "errors": refused})
    else:
        _tell(done, refused, dry_run=dry_run, errors=errors)
    failed = [one for one in done if one["state"] == "failed"]
    if failed:
        raise Failed(
            f"{failed[0]['name']} cannot be imported: {failed[0]['reason']}",
            "Does the mapping belong to this file? `baton import propose` reads its header anew.",
        )


@app.command("list")
def list_imports(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List imports, the newest first.

    Example: `baton import list`
    """
    found = output.items_of(call(settings_of(ctx), INTAKE, "GET /v1/imports"))
    if as_json:
        output.json_value(found)
        return
    rows = [[i["id"], output.when(i["created_at"]), i["source"], i["name"], i["state"], i["rows"]] for i in found]
    output.table(["import", "begun", "source", "file", "state", "rows>"], rows, empty="no imports")


def _proposed(settings: Settings, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(HEAD)
    content = (head, "application/octet-stream")
    found = call(settings, INTAKE, "POST /v1/imports/proposals", params={"name": path.name}, content=content)
    return dict(found)


def _show(one: Mapping[str, Any]) -> None:
    layout = one["layout"]
    about = [f"{name} {layout[name]!r}" for name in ("encoding", "delimiter", "crm", "currency") if layout.get(name)]
    output.line(f"{one['name']}: {layout.get('kind', 'unreadable')} ({', '.join(about)})", style="bold")
    rows = []
    for field, column in layout.get("columns", {}).items():
        more = column if isinstance(column, dict) else {"column": column}
        how = {name: value for name, value in more.items() if name != "column"}
        rows.append([field, more.get("column", ""), output.described(how)])
    output.table(["field", "column", "read as"], rows, empty="no column was recognised")
    if one["unmapped"]:
        output.line(f"not imported: {', '.join(one['unmapped'])}", style="dim")
    for note in one["notes"]:
        output.note(note)
    for fault in one["faults"]:
        output.line(f"to fill in: {fault['pointer']}: {fault['detail']}", style="yellow")


def _mapping_of(path: Path) -> tuple[str, list[dict[str, Any]]]:
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failed(f"{path} cannot be read as YAML", clean(error)) from None
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, list) or not all(isinstance(f, dict) and f.get("file") for f in files):
        raise Failed(f"{path} is no mapping", "It needs `source` and `files`, as `baton import propose` writes them.")
    return str(found.get("source") or "crm-history"), files


def _chosen(files: Sequence[Path], layouts: Sequence[Mapping[str, Any]]) -> list[tuple[Path, dict[str, Any]]]:
    """Each file with its part of the mapping, in the order in which they need each other."""
    chosen = []
    for path in files:
        fitting = [layout for layout in layouts if layout["file"] == path.name]
        if not fitting and len(files) == len(layouts) == 1:
            fitting = [layouts[0]]  # the same export of another day
        if not fitting:
            known = ", ".join(str(layout["file"]) for layout in layouts)
            raise Failed(f"the mapping says nothing of {path.name}", f"It knows {known}.")
        chosen += [(path, {k: v for k, v in layout.items() if k not in _OURS}) for layout in fitting]
    return sorted(chosen, key=lambda one: ORDER.index(one[1]["kind"]) if one[1].get("kind") in ORDER else 0)


Show = Callable[[str, int, int], None]


def _handed_in(
    settings: Settings, path: Path, layout: Mapping[str, Any], *, source: str, trial: str, show: Show
) -> dict[str, Any]:
    size, digest = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
        body = {
            "source": source,
            "name": path.name,
            "size": size,
            "digest": digest.hexdigest(),
            "layout": layout,
            "dry_run": bool(trial),
            "trial": trial,
        }
        one = call(settings, INTAKE, "POST /v1/imports", body=body)
        while one["state"] == "receiving":
            file.seek(one["received"])
            content = (file.read(PIECE), "application/octet-stream")
            show(f"{path.name}: sending", one["received"], size)
            one = call(
                settings,
                INTAKE,
                f"POST /v1/imports/{part(one['id'])}/content",
                params={"offset": one["received"]},
                content=content,
            )
    return dict(one)


def _finished(settings: Settings, one: dict[str, Any], *, show: Show) -> dict[str, Any]:
    while one["state"] in ("waiting", "running"):
        show(f"{one['name']}: {one['rows']:,} rows", one["position"], one["size"])
        time.sleep(EVERY_S)  # the API has no long poll; the loop ends with the import's state
        one = call(settings, INTAKE, f"GET /v1/imports/{part(one['id'])}")
    show(f"{one['name']}: {one['rows']:,} rows", one["position"], one["size"])
    return one


def _refused(settings: Settings, done: Sequence[Mapping[str, Any]], errors: Path | None) -> list[dict[str, Any]]:
    """The first rows of each import that were not taken; all of them go into the file."""
    found: list[dict[str, Any]] = []
    texts = []
    for one in done:
        if one["counts"].get("refused") or one["counts"].get("pending"):
            page = call(settings, INTAKE, f"GET /v1/imports/{part(one['id'])}/errors", params={"limit": FIRST_ERRORS})
            found += [{"file": one["name"], **item} for item in output.items_of(page)]
            if errors is not None:
                texts.append((one["name"], fetch_bytes(settings, INTAKE, f"/v1/imports/{part(one['id'])}/errors.csv")))
    if errors is not None:
        for name, text in texts:
            target = errors if len(texts) == 1 else errors.with_name(f"{errors.stem}-{Path(name).stem}{errors.suffix}")
            target.write_bytes(text)
            output.note(f"{name}: rows that were not taken are in {target}")
    return found


def _tell(
    done: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]], *, dry_run: bool, errors: Path | None
) -> None:
    names = ("created", "matched", "touch_only", "updated", "duplicate", "pending", "refused")
    rows = [[one["name"], one["kind"], one["rows"], *(one["counts"].get(n, 0) for n in names)] for one in done]
    title = "Would be imported (nothing was changed)" if dry_run else "Imported"
    output.table(["file", "kind", "rows>", *(f"{n}>" for n in names)], rows, empty="nothing", title=title)
    if refused:
        cells = [[e["file"], e["row"], e["column"], e["code"], e["meaning"]] for e in refused]
        output.table(
            ["file", "row>", "column", "reason", ""], cells, empty="", title="Not taken (the first of each file)"
        )
        if errors is None:
            output.note("--errors FILE writes all of them.")


@contextmanager
def _bars() -> Iterator[Show]:
    """A bar for what goes on, on a terminal only."""
    console = output.err()
    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1)

        def show(text: str, position: int, size: int) -> None:
            progress.update(task, description=clean(text), completed=position, total=size)

        yield show
