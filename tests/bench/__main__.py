"""Run the benches: `python -m tests.bench [--quick]`; prints ratios, writes build/bench.json."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from baton_local.stack import Stack, running_stack

from . import b1_intake, b2_chain, b3_qualification, b6_memory, b7_identity, history_import, prepare
from .memory import Memory
from .result import Figure

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run all benches, or those named."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", help="B1 B2 B3 B6 B7 IMPORT; all without")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller loads, for a first look")
    chosen = parser.parse_args()
    wanted = [name.upper() for name in chosen.names] or ["B1", "B2", "B3", "B6", "B7", "IMPORT"]
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        Path(folder).chmod(0o755)
        with running_stack(Path(folder) / "home", say=console.print) as stack:
            figures = uvloop.run(measure(stack, wanted, quick=chosen.quick, console=console))
    show(figures)
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    found = json.loads(target.read_text()) if target.exists() else {}
    found |= {figure.name: figure.as_json() for figure in figures}
    target.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {target.relative_to(ROOT)}")
    return 0


async def measure(stack: Stack, wanted: list[str], *, quick: bool, console: Console) -> list[Figure]:
    """Measure in an order that lets each bench have the machine for itself."""
    memory = Memory()
    figures = []
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim] {line}")

    await b1_intake.create_source(stack)
    await prepare.agree(stack)
    if "B2" in wanted:
        figures.append(await b2_chain.measure(stack, say, rounds=1 if quick else 3))
    if "B6" in wanted:
        figures.append(await b6_memory.measure(stack, say, minutes=1 if quick else 10, memory=memory))
    if "IMPORT" in wanted:
        figures.append(await history_import.measure(stack, say, rows=10_000 if quick else 100_000))
    if "B3" in wanted:
        b1_intake.only(stack, keep=[])
        figures.append(
            await b3_qualification.measure(stack, say, rounds=2 if quick else 5, leads=4000 if quick else 20_000)
        )
        await asyncio.to_thread(stack.start_role, "lead-intake", "api")
    if "B1" in wanted:
        b1_intake.only(stack, keep=[("lead-intake", "api")])
        figures.append(
            await b1_intake.measure(
                stack,
                say,
                rounds=2 if quick else 5,
                requests=5000 if quick else 20_000,
                open_seconds=5 if quick else 20,
                memory=memory,
            )
        )
    if "B7" in wanted:
        b1_intake.only(stack, keep=[("lead-intake", "api")])
        figures.append(
            await b7_identity.measure(
                stack, say, rounds=2 if quick else 5, requests=4_000 if quick else 15_000, memory=memory
            )
        )
    return sorted(figures, key=lambda figure: figure.name)


def show(figures: list[Figure]) -> None:
    """Print the figures as a table."""
    table = Table(title="Ratios to a floor measured in the same run: median (range)")
    for heading in ("", "what", "value", "floor", "ratio", "must", "met"):
        table.add_column(heading)
    for figure in figures:
        found = figure.as_json()
        ratio = "" if found["ratio"] is None else f"{found['ratio']:.2f} ({_range(found['ratio_range'])})"
        table.add_row(
            figure.name,
            figure.what,
            f"{found['value']:,.1f} {figure.unit}",
            "" if found["floor"] is None else f"{found['floor']:,.1f}",
            ratio,
            figure.must,
            "yes" if figure.met else "no",
        )
    console = Console(width=160)
    console.print(table)
    for figure in figures:
        console.print(figure.name, figure.more)


def _range(found: list[float]) -> str:
    return f"{found[0]:.2f} to {found[1]:.2f}"


if __name__ == "__main__":
    sys.exit(main())
