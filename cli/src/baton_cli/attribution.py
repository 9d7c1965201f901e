"""`baton attribution`: the models on journeys from a file, without any service."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from baton_cli import output
from baton_cli.output import Failed, Json, clean

if TYPE_CHECKING:  # numpy and scipy are loaded when they are needed: every other command starts without them
    from baton_models.figures import Figures, Number

app = typer.Typer(name="attribution", no_args_is_help=True, help="Credit journeys from a file, without any service.")
BAR = 40


@app.callback()
def root() -> None:
    """Credit journeys from a file, without any service."""


@app.command("try")
def try_file(
    file: Annotated[Path, typer.Argument(help="CSV of journeys; `-` is standard input.", allow_dash=True)],
    *,
    order: Annotated[
        list[str] | None, typer.Option(help="Orders of the Markov chain, 1 to 4: `3`, `1,2`, `1-4`. Repeatable.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; repeat for several.")] = None,
    direct: Annotated[
        list[str] | None, typer.Option(help="A channel that last_non_direct passes over (`direct`).")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A channel whose touches do not count.")] = None,
    lookback_days: Annotated[float | None, typer.Option(min=0, help="Touches older than this do not count.")] = None,
    half_life_hours: Annotated[float, typer.Option(min=0.001, help="Of time decay.")] = 168.0,
    separator: Annotated[str, typer.Option(help="What stands between two touches of a path.")] = ">",
    path: Annotated[str | None, typer.Option(help="The header of the paths, if it is not found.")] = None,
    conversions: Annotated[str | None, typer.Option(help="The header of the conversions.")] = None,
    value: Annotated[str | None, typer.Option(help="The header of the values.")] = None,
    nulls: Annotated[str | None, typer.Option(help="The header of the journeys without conversion.")] = None,
    chart: Annotated[bool, typer.Option("--chart", help="Draw bars.")] = False,
    as_json: Json = False,
) -> None:
    """Credit journeys from a CSV under every model, for conversions and value.

    The layout is that of the R package ChannelAttribution: one path a row, `path,conversions,value,nulls`, touches
    joined by ` > `. With a column `age_hours` (one age a touch, joined the same way) there is time decay, too.
    `--json` prints `{model: {"conversions": {channel: x}, "value": {channel: x}}}` with full precision.

    Example: `baton attribution try journeys.csv --order 1-4 --json`
    """
    from baton_models.figures import AmbiguousChannel, Options, every_model, names
    from baton_models.journeys import counting
    from baton_models.reading import Unreadable, read_journeys

    # 1. Read.
    orders = _orders(order or ["1"])
    if not separator.strip():
        raise typer.BadParameter("it has to be more than white space", param_hint="--separator")
    given = {"path": path, "conversions": conversions, "value": value, "nulls": nulls}
    shown = "standard input" if str(file) == "-" else str(file)
    try:
        with output.progress(f"reading {shown}"):
            content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            columns = {column: name for column, name in given.items() if name is not None}
            read = read_journeys(content, separator=separator, columns=columns)
    except OSError as error:
        raise Failed(f"{shown} cannot be read: {error.strerror}") from error
    except Unreadable as error:
        raise Failed(f"{shown}: {error}", "`baton attribution try --help` describes the layout.") from error

    # 2. What counts.
    journeys = read.journeys
    if lookback_days is not None and journeys.ages is None:
        raise typer.BadParameter("it needs a column age_hours", param_hint="--lookback-days")
    strange = [name for name in (exclude or []) if name not in journeys.channels]
    if strange:
        raise typer.BadParameter(f"no path has the channel {strange[0]!r}", param_hint="--exclude")
    lookback = None if lookback_days is None else lookback_days * 24
    journeys = counting(journeys, lookback_hours=lookback, excluded=exclude or ())
    named = direct or [name for name in journeys.channels if name.casefold() == "direct"]
    options = Options(orders=orders, direct=tuple(named), half_life_hours=half_life_hours)
    possible = names(journeys, options)
    wrong = [name for name in model or [] if name not in possible]
    if wrong:
        hint = f"{wrong[0]} is not known or cannot be had from this file: {', '.join(possible)}"
        raise typer.BadParameter(hint, param_hint="--model")

    # 3. Credit.
    try:
        with output.stages() as begin:
            found = every_model(journeys, options, models=model or possible, begin=begin)
    except AmbiguousChannel as error:
        raise Failed(
            f"{shown}: a channel is called {error}, which is the line of conversions without a touch",
            "Give the channel another name, or leave out the rows with an empty path.",
        ) from error

    # 4. Tell.
    if as_json:
        output.json_value(found)
    else:
        _tell(found, chart=chart)
    taken = ", ".join(f"{header!r} as {name}" for name, header in read.columns.items() if header != name)
    output.note(f"{read.rows} rows, {len(journeys.starts) - 1} different paths, {len(journeys.channels)} channels")
    if taken:
        output.note(f"read {taken}")
    if not journeys.nulls.units.any():
        output.note("no journey without a conversion: Markov sees only those that converted")
    if "time_decay" not in possible and not model:
        output.note("no column age_hours: no time decay")


def _orders(words: Sequence[str]) -> tuple[int, ...]:
    found: set[int] = set()
    for word in words:
        for part in word.split(","):
            match = re.fullmatch(r"\s*([1-4])\s*(?:-\s*([1-4])\s*)?", part)
            if match is None:
                raise typer.BadParameter(f"{part!r} is no order from 1 to 4", param_hint="--order")
            found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(found))


def _tell(found: "Figures", *, chart: bool) -> None:
    """Print conversions, then value: a table with channels down and models across, or bars of each model."""
    for what in ("conversions", "value"):
        models = {model: figures[what] for model, figures in found.items() if figures[what]}
        if not models:
            if what == "conversions":
                output.line("no journeys", style="dim")
            continue
        if chart:
            for model, credits in models.items():
                _draw(f"{what}, {model}", credits)
            continue
        channels = [*next(iter(models.values())), "all"]
        columns = {
            model: [*map(shown, credits.values()), shown(sum(credits.values()))] for model, credits in models.items()
        }
        for group in _side_by_side(columns, room=output.out().width - max(map(len, [what, *channels]))):
            rows = list(zip(channels, *(columns[model] for model in group), strict=True))
            output.table([what, *(f"{model}>" for model in group)], rows, empty="no journeys")
            output.line("")


def _side_by_side(columns: Mapping[str, Sequence[str]], *, room: int) -> list[list[str]]:
    """Group the columns so that each group fits the width of the terminal."""
    groups: list[list[str]] = []
    left = 0
    for name, cells in columns.items():
        width = max(map(len, [name, *cells])) + 2
        if not groups or width > left:
            groups.append([])
            left = room
        groups[-1].append(name)
        left -= width
    return groups


def _draw(title: str, credits: Mapping[str, "Number"]) -> None:
    most = max((abs(x) for x in credits.values()), default=0)
    rows = []
    for channel, x in sorted(credits.items(), key=lambda one: -one[1]):
        length = round(BAR * (abs(x) / most)) if most else 0
        rows.append([clean(channel), Text("█" * length or "▏", style="red" if x < 0 else "cyan"), shown(x)])
    output.table(["channel", "", "credit>"], rows, empty="no journeys", title=title)
    output.line("")


def shown(x: "Number") -> str:
    """A figure for people: thousands grouped, at most four places."""
    if isinstance(x, int):
        return f"{x:,}"
    text = f"{x:,.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
