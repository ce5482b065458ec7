"""Progress bars over cells, files and steps, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

    from uad_orchestrator.orchestration.execution.cell_runs import CellOutcome


@dataclass
class CellProgress:
    """One step per cell, with the name of the last one; a line of its own for each that failed."""

    bar: Any
    task: Any

    def start(self, cells: int) -> None:
        """The number of cells is known."""
        self.bar.update(self.task, total=cells, visible=cells > 0)

    def advance(self, outcome: CellOutcome) -> None:
        """A cell has ended."""
        cell = str(outcome.cell)
        for failed in outcome.failed:
            self.bar.console.print(f"failed: {cell}: {failed.asset}", style="red", markup=False)
        self.bar.update(self.task, advance=1, description=cell)


@dataclass
class StepProgress:
    """One step after the other, with what the last one was about."""

    bar: Any
    task: Any

    def step(self, what: str) -> None:
        """A step is done."""
        self.bar.update(self.task, advance=1, description=what)


@contextmanager
def cell_progress() -> Iterator[CellProgress]:
    """A bar over cells for the time of the block."""
    with _bar() as bar:
        yield CellProgress(bar, bar.add_task("starting", total=None))


@contextmanager
def file_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the files of one category after the other; gone when the block is left.

    Gives what is to be called with (category, files looked at, files in all).
    """
    with _bar(transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(category: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=category)

        yield show


@contextmanager
def step_progress(steps: int) -> Iterator[StepProgress]:
    """A bar over a known number of steps for the time of the block."""
    with _bar() as bar:
        yield StepProgress(bar, bar.add_task("starting", total=steps))


def _bar(*, transient: bool = False) -> Progress:
    """On standard error; where that is no terminal, rich prints nothing but the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    return Progress(*columns, console=Console(stderr=True), transient=transient)
