"""`python -m baton_demo`: the whole system with a month of business in it."""

import argparse
import asyncio
import contextlib
import signal
import sys
import threading
from datetime import UTC, datetime

from rich.console import Console

from baton_demo.month import LEADS, SEED
from baton_demo.place import Memory, Place, Unexpected, add_people, recall, remember
from baton_demo.play import play
from baton_demo.tell import tell
from baton_local.__main__ import home_directory, own_stack
from baton_local.process import LocalError


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when it did what it says, 1 when not, 130 after Ctrl-C before the end."""
    words = argparse.ArgumentParser(prog="python -m baton_demo", description=__doc__)
    words.add_argument("--once", action="store_true", help="end after the print-out")
    words.add_argument("--seed", type=int, default=SEED, help="another seed is another month (default %(default)s)")
    words.add_argument("--leads", type=int, default=LEADS, help="how many people (default %(default)s)")
    asked = words.parse_args(arguments)
    # A log file has no width: nothing is cut there.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with own_stack(home_directory(), say=lambda text: console.print(text, markup=False, style="dim")) as stack:
            demo(Place.of(stack), console, seed=asked.seed, leads=asked.leads)
            if not asked.once:
                console.print("\nEverything keeps running; Ctrl-C stops it.", style="bold")
                with contextlib.suppress(KeyboardInterrupt):
                    stack.watch(stop)
    except KeyboardInterrupt:
        return 130
    except (LocalError, Unexpected) as error:
        console.print(f"baton: {error}", markup=False, style="red", soft_wrap=True)
        return 1
    return 0


def demo(place: Place, console: Console, *, seed: int, leads: int) -> None:
    """Play the month unless it was played, and print what happened."""
    memory = recall(place.home)
    if memory is None:
        memory = Memory(seed, leads, datetime.now(tz=UTC).replace(microsecond=0).isoformat())
        remember(place.home, memory)
    if (memory.seed, memory.leads) != (seed, leads):
        # Two months would share phone numbers and deal numbers: their people are made of the same material.
        raise Unexpected(
            f"{place.home} holds the month of --seed {memory.seed} --leads {memory.leads}: "
            "set BATON_HOME to another directory for another month"
        )
    if memory.played:
        console.print("this month was played before: nothing is sent again", markup=False)
        add_people(place.home, memory)
    else:
        asyncio.run(play(place, memory, console))
    asyncio.run(tell(place, memory, console))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
