"""What the command prints: a table for people, JSON for programs; progress and questions on stderr only."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]

# What moves the cursor, turns the writing direction, or cannot be written at all (lone surrogates).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# ISO 4217: currencies whose minor unit is not a hundredth.
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
_EXPONENTS = dict.fromkeys(_WHOLE.split(), 0) | dict.fromkeys(_THOUSANDTHS.split(), 3)


class Failed(Exception):
    """The command could not do its work: what is wrong, and what to do. It ends with exit code 1."""

    def __init__(self, message: str, *advice: str) -> None:
        super().__init__(message)
        self.message, self.advice = message, [line for line in advice if line]


def out() -> Console:
    """The console of standard output. Where that is no terminal, lines are not wrapped and carry no colour."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 500)


def err() -> Console:
    """The console of standard error."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def clean(value: object) -> str:
    """Text of unknown origin in one line, without what could steer a terminal or turn the writing direction."""
    text = "" if value is None else str(value)
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " ").replace("\t", " "))


def line(text: object, *, style: str = "") -> None:
    """Print one line on standard output."""
    out().print(Text(clean(text), style=style), soft_wrap=True)


def lines(text: str) -> None:
    """Print several lines on standard output."""
    for row in text.split("\n"):
        line(row)


def note(text: object) -> None:
    """Say something beside the result, on standard error."""
    err().print(Text(clean(text), style="dim"))


def json_value(value: object) -> None:
    """Print one JSON value."""
    _write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def json_line(value: object) -> None:
    """Print one JSON value on one line, at once: for streams."""
    _write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _write(text: str) -> None:
    # A lone surrogate cannot be written as UTF-8; escaped it is still JSON.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str, title: str = "") -> None:
    """Print rows under their column names; a column whose name ends in `>` is set right. `empty` is said instead."""
    if title:
        line(title, style="bold")
    if not rows:
        line(empty, style="dim")
        return
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    out().print(made)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show that something goes on, on a terminal only."""
    if sys.stderr.isatty():
        with err().status(Text(text)):
            yield
    else:
        yield


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Show what is being worked on, one thing after the other, on a terminal only."""
    if sys.stderr.isatty():
        with err().status(Text("")) as status:
            yield lambda text: status.update(Text(clean(text)))
    else:
        yield lambda _: None


def confirm(question: str, *, yes: bool) -> None:
    """Go on only when a person says so, or said `--yes`. Without a terminal to ask on it is wrong usage."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: say --yes, or --dry-run to see what would change")
    if not typer.confirm(clean(question), err=True):
        raise Failed("nothing was changed")


def money(amount_minor: object, currency: object) -> str:
    """An amount in minor units as people write it, such as `18,490.00 EUR`."""
    amount, code = int(str(amount_minor)), clean(currency)
    exponent = _EXPONENTS.get(code, 2)
    digits = f"{abs(amount):0{exponent + 1}d}"
    whole, part = (digits[:-exponent], "." + digits[-exponent:]) if exponent else (digits, "")
    return f"{'-' if amount < 0 else ''}{int(whole):,}{part} {code}".rstrip()


def when(value: object) -> str:
    """An RFC 3339 time to the second, as `2026-09-01 08:12:04Z`."""
    text = clean(value)
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)$", r"\1 \2Z", text)


def described(value: object) -> str:
    """A JSON value in one line: `key=value` pairs of an object, without what is empty."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={described(item)}" for key, item in value.items() if item not in (None, "", [], {}))
    if isinstance(value, list):
        return ",".join(described(item) for item in value)
    return clean(value)


def items_of(answer: Any) -> list[dict[str, Any]]:
    """The items of a list answer, whether it came as a page or bare."""
    found = answer.get("items", []) if isinstance(answer, dict) else answer
    return [item for item in found or [] if isinstance(item, dict)]
