"""The `baton` command: `baton <noun> <verb>`. Exit codes: 0 done, 1 failed, 2 wrong usage."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from baton_cli import (
    account,
    agreement,
    archive,
    attribution,
    campaign,
    channels,
    config,
    decisions,
    doctor,
    events,
    history,
    key,
    lead,
    parked,
    person,
    receipts,
    relay,
    report,
    shared_key,
    source,
    topics,
)
from baton_cli.output import Failed, clean, err

app = typer.Typer(
    name="baton",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: **0** done, **1** failed (the reason and what to do are on standard error), **2** wrong usage. "
        "`NO_COLOR=1` turns colours off. `baton --install-completion` teaches your shell the commands."
    ),
)
for noun in (
    account,
    agreement,
    campaign,
    attribution,
    channels,
    config,
    decisions,
    events,
    history,
    key,
    lead,
    parked,
    person,
    receipts,
    relay,
    report,
    shared_key,
    source,
    topics,
):
    app.add_typer(noun.app)
app.command("doctor")(doctor.doctor)
app.command("backup")(archive.backup_command)
app.command("restore")(archive.restore_command)


@app.callback()
def root(
    home: Annotated[
        Path | None,
        typer.Option(
            help="State directory that holds cli.json; otherwise BATON_HOME, else `.baton` here or in a folder above."
        ),
    ] = None,
) -> None:
    """The relay between marketing and sales, from the terminal.

    Examples: `baton doctor` · `baton lead show 01a05c06-…` · `baton events tail --since 10m` ·
    `baton report attribution --model first --model linear`
    """


@functools.cache
def command() -> Callable[..., object]:
    """All commands with their options, put together once."""
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        command()(args=None if argv is None else list(argv), prog_name="baton")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Failed as failure:
        err().print(Text.assemble(("baton: ", "bold red"), clean(failure.message)))
        for advice in failure.advice:
            err().print(Text(advice))
        return 1
    except BrokenPipeError:
        # The reader (`head`, `less`) has seen enough. Nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
