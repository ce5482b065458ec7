"""Progress over cells, files and steps, on standard error: a bar; without a terminal a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from uad_orchestrator.cli.terminal.output import note

if TYPE_CHECKING:
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


SECONDS_BETWEEN_LINES = 30.0
"""Without a terminal: how long nothing may be said while something is at work."""


@dataclass
class ProgressLines:
    """What stands in for rich's bar where standard error is a file: it can be followed, and searched later.

    Attributes:
        of: what is counted.
        every_step: whether each step is a line; else only time makes one.
    """

    of: str
    every_step: bool
    _done: float = 0
    _total: float | None = None
    _description: str = ""
    _begun: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)
    _said: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> ProgressLines:
        threading.Thread(target=self._speak_up, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._said.set()

    @property
    def console(self) -> ProgressLines:
        """As rich's bar has one."""
        return self

    def print(self, text: str, **_: Any) -> None:
        """A line of its own."""
        note(text)

    def add_task(self, description: str, total: float | None) -> int:
        """The one task; its number means nothing."""
        self._description, self._total = description, total
        return 0

    def update(
        self,
        task: int,
        *,
        total: float | None = None,
        advance: float = 0,
        completed: float | None = None,
        description: str | None = None,
        visible: bool = True,
    ) -> None:
        """As rich's, with a line where a step is one."""
        self._total = self._total if total is None else total
        self._done = self._done + advance if completed is None else completed
        self._description = description or self._description
        if advance and self.every_step:
            self._say()
            self._said.set()

    def _speak_up(self) -> None:
        while not self._ended.is_set():
            if self._said.wait(SECONDS_BETWEEN_LINES):
                self._said.clear()
            else:
                self._say()

    def _say(self) -> None:
        total = "" if self._total is None else f"/{self._total:g}"
        seconds = time.monotonic() - self._begun
        note(f"{self._done:g}{total} {self.of}, {seconds:.0f} s, last: {self._description}")


@contextmanager
def cell_progress() -> Iterator[CellProgress]:
    """A bar over cells for the time of the block."""
    with _bar("cells") as bar:
        yield CellProgress(bar, bar.add_task("starting", total=None))


@contextmanager
def file_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the files of one category after the other; gone when the block is left.

    Gives what is to be called with (category, files looked at, files in all).
    """
    with _bar("files", transient=True, every_step=False) as bar:
        task = bar.add_task("starting", total=None)

        def show(category: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=category)

        yield show


@contextmanager
def step_progress(steps: int) -> Iterator[StepProgress]:
    """A bar over a known number of steps for the time of the block."""
    with _bar("steps") as bar:
        yield StepProgress(bar, bar.add_task("starting", total=steps))


def _bar(of: str, *, transient: bool = False, every_step: bool = True) -> Any:
    """rich's bar on standard error; lines where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return ProgressLines(of, every_step)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    return Progress(*columns, console=console, transient=transient)
