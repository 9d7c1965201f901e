"""Say how far it is: bars on a terminal, one line a step otherwise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int], None]
"""Called with the number done so far."""


@contextmanager
def step(console: Console, title: str, total: int) -> Iterator[Advance]:
    """One step of the play, with `total` things to do. A line is printed when it ends."""
    if not console.is_terminal:
        reached = 0

        def remember(done: int) -> None:
            nonlocal reached
            reached = done

        yield remember
        console.print(f"{title}: {reached}/{total}", markup=False)
        return
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)
